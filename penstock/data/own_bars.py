"""Which bars of a ticker belong to a series, and what is said where it is closed."""

from datetime import datetime

import polars as pl

from penstock.core.bars import TS
from penstock.core.relistings import Relisting
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe
from penstock.data.policy import IngestPolicy


def own_opens(
    series: Series,
    timeframe: Timeframe,
    policy: IngestPolicy,
    watermark: datetime | None,
    now: datetime,
) -> tuple[datetime, datetime]:
    """Return the open times of the first and of the last bar to ask for.

    The last is before the first where a series that ended is stored to its last day.
    """
    first, last = policy.first_open(timeframe, watermark), timeframe.last_closed_open(now)
    if series.starts is not None:
        first = max(first, timeframe.floor(series.starts))
    if series.ends is not None:
        last = min(last, series.ends - timeframe.duration)
        if watermark is not None and watermark >= series.ends - Timeframe.D1.duration:
            return first, first - timeframe.duration
    return first, last


def rows_before(rows: pl.DataFrame, end: datetime) -> pl.DataFrame:
    """Return the rows that open before `end`, and those without a time."""
    return rows.filter(pl.col("ts").is_null() | (pl.col("ts") < pl.lit(end).cast(TS)))


def closed_message(exchange: str, symbol: str, relisted: Relisting) -> str:
    """Return why a series is closed, and what an operator says to open it."""
    day, before = f"{relisted.at:%F}", f"{relisted.before:%F}"
    return (
        f"{relisted} on {exchange}, so the series is closed: it may be another instrument. Say in "
        f"configs/universe.yaml what it is. A new coin: {{symbol: {symbol}, until: {before}}} and "
        f"{{symbol: {symbol}, from: {day}}}. The same coin: {{symbol: {symbol}, from: {day}, "
        f"formerly: {symbol}}}, with 'units' if it was split or redenominated"
    )
