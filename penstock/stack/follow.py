"""How another process uses the stack of its home."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.adapters.stores.postgres.connection import address_of
from penstock.core.errors import ConfigError
from penstock.settings import Process, Settings, StackSecret, stack_secret
from penstock.stack.processes import StackError
from penstock.stack.state import StackNote, last_environment, read_stack


@dataclass(frozen=True)
class Followed:
    """The environment of a command that works with the stack of its home."""

    variables: Mapping[str, str]
    """The environment variables."""
    kept: Mapping[str, tuple[str, str]]
    """The caller's value and the stack's, by variable, where they differ. The caller's is kept."""
    abandoned: StackNote | None = None
    """The stack that is followed, where its supervisor has died and nobody has ended it."""


def follow_stack(variables: Mapping[str, str]) -> Followed:
    """Return `variables` with the environment, servers and keys of the stack of their home.

    A variable that the caller has set keeps its value. Without a stack nothing is added. A stack
    whose supervisor has died is followed too, until it is ended: nobody asked for another
    environment. Of its servers only those are named that still live.

    Raises ConfigError where the variables name another database than the stack's: an account would
    have two ledgers.
    """
    process = Process.of(variables)
    found = read_stack(process.home.resolve())
    if found is None:
        return Followed(variables, {})
    addresses = found.addresses
    mine = address_of(process.database_url.get_secret_value()) if process.database_url else ""
    if mine not in (addresses.external_database, addresses.database):
        raise ConfigError(
            f"the stack that runs from {process.home} uses the database "
            f"{addresses.external_database or 'of its own'} and this command would use "
            f"{mine or 'the one of the home folder'}: set PENSTOCK_DATABASE_URL to the value with "
            "which the stack was started"
        )
    theirs = {"PENSTOCK_ENV": addresses.environment}
    if found.serves("prefect-server"):
        theirs["PREFECT_API_URL"] = addresses.prefect_api
    if addresses.practice:
        theirs["PENSTOCK_PRACTICE_URL"] = addresses.practice
    keys = _practice_keys(process) if addresses.practice else {}
    mine_set = {name: value for name, value in variables.items() if value}  # empty counts as none
    if mine_set.get("PREFECT_API_URL", theirs.get("PREFECT_API_URL")) == addresses.prefect_api:
        # another server is not told how to get into this one
        auth = stack_secret(process.home, StackSecret.PREFECT).get_secret_value()
        keys = {**keys, "PREFECT_API_AUTH_STRING": auth}
    return Followed(
        {**variables, **theirs, **keys, **mine_set},
        {
            name: (mine_set[name], value)
            for name, value in theirs.items()
            if mine_set.get(name, value) != value
        },
        None if found.supervised else found,
    )


class StackNotRunningError(StackError):
    """No stack runs from a home that had one, and nothing says with which environment to work."""

    def __init__(self, home: Path, last: str, default: str) -> None:
        super().__init__(
            f"no stack runs from {home} and PENSTOCK_ENV is not set: the last stack worked with "
            f"'{last}', this command would work with '{default}'"
        )
        self.default = default


def require_chosen_environment(variables: Mapping[str, str]) -> None:
    """Raise StackNotRunningError where PENSTOCK_ENV is not set though the home of the variables had
    a stack, and that worked with another environment than the default.

    Call it with what `follow_stack` returns: a stack that runs, or was left by a killed supervisor,
    has chosen.
    """
    if variables.get("PENSTOCK_ENV"):
        return
    process = Process.of(variables)
    home = process.home.resolve()
    last = last_environment(home)
    if last not in ("", process.env):
        raise StackNotRunningError(home, last, process.env)


def _practice_keys(process: Process) -> dict[str, str]:
    """Return the keys of the practice accounts by variable; none where the configuration cannot be
    read, which is for the command that uses it to say.
    """
    try:
        return Settings(process).practice_key_variables()
    except ConfigError:
        return {}
