"""What the leak proof does to bars: every row is a cut, what lies before one is left alone, and
what comes after is the opposite.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from penstock.core.panel import Panel
from penstock.core.panel_frames import panel_of
from penstock.research.validation.bar_changes import (
    BLOCK_BARS,
    CALENDAR_CYCLE,
    BlockChanges,
    comb,
    compact,
    elsewhere,
    from_window,
    renamed_values,
    until,
)


@pytest.fixture(scope="module")
def panel(walk: Callable[..., pl.DataFrame]) -> Panel:
    """Three coins: one lacks one day in ten, one begins on day 50 and ends on day 200."""
    bars = walk(symbols=3, bars=300, seed=1)
    symbol, day = pl.col("symbol"), pl.col("ts").rank("dense") - 1
    lacks = (symbol == "B/USDT") & (day % 10 == 3)
    absent = (symbol == "C/USDT") & ~day.is_between(50, 200)
    return panel_of(bars.filter(~lacks & ~absent))


@pytest.mark.parametrize("earlier", [0, 7, 60])
def test_comb_has_every_row_as_a_cut_once(panel: Panel, earlier: int) -> None:
    """No cut is left out, however the symbols' bars lie."""
    cuts = [cut for evaluation in comb(panel, earlier) for cut in evaluation]
    assert sorted(cuts) == list(range(len(panel.ts) - 1))


def test_comb_costs_as_many_evaluations_on_ten_times_the_bars(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """The warm-up, its own row and a block, whatever the length."""
    for bars in (300, 3_000):
        assert len(comb(panel_of(walk(symbols=2, bars=bars)), 30)) == 31 + BLOCK_BARS


@pytest.mark.parametrize("earlier", [0, 7, 60])
def test_window_of_a_cut_is_not_changed_by_the_blocks_before_it(panel: Panel, earlier: int) -> None:
    """Of every symbol that still counts, the last bars up to the cut are as they were."""
    changes = BlockChanges(panel)
    for cuts in comb(panel, earlier):
        changed = changes.after(cuts, np.random.default_rng(0))
        assert (changed.present == panel.present).all()
        apart = panel.present & (changed.close != panel.close)
        for cut in cuts:
            assert apart[cut + 1 : cut + 1 + BLOCK_BARS].sum() == (
                panel.present[cut + 1 : cut + 1 + BLOCK_BARS].sum()
            )
            for column in range(len(panel.symbols)):
                own = np.flatnonzero(panel.present[: cut + 1, column])[-earlier - 1 :]
                if len(own) and cut - own[-1] <= 5:
                    assert not apart[own, column].any()


def test_every_return_after_a_cut_changes_its_sign(panel: Panel) -> None:
    """What rises falls, for every later bar of the block, and the four prices keep their order."""
    cut = 120
    changed = BlockChanges(panel).after([cut], np.random.default_rng(0))
    block = slice(cut + 1, cut + 1 + BLOCK_BARS)
    there = panel.present[block, 0]
    before = np.sign(panel.close[block, 0][there] - panel.close[cut, 0])
    assert (np.sign(changed.close[block, 0][there] - panel.close[cut, 0]) == -before).all()
    more = np.sign(panel.volume[block, 0][there] - panel.volume[cut, 0])
    assert (np.sign(changed.volume[block, 0][there] - panel.volume[cut, 0]) == -more).all()
    body = np.fmax(changed.open, changed.close), np.fmin(changed.open, changed.close)
    assert (changed.high[panel.present] >= body[0][panel.present] - 1e-9).all()
    assert (changed.low[panel.present] <= body[1][panel.present] + 1e-9).all()
    only = BlockChanges(panel).only(changed, cut)
    assert np.array_equal(only.close, changed.close, equal_nan=True)


def test_window_keeps_the_last_bars_of_each_symbol_and_all_after(panel: Panel) -> None:
    """By its own bars: one that ended long ago has its last ones, as a warm window has them."""
    window = from_window(panel, 250, 6)
    assert window.present[:251].sum(axis=0).tolist() == [7, 7, 7]
    assert (window.present[251:] == panel.present[251:]).all()
    seen, rows, columns = compact(window)
    assert seen.present.any(axis=1).all()
    assert np.array_equal(seen.close, window.close[np.ix_(rows, columns)], equal_nan=True)


def test_other_dates_have_the_same_calendar(panel: Panel) -> None:
    """28 years later every bar has its weekday, its day of the month and its month."""
    moved = elsewhere(panel, CALENDAR_CYCLE, renamed=True)
    for part in ("weekday", "day", "month", "ordinal_day"):
        assert getattr(moved.ts.dt, part)().equals(getattr(panel.ts.dt, part)())
    assert moved.ts[0] - panel.ts[0] == timedelta(days=10_227)
    assert list(moved.symbols) == sorted(moved.symbols)
    assert not set(moved.symbols) & set(panel.symbols)


def test_symbols_in_parameters_are_renamed_with_the_bars() -> None:
    """One that is named by a parameter is no name in the code."""
    values = {"leader": "B/USDT", "pair": ("A/USDT", "B/USDT"), "bars": 5, "kind": "trend"}
    assert renamed_values(values, ("A/USDT", "B/USDT")) == {
        "leader": "Q00001/USDT",
        "pair": ("Q00000/USDT", "Q00001/USDT"),
        "bars": 5,
        "kind": "trend",
    }


def test_series_after_a_cut_are_others_and_those_before_it_are_not(panel: Panel) -> None:
    """A value counts as later where it is known after the close of the cut's bar."""
    table = pl.DataFrame({"symbol": "A/USDT", "ts": panel.ts, "value": 0.5})
    with_series = replace(panel, given_series={"funding": table})
    changed = BlockChanges(with_series).after([100], np.random.default_rng(0))
    apart = (changed.given_series["funding"]["value"] != 0.5).arg_true().to_list()
    # What is stamped with a row's open is known one row before that row's close.
    assert apart == list(range(102, 102 + BLOCK_BARS))
    known = until(with_series, 100).given_series["funding"]
    assert known["ts"].max() == panel.ts[101]
