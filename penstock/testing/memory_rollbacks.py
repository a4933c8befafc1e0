"""A RollbackRecord in memory, for tests and notebooks."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime


class MemoryRollbackRecord:
    """Rollbacks of one process, with the same lock for all of its threads."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._taken_out: dict[str, dict[str, str]] = {}

    @contextmanager
    def alias_lock(self, model: str) -> Iterator[None]:
        """Hold the one lock of a model's aliases."""
        with self._locks[model]:
            yield

    def remember(self, model: str, version: str, strategy_hash: str, at: datetime, by: str) -> None:
        """Append a rollback."""
        self._taken_out.setdefault(model, {})[strategy_hash] = version

    def rolled_back(self, model: str) -> Mapping[str, str]:
        """Return the newest version that was taken out, by strategy hash."""
        return dict(self._taken_out.get(model, {}))
