"""The state of a simulated venue as a list of changes, in the order in which they happened.

It is separate from Penstock's ledger so that the two can be compared. With a file, one line of JSON
has everything that one request changed. It is written before the request is answered, so a restart
loses no answered request. An incomplete last line belongs to a request that was never answered, and
is dropped. The file may have secrets of practice accounts: only its owner can read it.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from penstock.core.errors import DataError

#: A change: its kind, the account, and plain JSON values. Decimals are written as text.
JournalEntry = dict[str, Any]


class Journal:
    """Append-only entries, in memory and, with `path`, in a file.

    Several processes may have the same file: each holds it while it reads what the others added,
    acts and commits.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[JournalEntry] = []
        self._pending: list[JournalEntry] = []
        self._path = path
        self._file: IO[bytes] | None = None if path is None else _open_for_append(path)
        self._read = self._lines = 0  # so many bytes and lines of the file are in `entries`
        with self.held():
            pass

    @contextmanager
    def held(self) -> Iterator[Sequence[JournalEntry]]:
        """Hold the file against other processes, and yield the entries that they have added since
        it was last held. It waits until nobody else holds the file, and must not be nested.
        """
        if self._file is None:
            yield ()
            return
        fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)
        try:
            added = self._added()
            self.entries.extend(added)
            yield added
        finally:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)

    def add(self, kind: str, account: str, at_ms: int, values: dict[str, Any]) -> None:
        """Append an entry; `commit` makes it durable."""
        entry = {
            "seq": len(self.entries) + 1,
            "kind": kind,
            "account": account,
            "at": at_ms,
            **values,
        }
        self.entries.append(entry)
        self._pending.append(entry)

    def commit(self) -> None:
        """Write what was appended since the last commit as one line, whole or not at all.

        Raises OSError where it cannot be written. The entries are still pending then.
        """
        if self._file is not None and self._pending:
            line = json.dumps(self._pending, separators=(",", ":")).encode() + b"\n"
            try:
                if self._file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            except OSError:
                os.ftruncate(self._file.fileno(), self._read)
                raise
            self._read += len(line)
            self._lines += 1
        self._pending.clear()

    def discard(self) -> bool:
        """Drop what was appended since the last commit; return whether there was anything."""
        dropped = len(self._pending)
        del self.entries[len(self.entries) - dropped :]
        self._pending.clear()
        return dropped > 0

    def _added(self) -> list[JournalEntry]:
        """Return the entries past those that were read. An incomplete last line is cut off."""
        assert self._file is not None
        descriptor = self._file.fileno()
        more = os.fstat(descriptor).st_size - self._read
        content = os.pread(descriptor, more, self._read) if more > 0 else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.ftruncate(descriptor, self._read + len(whole))
        added: list[JournalEntry] = []
        for number, line in enumerate(whole.splitlines(), start=self._lines + 1):
            try:
                added.extend(json.loads(line))
            except ValueError as error:
                raise DataError(
                    f"{self._path}, line {number}: not a journal of the practice exchange or the "
                    f"paper account ({error}); give another file"
                ) from None
            self._lines = number
        self._read += len(whole)
        return added

    def public(self) -> Iterator[JournalEntry]:
        """Yield the entries without the accounts' secrets."""
        for entry in self.entries:
            yield {key: value for key, value in entry.items() if key != "secret"}


def _open_for_append(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    return os.fdopen(descriptor, "ab", buffering=0)
