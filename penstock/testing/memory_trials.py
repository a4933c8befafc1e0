"""A TrialStore in memory, for tests and notebooks. Its processes are the threads of this one."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from penstock.core.trials import StudyTerms, Trial


@dataclass
class _Kept:
    batches: dict[int, tuple[Trial, ...]] = field(default_factory=dict)
    claimed: set[int] = field(default_factory=set)


class MemoryTrialStore:
    """Studies by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._studies: dict[str, _Kept] = {}

    @contextmanager
    def open_study(self, terms: StudyTerms) -> Iterator["MemoryStudy"]:
        with self._lock:
            kept = self._studies.setdefault(terms.name, _Kept())
        study = MemoryStudy(self._lock, kept)
        try:
            yield study
        finally:
            study.close()


class MemoryStudy:
    """One worker's view of a study in memory."""

    def __init__(self, lock: threading.Lock, kept: _Kept) -> None:
        self._lock = lock
        self._kept = kept
        self._mine: set[int] = set()

    def batches(self, first: int = 0) -> Mapping[int, Sequence[Trial]]:
        with self._lock:
            return {k: trials for k, trials in sorted(self._kept.batches.items()) if k >= first}

    def claim(self, batch: int) -> bool:
        with self._lock:
            if batch in self._kept.claimed or batch in self._kept.batches:
                return False
            self._kept.claimed.add(batch)
            self._mine.add(batch)
            return True

    def append(self, batch: int, trials: Sequence[Trial]) -> None:
        with self._lock:
            self._kept.batches.setdefault(batch, tuple(trials))
            self._release({batch})

    def close(self) -> None:
        with self._lock:
            self._release(set(self._mine))

    def _release(self, batches: set[int]) -> None:
        self._kept.claimed -= batches & self._mine
        self._mine -= batches
