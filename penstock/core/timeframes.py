"""Timeframes and their grid: which instants are bar opens, and when a bar closes.

All times are UTC.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from penstock.core.errors import ConfigError

_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timeframe(StrEnum):
    """A bar length, written as exchanges and ccxt write it. Its grid starts at the Unix epoch.

    >>> from datetime import UTC, datetime
    >>> Timeframe("1h").floor(datetime(2026, 1, 1, 9, 30, tzinfo=UTC)).hour
    9
    """

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @classmethod
    def parse(cls, text: str) -> "Timeframe":
        """Return the timeframe written as `text`. Raises ConfigError, which names those allowed."""
        try:
            return cls(text)
        except ValueError:
            allowed = ", ".join(t.value for t in cls)
            raise ConfigError(f"unknown timeframe '{text}': allowed are {allowed}") from None

    @property
    def seconds(self) -> int:
        """The length of a bar."""
        return int(self.value[:-1]) * _SECONDS[self.value[-1]]

    @property
    def duration(self) -> timedelta:
        """The length of a bar."""
        return timedelta(seconds=self.seconds)

    def floor(self, at: datetime) -> datetime:
        """Return the open time of the bar that contains `at` (time-zone aware)."""
        return at - (at - _EPOCH) % self.duration

    def checked_close(self, at: datetime) -> datetime:
        """Return `at`, which must be the close of a bar.

        Raises ConfigError, which names the nearest closes, where it is not.
        """
        before = self.floor(at)
        if at == before:
            return at
        after = before + self.duration
        raise ConfigError(
            f"{at:%Y-%m-%dT%H:%M:%S.%f} is not the close of a {self} bar: "
            f"the nearest closes are {before:%Y-%m-%dT%H:%M} and {after:%Y-%m-%dT%H:%M} (UTC)"
        )

    def last_closed_open(self, now: datetime) -> datetime:
        """Return the open time of the newest bar that is closed at `now`.

        At its close instant a bar counts as closed.
        """
        return self.floor(now) - self.duration


def day_before(slot: datetime) -> datetime:
    """Return the midnight (UTC) at which the day of `slot` began.

    A slot at midnight belongs to the day that it closes.

    >>> from datetime import UTC, datetime
    >>> day_before(datetime(2026, 1, 2, tzinfo=UTC)).day
    1
    """
    just_before = slot - timedelta(microseconds=1)
    return just_before.replace(hour=0, minute=0, second=0, microsecond=0)
