"""The clock of a slot: asked once, again after a wait or a second, and never ahead of its venue."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from penstock.core.clock import CachedClock, SteppedClock, VenueClock

START = datetime(2025, 6, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@dataclass
class Venue:
    """A venue whose time stands still until it is moved. It counts how often it is asked."""

    at: datetime = START
    asked: int = 0

    def now(self) -> datetime:
        self.asked += 1
        return self.at


def clocks() -> tuple[CachedClock, Venue, SteppedClock]:
    venue, machine = Venue(), SteppedClock(START)
    return CachedClock(VenueClock(venue.now, machine), machine), venue, machine


def test_venue_is_asked_once_for_many_records() -> None:
    """A hundred acknowledgements within a second have one time and cost one request."""
    clock, venue, machine = clocks()
    times = set()
    for _ in range(100):
        machine.sleep(0.009)
        times.add(clock.now())
    assert times == {START}
    assert venue.asked == 1


def test_venue_is_asked_again_after_a_second() -> None:
    """A slot that takes long does not go on with the time of its begin."""
    clock, venue, machine = clocks()
    clock.now()
    venue.at += SECOND
    machine.sleep(1.0)
    assert clock.now() == START + SECOND
    assert venue.asked == 2


def test_venue_is_asked_again_after_every_wait() -> None:
    """Whoever waits for an instant sees it come, however short the wait and fast the venue."""
    clock, venue, _ = clocks()
    clock.now()
    venue.at += timedelta(hours=1)
    assert clock.now() == START
    clock.pause(0.01)
    assert clock.now() == START + timedelta(hours=1)
    assert venue.asked == 2
