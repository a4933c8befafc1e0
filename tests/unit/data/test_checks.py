"""Every injected defect is found, and exactly the rows that have it are refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.bars import BARS_SCHEMA, TS
from penstock.core.errors import DataError
from penstock.core.timeframes import Timeframe
from penstock.data.bar_metrics import METRICS_SCHEMA
from penstock.data.bounds import CheckBounds
from penstock.data.checks import QUARANTINE_SCHEMA, check_symbol, missing_ranges

Walk = Callable[..., pl.DataFrame]
LATE = datetime(2030, 1, 1, tzinfo=UTC)

#: What each defect does to a row, and the reasons it must be refused for.
DEFECTS: dict[str, tuple[dict[str, pl.Expr], str]] = {
    "null close": ({"close": pl.lit(None, dtype=pl.Float64)}, "null"),
    "NaN volume": ({"volume": pl.lit(float("nan"))}, "non_finite"),
    "infinite high": ({"high": pl.lit(float("inf"))}, "non_finite"),
    "negative volume": ({"volume": pl.lit(-1.0)}, "negative_volume"),
    "zero low": ({"low": pl.lit(0.0)}, "non_positive_price"),
    "high below close": (
        {"high": pl.min_horizontal("open", "close", "low") * 0.999 + pl.col("low") * 0},
        "high_too_low, low_too_high",
    ),
    "low above open": (
        {"low": pl.max_horizontal("open", "close") * 1.0001, "high": pl.col("close") * 2},
        "low_too_high",
    ),
    "high between open and close": (
        {"high": (pl.col("open") + pl.col("close")) / 2},
        "high_too_low",
    ),
    "low between open and close": ({"low": (pl.col("open") + pl.col("close")) / 2}, "low_too_high"),
    "off the grid": ({"ts": pl.col("ts") + pl.duration(seconds=1)}, "off_grid"),
    "from the future": ({"ts": pl.lit(LATE + timedelta(days=2)).cast(TS)}, "from_future"),
}


def spoil(frame: pl.DataFrame, rows: list[int], changes: dict[str, pl.Expr]) -> pl.DataFrame:
    hit = pl.int_range(pl.len()).is_in(rows)
    return frame.with_columns(
        pl.when(hit).then(new).otherwise(pl.col(name)).alias(name) for name, new in changes.items()
    )


@given(
    bars=st.integers(1, 300), seed=st.integers(0, 1000), timeframe=st.sampled_from(list(Timeframe))
)
@settings(max_examples=40)
def test_good_bars_all_pass(walk: Walk, bars: int, seed: int, timeframe: Timeframe) -> None:
    """A row without a defect is never refused, whatever the timeframe, and comes out unchanged."""
    frame = walk(bars, timeframe, seed=seed)
    checked = check_symbol(frame, "BTC/USDT", timeframe, frame["ts"][-1] + timeframe.duration)
    assert checked.good.equals(frame)
    assert checked.quarantined.is_empty()
    assert checked.held.is_empty()
    assert checked.metrics.schema == METRICS_SCHEMA
    metrics = checked.metrics.row(0, named=True)
    assert (
        metrics["rows"],
        metrics["missing"],
        metrics["stale_bars"],
        metrics["not_increasing"],
    ) == (bars, 0, 0, 0)


@pytest.mark.parametrize("name", DEFECTS)
@given(rows=st.sets(st.integers(0, 59), min_size=1, max_size=6), seed=st.integers(0, 50))
@settings(max_examples=15)
def test_exactly_the_spoiled_rows_are_refused_with_their_reason(
    walk: Walk, name: str, rows: set[int], seed: int
) -> None:
    """The quarantine holds the faulty rows as they came, with every reason. All the others are
    good.
    """
    changes, reason = DEFECTS[name]
    clean = walk(60, seed=seed)
    frame = spoil(clean, sorted(rows), changes)
    checked = check_symbol(frame, "BTC/USDT", Timeframe.H1, LATE)
    assert checked.quarantined.schema == QUARANTINE_SCHEMA
    assert checked.quarantined.select(list(BARS_SCHEMA)).equals(
        frame[sorted(rows)], null_equal=True
    )
    assert set(checked.quarantined["reason"]) == {reason}
    assert checked.good.equals(clean.filter(~pl.int_range(pl.len()).is_in(sorted(rows))))


@given(order=st.permutations(list(range(20))))
@settings(max_examples=30)
def test_rows_in_any_order_come_out_sorted_and_none_is_refused(
    walk: Walk, order: list[int]
) -> None:
    """The order of arrival is no defect of a row: it is repaired, and counted."""
    clean = walk(20)
    checked = check_symbol(clean[order], "BTC/USDT", Timeframe.H1, LATE)
    assert checked.good.equals(clean)
    assert checked.quarantined.is_empty()
    assert checked.metrics["not_increasing"].item() == sum(b < a for a, b in pairwise(order))


def test_of_several_good_rows_with_one_time_the_last_to_arrive_is_kept(walk: Walk) -> None:
    """A venue's later bar replaces its earlier one, unless the later one is bad."""
    clean = walk(10)
    again = spoil(clean[[3, 4]], [0, 1], {"volume": pl.col("volume") + 1.0})
    broken = spoil(clean[[3]], [0], {"close": pl.lit(-1.0)})
    checked = check_symbol(pl.concat([clean, again, broken]), "BTC/USDT", Timeframe.H1, LATE)
    assert checked.good["volume"][3, 4].to_list() == again["volume"].to_list()
    refused = checked.quarantined.filter(pl.col("reason") == "duplicate")
    assert refused.select(list(BARS_SCHEMA)).equals(clean[[3, 4]])
    assert checked.metrics["duplicates"].item() == 2
    assert checked.metrics["quarantined_share"].item() == 1 / 1000  # a duplicate loses no bar
    assert checked.quarantined.height == 3


def test_bars_that_opened_while_the_run_was_under_way_are_left_for_later(walk: Walk) -> None:
    """A slot is ingested as of its close: what the venue has seen since is no defect."""
    frame = walk(10)
    checked = check_symbol(frame, "BTC/USDT", Timeframe.H1, frame["ts"][5])
    assert (checked.good.height, checked.quarantined.height) == (5, 0)


def test_the_bar_that_is_forming_is_left_for_later(walk: Walk) -> None:
    """An unclosed bar is neither stored nor refused; at its close instant it is closed."""
    frame = walk(5)
    closing = frame["ts"][-1] + Timeframe.H1.duration
    early = check_symbol(frame, "BTC/USDT", Timeframe.H1, closing - timedelta(milliseconds=1))
    assert (early.good.height, early.quarantined.height, early.metrics["rows"].item()) == (4, 0, 4)
    assert check_symbol(frame, "BTC/USDT", Timeframe.H1, closing).good.height == 5


@given(removed=st.sets(st.integers(1, 98), max_size=40))
@settings(max_examples=40)
def test_gaps_are_the_runs_of_absent_bars(walk: Walk, removed: set[int]) -> None:
    """The missing ranges name exactly the absent open times between the first and the last bar."""
    clean = walk(100)
    kept = clean.filter(~pl.int_range(pl.len()).is_in(sorted(removed)))
    gaps = missing_ranges(kept, Timeframe.H1)
    named = {
        start + step * Timeframe.H1.duration
        for start, bars in gaps.iter_rows()
        for step in range(bars)
    }
    assert named == set(clean["ts"][sorted(removed)])
    metrics = check_symbol(kept, "BTC/USDT", Timeframe.H1, LATE).metrics
    assert (metrics["missing"].item(), metrics["gaps"].item()) == (len(removed), gaps.height)


def _scaled(frame: pl.DataFrame, rows: list[int], factor: float) -> pl.DataFrame:
    return spoil(
        frame, rows, {name: pl.col(name) * factor for name in ("open", "high", "low", "close")}
    )


@pytest.mark.parametrize("factor", [30.0, 1 / 30])
def test_an_absurd_print_that_reverts_is_refused(walk: Walk, factor: float) -> None:
    """One bar thirty times off both neighbours is a false print."""
    checked = check_symbol(_scaled(walk(50), [20], factor), "BTC/USDT", Timeframe.H1, LATE)
    assert checked.quarantined["reason"].to_list() == ["absurd_print"]
    assert checked.good.height == 49


def test_a_crash_that_stays_is_kept_and_counted_as_a_jump(walk: Walk) -> None:
    """A level that stays is the market's (a crash, a redenomination), however far it moved."""
    checked = check_symbol(
        _scaled(walk(300), list(range(200, 300)), 0.02), "BTC/USDT", Timeframe.H1, LATE
    )
    assert (checked.good.height, checked.quarantined.height) == (300, 0)
    assert checked.metrics["jumps"].item() == 1


def test_the_newest_print_waits_for_confirmation_where_it_is_absurd(walk: Walk) -> None:
    """Whether the newest bar reverts is not known yet: it is held back until the next one."""
    frame = _scaled(walk(50), [49], 30.0)
    checked = check_symbol(frame, "BTC/USDT", Timeframe.H1, LATE)
    assert (checked.good.height, checked.quarantined.height, checked.held.height) == (49, 0, 1)
    assert checked.metrics["held_back"].item() == 1


@pytest.mark.parametrize(
    ("factor", "quoted", "held"),
    [
        (1 / 30, 1 / 30, 0),
        (1 / 30, 1 / 40, 0),
        (30.0, 25.0, 0),
        (1 / 30, 1.0, 1),
        (30.0, 1.0, 1),
        (30.0, 9.0, 1),
    ],
)
def test_newest_print_that_the_venue_quotes_is_taken_at_once(
    walk: Walk, factor: float, quoted: float, held: int
) -> None:
    """A crash is where bid and ask are; a wrong print is where nobody quotes."""
    frame = _scaled(walk(50), [49], factor)
    mid = walk(50)["close"][-1] * quoted
    checked = check_symbol(frame, "BTC/USDT", Timeframe.H1, LATE, mid=mid)
    assert (checked.good.height, checked.held.height) == (50 - held, held)


def test_context_lets_a_single_new_bar_be_measured(walk: Walk) -> None:
    """With the bars before it, one new bar gets the verdict of the whole history."""
    whole = _scaled(walk(200), [199], 2.0)
    alone = check_symbol(whole[199:], "BTC/USDT", Timeframe.H1, LATE, context=whole[100:199])
    assert alone.good.equals(whole[199:])
    assert (
        alone.metrics["jumps"].item()
        == check_symbol(whole, "BTC/USDT", Timeframe.H1, LATE).metrics["jumps"].item()
        == 1
    )
    absurd = _scaled(walk(200), [198], 30.0)
    assert check_symbol(
        absurd[198:], "BTC/USDT", Timeframe.H1, LATE, context=absurd[:198]
    ).good.equals(absurd[199:])


@given(seed=st.integers(0, 200))
@settings(max_examples=20)
def test_jumps_agree_with_the_formula_taken_bar_by_bar(walk: Walk, seed: int) -> None:
    """The vectorised jump count equals the definition written as a loop."""
    random = np.random.default_rng(seed)
    frame = _scaled(
        walk(300, seed=seed),
        sorted(random.choice(np.arange(1, 300), 12, replace=False).tolist()),
        1.6,
    )
    frame = frame.filter(
        ~pl.int_range(pl.len()).is_in(random.choice(np.arange(1, 299), 10, replace=False))
    )
    bounds = CheckBounds(jump_mads=45.0)
    closes, times = frame["close"].to_list(), frame["ts"].to_list()
    sizes = [float("nan")]
    for i in range(1, len(closes)):
        sizes.append(
            abs(np.log(closes[i] / closes[i - 1]))
            / np.sqrt((times[i] - times[i - 1]) / Timeframe.H1.duration)
        )
    expected = sum(
        sizes[i] > 0.2 and sizes[i] > 45.0 * 1.4826 * np.nanmedian(sizes[max(0, i - 96) : i])
        for i in range(25, len(sizes))
    )
    assert (
        check_symbol(frame, "BTC/USDT", Timeframe.H1, LATE, bounds).metrics["jumps"].item()
        == expected
    )


def test_no_rows_give_empty_parts_and_nothing_to_measure(walk: Walk) -> None:
    """An empty answer is not an error, and has no staleness."""
    checked = check_symbol(walk(5).clear(), "BTC/USDT", Timeframe.H1, LATE)
    assert checked.good.is_empty()
    assert checked.metrics.row(0, named=True)["stale_bars"] is None
    assert checked.metrics["quarantined_share"].item() == 0.0


def test_staleness_counts_the_closed_bars_that_should_be_there(walk: Walk) -> None:
    """Three hours after the newest bar's close three bars are wanting."""
    frame = walk(5)
    now = frame["ts"][-1] + 4 * Timeframe.H1.duration
    assert check_symbol(frame, "BTC/USDT", Timeframe.H1, now).metrics["stale_bars"].item() == 3


def test_a_frame_that_is_no_bars_is_refused(walk: Walk) -> None:
    """The schema is the first check: what is missing is named."""
    with pytest.raises(DataError, match=r"'volume'.*missing"):
        check_symbol(walk(5).drop("volume"), "BTC/USDT", Timeframe.H1, LATE)
