"""A stack from outside: how its supervisor is started in the background, waited for and ended."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.core.machine import SYSTEM_CLOCK
from penstock.stack.children import make_logs, output_to
from penstock.stack.leftovers import end_leftovers, noted_stack
from penstock.stack.locks import ending_lock, locked, supervisor_lock
from penstock.stack.processes import Identity, StackError, wait_for_end
from penstock.stack.state import Phase, StackNote, forget_stack

#: How long nothing may change. A supervisor gives its parts less: it can say which one is late.
_START_SECONDS = 300.0
#: Four children are given ten seconds each to end, then the database.
_STOP_SECONDS = 90.0
_KILL_SECONDS = 10.0
OnLook = Callable[[StackNote | None], None]


@dataclass(frozen=True)
class Brought:
    """A stack that is up."""

    note: StackNote
    """What its supervisor has noted."""
    was_running: bool
    """Whether another call had started it."""


@dataclass(frozen=True)
class Ended:
    """What was found of a stack, and ended."""

    was_supervised: bool
    """Whether its supervisor lived."""
    leftovers: tuple[str, ...]
    """What ran without it."""


def bring_up(
    home: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    on_look: OnLook,
) -> Brought:
    """Return once the home's stack is up. Where it has no supervisor, `command` is started as one,
    detached from this terminal.

    `on_look` is called with what is noted, several times per second. Raises StackError with the
    log's name where the stack does not come up.
    """
    log = make_logs(home) / "supervisor.log"
    wait_until_none_ends(home)
    supervisor = None if _goes_on(home) else _start(command, environment, log)
    last: StackNote | None = None
    changed = SYSTEM_CLOCK.elapsed_seconds()
    while SYSTEM_CLOCK.elapsed_seconds() < changed + _START_SECONDS:
        exited = supervisor is not None and supervisor.poll() is not None
        note = noted_stack(home)
        if note != last:
            last, changed = note, SYSTEM_CLOCK.elapsed_seconds()
        on_look(note)
        if note is not None and note.is_up:
            ours = supervisor is not None and note.supervisor.pid == supervisor.pid
            return Brought(note, was_running=not ours)
        if (supervisor is None or exited) and not _goes_on(home):
            raise StackError(f"the stack did not start: {_last_line(log)}; read {log}")
        SYSTEM_CLOCK.sleep(0.2)
    raise StackError(f"the start has stood still for {_START_SECONDS:.0f} s: read {log}")


def wait_until_none_ends(home: Path) -> None:
    """Wait until nobody ends the home's stack any more."""
    with locked(ending_lock(home), _STOP_SECONDS + _KILL_SECONDS):
        note = noted_stack(home)
        if note is not None and note.phase is Phase.ENDING:
            wait_for_end(note.supervisor, _STOP_SECONDS)


def end_stack(home: Path, stop_database: Callable[[bool], object]) -> Ended:
    """End the home's supervisor and with it all that it started; then what has outlived one.

    A supervisor that does not end in time is killed, and its parts are ended here. At last
    `stop_database` is called, with whether there was a stack. The data stay.
    """
    if not home.is_dir():
        return Ended(was_supervised=False, leftovers=())
    found: list[StackNote] = []
    ended: list[Identity] = []

    def end_supervisor() -> None:
        note = noted_stack(home)
        found.extend([note] if note is not None else [])
        if note is not None and note.supervised:
            _end_supervisor(note.supervisor)
            ended.append(note.supervisor)

    with (
        locked(ending_lock(home), _STOP_SECONDS + _KILL_SECONDS),
        # one that has just been started has the lock before it has noted itself
        locked(supervisor_lock(home), _STOP_SECONDS, before_each=end_supervisor),
    ):
        leftovers = end_leftovers(home, found[-1] if found else None)
        # beside a copy of a home, its note is not ours and its database may be the original's
        stop_database(bool(found or leftovers))
        forget_stack(home)
    return Ended(bool(ended), leftovers)


def _end_supervisor(supervisor: Identity) -> None:
    for ask, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        with suppress(ProcessLookupError):
            if supervisor.alive:
                os.kill(supervisor.pid, ask)
                os.kill(supervisor.pid, signal.SIGCONT)
        if wait_for_end(supervisor, seconds):
            return
    raise StackError(f"the supervisor (process {supervisor.pid}) did not end by SIGKILL")


def _goes_on(home: Path) -> bool:
    """Return whether the home has a supervisor that nobody ends. One that is held by SIGSTOP is let
    go on.
    """
    note = noted_stack(home)
    if note is None or not note.supervised:
        return False
    if note.supervisor.suspended:
        os.kill(note.supervisor.pid, signal.SIGCONT)
    return note.phase is not Phase.ENDING


def _start(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    with output_to(log) as out:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "its log is empty"
