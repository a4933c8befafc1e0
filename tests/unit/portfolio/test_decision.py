"""The decision for a slot is the last row of the strategy's own function."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.errors import StaleDataError
from penstock.core.strategy import FrameStrategy, StrategyParams
from penstock.core.timeframes import Timeframe
from penstock.portfolio.decision import decide_targets, seen_bars
from penstock.ports import LoadedModel, ModelVersion

START = datetime(2024, 1, 1, tzinfo=UTC)


class LastClose(FrameStrategy):
    """Weight = close / 1000, so that a test can read off which bar decided."""

    name = "last_close"
    Params = StrategyParams

    @property
    def warmup_bars(self) -> int:
        return 2

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        return bars.select("symbol", "ts", (pl.col("close") / 1000).alias("weight"))


MODEL = LoadedModel(ModelVersion("last_close", "7", "run", (), {}), LastClose())


def bars(**days: int) -> pl.DataFrame:
    rows = [
        (f"{symbol}/USDT", START + timedelta(days=day), *(float(day + 1),) * 4, 1.0)
        for symbol, count in days.items()
        for day in range(count)
    ]
    return pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")


def test_bar_that_closes_at_the_slot_decides_and_later_ones_are_not_seen() -> None:
    """The slot at the fifth day's start uses the fourth day's bar, though six days are stored."""
    targets = decide_targets(MODEL, bars(BTC=6), Timeframe.D1, START + timedelta(days=4))
    assert targets.weights == {"BTC/USDT": 0.004}
    assert targets.seen["BTC/USDT"].closed_at == START + timedelta(days=4)
    assert targets.version == "last_close/7"


def test_no_bar_at_the_slot_is_stale() -> None:
    """A slot whose bar is not stored is an error that says which bar is the newest."""
    with pytest.raises(StaleDataError, match="2024-01-05"):
        decide_targets(MODEL, bars(BTC=5), Timeframe.D1, START + timedelta(days=6))


def test_symbol_without_the_slots_bar_is_undecided() -> None:
    """One late symbol is held; the others are decided."""
    targets = decide_targets(MODEL, bars(BTC=5, ETH=4), Timeframe.D1, START + timedelta(days=5))
    assert targets.weights == {"BTC/USDT": 0.005, "ETH/USDT": None}


def test_symbol_of_the_universe_without_any_bar_is_undecided() -> None:
    """Its bars have been missing for the whole window. It is held, whatever the policy does with
    symbols outside the universe.
    """
    at = START + timedelta(days=5)
    targets = decide_targets(MODEL, bars(BTC=5), Timeframe.D1, at, symbols=["BTC/USDT", "ETH/USDT"])
    assert targets.weights == {"BTC/USDT": 0.005, "ETH/USDT": None}


def test_window_shorter_than_the_warm_up_is_refused() -> None:
    """A cold strategy gives other weights than the backtest: it does not decide."""
    with pytest.raises(StaleDataError, match="needs 3 bars"):
        decide_targets(MODEL, bars(BTC=2), Timeframe.D1, START + timedelta(days=2))


def test_volatility_per_day_comes_from_elapsed_time() -> None:
    """Every second day is absent: a return then spans two days, and a day has 1/sqrt(2) of it."""
    closes = [100.0 * (1.01 if day % 2 else 1.0) for day in range(22)]
    rows = [
        ("BTC/USDT", START + timedelta(days=2 * day), close, close, close, close, 1.0)
        for day, close in enumerate(closes)
    ]
    sparse = pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")
    each_day = sparse.with_columns(ts=START + (pl.col("ts") - START) / 2)
    found = [
        seen_bars(frame.cast({"ts": BARS_SCHEMA["ts"]}), Timeframe.D1)["BTC/USDT"].daily_volatility
        for frame in (sparse, each_day)
    ]
    sparsely, daily = found
    assert sparsely is not None
    assert daily is not None
    assert sparsely == pytest.approx(daily / 2**0.5)
