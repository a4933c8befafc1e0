"""A machine's clock whose waiting is a test's own."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from penstock.core.clock import MachineClock


@dataclass(frozen=True)
class PausingClock:
    """Another clock, except that sleeping calls `pause`: to step a venue, or to let something
    happen meanwhile.
    """

    clock: MachineClock
    """Shows the time and measures what elapsed."""
    pause: Callable[[float], object]
    """Is called with the seconds of each sleep, in its place."""

    def now(self) -> datetime:
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        self.pause(seconds)

    def elapsed_seconds(self) -> float:
        return self.clock.elapsed_seconds()
