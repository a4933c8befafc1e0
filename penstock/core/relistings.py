"""Where a ticker may have gone to another instrument: a move beyond a ratio after a gap.

A relisted coin, a split, a redenomination and a rename look alike. Bars cannot tell them from a
true move, so the series is closed there until an operator says which it was. Where an operator has
joined a series, it goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from penstock.core.timeframes import Timeframe

#: A price that is so many times off after a gap may be that of another instrument.
RELISTING_RATIO = 5.0


@dataclass(frozen=True, order=True)
class Join:
    """Where an operator says that a series goes on: by a new ticker, in new units, after a move."""

    symbol: str
    """The symbol."""
    at: datetime
    """Bars from then on are the same instrument's."""


@dataclass(frozen=True)
class Relisting:
    """The first bar after a gap, at which a series may belong to another instrument."""

    symbol: str
    """The symbol of both bars."""
    before: datetime
    """The open time of the last bar before the gap that has volume."""
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
    bars: pl.DataFrame,
    timeframe: Timeframe,
    ratio: float = RELISTING_RATIO,
    joins: Sequence[Join] = (),
) -> list[Relisting]:
    """Return the first relisting of each symbol of `bars` (BARS_SCHEMA, sorted by symbol and ts).

    A gap is at least one bar that is missing or has no volume. Open and close of the bar after it
    are compared with the close before it. A gap in which a join lies is none.
    """
    first: dict[str, Relisting] = {}
    for move in _moves(bars, timeframe, ratio):
        if not any(_lies_in(join, move) for join in joins):
            first.setdefault(move.symbol, move)
    return list(first.values())


def _lies_in(join: Join, move: Relisting) -> bool:
    return join.symbol == move.symbol and move.before < join.at <= move.at


def _moves(bars: pl.DataFrame, timeframe: Timeframe, ratio: float) -> list[Relisting]:
    """Return every move beyond the ratio over a gap."""
    traded = pl.col("volume") > 0
    close, last = (
        pl.when(traded).then(name).forward_fill().shift(1).over("symbol")
        for name in ("close", "ts")
    )
    # Where no bar before has volume, the one before is the last.
    before = pl.coalesce(close, pl.col("close").shift(1).over("symbol"))
    moved = pl.max_horizontal(
        pl.col("open") / before,
        pl.col("close") / before,
        before / pl.col("open"),
        before / pl.col("close"),
    )
    is_next = ((pl.col("ts") - last).dt.total_seconds() <= timeframe.seconds).fill_null(False)
    found = bars.select(
        "symbol",
        pl.coalesce(last, pl.col("ts").shift(1).over("symbol")).alias("before"),
        "ts",
        moved.alias("moved"),
        is_next.alias("is_next"),
    ).filter(~pl.col("is_next"), pl.col("moved") > ratio)
    return [Relisting(*row) for row in found.drop("is_next").iter_rows()]


def closed_series(
    bars: pl.DataFrame,
    timeframe: Timeframe,
    ratio: float = RELISTING_RATIO,
    joins: Sequence[Join] = (),
) -> pl.DataFrame:
    """Return `bars` (BARS_SCHEMA, sorted by symbol and ts) without those after a relisting."""
    kept = bars
    for found in relistings(bars, timeframe, ratio, joins):
        kept = kept.filter((pl.col("symbol") != found.symbol) | (pl.col("ts") <= found.before))
    return kept


def joins_over_moves(
    bars: pl.DataFrame,
    timeframe: Timeframe,
    joins: Sequence[Join],
    ratio: float = RELISTING_RATIO,
) -> tuple[Join, ...]:
    """Return the joins without which `bars` would be closed, sorted."""
    moves = _moves(bars, timeframe, ratio) if joins else []
    return tuple(sorted({join for join in joins if any(_lies_in(join, move) for move in moves)}))
