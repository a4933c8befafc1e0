"""The check that a strategy does not look ahead: its past is decided again with another future.

A strategy that reads bars up to t gives the same weight at t for any later bars. At each cut the
later bars are removed, and then replaced by other prices. Every weight up to the cut, of every
symbol, must stay the same.

Some tens of cuts find a leak that is there at every bar. A leak at one single bar shows only at a
cut through that bar. `cuts=None` therefore cuts at every bar, each over a warm window, and compares
the decision of that bar.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl

from penstock.core.bars import PRICE_COLUMNS, given_bars, infer_timeframe
from penstock.core.errors import DataError
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe

#: Called with the number of cuts that are done, and the number of all.
OnCut = Callable[[int, int], None]

#: Weights that differ by less are equal: moving sums round differently on a shorter table.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Leak:
    """A weight that changed when only later bars did. A weight of None is "no decision"."""

    symbol: str
    """The symbol."""
    ts: datetime
    """The open time of the bar whose weight changed."""
    cut: datetime
    """The open time of the last bar that was left as it was."""
    change: Literal["removed", "replaced"]
    """What was done to the later bars."""
    before: float | None
    """The weight with the full history."""
    after: float | None
    """The weight with the changed future."""


def check_no_lookahead(
    strategy: Strategy,
    bars: pl.DataFrame,
    cuts: int | None = 20,
    seed: int = 0,
    on_cut: OnCut = lambda _done, _total: None,
) -> list[Leak]:
    """Return the first leak of each cut and change. An empty list means that none was found.

    `bars` (BARS_SCHEMA) is the whole universe. `cuts` instants are drawn with `seed` from those
    where the strategy is warm; the last but one is always taken. None takes every instant, which
    also shows a `warmup_bars` that is too small. `on_cut` is called after each cut. Raises
    DataError where the bars are no bars table, or too few to warm the strategy up.
    """
    table = given_bars(bars, f"bars given to the check of {strategy.name}")
    instants = table["ts"].unique().sort()
    timeframe = infer_timeframe(instants)
    warmup = strategy.warmup(timeframe)
    warm = instants[warmup:-1]
    if warm.is_empty():
        raise DataError(
            f"{strategy.name} needs {warmup + 2} bars to be checked, these are {len(instants)}"
        )
    truth = strategy.decide(table, timeframe)
    if cuts is None:
        found: list[Leak | None] = []
        windows = _Windows(table, instants, warmup + 1, timeframe)
        for done, cut in enumerate(warm, 1):
            found.append(_leak_at(strategy, windows, truth, warmup + done - 1, cut))
            on_cut(done, len(warm))
        return [leak for leak in found if leak is not None]
    random = np.random.default_rng(seed)
    drawn = random.choice(len(warm), size=min(cuts, len(warm)), replace=False)
    places = sorted({int(place) for place in drawn} | {len(warm) - 1})
    leaks: list[Leak | None] = []
    for done, place in enumerate(places, 1):
        leaks += [
            _first_leak(strategy, table, truth, warm[place], change, random, timeframe)
            for change in _CHANGES
        ]
        on_cut(done, len(places))
    return [leak for leak in leaks if leak is not None]


_CHANGES: tuple[Literal["removed", "replaced"], ...] = ("removed", "replaced")


class _Windows:
    """The last `length` bars of each symbol up to an instant, found by position.

    To filter the whole table at every instant would take most of the check's time.
    """

    def __init__(
        self, bars: pl.DataFrame, instants: pl.Series, length: int, timeframe: Timeframe
    ) -> None:
        self.bars = bars
        self.timeframe = timeframe
        self.length = length
        #: The number of each row's instant. Rows are sorted by symbol, then ts.
        self.instant = instants.search_sorted(bars["ts"]).to_numpy().astype(np.int64)
        counts = bars.group_by("symbol", maintain_order=True).len()["len"]
        self.begins = [0, *counts.cum_sum().to_list()]

    def rows_until(self, instant: int) -> np.ndarray:
        """Return the positions of the rows of the window that ends at an instant."""
        parts = []
        for begin, end in pairwise(self.begins):
            seen = int(np.searchsorted(self.instant[begin:end], instant, side="right"))
            parts.append(np.arange(begin + max(0, seen - self.length), begin + seen))
        return np.concatenate(parts)


def _leak_at(
    strategy: Strategy, windows: _Windows, truth: pl.DataFrame, instant: int, cut: datetime
) -> Leak | None:
    """Decide at `cut` from a warm window that ends there; compare with the full history."""
    rows = windows.rows_until(instant)
    again = strategy.decide(windows.bars[rows], windows.timeframe)
    # Weights have the order of the bars, and null becomes NaN, which no weight is.
    now = windows.instant[rows] == instant
    before, after = truth["weight"].to_numpy()[rows[now]], again["weight"].to_numpy()[now]
    if not ((np.isnan(before) != np.isnan(after)) | (np.abs(before - after) > TOLERANCE)).any():
        return None
    return _first_difference(truth, again, pl.col("ts") == cut, cut, "removed")


def _first_leak(
    strategy: Strategy,
    bars: pl.DataFrame,
    truth: pl.DataFrame,
    cut: datetime,
    change: Literal["removed", "replaced"],
    random: np.random.Generator,
    timeframe: Timeframe,
) -> Leak | None:
    past = pl.col("ts") <= cut
    other = bars.filter(past) if change == "removed" else _with_other_future(bars, cut, random)
    return _first_difference(truth, strategy.decide(other, timeframe), past, cut, change)


def _first_difference(
    truth: pl.DataFrame,
    again: pl.DataFrame,
    rows: pl.Expr,
    cut: datetime,
    change: Literal["removed", "replaced"],
) -> Leak | None:
    both = truth.filter(rows).join(
        again.filter(rows).rename({"weight": "after"}), on=["symbol", "ts"], how="left"
    )
    apart = (pl.col("weight") - pl.col("after")).abs() > TOLERANCE
    differs = pl.col("weight").is_null().ne(pl.col("after").is_null()) | apart.fill_null(False)
    found = both.filter(differs).sort("ts", "symbol")
    if found.is_empty():
        return None
    first = found.row(0, named=True)
    return Leak(first["symbol"], first["ts"], cut, change, first["weight"], first["after"])


def _with_other_future(
    bars: pl.DataFrame, cut: datetime, random: np.random.Generator
) -> pl.DataFrame:
    """Return the bars, each after `cut` with its prices and volume scaled by a random factor."""
    factor = pl.Series("factor", np.exp(random.normal(0, 0.3, bars.height)))
    later = pl.col("ts") > cut
    return (
        bars.with_columns(factor)
        .with_columns(
            pl.when(later).then(pl.col(c) * pl.col("factor")).otherwise(pl.col(c))
            for c in (*PRICE_COLUMNS, "volume")
        )
        .drop("factor")
    )
