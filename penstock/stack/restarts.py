"""When a part that has died is started again, and what an operator is told of it."""

from dataclasses import dataclass

from penstock.core.alerts import Alert, urgent

_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0
#: A part that has lived so long is taken to be well again.
_CALM_SECONDS = 600.0
#: From this death in a row on the alert is urgent, and comes once per reminder.
_URGENT_FROM = 3
_REMINDER_SECONDS = 1800.0


@dataclass
class Restarts:
    """The deaths of one part. Times are elapsed seconds."""

    name: str
    """The part's name."""
    log: str
    """Where its last words are."""
    in_a_row: int = 0
    """How many, one after another, came soon after a start."""
    next_start: float = 0.0
    """When it is to be started again."""
    _started: float = 0.0
    _last_urgent: float = float("-inf")

    def started(self, now: float) -> None:
        """Note that the part was started."""
        self._started = now

    def died(self, now: float, reason: str) -> Alert | None:
        """Note a death. Return the alert; None where a reminder of the same is not due yet.

        The pauses are 2, 4, 8 ... and at most 60 seconds.
        """
        self.in_a_row = 1 if now - self._started >= _CALM_SECONDS else self.in_a_row + 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(self.in_a_row - 1, 10), _LONGEST_PAUSE_SECONDS)
        self.next_start = now + pause
        then = f"it is started again in {pause:.0f} s; read {self.log}"
        if self.in_a_row < _URGENT_FROM:
            return Alert(f"{self.name} has ended", f"{reason}; {then}")
        if now - self._last_urgent < _REMINDER_SECONDS:
            return None
        self._last_urgent = now
        return urgent(
            Alert(
                f"{self.name} ends again and again",
                f"{self.in_a_row} times in a row, last: {reason}; {then}",
            )
        )
