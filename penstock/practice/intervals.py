"""Candles of every interval that Binance has from 1m to 1M, in any of its time zones.

An interval that the exchange has no bars of is built from a shorter one that divides it.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from penstock.core.timeframes import Timeframe
from penstock.practice.binance_errors import PracticeRefusal, illegal_parameter
from penstock.practice.candle_pages import CandlePages
from penstock.practice.market import PracticeMarket
from penstock.practice.series import Floats, Times, grouped

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
_NAMES = {
    **{f"{n}m": n * _MINUTE for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * _HOUR for n in (1, 2, 4, 6, 8, 12)},
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
    "1M": 31 * _DAY,
}
#: The first Monday after the epoch: weeks begin on Mondays.
_MONDAY = 4 * _DAY
_ZONE = re.compile(r"([+-]?)(\d{1,2})(?::(\d{2}))?")
_LONGEST_FIRST = sorted(Timeframe, key=lambda t: -t.seconds)


class Candles(NamedTuple):
    """Candles of any interval, sorted by time. Times are milliseconds since the epoch."""

    opens: Times
    """When each begins."""
    closes: Times
    """The last millisecond of each."""
    values: Floats
    """Open, high, low, close and volume of each."""


@dataclass(frozen=True)
class Interval:
    """A length of candles. Raises PracticeRefusal (-1120) for a name that Binance has not."""

    name: str
    """As Binance writes it: "1m" is a minute, "1M" a month."""
    zone_ms: int = 0
    """How far the time zone in which days begin is ahead of UTC."""

    def __post_init__(self) -> None:
        if self.name not in _NAMES:
            raise PracticeRefusal(-1120, "Invalid interval.")

    @property
    def longest_ms(self) -> int:
        """The length; of a month the longest."""
        return _NAMES[self.name]

    @property
    def source(self) -> Timeframe:
        """The longest timeframe whose bars fill its candles."""
        step = _DAY if self.name == "1M" else self.longest_ms
        return next(
            t
            for t in _LONGEST_FIRST
            if step % (t.seconds * 1000) == 0 and self.zone_ms % (t.seconds * 1000) == 0
        )

    def opens(self, times: Times) -> Times:
        """Return when the candles begin that have these times."""
        local = times + self.zone_ms
        if self.name == "1M":
            months = local.astype("datetime64[ms]").astype("datetime64[M]")
            return _milliseconds(months) - self.zone_ms
        first = _MONDAY if self.name == "1w" else 0
        return (local - first) // self.longest_ms * self.longest_ms + first - self.zone_ms

    def ends(self, opens: Times) -> Times:
        """Return when the candles end that begin at these times."""
        if self.name != "1M":
            return opens + self.longest_ms
        months = (opens + self.zone_ms).astype("datetime64[ms]").astype("datetime64[M]")
        return _milliseconds(months + 1) - self.zone_ms

    def open_at(self, at: int) -> int:
        """Return when the candle begins that has `at`."""
        return int(self.opens(np.array([at], dtype=np.int64))[0])

    def end_at(self, at: int) -> int:
        """Return when the candle ends that has `at`."""
        return int(self.ends(self.opens(np.array([at], dtype=np.int64)))[0])


def time_zone(text: str) -> int:
    """Return how far a time zone like "8" or "-1:00" is ahead of UTC (ms); -1100 for another."""
    found = _ZONE.fullmatch(text)
    if found is None:
        raise illegal_parameter("timeZone")
    sign, hours, minutes = found.groups()
    ahead = (int(hours) * 60 + int(minutes or 0)) * _MINUTE * (-1 if sign == "-" else 1)
    if int(minutes or 0) > 59 or not -12 * _HOUR <= ahead <= 14 * _HOUR:
        raise illegal_parameter("timeZone")
    return ahead


def candles_of(
    market: PracticeMarket,
    pages: CandlePages,
    symbol: str,
    interval: Interval,
    now: int,
    start: int | None,
    end: int | None,
    limit: int,
) -> Candles:
    """Return up to `limit` candles that open at or before `now`, as PracticeMarket.candles does."""
    source = interval.source
    if source.seconds * 1000 == interval.longest_ms:
        found = pages.candles(market, symbol, source, now, start, end, limit)
        return Candles(found.ts, found.ts + found.step - 1, found.values)
    limit = min(limit, pages.most)
    stop = interval.end_at(now if end is None else min(now, end)) - 1
    if start is not None and interval.open_at(start) < start:
        start = interval.end_at(start)
    bars = limit * interval.longest_ms // (source.seconds * 1000)
    found = market.candles(symbol, source, now, start, stop, bars)
    opens, values = grouped(interval.opens(found.ts), found.values)
    # at the far end of so many bars there may be a part of one more candle
    shown = slice(None, limit) if start is not None else slice(-limit, None)
    return Candles(opens[shown], interval.ends(opens[shown]) - 1, values[shown])


def _milliseconds(months: np.ndarray) -> Times:
    whole: Times = months.astype("datetime64[ms]").astype(np.int64)
    return whole
