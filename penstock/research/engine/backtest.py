"""Honest backtests: from bars and a strategy (or given weights) to an equity curve, orders and
figures.

Two engines follow the same rules (see research.kernel): the kernel is the fast one, vectorbt the
independent one and the source of its own reports. This is the only file that uses vectorbt, and
imports it only when it is asked for.
"""

from datetime import datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from penstock.core.bars import TS
from penstock.core.errors import DataError, StrategyError
from penstock.core.extras import extra
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.research.engine.costs import Costs
from penstock.research.engine.kernel import Moments, simulate
from penstock.research.engine.market import BarMatrices, Matrix, market_of
from penstock.research.engine.metrics import metrics_of, moments_of
from penstock.research.engine.results import BacktestResult, ParamValues

Engine = Literal["kernel", "vectorbt"]

ORDERS_SCHEMA = pl.Schema(
    {
        "ts": TS,
        "symbol": pl.String(),
        "side": pl.String(),
        "quantity": pl.Float64(),
        "price": pl.Float64(),
        "fee": pl.Float64(),
    }
)


def backtest(
    bars: pl.DataFrame,
    decisions: Strategy | pl.DataFrame,
    costs: Costs | None = None,
    initial_cash: float = 10_000.0,
    start: datetime | None = None,
    engine: Engine = "kernel",
    timeframe: Timeframe | None = None,
) -> BacktestResult:
    """Simulate a spot account on `bars` (BARS_SCHEMA) that follows a strategy, or weights
    (WEIGHTS_SCHEMA).

    With `start` the account opens, in cash, with the bar that opens at or after it: earlier bars
    only warm the strategy up, and the first orders fill one bar later. Costs default to `Costs()`,
    never to none. Raises DataError for bars that cannot be simulated and StrategyError for weights
    that break their contract, are negative or sum to more than one.
    """
    market = market_of(bars, timeframe)
    if isinstance(decisions, Strategy):
        name, params, weights = (
            decisions.name,
            decisions.params.model_dump(),
            market.decide(decisions),
        )
    else:
        name, params, weights = "", {}, market.matrix(decisions, "given weights")
    first = 0 if start is None else market.since(start)
    return run(market, weights, first, costs or Costs(), initial_cash, engine, name, params)


def run(
    market: BarMatrices,
    weights: Matrix,
    first: int,
    costs: Costs,
    initial_cash: float,
    engine: Engine = "kernel",
    name: str = "",
    params: ParamValues | None = None,
) -> BacktestResult:
    """Simulate rows `first` on of a market whose weights are known already: what `backtest` does
    after preparing.
    """
    part = market.slice(first) if first else market
    chosen = weights[first:]
    simulated = _by_kernel if engine == "kernel" else _by_vectorbt
    equity, orders, moments = simulated(part, chosen, costs, initial_cash)
    return BacktestResult(
        strategy=name,
        params=params or {},
        timeframe=market.timeframe,
        symbols=market.symbols,
        costs=costs,
        initial_cash=initial_cash,
        equity=pl.DataFrame({"ts": part.ts, "equity": equity}),
        orders=orders,
        weights=_long_weights(part, chosen),
        metrics=metrics_of(moments, market.timeframe),
    )


def vectorbt_portfolio(
    bars: pl.DataFrame,
    decisions: Strategy | pl.DataFrame,
    costs: Costs | None = None,
    initial_cash: float = 10_000.0,
) -> Any:
    """Return the run as a vectorbt Portfolio, for its own plots and stats. Bars must have no gaps;
    costs no band or minimum.

    Weights are moved by one bar and fill at the open, valued at that open. The index is naive UTC:
    with a time zone vectorbt is some two hundred times slower.
    """
    market = market_of(bars)
    weights = (
        market.decide(decisions)
        if isinstance(decisions, Strategy)
        else market.matrix(decisions, "given weights")
    )
    return _portfolio(market, weights, costs or Costs(), initial_cash)


def _by_kernel(
    market: BarMatrices, weights: Matrix, costs: Costs, initial_cash: float
) -> tuple[Matrix, pl.DataFrame, Moments]:
    done = simulate(market, weights, costs, initial_cash, record_fills=True)
    rows, columns = np.nonzero(done.fills)
    units = done.fills[rows, columns]
    price = market.open[rows, columns] * (1 + np.sign(units) * costs.slippage)
    return (
        done.equity,
        _orders(market, rows, columns, units, price, np.abs(units) * price * costs.fee),
        done.moments,
    )


def _by_vectorbt(
    market: BarMatrices, weights: Matrix, costs: Costs, initial_cash: float
) -> tuple[Matrix, pl.DataFrame, Moments]:
    portfolio = _portfolio(market, weights, costs, initial_cash)
    records = portfolio.orders.values
    equity = np.asarray(portfolio.value(), dtype=np.float64)
    # vectorbt writes its records column by column; an account's orders come bar by bar.
    records = records[np.lexsort((records["col"], records["idx"]))]
    units = np.where(records["side"] == 0, records["size"], -records["size"])
    orders = _orders(
        market, records["idx"], records["col"], units, records["price"], records["fees"]
    )
    traded = float((records["size"] * records["price"]).sum())
    return equity, orders, moments_of(equity, traded, len(records))


def _portfolio(market: BarMatrices, weights: Matrix, costs: Costs, initial_cash: float) -> Any:
    if costs.no_trade_band or costs.min_notional:
        raise StrategyError(
            "vectorbt has no no_trade_band and no min_notional: use engine 'kernel', or costs without them"
        )
    if np.isnan(market.close).any():
        raise DataError(
            "vectorbt loses orders where a bar is missing: use engine 'kernel', or symbols that have every bar"
        )
    with extra("research"):
        import pandas as pd
        import vectorbt as vbt

    index = pd.DatetimeIndex(market.ts.dt.replace_time_zone(None).to_numpy())
    names = list(market.symbols)
    opens, closes = (
        pd.DataFrame(table, index=index, columns=names) for table in (market.open, market.close)
    )
    return vbt.Portfolio.from_orders(
        closes,
        pd.DataFrame(weights, index=index, columns=names).shift(1),
        size_type="targetpercent",
        price=opens,
        val_price=opens,
        direction="longonly",
        group_by=True,
        cash_sharing=True,
        call_seq="auto",
        fees=costs.fee,
        slippage=costs.slippage,
        min_size=0.0,  # its default drops orders under 1e-8 units without a word
        init_cash=initial_cash,
        freq=pd.Timedelta(seconds=market.timeframe.seconds),
    )


def _orders(
    market: BarMatrices, rows: Any, columns: Any, units: Matrix, price: Matrix, fee: Matrix
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ts": market.ts.gather(rows),
            "symbol": pl.Series(market.symbols, dtype=pl.String).gather(columns),
            "side": np.where(units > 0, "buy", "sell"),
            "quantity": np.abs(units),
            "price": price,
            "fee": fee,
        },
        schema=ORDERS_SCHEMA,
    )


def _long_weights(market: BarMatrices, weights: Matrix) -> pl.DataFrame:
    values = pl.Series("weight", weights.reshape(-1)[market.cells]).fill_nan(None)
    return market.bars.select("symbol", "ts").with_columns(values)
