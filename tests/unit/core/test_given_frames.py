"""What a user may hand in as bars or weights is understood, or refused with what to do about it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA, resample, wide
from penstock.core.errors import DataError, StrategyError
from penstock.core.strategy import FrameStrategy, StrategyParams
from penstock.core.timeframes import Timeframe
from penstock.monitoring.drift import explain_difference
from penstock.research.engine.backtest import backtest, vectorbt_portfolio
from penstock.research.identity import hash_bars
from penstock.research.validation.leakage import check_no_lookahead
from strategies.momentum import Momentum

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTUM = Momentum.from_params({"lookback_bars": 5})


def random_walks() -> pl.DataFrame:
    """Sixty daily bars of two coins."""
    random = np.random.default_rng(1)
    rows = [
        (symbol, START + timedelta(days=day), *[100 * float(np.exp(level))] * 4, 1e6)
        for symbol in ("AAA/USDT", "BBB/USDT")
        for day, level in enumerate(np.cumsum(random.normal(0, 0.02, 60)))
    ]
    return pl.DataFrame(rows, BARS_SCHEMA, orient="row")


BARS = random_walks()
WEIGHTS = BARS.select("symbol", "ts", weight=pl.lit(0.5))
TAKE_BARS: dict[str, Callable[[Any], object]] = {
    "backtest": lambda bars: backtest(bars, MOMENTUM),
    "decide": MOMENTUM.decide,
    "check_no_lookahead": lambda bars: check_no_lookahead(MOMENTUM, bars),
    "resample": lambda bars: resample(bars, Timeframe.D1),
    "wide": lambda bars: wide(bars, "close"),
    "hash_bars": hash_bars,
}
TAKE_WEIGHTS: dict[str, Callable[[Any], object]] = {
    "backtest": lambda weights: backtest(BARS, weights),
    "vectorbt": lambda weights: vectorbt_portfolio(BARS, weights),
}


@pytest.mark.parametrize("take", TAKE_BARS.values(), ids=TAKE_BARS)
@pytest.mark.parametrize(
    ("bars", "remedy"),
    [
        (BARS.to_pandas(), r"it is a pandas DataFrame .* polars\.from_pandas\(frame\.reset_index"),
        (BARS.lazy(), r"it is a LazyFrame .* collect\(\) makes one"),
        (BARS.drop("symbol", "ts").to_numpy(), r"it is a ndarray .* with its columns named"),
        ({"symbol": ["AAA/USDT"]}, r"it is a dict and no Polars DataFrame"),
    ],
    ids=["pandas", "lazy", "numpy", "dict"],
)
def test_bars_of_another_kind_are_refused_with_what_makes_them_bars(
    take: Callable[[Any], object], bars: object, remedy: str
) -> None:
    """Whatever takes bars says which kind it got, and how to make a Polars frame of it."""
    with pytest.raises(DataError, match=remedy):
        take(bars)


@pytest.mark.parametrize("name", ["backtest", "decide", "check_no_lookahead"])
def test_bars_with_further_columns_are_refused_by_name(name: str) -> None:
    """A strategy that uses a column would not find it when it trades, and one that names the venue
    hides that there are several.
    """
    with pytest.raises(DataError, match=r"\['funding'\] are none of a bars table.*frame\.select"):
        TAKE_BARS[name](BARS.with_columns(funding=pl.lit(0.01)))


@pytest.mark.parametrize(
    "bars",
    [
        BARS.sample(fraction=1, shuffle=True, seed=3),
        BARS.with_columns(pl.col("ts").dt.replace_time_zone(None)),
        BARS.select(reversed(BARS.columns)),
        BARS.with_columns(pl.col("close").cast(pl.String)),
    ],
    ids=["unsorted", "naive", "other order of columns", "text"],
)
def test_bars_in_another_form_give_the_same_weights_everywhere(bars: pl.DataFrame) -> None:
    """Unsorted bars once gave `decide` the weights of other bars, in silence."""
    assert MOMENTUM.decide(bars).equals(MOMENTUM.decide(BARS))
    assert backtest(bars, MOMENTUM).equity.equals(backtest(BARS, MOMENTUM).equity)
    assert check_no_lookahead(MOMENTUM, bars) == []


@pytest.mark.parametrize("take", TAKE_WEIGHTS.values(), ids=TAKE_WEIGHTS)
@pytest.mark.parametrize(
    ("weights", "remedy"),
    [
        (WEIGHTS.to_pandas(), r"it is a pandas DataFrame .* polars\.from_pandas"),
        (WEIGHTS.lazy(), r"collect\(\) makes one"),
        (np.full((60, 2), 0.5), r"with its columns named"),
        (WEIGHTS.rename({"weight": "w"}), r"have no column \['weight'\]"),
        (wide(BARS, "close"), r'unpivot\(index="ts", variable_name="symbol"'),
        (WEIGHTS.with_columns(weight=pl.lit("much")), r"a column has the wrong type"),
        (Momentum, r"Momentum is a class: give Momentum\(\)"),
    ],
    ids=["pandas", "lazy", "numpy", "other name", "one column per symbol", "text", "class"],
)
def test_weights_of_another_kind_are_refused_with_what_makes_them_weights(
    take: Callable[[Any], object], weights: object, remedy: str
) -> None:
    """Decisions are a strategy or a Polars frame with one row per bar."""
    with pytest.raises(StrategyError, match=remedy):
        take(weights)


def test_strategy_that_returns_a_pandas_frame_is_named() -> None:
    """The message says whose weights they are."""

    class Foreign(FrameStrategy):
        name = "foreign"
        Params = StrategyParams
        warmup_bars = 0

        def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
            return WEIGHTS.to_pandas()  # type: ignore[no-any-return]  # what a user may do

    for decide in (Foreign().decide, lambda bars: backtest(bars, Foreign())):
        with pytest.raises(StrategyError, match="weights of foreign: it is a pandas DataFrame"):
            decide(BARS)


def test_curve_that_is_a_pandas_frame_is_named() -> None:
    """Live, replay and backtest are compared as Polars frames."""
    curve = pl.DataFrame({"ts": [START], "equity": [1.0]})
    with pytest.raises(DataError, match="the replay curve: it is a pandas DataFrame"):
        explain_difference(curve, curve.to_pandas(), curve)
