"""The bars that a decision needs: a window that holds enough of them, whatever is missing in it."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from penstock.core.late_bars import LATE_BARS
from penstock.core.timeframes import Timeframe
from penstock.ports import BarStore

#: A symbol with a few missing bars is read once, and so is one whose newest bars are late.
_SPARE_BARS = LATE_BARS


def read_warm_bars(
    store: BarStore,
    exchange: str,
    timeframe: Timeframe,
    symbols: Sequence[str],
    rows: int,
    until: datetime,
    oldest: datetime,
) -> pl.DataFrame:
    """Return the stored bars (BARS_SCHEMA) of a window before `until`: `rows` of each symbol.

    Research counts bars and not time. So where bars are missing, the window of their symbol is
    longer, back to `oldest` if need be. A symbol without any bar in the first window has its last
    ones: its last close says what it was worth.
    """
    width = rows + _SPARE_BARS

    def read(names: Sequence[str], end: datetime) -> pl.DataFrame:
        start = end - width * timeframe.duration
        return store.read_bars(exchange, timeframe, names, start, end)

    found = first = read(symbols, until)
    counts = _rows_of(found)
    absent = sorted(set(symbols) - counts.keys())
    newest = store.watermarks(exchange, timeframe) if absent else {}
    ended = [
        read([name], newest[name] + timeframe.duration)
        for name in absent
        if name in newest and newest[name] < until
    ]
    while until - width * timeframe.duration > oldest:
        lacking = sorted(symbol for symbol, count in counts.items() if count < rows)
        if not lacking:
            break
        width *= 4
        others = found.filter(~pl.col("symbol").is_in(lacking))
        found = pl.concat([others, read(lacking, until)])
        counts = _rows_of(found)
    if found is first and not ended:  # the store has sorted it
        return found
    return pl.concat([found, *ended]).sort("symbol", "ts")


def _rows_of(bars: pl.DataFrame) -> dict[str, int]:
    """Return how many rows each symbol has."""
    return dict(bars["symbol"].value_counts().iter_rows())
