"""Where a ticker may have gone to another coin, and where an operator says that it has not."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.relistings import Join, closed_series, joins_over_moves, relistings
from penstock.core.timeframes import Timeframe
from penstock.research.engine.backtest import backtest
from penstock.research.engine.costs import Costs

H1, START = Timeframe.H1, datetime(2024, 1, 1, tzinfo=UTC)
FREE = Costs(fee_bps=0, slippage_bps=0, max_volume_share=None)


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def bars_of(symbol: str, closes: dict[int, float], silent: range = range(0)) -> pl.DataFrame:
    """Return one bar per hour that has a close; those of `silent` hours have no volume."""
    rows = [
        (symbol, at(hour), *(close,) * 4, 0.0 if hour in silent else 1.0)
        for hour, close in closes.items()
    ]
    return pl.DataFrame(rows, BARS_SCHEMA, orient="row")


#: A coin at 100 for ten hours, twenty hours without a trade, ten hours at 10,000.
OLD, NEW = dict.fromkeys(range(10), 100.0), dict.fromkeys(range(30, 40), 10_000.0)
SILENT = dict.fromkeys(range(10, 30), 100.0)
ABSENT = bars_of("A", {**OLD, **NEW})
SUSPENDED = bars_of("A", {**OLD, **SILENT, **NEW}, range(10, 30))
#: The venue shows the new coin's price some hours before its first trade.
SHOWN = bars_of("A", {**OLD, **SILENT, 28: 10_000.0, 29: 10_000.0, **NEW}, range(10, 30))


@pytest.mark.parametrize("bars", [ABSENT, SUSPENDED, SHOWN], ids=["absent", "silent", "shown"])
def test_move_over_a_gap_closes_the_series_whatever_the_venue_fills_the_gap_with(
    bars: pl.DataFrame,
) -> None:
    """Bars that are missing and bars without volume are a gap alike. What is kept ends with the
    last bar that traded.
    """
    (found,) = relistings(bars, H1)
    assert (found.before, found.ratio) == (at(9), 100)
    assert closed_series(bars, H1).equals(bars[:10])


def test_window_without_a_trade_before_the_move_closes_the_series() -> None:
    """An ingestion sees the stored bars before its own only so far back."""
    (found,) = relistings(SUSPENDED[15:], H1)
    assert found.at == at(30)


def test_move_without_a_gap_is_a_move() -> None:
    """Ten times within an hour is what coins do; bars without volume elsewhere change nothing."""
    bars = bars_of("A", {**OLD, 10: 1_000.0, 11: 1_000.0}, range(3, 5))
    assert relistings(bars, H1) == []


def test_series_that_an_operator_has_joined_goes_on_there_and_nowhere_else() -> None:
    """A join counts within its own gap. Only one that a move needs is noted."""
    joins = [Join("A", at(20)), Join("A", at(5)), Join("A", at(31)), Join("B", at(20))]
    assert closed_series(ABSENT, H1, joins=joins).equals(ABSENT)
    assert joins_over_moves(ABSENT, H1, joins) == (Join("A", at(20)),)
    assert closed_series(ABSENT, H1, joins=joins[1:]).equals(ABSENT[:10])


@pytest.mark.parametrize("bars", [ABSENT, SUSPENDED, SHOWN], ids=["absent", "silent", "shown"])
def test_holding_is_no_fortune_over_a_suspension(bars: pl.DataFrame) -> None:
    """Half in A, half in B, which stands still: A is lost. As the same coin A is worth a hundred
    times as much.
    """
    both = pl.concat([bars, bars_of("B", dict.fromkeys(range(40), 1.0))])
    weights = both.select("symbol", "ts", weight=pl.when(pl.col("ts") == at(0)).then(0.5))
    lost = backtest(both, weights, FREE)
    assert lost.metrics.total_return == pytest.approx(-0.5)
    assert lost.equity["equity"].max() == 10_000
    joined = backtest(both, weights, FREE, joins=[Join("A", at(28))])
    assert joined.metrics.final_equity == pytest.approx(5_000 + 500_000)
