"""Where the past is cut: what a search may see, what it may not, and the gap between the two."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from penstock.core.errors import SearchError
from penstock.core.extras import extra


@dataclass(frozen=True)
class Split:
    """Bars that may be searched, and bars that may not. Those between the two are purged."""

    in_sample_stop: int
    """The rows [0, in_sample_stop) may be searched."""
    out_of_sample_first: int
    """The rows from this one on may not."""


@dataclass(frozen=True)
class Fold:
    """Rows to fit on, and later rows to judge by."""

    train_first: int
    """The first row to fit on."""
    train_stop: int
    """The row after the last one to fit on."""
    test_first: int
    """The first row to judge by."""
    test_stop: int
    """The row after the last one to judge by."""


def split_in_two(bars: int, oos_fraction: float, purge_bars: int) -> Split:
    """Return the split of `bars` rows that keeps the last `oos_fraction` out of sample.

    The `purge_bars` before it are in neither part. Raises SearchError where either part would have
    fewer than 30 rows: figures of so few returns mean nothing.
    """
    out_of_sample = round(bars * oos_fraction)
    split = Split(bars - out_of_sample - purge_bars, bars - out_of_sample)
    if min(split.in_sample_stop, out_of_sample) < 30:
        raise SearchError(
            f"{bars} bars split into {split.in_sample_stop} in sample and {out_of_sample} "
            f"out of sample (purge {purge_bars}): each part needs 30 at least; "
            "ingest a longer history or change oos_fraction"
        )
    return split


def walk_forward(
    ts: pl.Series, train_bars: int, test_bars: int, purge_bars: int = 1, expanding: bool = False
) -> list[Fold]:
    """Return folds that walk forward through `ts`, the sorted open times.

    Each fold trains on `train_bars` bars and tests on the `test_bars` that follow `purge_bars`
    later. With `expanding` it trains on all bars before its test. skfolio's WalkForward makes the
    folds. Raises SearchError where not even one fold fits.
    """
    with extra("research"):
        from skfolio.model_selection import WalkForward

    needed = train_bars + purge_bars + test_bars
    if len(ts) < needed:
        raise SearchError(
            f"{len(ts)} bars hold no fold of {train_bars} + {purge_bars} + {test_bars} bars: "
            "shorten the fold"
        )
    walk = WalkForward(
        test_size=test_bars, train_size=train_bars, purged_size=purge_bars, expand_train=expanding
    )
    return [
        Fold(int(train[0]), int(train[-1]) + 1, int(test[0]), int(test[-1]) + 1)
        for train, test in walk.split(np.zeros((len(ts), 1)))
    ]
