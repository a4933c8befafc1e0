"""Bars that lack before the first bar of a venue's answer: after those in the store, or after the
start of history. Gaps between bars are for penstock.data.checks.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from penstock.core.errors import ConfigError
from penstock.core.timeframes import Timeframe
from penstock.data.bar_pages import BarRequests, first_day
from penstock.data.bounds import CheckVerdict, Severity


@dataclass(frozen=True)
class MissingBefore:
    """Bars that lack before the first one."""

    bars: int
    """How many. 0 where none lacks, or where the coin is known not to have traded."""
    is_gap: bool
    """Whether they count as missing. Else the coin may have been listed later."""
    meaning: str = ""
    """What lacks, for messages."""

    def verdict(self, symbol: str) -> CheckVerdict:
        """Return the warning with the number."""
        observed = float(self.bars)
        return CheckVerdict(symbol, "history", False, observed, 0.0, Severity.WARN, self.meaning)


def missing_before(
    requests: BarRequests,
    timeframe: Timeframe,
    good: pl.DataFrame,
    since: datetime,
    counted: datetime | None,
) -> MissingBefore:
    """Return what lacks before the first of the `good` bars, which were asked for from `since` on.

    Bars up to `counted`, the newest stored one, are accounted for. Without it `since` is the start
    of history. A coin that was listed later lacks nothing there: the venue's daily bars tell. Where
    they cannot, the number is returned and does not count as a gap.
    """
    if good.is_empty():
        return MissingBefore(0, is_gap=False)
    step, first = timeframe.duration, good["ts"][0]
    if counted is not None:
        bars = max(0, (first - max(since, counted + step)) // step)
        return MissingBefore(
            bars, bars > 0, f"bars missing after the stored one of {counted:%F %R}"
        )
    bars = max(0, (first - since) // step)
    meaning = f"bars missing between the start of history, {since:%F %R}, and the venue's first one"
    shown = requests.newest_bars
    if shown is not None and good.height >= shown - 1:  # the last one may be open
        return MissingBefore(bars, bars > 0, meaning)
    if timeframe is Timeframe.D1:
        return MissingBefore(bars, is_gap=False, meaning=f"{meaning} (it may be listed since then)")
    if bars and _traded_between(requests, since, first):
        return MissingBefore(bars, is_gap=True, meaning=meaning)
    return MissingBefore(0, is_gap=False)


def _traded_between(requests: BarRequests, since: datetime, first: datetime) -> bool:
    """Return whether the venue has daily bars after `since` and before the day of `first`."""
    day = Timeframe.D1
    try:
        found = first_day(requests, day.floor(since), day.floor(first) - day.duration)
    except ConfigError:  # the venue has no daily bars
        return False
    return found is not None
