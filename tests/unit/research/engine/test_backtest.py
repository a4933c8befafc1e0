"""Backtests against vectorbt as oracle, on real candles and on random weights, and the errors of
bad input.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from penstock.core.errors import DataError, StrategyError
from penstock.core.timeframes import Timeframe
from penstock.research.engine.backtest import backtest, vectorbt_portfolio
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import BacktestResult
from strategies import STRATEGIES


def assert_same_account(ours: BacktestResult, theirs: BacktestResult) -> None:
    assert ours.metrics.orders == theirs.metrics.orders
    keys = ["ts", "symbol", "side"]
    assert ours.orders.sort(keys).select(keys).equals(theirs.orders.sort(keys).select(keys))
    for column in ("quantity", "price", "fee"):
        assert ours.orders.sort(keys)[column].to_numpy() == pytest.approx(
            theirs.orders.sort(keys)[column].to_numpy(), rel=1e-9
        )
    assert ours.equity["equity"].to_numpy() == pytest.approx(
        theirs.equity["equity"].to_numpy(), rel=1e-9
    )
    assert ours.metrics.as_dict() == pytest.approx(theirs.metrics.as_dict(), rel=1e-7, abs=1e-9)


def random_weights(bars: pl.DataFrame, seed: int, holds: float, total: float = 1.0) -> pl.DataFrame:
    """Return weights that sum to `total`, of which a fraction `holds` is then "no decision"."""
    raw = pl.Series("raw", np.random.default_rng(seed).exponential(size=bars.height))
    gone = pl.Series("gone", np.random.default_rng(seed + 1).random(bars.height) < holds)
    return (
        bars.select("symbol", "ts")
        .with_columns(raw, gone)
        .with_columns(weight=total * pl.col("raw") / pl.col("raw").sum().over("ts") * (1 - 1e-12))
        .select("symbol", "ts", weight=pl.when("gone").then(None).otherwise("weight"))
    )


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize(
    "costs",
    [Costs(), Costs(fee_bps=0, slippage_bps=0), Costs(fee_bps=75, slippage_bps=40)],
    ids=str,
)
def test_kernel_agrees_with_vectorbt_on_real_candles(
    name: str, costs: Costs, dense_candles: pl.DataFrame
) -> None:
    """Every strategy: the same orders at the same prices, the same equity, the same figures."""
    strategy = STRATEGIES[name]()
    assert_same_account(
        backtest(dense_candles, strategy, costs),
        backtest(dense_candles, strategy, costs, engine="vectorbt"),
    )


@pytest.mark.parametrize("seed", range(12))
def test_kernel_agrees_with_vectorbt_on_random_weights(
    seed: int, walk: Callable[..., pl.DataFrame]
) -> None:
    """Weights use all the cash, with holds among them and with heavy costs. These are the hard
    cases for ordering and cash.
    """
    bars = walk(symbols=2 + seed % 5, bars=200, seed=seed, volatility=0.01 * (1 + seed))
    weights = random_weights(bars, seed, holds=[0.0, 0.3, 0.9][seed % 3])
    costs = Costs(fee_bps=[0, 10, 300][seed % 3], slippage_bps=[5, 0, 200][seed % 3])
    assert_same_account(
        backtest(bars, weights, costs), backtest(bars, weights, costs, engine="vectorbt")
    )


def test_vectorbt_portfolio_reports_the_same_final_value(walk: Callable[..., pl.DataFrame]) -> None:
    """The portfolio handed to notebooks is the account that was simulated."""
    bars = walk(symbols=3)
    portfolio = vectorbt_portfolio(bars, STRATEGIES["momentum"]())
    assert float(portfolio.final_value()) == pytest.approx(
        backtest(bars, STRATEGIES["momentum"]()).metrics.final_equity
    )
    assert portfolio.wrapper.index.tz is None


def test_gaps_are_simulated_by_the_kernel_and_refused_by_vectorbt(
    daily_candles: pl.DataFrame,
) -> None:
    """vectorbt would drop orders at missing bars, so its engine refuses such bars."""
    result = backtest(daily_candles, STRATEGIES["inverse_volatility"]())
    assert np.isfinite(result.equity["equity"].to_numpy()).all()
    with pytest.raises(DataError, match="missing"):
        backtest(daily_candles, STRATEGIES["inverse_volatility"](), engine="vectorbt")


def test_start_opens_the_account_in_cash_with_the_strategy_warm(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """The strategy sees the bars before the start, and the account does not. Its first orders fill
    one bar later.
    """
    bars = walk(symbols=3)
    start = datetime(2021, 7, 1, tzinfo=UTC)
    result = backtest(bars, STRATEGIES["inverse_volatility"](), start=start)
    assert result.first_ts == start
    assert result.equity["equity"][0] == 10_000.0
    assert result.orders["ts"].min() == datetime(2021, 7, 2, tzinfo=UTC)
    assert result.weights["ts"].min() == start


def test_costs_are_paid_unless_told_otherwise(walk: Callable[..., pl.DataFrame]) -> None:
    """The default is the default costs: a backtest without costs must be asked for."""
    bars = walk(symbols=3)
    plain, free = (
        backtest(bars, STRATEGIES["momentum"](), costs)
        for costs in (None, Costs(fee_bps=0, slippage_bps=0))
    )
    assert plain.orders["fee"].sum() > 0
    assert plain.metrics.final_equity < free.metrics.final_equity


def test_row_order_of_the_bars_does_not_matter(walk: Callable[..., pl.DataFrame]) -> None:
    """A shuffled table is the same market."""
    bars = walk(symbols=3)
    shuffled = bars.sample(fraction=1, shuffle=True, seed=1)
    one, other = (backtest(table, STRATEGIES["ma_cross"]()).equity for table in (bars, shuffled))
    assert one.equals(other)


def test_timeframe_is_inferred_from_the_bars(walk: Callable[..., pl.DataFrame]) -> None:
    """Annual figures need the bars in a year, and gaps do not confuse the step."""
    gappy = walk(symbols=2).filter(pl.col("ts").dt.day() != 9)
    assert backtest(gappy, STRATEGIES["ma_cross"]()).timeframe is Timeframe.D1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.col("open") * 0, "above zero"),
        (pl.lit(None, pl.Float64).alias("close"), "above zero"),
        (pl.lit(np.nan).alias("close"), "above zero"),
        (
            pl.lit(datetime(2021, 1, 1, tzinfo=UTC)).cast(pl.Datetime("ms", "UTC")).alias("ts"),
            "two bars",
        ),
    ],
)
def test_bars_that_cannot_be_simulated_are_refused(
    change: pl.Expr, said: str, walk: Callable[..., pl.DataFrame]
) -> None:
    """A bad price or a doubled bar stops the backtest with one sentence."""
    with pytest.raises(DataError, match=said):
        backtest(walk(symbols=2).with_columns(change), STRATEGIES["ma_cross"]())


def test_no_bars_are_refused(walk: Callable[..., pl.DataFrame]) -> None:
    """An empty table has no account to simulate."""
    with pytest.raises(DataError, match="no bars"):
        backtest(walk().clear(), STRATEGIES["ma_cross"]())


@pytest.mark.parametrize(
    ("weight", "said"),
    [(-0.1, "negative"), (0.6, "sum to 1.2"), (1.5, "sum to 3"), (np.nan, "not a number")],
)
def test_weights_that_an_account_cannot_hold_are_refused(
    weight: float, said: str, walk: Callable[..., pl.DataFrame]
) -> None:
    """No shorts, no leverage, no nonsense: the message names the first bar."""
    bars = walk(symbols=2)
    with pytest.raises(StrategyError, match=said):
        backtest(bars, bars.select("symbol", "ts", weight=pl.lit(weight)))


def test_start_after_the_last_bar_is_refused(walk: Callable[..., pl.DataFrame]) -> None:
    """A range without bars says so and names the last one."""
    with pytest.raises(DataError, match="the last one is 2021-10-27"):
        backtest(walk(), STRATEGIES["ma_cross"](), start=datetime(2030, 1, 1, tzinfo=UTC))
