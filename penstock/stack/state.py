"""Which stack runs from a home folder, where it answers, and how another process uses it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from penstock.adapters.stores.postgres.connection import address_of
from penstock.core.errors import ConfigError
from penstock.settings import Process, Settings, StackSecret, stack_secret
from penstock.stack.children import StackError


@dataclass(frozen=True)
class Addresses:
    """Where the stack answers, and for which environment."""

    environment: str
    """The environment that it was started for."""
    external_database: str
    """The configured database; "" where it is the embedded one of the home folder."""
    prefect: str
    """The address of the Prefect server."""
    mlflow: str
    """The address of the MLflow server."""
    database: str
    """The address of the database, without its password."""
    practice: str
    """The address of the practice exchange; "" where another venue is configured."""

    @property
    def prefect_api(self) -> str:
        """The address of Prefect's API."""
        return f"{self.prefect}/api"


def state_file(home: Path) -> Path:
    """Return the file in which a running stack is written down."""
    return home / "stack.json"


def running(home: Path) -> tuple[int, Addresses] | None:
    """Return the supervisor's process id and the stack's addresses; None where none runs."""
    path = state_file(home)
    if not path.is_file():
        return None
    state = json.loads(path.read_text(encoding="utf-8"))
    pid = int(state.pop("pid"))
    started = float(state.pop("started"))
    try:
        alive = abs(psutil.Process(pid).create_time() - started) < 2
    except psutil.NoSuchProcess:
        alive = False
    if not alive:
        return None
    try:
        return pid, Addresses(**state)
    except TypeError:
        raise StackError(
            f"another version of Penstock runs from {home} (process {pid}): end it with "
            f"'kill {pid}'"
        ) from None


def write_state(home: Path, addresses: Addresses) -> None:
    """Write down that this process is the supervisor of the stack that runs from `home`."""
    me = psutil.Process()
    state = {"pid": me.pid, "started": me.create_time(), **asdict(addresses)}
    temporary = state_file(home).with_suffix(".tmp")
    temporary.write_text(json.dumps(state), encoding="utf-8")
    temporary.replace(state_file(home))


def forget_state(home: Path) -> None:
    """Remove the note of a running stack."""
    state_file(home).unlink(missing_ok=True)


@dataclass(frozen=True)
class Followed:
    """The environment of a command that works with the running stack."""

    variables: Mapping[str, str]
    """The environment variables."""
    kept: Mapping[str, tuple[str, str]]
    """The caller's value and the stack's, by variable, where they differ. The caller's is kept."""


def follow_running_stack(variables: Mapping[str, str]) -> Followed:
    """Return `variables` with the environment, servers and keys of the stack that runs from their
    home.

    A variable that the caller has set keeps its value. Without a running stack nothing is added.
    Raises ConfigError where the variables name another database than the stack's: an account would
    have two ledgers.
    """
    process = Process.of(variables)
    found = running(process.home.resolve())
    if found is None:
        return Followed(variables, {})
    addresses = found[1]
    mine = address_of(process.database_url.get_secret_value()) if process.database_url else ""
    if mine not in (addresses.external_database, addresses.database):
        raise ConfigError(
            f"the stack that runs from {process.home} uses the database "
            f"{addresses.external_database or 'of its own'} and this command would use "
            f"{mine or 'the one of the home folder'}: set PENSTOCK_DATABASE_URL to the value with "
            "which the stack was started"
        )
    theirs = {"PENSTOCK_ENV": addresses.environment, "PREFECT_API_URL": addresses.prefect_api}
    if addresses.practice:
        theirs["PENSTOCK_PRACTICE_URL"] = addresses.practice
    keys = _practice_keys(process) if addresses.practice else {}
    mine_set = {name: value for name, value in variables.items() if value}  # empty counts as none
    if mine_set.get("PREFECT_API_URL", addresses.prefect_api) == addresses.prefect_api:
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
    )


def _practice_keys(process: Process) -> dict[str, str]:
    """Return the keys of the practice accounts by variable; none where the configuration cannot be
    read, which is for the command that uses it to say.
    """
    try:
        return Settings(process).practice_key_variables()
    except ConfigError:
        return {}
