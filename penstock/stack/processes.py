"""Processes by pid and start time: whether one still lives, what belongs to a part of a stack, and
how that is ended.

A pid alone proves nothing, because pids are used again. Neither does the time of a start: a clock
that is set changes it.
"""

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from penstock.core.errors import PenstockError
from penstock.core.machine import SYSTEM_CLOCK

#: The environment variable that a part of a stack has, and all that it starts: "part@home".
MARK = "PENSTOCK_STACK_PART"
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError)
_KILL_SECONDS = 5.0


class StackError(PenstockError):
    """A part of the local stack did not come up or did not end; the message names what to read."""


@dataclass(frozen=True)
class Identity:
    """One process, told apart from a later one with its pid."""

    pid: int
    """The process id."""
    started: str
    """The boot of the machine and the ticks since then; elsewhere than on Linux a time."""

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Return the identity of the process that has the pid now; None where none has."""
        seen = _seen(pid)
        return None if seen is None else cls(pid, seen[1])

    @classmethod
    def of_this_process(cls) -> "Identity":
        """Return this process's own identity."""
        seen = _seen(os.getpid())
        return cls(os.getpid(), seen[1] if seen else "")

    @property
    def alive(self) -> bool:
        """Whether it runs or is suspended. A process that waits for its parent's look has ended."""
        seen = _seen(self.pid)
        return seen is not None and seen[1] == self.started and seen[0] not in "ZX"

    @property
    def suspended(self) -> bool:
        """Whether it is alive and held by SIGSTOP."""
        seen = _seen(self.pid)
        return seen is not None and seen[1] == self.started and seen[0] in "Tt"

    @property
    def of_this_boot(self) -> bool:
        """Whether it was started since this machine was."""
        return self.started.partition(":")[0] == _boot()


def _seen(pid: int) -> tuple[str, str] | None:
    """Return the state, as the letter that Linux has for it, and the start of a process."""
    if sys.platform == "linux":
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        return fields[0], f"{_boot()}:{fields[19]}"
    try:
        process = psutil.Process(pid)
        states = {psutil.STATUS_ZOMBIE: "Z", psutil.STATUS_STOPPED: "T"}
        return states.get(process.status(), "R"), f"{_boot()}:{process.create_time():.2f}"
    except _GONE:
        return None


@cache
def _boot() -> str:
    """Return what names this boot of the machine; "" where the system has no name for it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def mark_of(part: str, home: Path) -> str:
    """Return the mark of a part of the stack that runs from `home`."""
    return f"{part}@{home}"


def marked(home: Path) -> dict[str, list[psutil.Process]]:
    """Return the living processes that belong to the stack of `home`, by part. This process is not
    among them.
    """
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(*_GONE, OSError):
            part, _, of = process.environ().get(MARK, "").partition("@")
            if part and of == str(home) and process.pid != os.getpid():
                found.setdefault(part, []).append(process)
    return found


def family_of(leader: Identity) -> list[psutil.Process]:
    """Return the process and all that it started, as far as they live."""
    if not leader.alive:
        return []
    with suppress(*_GONE):
        process = psutil.Process(leader.pid)
        return [process, *process.children(recursive=True)]
    return []


def end(processes: Iterable[psutil.Process], grace_seconds: float) -> list[int]:
    """End the processes and return the pids of those at the top, which started the others.

    The top ones are asked by SIGTERM, and wait for nothing that is suspended. After the grace all
    that is left is killed. Raises StackError where a process outlives that.
    """
    all_of_them = {process.pid: process for process in processes}
    top = [each for each in all_of_them.values() if _parent(each) not in all_of_them]
    identities = {pid: Identity.of(pid) for pid in all_of_them}
    for each in top:
        with suppress(*_GONE):
            each.send_signal(signal.SIGTERM)
            each.send_signal(signal.SIGCONT)
    _wait([identities[each.pid] for each in top], grace_seconds)
    for each in all_of_them.values():
        with suppress(*_GONE):
            each.kill()
    left = _wait(identities.values(), _KILL_SECONDS)
    if left:
        raise StackError(f"processes {left} did not end by SIGKILL: end them, then do this again")
    return [each.pid for each in top]


def wait_for_end(process: Identity, seconds: float) -> bool:
    """Return whether the process has ended within so many seconds."""
    return not _wait([process], seconds)


def _wait(processes: Iterable[Identity | None], seconds: float) -> list[int]:
    """Wait until none is alive; return the pids of those that are after so many seconds."""
    deadline = SYSTEM_CLOCK.elapsed_seconds() + seconds
    known = [process for process in processes if process is not None]
    while True:
        known = [process for process in known if process.alive]
        if not known or SYSTEM_CLOCK.elapsed_seconds() > deadline:
            return [process.pid for process in known]
        SYSTEM_CLOCK.sleep(0.05)


def _parent(process: psutil.Process) -> int:
    with suppress(*_GONE):
        return int(process.ppid())
    return 0


def _program(command: Sequence[str]) -> str:
    """Return which program a command line starts, and which file or module it runs. Nothing else is
    shown: an argument may be a password, and the name goes into alerts.
    """
    program, *arguments = [*command, ""]
    if arguments[0] == "-m":
        return f"{program} -m {arguments[1]}"
    return program if arguments[0].startswith("-") else f"{program} {arguments[0]}".strip()


def listener_on(port: int) -> str:
    """Return which process listens on the port, as far as this user may know it."""
    try:
        pids = {
            each.pid
            for each in psutil.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        }
        (pid,) = pids - {None}
        process = psutil.Process(pid)
        name = _program(process.cmdline()) or process.name()
    except (*_GONE, OSError, ValueError):
        return "another program"
    with suppress(*_GONE, OSError):
        part, _, home = process.environ().get(MARK, "").partition("@")
        if part:
            return f"process {pid}, the {part} of the stack that was started from {home}"
    return f"process {pid} ({name})"
