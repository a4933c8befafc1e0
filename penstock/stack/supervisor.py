"""The supervisor: starts the parts in order, keeps them running, and ends them.

Which parts there are is for penstock.stack.parts. Each change is noted in the home, so that whoever
comes after a killed supervisor knows what is left.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from penstock.core.alerts import Alert, urgent
from penstock.core.machine import SYSTEM_CLOCK
from penstock.ports import DatabaseServer
from penstock.stack.alerts import StackAlerts
from penstock.stack.children import Child, make_logs
from penstock.stack.kept_parts import DatabasePart, KeptPart, Part
from penstock.stack.leftovers import end_leftovers, noted_stack
from penstock.stack.locks import FileLock, supervisor_lock
from penstock.stack.processes import Identity, StackError
from penstock.stack.state import (
    DEPLOYMENTS,
    Addresses,
    PartNote,
    Phase,
    StackNote,
    Step,
    forget_stack,
    write_stack,
)

#: How long a server may take after the one before it has answered.
_START_SECONDS = 150.0
_TICK_SECONDS = 0.5
#: How long a supervisor waits for the end of the one before.
_PATIENCE_SECONDS = 90.0


def _ignore(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class StackPlan:
    """What a supervisor runs."""

    addresses: Addresses
    """Where the parts answer."""
    children: Sequence[Child]
    """The parts, in the order of their start. One without a health address is started last, once
    the others answer and the deployment is done.
    """
    deployment: Sequence[Child] = ()
    """Commands that end by themselves."""


class Supervisor:
    """Runs the stack of one home, in this process, until it is asked to stop."""

    def __init__(
        self,
        home: Path,
        addresses: Addresses,
        alerts: StackAlerts,
        *,
        database: DatabaseServer | None = None,
        on_step: Callable[[str, Step], None] = _ignore,
    ) -> None:
        """`database` is the server that is started first and kept running; None where another is
        configured. `on_step` is called whenever a part gets further, or dies.
        """
        self.home = home
        self._alerts, self._database, self._on_step = alerts, database, on_step
        self._note = StackNote(home, Identity.of_this_process(), Phase.STARTING, addresses)
        self._steps: dict[str, PartNote] = {}
        self._kept: list[KeptPart] = []
        self._to_end: list[Part] = []
        self._stopping = self._cannot_write = self._ends_by_itself = False

    def stop(self) -> None:
        """Let `run` end the parts and return. A signal handler may call it."""
        self._stopping = True

    def run(self, plan: Callable[[], StackPlan], on_ready: Callable[[StackNote], None]) -> None:
        """Run the stack until `stop` is called; call `on_ready` once every part answers.

        `plan` is asked once the database runs. What an earlier stack of this home left running is
        ended first. Raises StackError where a part does not come up, or where the home has a
        supervisor already.
        """
        make_logs(self.home)
        lock = self._only_supervisor()
        try:
            had_one = self._replace_earlier()
            try:
                self._start(plan)
                on_ready(self._note)
                self._watch(lock)
            except Exception as error:
                up = self._note.phase is Phase.RUNNING
                self._ends_by_itself = not self._stopping and (had_one or up)
                if self._ends_by_itself:
                    self._alert(urgent(Alert("its supervisor ends", str(error) or repr(error))))
                raise
            finally:
                self._end()
        finally:
            lock.close()

    def _only_supervisor(self) -> FileLock:
        """Return the lock of the home once it is ours. Raise StackError where the home has a
        supervisor that goes on.
        """
        deadline = SYSTEM_CLOCK.elapsed_seconds() + _PATIENCE_SECONDS
        while True:
            lock = FileLock(supervisor_lock(self.home))
            if lock.take():
                return lock
            holder = lock.holder
            lock.close()
            other = noted_stack(self.home)
            if other is not None and other.supervised and other.phase is not Phase.ENDING:
                raise StackError(
                    f"a stack runs from {self.home} already (process {other.supervisor.pid})"
                )
            if self._stopping or SYSTEM_CLOCK.elapsed_seconds() > deadline:
                raise StackError(f"process {holder} still works on the stack of {self.home}")
            SYSTEM_CLOCK.sleep(0.1)

    def _replace_earlier(self) -> bool:
        """End what an earlier stack left, and tell of it. Return whether one was never ended."""
        before = noted_stack(self.home)
        left = end_leftovers(self.home, before)
        self._note = replace(self._note, replaced=left)
        if before is not None:
            self._alerts.add(before.unsent)
            ended = f"still running and ended now: {', '.join(left) or 'nothing'}"
            if not before.supervisor.of_this_boot:
                ended = "the machine has been restarted since"
            pid = before.supervisor.pid
            self._alert(
                Alert("its supervisor had ended", f"process {pid}; {ended}; all is started again")
            )
            self._alerts.send()
        self._write()
        return before is not None

    def _start(self, plan: Callable[[], StackPlan]) -> None:
        if self._database is not None:
            self._add(DatabasePart(self._database, self.home / "postgres")).up()
        made = plan()
        self._note = replace(self._note, addresses=made.addresses)
        servers = [child for child in made.children if child.health_url is not None]
        self._wait_until_up([self._add(child) for child in servers])
        if made.deployment:
            self._deploy(made.deployment)
        for child in made.children:
            if child.health_url is None:
                self._add(child).up()
        self._note_steps()
        self._note = replace(self._note, phase=Phase.RUNNING)
        self._write()

    def _add(self, part: Part) -> KeptPart:
        """Start a part that is to be kept running."""
        self._require_wanted()
        kept = KeptPart(part)
        self._kept.append(kept)
        self._to_end.append(part)
        self._note_steps()
        kept.start()
        self._note_steps()
        return kept

    def _wait_until_up(self, servers: Iterable[KeptPart]) -> None:
        waiting = list(servers)
        deadline = SYSTEM_CLOCK.elapsed_seconds() + _START_SECONDS
        while waiting:
            self._require_wanted()
            for kept in list(waiting):
                name, log = kept.part.name, kept.part.log
                if not kept.part.alive:
                    raise StackError(f"{name} has ended ({kept.part.reason}): read {log}")
                if kept.part.answers:
                    waiting.remove(kept)
                    kept.up()
                    self._note_steps()
                    deadline = SYSTEM_CLOCK.elapsed_seconds() + _START_SECONDS
                elif SYSTEM_CLOCK.elapsed_seconds() > deadline:
                    raise StackError(
                        f"{name} did not answer within {_START_SECONDS:.0f} s: read {log}"
                    )
            SYSTEM_CLOCK.sleep(0.2)

    def _deploy(self, commands: Sequence[Child]) -> None:
        """Run each command to its end."""
        self._note_step(PartNote(DEPLOYMENTS, Step.STARTING))
        for command in commands:
            self._to_end.append(command)
            command.start()
            while command.alive:
                self._require_wanted()
                SYSTEM_CLOCK.sleep(0.1)
            self._to_end.remove(command)
            if command.process is None or command.process.returncode:
                raise StackError(
                    f"'{' '.join(command.command[2:])}' failed ({command.reason}): "
                    f"read {command.log}"
                )
        self._note_step(PartNote(DEPLOYMENTS, Step.UP))

    def _require_wanted(self) -> None:
        if self._stopping:
            raise StackError("the stack was ended before it was up")

    def _watch(self, lock: FileLock) -> None:
        """Keep the parts running until `stop` is called, or until the home is no longer there."""
        while not self._stopping:
            if not lock.in_place:
                raise StackError(f"{self.home} was moved or removed")
            for kept in self._kept:
                alert = None if self._stopping else kept.keep()
                if alert is not None:
                    self._alert(alert)
            self._note_steps()
            if self._note.unsent != self._alerts.waiting or noted_stack(self.home) != self._note:
                self._write()  # also where the note is gone, or could not be written
            self._alerts.send()
            SYSTEM_CLOCK.sleep(_TICK_SECONDS)

    def _end(self) -> None:
        """End the parts, the last one first; then what else has their mark. One that does not end
        keeps no other from its end.
        """
        self._note = replace(self._note, phase=Phase.ENDING)
        self._write()
        with ExitStack() as ending:
            if self._ends_by_itself:
                ending.callback(self._write)  # what was sent now is not sent again
            else:
                ending.callback(forget_stack, self.home)
            ending.callback(self._alerts.flush)
            database = [part for part in self._to_end if isinstance(part, DatabasePart)]
            if database:
                ending.callback(database[0].stop)
            ending.callback(end_leftovers, self.home, None)
            for part in self._to_end:
                if part not in database:
                    ending.callback(part.stop)

    def _alert(self, alert: Alert) -> None:
        at = f"{SYSTEM_CLOCK.now():%Y-%m-%d %H:%M} UTC"
        self._alerts.add([replace(alert, body=f"{at}: {alert.body}")])

    def _note_steps(self) -> None:
        for kept in self._kept:
            self._note_step(kept.note)

    def _note_step(self, note: PartNote) -> None:
        """Write down what is new of a part."""
        before = self._steps.get(note.name)
        if note == before:
            return
        self._steps[note.name] = note
        self._write()
        if before is None or before.step is not note.step:
            self._on_step(note.name, note.step)

    def _write(self) -> None:
        """Note the present state. What cannot be written now (a full disk) is written later."""
        self._note = replace(
            self._note, parts=tuple(self._steps.values()), unsent=self._alerts.waiting
        )
        try:
            write_stack(self._note, self.home)
        except OSError as error:
            if not self._cannot_write:
                self._alert(urgent(Alert("its note cannot be written", str(error))))
            self._cannot_write = True
            return
        self._cannot_write = False
