"""One part of the stack that is kept running, and what is noted and told of its deaths."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import psutil

from penstock.core.alerts import Alert
from penstock.core.errors import PenstockError
from penstock.core.machine import SYSTEM_CLOCK
from penstock.ports import DatabaseServer
from penstock.stack.processes import Identity
from penstock.stack.restarts import Restarts
from penstock.stack.state import DATABASE, PartNote, Step


class Part(Protocol):
    """What a supervisor needs of a part; penstock.stack.children.Child has it."""

    name: str
    identity: Identity | None

    @property
    def log(self) -> Path: ...

    @property
    def alive(self) -> bool: ...

    @property
    def answers(self) -> bool: ...

    @property
    def reason(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass
class DatabasePart:
    """The database server as a part. It outlives its starter, and has no process of ours."""

    server: DatabaseServer
    """The server."""
    log: Path
    """Where its logs are."""
    name: str = DATABASE
    identity: Identity | None = None
    answers: bool = True
    reason: str = "its server does not run"

    @property
    def alive(self) -> bool:
        return self.server.running

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()


class KeptPart:
    """A part, what is noted of it, and when it is started again."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.note = PartNote(part.name, Step.STARTING)
        self._restarts = Restarts(part.name, str(part.log))

    def start(self) -> None:
        """Start the part."""
        self.part.start()
        self._restarts.started(SYSTEM_CLOCK.elapsed_seconds())
        self._step(Step.STARTING)

    def up(self) -> None:
        """Note that it answers."""
        self._step(Step.UP)

    def keep(self) -> Alert | None:
        """Look at the part, and start it again where its time has come. Return what there is to
        tell.
        """
        now = SYSTEM_CLOCK.elapsed_seconds()
        if self.note.step is Step.DEAD:
            return self._start_again() if now >= self._restarts.next_start else None
        if not self.part.alive:
            return self._died(self.part.reason)
        if self.note.step is Step.STARTING and self.part.answers:
            self.up()
        return None

    def _start_again(self) -> Alert | None:
        try:
            self.start()
        except (PenstockError, OSError, psutil.Error) as error:
            return self._died(f"it cannot be started: {error}")
        return None

    def _died(self, reason: str) -> Alert | None:
        at = f"{SYSTEM_CLOCK.now():%Y-%m-%d %H:%M:%S}"
        self.note = replace(
            self.note, step=Step.DEAD, deaths=self.note.deaths + 1, last_death=at, reason=reason
        )
        return self._restarts.died(SYSTEM_CLOCK.elapsed_seconds(), reason)

    def _step(self, step: Step) -> None:
        self.note = replace(self.note, step=step, process=self.part.identity)
