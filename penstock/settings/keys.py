"""Keys of accounts: read from the environment, and made for the practice exchange. Passwords of the
local stack's servers, made once.

No message shows a key.
"""

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from penstock.core.errors import ConfigError
from penstock.core.machine import new_secret


def secret(variables: Mapping[str, str], name: str | None, purpose: str) -> SecretStr:
    """Return the secret in the environment variable `name`.

    Space around it is left out: venues do so too. Raises ConfigError, which names the variable and
    no value, where it is empty.
    """
    value = variables.get(name or "", "").strip()
    if not value:
        raise ConfigError(
            f"{purpose}: the environment variable {name or '(none configured)'} is empty; "
            "set it before trading"
        )
    return SecretStr(value)


class StackSecret(StrEnum):
    """A secret of the local stack, by the name of its file in the home folder."""

    PREFECT = "prefect-auth"
    """What Prefect's server asks for: "user:password"."""
    MLFLOW = "mlflow-auth"
    """What MLflow's server asks for: "user:password"."""
    PRACTICE = "practice-token"
    """What the practice exchange's control calls ask for."""


def stack_secret(home: Path, which: StackSecret) -> SecretStr:
    """Return a secret of the stack that runs from `home`.

    It is made once, in a file that only its owner can read. Of several processes that make it at
    once, one does, and all return the same.
    """
    path = home / which
    if not path.is_file():
        home.mkdir(parents=True, exist_ok=True)
        user = "" if which is StackSecret.PRACTICE else "penstock:"
        whole = path.with_name(f".{which}-{new_secret(8)}")  # a killed process leaves no half one
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(user + new_secret(24))
        with suppress(FileExistsError):
            path.hardlink_to(whole)
        whole.unlink()
    return SecretStr(path.read_text(encoding="utf-8").strip())


def practice_keys(home: Path, names: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return (key, secret) of each practice account: of those in `names`, and of all that have been
    made before.

    They are made once, in a file that only its owner can read. A portfolio's account has its name.
    """
    path = _keys_file(home)
    known = _read_keys(path)
    if not known.keys() >= {*names}:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home):
            known = _read_keys(path)  # another process may have made some meanwhile
            known |= {name: [new_secret(16), new_secret(32)] for name in names if name not in known}
            _write_keys(path, known)
    return {name: (key, secret) for name, (key, secret) in known.items()}


def has_practice_keys(home: Path) -> bool:
    """Return whether keys of practice accounts were ever made for `home`."""
    return _keys_file(home).is_file()


def _keys_file(home: Path) -> Path:
    return home / "practice-keys.json"


def _read_keys(path: Path) -> dict[str, list[str]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write_keys(path: Path, known: Mapping[str, list[str]]) -> None:
    whole = path.with_name(f".{path.name}-{new_secret(8)}")  # a killed process loses no key
    with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(known, file)
    whole.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder. The kernel releases it when its holder dies."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
