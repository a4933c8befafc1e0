"""Where the past is cut: what a search may see, what it may not, and the gap between the two."""

import math
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


#: Figures of fewer returns mean nothing.
_LEAST_ROWS = 30


def split_in_two(bars: int, oos_fraction: float, purge_bars: int, step: float = 0.0) -> Split:
    """Return the split of `bars` rows that keeps the last `oos_fraction` or more out of sample.

    The part in sample grows in steps: it has 30 * (1 + step)^k rows. Until the next step every new
    bar is out of sample, and a search of the grown bars sees what the one before it has seen. With
    a step of 0 it grows bar by bar. The `purge_bars` after it are in neither part. Raises
    SearchError where either part would have fewer than 30 rows.

    >>> split_in_two(1750, 0.3, 1, 0.05)
    Split(in_sample_stop=1224, out_of_sample_first=1225)
    >>> split_in_two(1826, 0.3, 1, 0.05)
    Split(in_sample_stop=1224, out_of_sample_first=1225)
    """
    in_sample = bars - round(bars * oos_fraction) - purge_bars
    if step and in_sample >= _LEAST_ROWS:
        # Beyond rounding a size that is a step itself stays.
        steps = math.floor(math.log(in_sample / _LEAST_ROWS) / math.log1p(step) + 1e-9)
        in_sample = min(in_sample, math.ceil(_LEAST_ROWS * (1 + step) ** steps - 1e-9))
    split = Split(in_sample, in_sample + purge_bars)
    if min(in_sample, bars - split.out_of_sample_first) < _LEAST_ROWS:
        raise SearchError(
            f"{bars} bars split into {in_sample} in sample and "
            f"{bars - split.out_of_sample_first} out of sample (purge {purge_bars}): each part "
            f"needs {_LEAST_ROWS} at least; "
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
