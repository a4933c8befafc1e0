"""Who may start or end the stack of a home: file locks, which the kernel releases when their holder
dies.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.core.machine import SYSTEM_CLOCK
from penstock.stack.processes import StackError


def supervisor_lock(home: Path) -> Path:
    """Return the file that a supervisor holds locked for as long as it lives."""
    return home / "stack.lock"


def ending_lock(home: Path) -> Path:
    """Return the file that is locked while `penstock down` works."""
    return home / "stack.down"


class FileLock:
    """An exclusive lock of a file. Children do not inherit it."""

    def __init__(self, path: Path) -> None:
        """Raises StackError where the file cannot be opened."""
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(f"{path} cannot be opened: {error.strerror}") from None

    def take(self) -> bool:
        """Take the lock, unless another process has it, and write down who did."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with suppress(OSError):  # it is for people to read
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        return self.in_place

    @property
    def in_place(self) -> bool:
        """Whether the locked file is still the one at its path. Folders are moved and removed."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    @property
    def holder(self) -> str:
        """The pid that was written down last."""
        return os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"

    def close(self) -> None:
        """Release the lock."""
        os.close(self._file)


@contextmanager
def locked(
    path: Path, patience_seconds: float, before_each: Callable[[], object] | None = None
) -> Iterator[FileLock]:
    """Hold the lock of a file. Raises StackError where another process keeps it.

    `before_each` is called before each attempt to take it.
    """
    deadline = SYSTEM_CLOCK.elapsed_seconds() + patience_seconds
    while True:
        if before_each is not None:
            before_each()
        lock = FileLock(path)
        try:
            if lock.take():
                yield lock
                return
            holder = lock.holder
        finally:
            lock.close()
        if SYSTEM_CLOCK.elapsed_seconds() > deadline:
            raise StackError(f"process {holder} holds {path}: wait until it is done, or end it")
        SYSTEM_CLOCK.sleep(0.1)
