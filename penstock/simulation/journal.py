"""The state of a simulated venue as a list of changes, in the order in which they happened.

It is separate from Penstock's ledger so that the two can be compared. With a file, one line of JSON
has everything that one request changed. It is written before the request is answered, so a restart
loses no answered request. An incomplete last line belongs to a request that was never answered, and
is dropped. The file may have secrets of practice accounts: only its owner can read it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from penstock.core.errors import DataError

#: A change: its kind, the account, and plain JSON values. Decimals are written as text.
JournalEntry = dict[str, Any]


class Journal:
    """Append-only entries, in memory and, with `path`, in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[JournalEntry] = []
        self._pending: list[JournalEntry] = []
        self._file: IO[bytes] | None = None
        if path is not None:
            self.entries.extend(_read(path))
            self._file = _open_for_append(path)

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
        """Write what was appended since the last commit as one line."""
        if self._file is not None and self._pending:
            self._file.write(json.dumps(self._pending, separators=(",", ":")).encode() + b"\n")
        self._pending.clear()

    def public(self) -> Iterator[JournalEntry]:
        """Yield the entries without the accounts' secrets."""
        for entry in self.entries:
            yield {key: value for key, value in entry.items() if key != "secret"}


def _open_for_append(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return os.fdopen(descriptor, "ab", buffering=0)


def _read(path: Path) -> list[JournalEntry]:
    """Return the file's entries. An incomplete last line is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    entries: list[JournalEntry] = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entries.extend(json.loads(line))
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: not a journal of the practice exchange or the paper "
                f"account ({error}); give another file"
            ) from None
    return entries
