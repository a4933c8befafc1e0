"""Where "now" comes from. What acts on time takes a Clock, so that a stepped replay and the real
day run the same code.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


def boottime_seconds() -> float:
    """Return seconds on a clock that nobody sets and that goes on while the machine is suspended,
    where there is one.

    Linux has it (CLOCK_BOOTTIME). Elsewhere it is Python's monotonic clock, which may stand still
    meanwhile: what is measured by it (a lease, the kill switch's last word) can look younger than
    it is after a suspension, and for a lease only the venue's refusal of old orders stands between.
    """
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Clock(Protocol):
    """The current instant, and waiting for a later one."""

    def now(self) -> datetime:
        """Return the current instant, time-zone aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock's time."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True)
class VenueClock:
    """A venue's clock (the practice exchange may be stepped or sped up). `read` asks the venue for
    its time.

    Waiting polls the venue, because how fast its time runs is its own affair.
    """

    read: Callable[[], datetime]
    poll_seconds: float = 0.05

    def now(self) -> datetime:
        return self.read()

    def sleep(self, seconds: float) -> None:
        start = self.read()
        while (self.read() - start).total_seconds() < seconds:
            time.sleep(self.poll_seconds)


@dataclass
class SteppedClock:
    """A clock that moves only when told to."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
