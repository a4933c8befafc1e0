"""Where the past is cut."""

from collections.abc import Callable
from itertools import pairwise

import polars as pl
import pytest

from penstock.core.errors import SearchError
from penstock.research.validation.splits import split_in_two, walk_forward


def test_two_parts_are_apart_by_the_purge() -> None:
    """The unseen part has its size, and the purged bars belong to neither."""
    split = split_in_two(1000, 0.3, 5)
    assert (split.in_sample_stop, split.out_of_sample_first) == (695, 700)


@pytest.mark.parametrize(
    ("bars", "fraction", "purge"), [(80, 0.3, 1), (80, 0.7, 1), (100, 0.3, 60)]
)
def test_parts_too_short_to_mean_anything_are_refused(
    bars: int, fraction: float, purge: int
) -> None:
    """Under thirty bars no figure means anything: the message says what each part would have."""
    with pytest.raises(SearchError, match="each part needs 30"):
        split_in_two(bars, fraction, purge)


@pytest.mark.parametrize("expanding", [False, True])
def test_folds_walk_forward_and_never_touch_what_comes_later(
    expanding: bool, walk: Callable[..., pl.DataFrame]
) -> None:
    """Each fold trains strictly before its test, with the purge between; tests follow one another
    without overlap.
    """
    ts = walk(symbols=1, bars=400)["ts"]
    folds = walk_forward(ts, train_bars=120, test_bars=60, purge_bars=3, expanding=expanding)
    assert len(folds) == 4
    assert all(fold.test_first - fold.train_stop == 3 for fold in folds)
    assert all(fold.test_stop - fold.test_first == 60 for fold in folds)
    assert all(after.test_first == before.test_stop for before, after in pairwise(folds))
    assert {fold.train_first for fold in folds} == ({0} if expanding else {0, 60, 120, 180})


def test_history_too_short_for_a_fold_is_refused(walk: Callable[..., pl.DataFrame]) -> None:
    """Not even one fold: an error, not an empty list that looks like a passed validation."""
    with pytest.raises(SearchError, match="hold no fold"):
        walk_forward(walk(symbols=1, bars=100)["ts"], 80, 30)


def test_split_moves_in_steps_that_leave_at_least_the_fraction() -> None:
    """From bar to bar the part in sample stays as it is, or grows by a twentieth."""
    sizes = [split_in_two(bars, 0.3, 1, 0.05).in_sample_stop for bars in range(120, 3000)]
    for bars, size in enumerate(sizes, start=120):
        assert 0.7 * bars / 1.05 - 3 <= size <= 0.7 * bars
    grown = sorted(set(sizes))
    assert sizes == sorted(sizes)
    assert all(1.03 < after / before < 1.07 for before, after in pairwise(grown))
    assert len(grown) < 80
