"""The note of a home's stack: who supervises it, where it answers, and which processes are its own.

It is written from the first moment on, and anew with each change. `penstock down` removes it. Where
nobody did, the note tells what a killed supervisor left.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from penstock.core.alerts import Alert
from penstock.settings import has_practice_keys
from penstock.stack.processes import Identity, StackError

DATABASE = "database"
DEPLOYMENTS = "deployments"


class UnreadableStackError(StackError):
    """The note of a home's stack is damaged."""


class Phase(StrEnum):
    """What a supervisor does."""

    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"


class Step(StrEnum):
    """How far a part is."""

    STARTING = "starting"
    UP = "up"
    DEAD = "dead"


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
    """The address of the database, without its password; "" before it has started."""
    practice: str
    """The address of the practice exchange; "" where another venue is configured."""

    @property
    def prefect_api(self) -> str:
        """The address of Prefect's API."""
        return f"{self.prefect}/api"


@dataclass(frozen=True)
class PartNote:
    """One part of the stack, as its supervisor saw it last."""

    name: str
    """Its name."""
    step: Step
    """How far it is."""
    process: Identity | None = None
    """Its process; None for the database and the deployments."""
    deaths: int = 0
    """How often it has ended by itself since the stack was started."""
    last_death: str = ""
    """When it did so last (UTC)."""
    reason: str = ""
    """How it ended then."""

    @property
    def alive(self) -> bool:
        """Whether its process lives now."""
        return self.process is not None and self.process.alive


@dataclass(frozen=True)
class StackNote:
    """A stack, as its supervisor wrote it down last."""

    home: Path
    """The home from which it was started."""
    supervisor: Identity
    """The supervisor's process."""
    phase: Phase
    """What the supervisor does."""
    addresses: Addresses
    """Where the parts answer."""
    parts: tuple[PartNote, ...] = ()
    """The parts, in the order of their start."""
    replaced: tuple[str, ...] = ()
    """What an earlier stack had left running, and this one has ended."""
    unsent: tuple[Alert, ...] = field(default=())
    """Alerts that no channel has taken yet."""

    @property
    def supervised(self) -> bool:
        """Whether its supervisor lives."""
        return self.supervisor.alive

    @property
    def is_up(self) -> bool:
        """Whether all its parts had answered, and its supervisor lives."""
        return self.phase is Phase.RUNNING and self.supervised

    def serves(self, name: str) -> bool:
        """Whether the part of this name lives, or has a supervisor that starts it again."""
        return self.supervised or any(part.alive for part in self.parts if part.name == name)


def state_file(home: Path) -> Path:
    """Return the file in which the stack of a home is noted."""
    return home / "stack.json"


def read_stack(home: Path) -> StackNote | None:
    """Return the note of the home's stack; None where there is none, or where it is a copy of
    another home's.

    Raises UnreadableStackError where it cannot be read, and StackError where another version of
    Penstock runs.
    """
    path = state_file(home)
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        note = _parsed(state, home)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableStackError(
            f"{path} cannot be read ({type(error).__name__}): what runs from this home is not known"
        ) from None
    # of a home that was moved the note goes with it; beside a copy the original still has its own
    return None if note.home != home and state_file(note.home).exists() else note


def _parsed(state: Mapping[str, Any], home: Path) -> StackNote:
    pid, started = int(state["pid"]), state["started"]
    try:
        addresses = Addresses(**{name: state[name] for name in Addresses.__dataclass_fields__})
    except KeyError:
        addresses = None
    if addresses is None or not isinstance(started, str):
        _require_ended(pid, started, home)
    if addresses is None:
        raise KeyError("addresses")
    return StackNote(
        home=Path(state.get("home", home)),
        supervisor=Identity(pid, str(started)),
        phase=Phase(state.get("phase", Phase.RUNNING)),
        addresses=addresses,
        parts=tuple(_part(each) for each in state.get("parts", ())),
        replaced=tuple(state.get("replaced", ())),
        unsent=tuple(Alert(title, body) for title, body in state.get("unsent", ())),
    )


def _require_ended(pid: int, started: object, home: Path) -> None:
    """Raise StackError where the supervisor of another version still lives."""
    now = Identity.of(pid)
    same = now is not None and now.alive and now.started == started
    if isinstance(started, float):  # a time, as versions up to 0.9 had it
        with suppress(psutil.NoSuchProcess):
            same = abs(psutil.Process(pid).create_time() - started) < 2
    if same:
        raise StackError(
            f"another version of Penstock runs from {home} (process {pid}): end it with "
            f"'kill {pid}'"
        )


def _part(state: Mapping[str, Any]) -> PartNote:
    process = state["process"]
    return PartNote(
        name=state["name"],
        step=Step(state["step"]),
        process=Identity(**process) if process else None,
        deaths=int(state["deaths"]),
        last_death=state["last_death"],
        reason=state["reason"],
    )


def write_stack(note: StackNote, home: Path) -> None:
    """Write the note down, whole or not at all, whatever happens to machine or process."""
    state = {
        "pid": note.supervisor.pid,
        "started": note.supervisor.started,
        "home": str(note.home),
        "phase": note.phase,
        **asdict(note.addresses),
        "parts": [asdict(part) for part in note.parts],
        "replaced": list(note.replaced),
        "unsent": [(alert.title, alert.body) for alert in note.unsent],
    }
    temporary = state_file(home).with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(state_file(home))


def forget_stack(home: Path) -> None:
    """Remove the note of the home's stack. The environment that it worked with stays on record."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        state = json.loads(state_file(home).read_text(encoding="utf-8"))
        _last_environment_file(home).write_text(f"{state['environment']}\n", encoding="utf-8")
    state_file(home).unlink(missing_ok=True)


def last_environment(home: Path) -> str:
    """Return the environment that the last stack of `home` worked with; "" where none is known.

    A home with keys of practice accounts, which versions up to 0.9 have left without a record, has
    had a practice exchange.
    """
    with suppress(FileNotFoundError):
        return _last_environment_file(home).read_text(encoding="utf-8").strip()
    return "practice" if has_practice_keys(home) else ""


def _last_environment_file(home: Path) -> Path:
    return home / "last-environment"
