"""A ResearchJournal in memory, for tests and notebooks."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.core.looks import BarRange, Exposure, Look, RecordedLook, exposure_of


@dataclass
class _Kept:
    look: Look
    configurations: set[str] = field(default_factory=set)
    ended: tuple[int, dict[str, float]] | None = None


class MemoryResearchJournal:
    """Looks, in the order in which they began. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []

    def begin(self, look: Look) -> int:
        with self._lock:
            self._kept.append(_Kept(look))
            return len(self._kept) - 1

    def add(self, number: int, configurations: Collection[str]) -> None:
        with self._lock:
            self._kept[number].configurations.update(configurations)

    def end(self, number: int, trials: int, best: Mapping[str, float]) -> None:
        with self._lock:
            self._kept[number].ended = trials, dict(best)

    def tried(self, bars: BarRange) -> int:
        with self._lock:
            return len(
                {
                    each
                    for kept in self._kept
                    if kept.look.bars.overlaps(bars)
                    for each in kept.configurations
                }
            )

    def exposure(self, bars: BarRange) -> Exposure:
        with self._lock:
            return exposure_of(bars, [(k.look.bars, k.configurations) for k in self._kept])

    def newest(self, most: int) -> Sequence[RecordedLook]:
        with self._lock:
            newest = self._kept[::-1][:most]
            return [
                RecordedLook(kept.look, len(kept.configurations), *(kept.ended or ()))
                for kept in newest
            ]
