"""Clocks. Code that acts on time is given one, so that simulated and real days run the same code.

There are two. The venue's clock dates slots, orders and fills. The machine's clock waits, measures
elapsed time and dates what only we see. The time of a practice venue may be stepped or sped up:
then the two differ. The machine's real clock is in penstock.core.machine.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The current instant, and waiting for a later one."""

    def now(self) -> datetime:
        """Return the current instant, time-zone aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock's time; return at once where they are not above zero."""
        ...


class MachineClock(Clock, Protocol):
    """The clock of this machine. It also measures elapsed time."""

    def elapsed_seconds(self) -> float:
        """Return the seconds since an arbitrary start.

        Only differences mean something. The count never goes back, and it goes on while the machine
        is suspended. Leases, the kill switch's age and durations are measured with it.
        """
        ...


@dataclass(frozen=True)
class VenueClock:
    """The clock of a venue whose time may be stepped or sped up, such as the practice exchange's.

    It measures no elapsed time, because its time may run at any speed.
    """

    read: Callable[[], datetime]
    """Asks the venue for its time."""
    machine_clock: MachineClock
    """Waits between two questions to the venue."""
    poll_seconds: float = 0.05
    """Seconds of the machine's time between two questions."""

    def now(self) -> datetime:
        return self.read()

    def sleep(self, seconds: float) -> None:
        """Ask the venue for its time until `seconds` of it have passed."""
        start = self.read()
        while (self.read() - start).total_seconds() < seconds:
            self.machine_clock.sleep(self.poll_seconds)


@dataclass
class CachedClock:
    """A venue's clock that is asked once, and again after a wait or a second. Thread-safe.

    In between it stands still, so it is never ahead of the venue. Each slot takes a new one: a
    question before every record would cost as many requests as the orders.
    """

    clock: Clock
    """The clock that is asked."""
    machine_clock: MachineClock
    """Waits, and measures the age of the last answer."""
    max_age_seconds: float = 1.0
    """How old an answer may be in the machine's time."""
    _last: tuple[float, datetime] | None = field(default=None, init=False)
    _asking: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def now(self) -> datetime:
        with self._asking:
            asked_at = self.machine_clock.elapsed_seconds()
            if self._last is None or asked_at - self._last[0] >= self.max_age_seconds:
                self._last = asked_at, self.clock.now()
            return self._last[1]

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self._last = None

    def pause(self, seconds: float) -> None:
        """Wait in the machine's time. The clock is asked again afterwards."""
        self.machine_clock.sleep(seconds)
        self._last = None


@dataclass
class SteppedClock:
    """A clock that stands still until `sleep` or an assignment to `at` moves it.

    It serves as the venue's clock and as the machine's.

    >>> from datetime import UTC, datetime
    >>> clock = SteppedClock(datetime(2026, 1, 1, tzinfo=UTC))
    >>> clock.sleep(90)
    >>> clock.now()
    datetime.datetime(2026, 1, 1, 0, 1, 30, tzinfo=datetime.timezone.utc)
    """

    at: datetime
    """The instant it shows."""
    _start: datetime = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._start = self.at

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=max(0.0, seconds))

    def elapsed_seconds(self) -> float:
        """Return how far it was moved since it was made."""
        return (self.at - self._start).total_seconds()
