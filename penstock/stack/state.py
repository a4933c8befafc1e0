"""Which stack runs from a home folder, where it answers, and how another process comes to work with
it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from penstock.adapters.stores.postgres.connection import address_of
from penstock.core.errors import ConfigError
from penstock.settings import Settings, practice_key_variables
from penstock.stack.children import StackError


@dataclass(frozen=True)
class Addresses:
    """Where the stack answers, and for which environment. `practice` is "" where another venue is
    configured.

    `external_database` is "" where the database is the embedded one of the home folder.
    """

    environment: str
    external_database: str
    prefect: str
    mlflow: str
    database: str
    practice: str

    @property
    def prefect_api(self) -> str:
        return f"{self.prefect}/api"


def state_file(home: Path) -> Path:
    return home / "stack.json"


def running(home: Path) -> tuple[int, Addresses] | None:
    """Return the supervisor's process id and the addresses of the stack that runs from `home`, or
    None.
    """
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
            f"another version of Penstock runs from {home} (process {pid}): end it with 'kill {pid}'"
        ) from None


def write_state(home: Path, addresses: Addresses) -> None:
    """Say that this process is the supervisor of the stack that runs from `home`."""
    me = psutil.Process()
    state = {"pid": me.pid, "started": me.create_time(), **asdict(addresses)}
    temporary = state_file(home).with_suffix(".tmp")
    temporary.write_text(json.dumps(state), encoding="utf-8")
    temporary.replace(state_file(home))


def forget_state(home: Path) -> None:
    state_file(home).unlink(missing_ok=True)


def follow_running_stack() -> Sequence[str]:
    """Make this process work with the stack that runs from its home, if one does: its environment,
    servers and keys.

    What the caller's environment says already is left alone, and returned as sentences where the
    stack says otherwise.
    """
    process = Settings().process
    found = running(process.home.resolve())
    if found is None:
        return []
    addresses = found[1]
    mine = address_of(process.database_url.get_secret_value()) if process.database_url else ""
    if mine not in (addresses.external_database, addresses.database):
        raise ConfigError(
            f"the stack that runs from {process.home} uses the database {addresses.external_database or 'of its own'} and this "
            f"command would use {mine or 'the one of the home folder'}: set PENSTOCK_DATABASE_URL as it was for 'penstock up'"
        )
    theirs = {"PENSTOCK_ENV": addresses.environment, "PREFECT_API_URL": addresses.prefect_api}
    if addresses.practice:
        theirs["PENSTOCK_PRACTICE_URL"] = addresses.practice
    differing = {
        name: os.environ[name]
        for name, value in theirs.items()
        if os.environ.get(name, "") not in ("", value)
    }
    keys = practice_key_variables(process.home) if addresses.practice else {}
    for name, value in (theirs | keys).items():
        if not os.environ.get(name):  # an empty variable counts as none, as it does in Process
            os.environ[name] = value
    return [
        f"{name} is {kept} here and {theirs[name]} in the stack that runs from {process.home}: this command works with "
        f"{kept}; unset {name} to work with the stack"
        for name, kept in differing.items()
    ]
