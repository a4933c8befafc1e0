"""A series: the bars of one instrument. A ticker is no instrument: a venue may give it to another
coin, and a coin may get another ticker.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from penstock.core.errors import DataError


@dataclass(frozen=True)
class Series:
    """How the bars of one instrument are named, and when it traded under its ticker.

    Raises DataError where it ends before it starts, and where `units` is not above zero.
    """

    name: str
    """The symbol under which its bars are kept and traded: "LUNA/USDT"."""
    ticker: str = ""
    """The symbol under which the venue serves them. The name unless given."""
    starts: datetime | None = None
    """Earlier bars of the ticker belong to another instrument. None where there are none."""
    ends: datetime | None = None
    """Bars of the ticker from then on belong to another instrument. None while it trades."""
    formerly: str | None = None
    """The name of the series that this one goes on with; None where it began as a new coin."""
    units: float = 1.0
    """How many of its units one unit of `formerly` became: 1000 where BTT became BTTC."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ticker", self.ticker or self.name)
        if self.starts is not None and self.ends is not None and self.ends <= self.starts:
            raise DataError(f"{self.name} ends at {self.ends:%F}, before it starts")
        if not self.units > 0:
            raise DataError(f"{self.name}: {self.units} units for one of before is not above zero")

    def is_member(self, at: datetime) -> bool:
        """Return whether the instrument trades at `at`: a series that went on counts from before.

        >>> from datetime import UTC, datetime
        >>> Series("LUNA/USDT", starts=datetime(2022, 5, 31, tzinfo=UTC)).is_member(
        ...     datetime(2022, 5, 1, tzinfo=UTC)
        ... )
        False
        """
        return self.has_begun(at) and (self.ends is None or at < self.ends)

    def has_begun(self, at: datetime) -> bool:
        """Return whether the instrument has traded by `at`, under this name or an earlier one."""
        return self.starts is None or self.formerly is not None or self.starts <= at


def series_named(series: Mapping[str, Series], name: str) -> Series:
    """Return the series of a name. One that is not stated is a ticker without another life."""
    return series.get(name) or Series(name)
