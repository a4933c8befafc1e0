"""The practice exchange's time: real, sped up, or moved only by the control calls."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from penstock.core.clock import MachineClock
from penstock.core.errors import ConfigError


class ClockMode(StrEnum):
    """How the venue's time runs."""

    REAL = "real"
    """It is the machine's time."""
    SPED_UP = "sped_up"
    """It runs faster or slower than the machine's."""
    STEPPED = "stepped"
    """It stands still until it is moved."""


@dataclass(frozen=True)
class ClockSpec:
    """How the venue's time runs.

    Raises ConfigError where a clock that is not the machine's has no start, or the speed is wrong.
    """

    mode: ClockMode = ClockMode.REAL
    """The way in which it runs."""
    start: datetime | None = None
    """Where a sped-up or stepped clock begins."""
    speed: float = 1.0
    """Seconds of venue time per real second, for a sped-up clock."""

    def __post_init__(self) -> None:
        if self.mode is not ClockMode.REAL and self.start is None:
            raise ConfigError(f"a {self.mode} clock needs a start")
        if self.start is not None and self.start.tzinfo is None:
            raise ConfigError(f"the clock's start {self.start} has no time zone: give it in UTC")
        if self.speed <= 0:
            raise ConfigError(f"a clock's speed is above zero, not {self.speed}")


def real_clock() -> ClockSpec:
    """Return a clock that shows the machine's time."""
    return ClockSpec()


def stepped_clock(start: datetime) -> ClockSpec:
    """Return a clock that stands at `start` until it is moved."""
    return ClockSpec(ClockMode.STEPPED, start)


def sped_up_clock(start: datetime, speed: float) -> ClockSpec:
    """Return a clock that begins at `start` and runs `speed` times as fast as the machine's."""
    return ClockSpec(ClockMode.SPED_UP, start, speed)


class VenueTime:
    """The running clock of a spec. All times are milliseconds since the epoch.

    A sped-up clock goes by the machine's elapsed seconds.
    """

    def __init__(self, spec: ClockSpec, *, machine_clock: MachineClock) -> None:
        self.machine_clock = machine_clock
        self.mode = spec.mode
        self.speed = spec.speed
        self._anchor_ms = 0 if spec.start is None else round(spec.start.timestamp() * 1000)
        self._anchored_at = self.machine_clock.elapsed_seconds()
        self._shown: tuple[int, int] | None = None

    def show_ms(self) -> int:
        """Return the venue's instant, for a client that sets its clock by it."""
        now = self.now_ms()
        ahead = now - self.machine_now_ms()
        least, most = self._shown or (ahead, ahead)
        self._shown = min(least, ahead), max(most, ahead)
        return now

    def accepts(self, timestamp: int, window_ms: Decimal, ahead_ms: int) -> bool:
        """Return whether a request of this timestamp is at most `window_ms` old now.

        On a clock that is not the machine's, a client may sign with its own machine's time, or with
        the venue's time as it was shown once: it then goes on at the machine's speed. So every
        distance from the machine's time that was shown so far counts.
        """
        machine = self.machine_now_ms()
        distances = [(0, 0), (self.now_ms() - machine,) * 2]
        if self.mode is not ClockMode.REAL and self._shown is not None:
            distances.append(self._shown)
        return any(
            machine + least - window_ms <= timestamp < machine + most + ahead_ms
            for least, most in distances
        )

    def now_ms(self) -> int:
        """Return the venue's instant."""
        if self.mode is ClockMode.REAL:
            return self.machine_now_ms()
        if self.mode is ClockMode.STEPPED:
            return self._anchor_ms
        passed = self.machine_clock.elapsed_seconds() - self._anchored_at
        return self._anchor_ms + int(passed * 1000 * self.speed)

    def machine_now_ms(self) -> int:
        """Return the machine's instant."""
        return int(self.machine_clock.now().timestamp() * 1000)

    def move_to(self, at_ms: int) -> None:
        """Move forward to `at_ms`. Raises ConfigError for the real clock and for a past time."""
        if self.mode is ClockMode.REAL:
            raise ConfigError(
                "the practice exchange runs on the real clock, which cannot be moved: "
                "start it stepped"
            )
        if at_ms < self.now_ms():
            raise ConfigError(
                f"the venue's time only moves forward: {at_ms} is before {self.now_ms()}"
            )
        self._anchor_ms = at_ms
        self._anchored_at = self.machine_clock.elapsed_seconds()
