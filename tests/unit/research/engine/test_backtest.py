"""Backtests against vectorbt as oracle, on real candles and on random weights, and the errors of
bad input.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import require_bars
from penstock.core.errors import DataError, StrategyError
from penstock.core.late_bars import LATE_BARS
from penstock.core.timeframes import Timeframe
from penstock.research.engine.backtest import backtest, vectorbt_portfolio
from penstock.research.engine.costs import Costs
from penstock.research.engine.market import market_of
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
    figures, others = (
        {name: value for name, value in each.metrics.as_dict().items() if name != "unfilled_share"}
        for each in (ours, theirs)  # vectorbt does not tell what it was asked for
    )
    assert figures == pytest.approx(others, rel=1e-7, abs=1e-9)


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
    """Weights use all the cash, or have holds among them, with heavy costs and thin bars. These are
    the hard cases for ordering, cash and volume.
    """
    bars = walk(symbols=2 + seed % 5, bars=200, seed=seed, volatility=0.01 * (1 + seed))
    kind = seed % 3
    # vectorbt has no rule for what undecided holdings leave: there must be room beside them.
    holds, total = [(0.0, 1.0), (0.3, 0.4), (0.9, 0.1)][kind]
    weights = random_weights(bars, seed, holds, total)
    costs = Costs(
        fee_bps=[0, 10, 300][kind],
        slippage_bps=[5, 0, 200][kind],
        max_volume_share=[0.1, None, 0.01, 0.02][seed % 4],
    )
    assert_same_account(
        backtest(bars, weights, costs), backtest(bars, weights, costs, engine="vectorbt")
    )


@pytest.mark.parametrize("decimals", [0, 1])
def test_kernel_agrees_with_vectorbt_where_the_tick_is_the_slippage(
    decimals: int, walk: Callable[..., pl.DataFrame]
) -> None:
    """Coarse prices: half a step is more than the slippage at some bars and less at others."""
    bars = walk(symbols=3, bars=300, volatility=0.05).with_columns(
        pl.col("open", "high", "low", "close").round(decimals).clip(10.0**-decimals)
    )
    weights = random_weights(bars, seed=1, holds=0.0)
    costs = Costs(slippage_bps=60)
    ours = backtest(bars, weights, costs)
    assert_same_account(ours, backtest(bars, weights, costs, engine="vectorbt"))
    slipped = ours.orders.join(bars, on=["ts", "symbol"]).select(
        (pl.col("price") - pl.col("open")).abs() >= 0.5 * 10.0**-decimals - 1e-9
    )
    assert slipped.to_series().all()


def test_tick_bounce_earns_nothing(walk: Callable[..., pl.DataFrame]) -> None:
    """A coin at twelve or thirteen steps moves by 8% at each bounce, and none of it can be earned:
    who buys pays the upper price and who sells gets the lower one.
    """
    steps = pl.Series(np.random.default_rng(2).integers(12, 14, 1001) * 1e-8).round(8)
    bars = walk(symbols=1, bars=1000).with_columns(
        open=steps[:1000], high=pl.lit(1.3e-7), low=pl.lit(1.2e-7), close=steps[1:], volume=1e15
    )
    low = (pl.col("close") < 1.25e-7).cast(pl.Float64)
    weights = bars.select("symbol", "ts", weight=low)
    without = Costs(min_slippage_ticks=0)
    assert backtest(bars, weights, without).metrics.total_return > 1000
    assert backtest(bars, weights).metrics.total_return < 0


def test_prices_that_were_never_rounded_have_no_tick(walk: Callable[..., pl.DataFrame]) -> None:
    """The step is read off the prices; a few bars, or prices of sixteen digits, show none."""
    bars = walk(symbols=1, bars=200)
    rounded = bars.with_columns(pl.col("open", "high", "low", "close").round(4))
    steps = [market_of(each).price_ticks for each in (bars, rounded, rounded.head(50))]
    assert [step.tolist() for step in steps if step is not None] == [[0.0], [1e-4], [0.0]]


def test_order_takes_its_share_of_the_bars_volume_and_the_rest_is_reported(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """Bars of 100 units at a share of a tenth fill ten at most, whatever the account wants."""
    bars = walk(symbols=1, bars=100).with_columns(volume=pl.lit(100.0))
    weights = bars.select("symbol", "ts", weight=pl.lit(1.0))
    result = backtest(bars, weights)
    assert result.orders["quantity"].max() == pytest.approx(10.0)
    assert result.orders["quantity"].head(20).to_list() == pytest.approx([10.0] * 20)
    assert 0.5 < result.metrics.unfilled_share < 1
    assert "unfilled_share" in result.metrics.as_dict()
    whole = backtest(bars, weights, Costs(max_volume_share=None)).metrics
    assert whole.unfilled_share == 0
    assert backtest(bars, weights, engine="vectorbt").metrics.unfilled_share == -1


def test_bars_without_volume_fill_nothing(walk: Callable[..., pl.DataFrame]) -> None:
    """Neither with a share nor without one; vectorbt would drop such orders and refuses."""
    bars = walk(symbols=2, bars=60).with_columns(volume=pl.lit(0.0))
    for costs in (Costs(), Costs(max_volume_share=None)):
        result = backtest(bars, STRATEGIES["inverse_volatility"](), costs)
        assert result.orders.is_empty()
        assert result.metrics.final_equity == 10_000
    with pytest.raises(DataError, match="has no volume"):
        backtest(bars, STRATEGIES["inverse_volatility"](), engine="vectorbt")


@pytest.mark.parametrize(("value_at_end", "left"), [(0.0, 0.5), (1.0, 1.1), (0.25, 0.65)])
def test_holding_whose_bars_end_is_written_to_the_stated_value_and_reported(
    value_at_end: float, left: float, walk: Callable[..., pl.DataFrame]
) -> None:
    """Half of the account is in a coin that ends at 1.2 times its price. It is not carried on."""
    bars = walk(symbols=2, bars=60).with_columns(
        pl.lit(10.0).alias(name) for name in ("open", "high", "low", "close")
    )
    ended = pl.col("symbol") == "B/USDT"
    last = datetime(2021, 1, 20, tzinfo=UTC)
    bars = bars.filter(~ended | (pl.col("ts") <= last)).with_columns(
        close=pl.when(ended & (pl.col("ts") == last)).then(12.0).otherwise("close"),
        high=pl.lit(12.0),
        volume=pl.lit(1e9),
    )
    first = pl.col("ts") == pl.col("ts").min()
    weights = bars.select("symbol", "ts", weight=pl.when(first).then(0.5))
    costs = Costs(fee_bps=0, slippage_bps=0, value_at_end=value_at_end)
    result = backtest(bars, weights, costs)
    equity = result.equity["equity"] / 10_000
    # It may only be late for LATE_BARS bars.
    carried, after = 1 + LATE_BARS, 40 - LATE_BARS
    assert equity.to_list() == pytest.approx([1.0] * 19 + [1.1] * carried + [left] * after)
    assert result.written_off.rows() == [
        (
            "B/USDT",
            last,
            pytest.approx(500),
            pytest.approx(6000),
            pytest.approx(6000 * value_at_end),
        )
    ]


@pytest.mark.parametrize("times", [180_000.0, 1 / 1000])
def test_coin_that_a_ticker_went_to_is_no_gain_and_no_loss_of_the_one_that_is_held(
    walk: Callable[..., pl.DataFrame], times: float
) -> None:
    """A ticker comes back after 18 days at 180,000 times the price, or at a thousandth. The holding
    is written to its stated value where its series ended, and nothing trades the other coin.
    """
    bars = walk(symbols=2, bars=300)
    held, row = bars["symbol"].unique().sort()[0], pl.int_range(pl.len()).over("symbol")
    mine = pl.col("symbol") == held
    prices = ("open", "high", "low", "close")
    relisted = bars.with_columns(
        pl.when(mine & (row >= 118)).then(pl.col(p) * times).otherwise(p) for p in prices
    ).filter(~(mine & row.is_between(100, 117)))
    weights = relisted.select("symbol", "ts", weight=pl.when(mine).then(0.5).otherwise(0.0))
    free = Costs(fee_bps=0, slippage_bps=0, max_volume_share=None, value_at_end=0.0)
    told = bars.filter(~(mine & (row >= 100)))
    right = backtest(told, weights.join(told, on=["symbol", "ts"], how="semi"), free)
    found = backtest(relisted, weights, free)
    assert found.equity.equals(right.equity)
    assert found.written_off["symbol"].to_list() == [held]
    assert found.orders["ts"].max() < bars["ts"][101]


def test_luna_of_2022_is_no_fortune(candles_dir: Path) -> None:
    """Inverse volatility holds LUNA into its end. Luna 2.0 under the same ticker made 395 times the
    account out of it.
    """
    file = candles_dir.parent / "candles2" / "misrori__binance__LUNA-USDT__1h.parquet"
    if not file.is_file():
        pytest.skip(f"no real candles of LUNA at {file}")
    bars = require_bars(pl.read_parquet(file), "LUNA")
    found = backtest(bars, STRATEGIES["inverse_volatility"](), Costs(), timeframe=Timeframe.H1)
    assert found.metrics.total_return == pytest.approx(-0.9134, abs=1e-3)
    assert found.equity["ts"].max() == datetime(2022, 5, 13, tzinfo=UTC)


def test_late_bar_at_the_end_is_not_the_end(walk: Callable[..., pl.DataFrame]) -> None:
    """A symbol that lacks the newest bars only is carried at its last price."""
    bars = walk(symbols=2, bars=60)
    newest = bars["ts"].unique().sort()[-LATE_BARS:]
    late = bars.filter((pl.col("symbol") != "B/USDT") | ~pl.col("ts").is_in(newest.implode()))
    result = backtest(late, late.select("symbol", "ts", weight=pl.lit(0.5)))
    assert result.written_off.is_empty()


def test_held_without_a_decision_is_left_to_the_kernel(walk: Callable[..., pl.DataFrame]) -> None:
    """vectorbt has no rule for it, so its engine refuses instead of differing."""
    bars = walk(symbols=2, bars=60).with_columns(volume=pl.lit(1e9))
    even = pl.col("ts").dt.day() % 2 == 0
    held = (pl.col("symbol") == "B/USDT") & even
    weights = bars.select(
        "symbol",
        "ts",
        weight=pl.when(held).then(None).when(even).then(0.9).otherwise(0.45),
    )
    result = backtest(bars, weights)
    fractions = result.equity["equity"].to_numpy()
    assert np.isfinite(fractions).all()
    with pytest.raises(StrategyError, match="without a decision"):
        backtest(bars, weights, engine="vectorbt")


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
    [(-0.1, "negative"), (0.6, "sum to 1.2"), (0.75, "sum to 1.5"), (np.nan, "not a number")],
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
