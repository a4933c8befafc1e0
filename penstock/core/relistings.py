"""Where a ticker may have gone to another instrument: a move beyond a ratio after a gap.

A relisted coin, a split, a redenomination and a rename look alike. Bars cannot tell them from a
true move, so the series is closed there until an operator says which it was.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from penstock.core.timeframes import Timeframe

#: A price that is so many times off after a gap may be that of another instrument.
RELISTING_RATIO = 5.0


@dataclass(frozen=True)
class Relisting:
    """The first bar after a gap, at which a series may belong to another instrument."""

    symbol: str
    """The symbol of both bars."""
    before: datetime
    """The open time of the last bar before the gap."""
    at: datetime
    """The open time of the first bar after it."""
    ratio: float
    """How many times the price moved, up or down."""

    def __str__(self) -> str:
        ratio = f"{self.ratio:,.0f}" if self.ratio >= 100 else f"{self.ratio:.1f}"
        return (
            f"{self.symbol} moved {ratio} times over the gap between "
            f"{self.before:%F %R} and {self.at:%F %R}"
        )


def relistings(
    bars: pl.DataFrame, timeframe: Timeframe, ratio: float = RELISTING_RATIO
) -> list[Relisting]:
    """Return the first relisting of each symbol of `bars` (BARS_SCHEMA, sorted by symbol and ts).

    A gap is at least one missing bar. Open and close of the bar after it are compared with the
    close before it.
    """
    before, last = (pl.col(name).shift(1).over("symbol") for name in ("close", "ts"))
    moved = pl.max_horizontal(
        pl.col("open") / before,
        pl.col("close") / before,
        before / pl.col("open"),
        before / pl.col("close"),
    )
    step = pl.col("ts").diff().over("symbol").dt.total_seconds()
    found = (
        bars.select("symbol", "ts", before=last, moved=moved, step=step)
        .filter(pl.col("step") > timeframe.seconds, pl.col("moved") > ratio)
        .unique("symbol", keep="first", maintain_order=True)
    )
    return [
        Relisting(row["symbol"], row["before"], row["ts"], row["moved"])
        for row in found.iter_rows(named=True)
    ]


def closed_series(
    bars: pl.DataFrame, timeframe: Timeframe, ratio: float = RELISTING_RATIO
) -> pl.DataFrame:
    """Return `bars` (BARS_SCHEMA, sorted by symbol and ts) without those after a relisting."""
    kept = bars
    for found in relistings(bars, timeframe, ratio):
        kept = kept.filter((pl.col("symbol") != found.symbol) | (pl.col("ts") < found.at))
    return kept
