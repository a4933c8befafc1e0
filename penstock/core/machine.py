"""The real clock, the real source of names and the real threads of this machine.

Only this file reads the machine's time, draws random names and starts threads. penstock.wiring
decides which part gets which clock. An import contract keeps the lower layers from importing this
file, so that a simulation can replace all three.
"""

import getpass
import os
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class SystemClock:
    """The machine's clock; see penstock.core.clock.MachineClock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))

    def elapsed_seconds(self) -> float:
        """Return CLOCK_BOOTTIME on Linux, which counts while the machine is suspended.

        On other systems it is Python's monotonic clock, which may stand still during a suspension.
        A lease can look younger there than it is. Then only the venue's refusal of old orders
        protects the account.
        """
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()


@dataclass(frozen=True)
class RandomIds:
    """Random names (UUID version 4) and this process's own; see penstock.core.ids.IdSource."""

    def new_id(self) -> str:
        return uuid.uuid4().hex

    def process_name(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class ThreadTask:
    """Work that runs on a thread of its own; see penstock.ports.BackgroundTask."""

    thread: threading.Thread

    def wait(self, seconds: float) -> bool:
        self.thread.join(max(0.0, seconds))
        return not self.thread.is_alive()


@dataclass(frozen=True)
class ThreadRunner:
    """Runs work on threads; see penstock.ports.TaskRunner.

    One item, or one item at a time, runs on the caller's thread.
    """

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], *, at_once: int, name: str
    ) -> list[Result]:
        size = min(at_once, len(items))
        if size <= 1:
            return [work(item) for item in items]
        context = copy_context()  # the ids in log lines are there
        lock, begins = threading.Lock(), iter(enumerate(items))
        done: dict[int, Result] = {}
        errors: dict[int, BaseException] = {}

        def work_on() -> None:
            while not errors:
                with lock:
                    begun = next(begins, None)
                if begun is None:
                    return
                try:
                    done[begun[0]] = context.copy().run(work, begun[1])
                except BaseException as error:  # noqa: BLE001  # raised below, by whoever waits
                    errors[begun[0]] = error

        threads = [threading.Thread(target=work_on, name=f"{name}_{k}") for k in range(size)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException as error:  # noqa: BLE001  # the caller is interrupted: raised below
            errors[-1] = error  # nothing more begins
            for thread in threads:
                if thread.is_alive():
                    thread.join()
        if errors:
            raise errors[min(errors)]
        return [done[k] for k in range(len(items))]

    def start(self, work: Callable[[], None], *, name: str) -> ThreadTask:
        thread = threading.Thread(target=copy_context().run, args=(work,), name=name, daemon=True)
        thread.start()
        return ThreadTask(thread)


SYSTEM_CLOCK = SystemClock()
RANDOM_IDS = RandomIds()
THREADS = ThreadRunner()


def user_name() -> str:
    """Return the name of the user that this process runs as.

    A container may run as a user that has no name: then it is "uid" and the number.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def new_secret(size: int) -> str:
    """Return `size` random bytes as hexadecimal digits, fit for a password or a key.

    It is random in a simulation too, because nobody may guess it.
    """
    return secrets.token_hex(size)
