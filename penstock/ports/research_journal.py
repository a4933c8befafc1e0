"""What counts the looks at data."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from penstock.core.looks import BarRange, Exposure, Look, RecordedLook


class ResearchJournal(Protocol):
    """The permanent record of looks. Raises StoreError where it cannot be written or read."""

    def begin(self, look: Look) -> int:
        """Keep that a look begins, and return its number."""
        ...

    def add(self, number: int, configurations: Collection[str]) -> None:
        """Keep configurations that a look tries. Each is kept once for a look."""
        ...

    def end(self, number: int, trials: int, best: Mapping[str, float]) -> None:
        """Keep the figures of a look that has ended. What it tried counts without that as well."""
        ...

    def tried(self, bars: BarRange) -> int:
        """Return how many distinct configurations were tried on bars that overlap `bars`."""
        ...

    def exposure(self, bars: BarRange) -> Exposure:
        """Return what was seen of `bars` (penstock.core.looks.exposure_of)."""
        ...

    def newest(self, most: int) -> Sequence[RecordedLook]:
        """Return the newest looks, at most so many, newest first."""
        ...
