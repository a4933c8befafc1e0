"""Backtests: from bars and a strategy, or given weights, to an equity curve, orders and figures.

Two engines follow the same rules, which penstock.research.engine.kernel states. The kernel is fast.
vectorbt is independent and has its own reports. This is the only file that uses vectorbt, and it
imports vectorbt only when that engine is asked for.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from penstock.core.bars import TS, not_a_frame, require_bars
from penstock.core.doubts import DoubtedBar
from penstock.core.errors import DataError, StrategyError
from penstock.core.extras import extra
from penstock.core.relistings import Join
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.research.engine import layout
from penstock.research.engine.costs import Costs
from penstock.research.engine.kernel import Run, fill_prices, rules_of, simulate
from penstock.research.engine.market import BarMatrices, Matrix, market_of
from penstock.research.engine.metrics import Moments, metrics_of, moments_of
from penstock.research.engine.results import BacktestResult, ParamValues
from penstock.research.journal import LookRecorder, NoLook, backtest_look

Engine = Literal["kernel", "vectorbt"]

#: One row per order: the bar at whose open it filled, base units, price with slippage, fee in quote
#: units.
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

#: One row per holding whose bars ended: the open time of its last bar, base units, what they were
#: worth at its close and what they were written to, in quote units.
ENDED_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "last_ts": TS,
        "quantity": pl.Float64(),
        "value": pl.Float64(),
        "written_to": pl.Float64(),
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
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
    series: Mapping[str, pl.DataFrame] | None = None,
    *,
    journal: LookRecorder | NoLook | None = None,
) -> BacktestResult:
    """Simulate a spot account that follows a strategy, or given weights.

    A weight that is decided at the close of bar t becomes an order at the open of bar t+1.

    Parameters
    ----------
    bars
        The bars of the whole universe (BARS_SCHEMA). A symbol ends where its price moves more than
        five times after a gap: its ticker may have gone to another coin.
    decisions
        A strategy, or target weights with one row per bar (WEIGHTS_SCHEMA).
    costs
        What orders cost. The default is `Costs()`, never zero.
    initial_cash
        The cash at the start, in quote units.
    start
        The account opens, in cash, with the first bar that opens at or after this instant. Earlier
        bars only warm the strategy up. The first orders fill one bar later.
    engine
        "kernel", or "vectorbt" for an independent check.
    timeframe
        The bar length. By default it is the most common step between bars.
    doubts
        Bars that were in doubt at their close. The strategy does not know them then.
    joins
        Where a symbol goes on after such a move, because an operator says that it is the same coin.
    series
        Series beside the bars that the strategy needs, by name: a frame of symbol, ts and value
        each. A value is known from its ts on.
    journal
        Where the look at the bars is recorded. Without one an UncountedLookWarning is given;
        NoLook.NO_CHOICE says that nothing is chosen by what is seen.

    Returns
    -------
    BacktestResult
        Equity (one row per bar), orders, the weights, and the figures of the equity curve.

    Raises
    ------
    DataError
        The bars cannot be simulated: there are none, two have the same time, or a price is not
        above zero.
    StrategyError
        The weights break their contract, are negative, or sum to more than one.

    Examples
    --------
    >>> from datetime import UTC, datetime, timedelta
    >>> import polars as pl
    >>> from penstock.core.bars import BARS_SCHEMA
    >>> start = datetime(2026, 1, 1, tzinfo=UTC)
    >>> prices = [100.0, 100.0, 110.0, 121.0]
    >>> rows = [
    ...     ("BTC/USDT", start + timedelta(days=n), price, price, price, price, 1.0)
    ...     for n, price in enumerate(prices)
    ... ]
    >>> bars = pl.DataFrame(rows, BARS_SCHEMA, orient="row")
    >>> weights = bars.select("symbol", "ts", weight=pl.lit(1.0))
    >>> free = Costs(fee_bps=0, slippage_bps=0, max_volume_share=None)
    >>> result = backtest(bars, weights, free)
    >>> round(result.metrics.total_return, 2)
    0.21
    """
    market = market_of(bars, timeframe, doubts, joins, series)
    if isinstance(decisions, Strategy):
        name, params, weights = (
            decisions.name,
            decisions.params.model_dump(),
            market.decide(decisions),
        )
    else:
        given = _of_open_series(decisions, bars, market)
        name, params, weights = "", {}, market.matrix(given, "given weights")
    first = 0 if start is None else market.since(start)
    look = backtest_look(journal, decisions, market, weights, first)
    done = run(market, weights, first, costs or Costs(), initial_cash, engine, name, params)
    if look is not None:
        look.end(1, {"sharpe": done.metrics.sharpe, "total_return": done.metrics.total_return})
    return done


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
    """Simulate a market from row `first` on, with weights of shape (bars, symbols).

    `backtest` prepares the market and the weights, and then calls this.
    """
    part = market.slice(first) if first else market
    chosen = weights[first:]
    simulated = _by_kernel if engine == "kernel" else _by_vectorbt
    equity, orders, moments, ended = simulated(part, chosen, costs, initial_cash)
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
        metrics=metrics_of(moments, part.elapsed),
        written_off=ended,
    )


def vectorbt_portfolio(
    bars: pl.DataFrame,
    decisions: Strategy | pl.DataFrame,
    costs: Costs | None = None,
    initial_cash: float = 10_000.0,
) -> Any:
    """Return the run as a vectorbt Portfolio, for its own plots and statistics.

    Raises DataError where a bar is missing or has no volume. Raises StrategyError where the costs
    have a no-trade band or a minimum notional, and where undecided holdings reduce what others may
    have: vectorbt has none of these. The index of the Portfolio is naive UTC,
    because vectorbt is some two hundred times slower with a time zone.
    """
    market = market_of(bars)
    weights = (
        market.decide(decisions)
        if isinstance(decisions, Strategy)
        else market.matrix(_of_open_series(decisions, bars, market), "given weights")
    )
    return _portfolio(market, weights, costs or Costs(), initial_cash)


#: The equity at each close, the orders (ORDERS_SCHEMA), the sums, and what ended (ENDED_SCHEMA).
_Simulated = tuple[Matrix, pl.DataFrame, Moments, pl.DataFrame]


def _by_kernel(
    market: BarMatrices, weights: Matrix, costs: Costs, initial_cash: float
) -> _Simulated:
    done = simulate(market, weights, costs, initial_cash, record_fills=True)
    rows, columns = np.nonzero(done.fills)
    units = done.fills[rows, columns]
    price = fill_prices(market, costs, rows, columns, units)
    fee = rules_of(market, costs)[layout.FEE][columns]
    return (
        done.equity,
        _orders(market, rows, columns, units, price, np.abs(units) * price * fee),
        done.moments,
        _ended(market, done, costs),
    )


def slippage_of(market: BarMatrices, costs: Costs) -> Matrix:
    """Return the slippage at each open, a fraction of the price, of shape (bars, symbols)."""
    rules = rules_of(market, costs)
    found: Matrix = np.fmax(rules[layout.SLIPPAGE], rules[layout.LEAST] / market.open)
    return found


def _of_open_series(weights: pl.DataFrame, bars: pl.DataFrame, market: BarMatrices) -> pl.DataFrame:
    """Return the weights without those of bars that the market has not: of series it closed.

    Raises StrategyError where they are neither a strategy nor a frame.
    """
    wrong = not_a_frame(weights)
    if wrong is not None:
        kind = weights if isinstance(weights, type) else type(weights)
        if issubclass(kind, Strategy):
            wrong = f"{kind.__name__} is a class: give {kind.__name__}(), with its parameters"
        raise StrategyError(f"decisions are a strategy or a frame of weights: {wrong}")
    if bars.height == market.bars.height:
        return weights
    given = require_bars(bars, "bars of a backtest")
    closed = given.join(market.bars, on=["symbol", "ts"], how="anti")
    return weights.join(closed, on=["symbol", "ts"], how="anti", maintain_order="left")


def _ended(market: BarMatrices, done: Run, costs: Costs) -> pl.DataFrame:
    """Return what was held of symbols whose bars ended."""
    rows = []
    held = np.zeros(0) if done.written_off is None else done.written_off
    for column in np.flatnonzero(held):
        last = int(np.flatnonzero(~np.isnan(market.close[:, column]))[-1])
        value = float(held[column] * market.close[last, column])
        rows.append(
            (
                market.symbols[column],
                market.ts[last],
                float(held[column]),
                value,
                value * costs.value_at_end,
            )
        )
    return pl.DataFrame(rows, schema=ENDED_SCHEMA, orient="row")


def _by_vectorbt(
    market: BarMatrices, weights: Matrix, costs: Costs, initial_cash: float
) -> _Simulated:
    portfolio = _portfolio(market, weights, costs, initial_cash)
    records = portfolio.orders.values
    equity = np.asarray(portfolio.value(), dtype=np.float64)
    # vectorbt sorts its records by symbol; the orders of an account are sorted by bar.
    records = records[np.lexsort((records["col"], records["idx"]))]
    units = np.where(records["side"] == 0, records["size"], -records["size"])
    orders = _orders(
        market, records["idx"], records["col"], units, records["price"], records["fees"]
    )
    traded = float((records["size"] * records["price"]).sum())
    return (
        equity,
        orders,
        moments_of(equity, traded, len(records)),
        pl.DataFrame(schema=ENDED_SCHEMA),
    )


def _portfolio(market: BarMatrices, weights: Matrix, costs: Costs, initial_cash: float) -> Any:
    rules = rules_of(market, costs)
    steps = [layout.LOT, layout.MIN_QUANTITY, layout.MIN_NOTIONAL, layout.TICK]
    if costs.no_trade_band or costs.buy_reserve_bps is not None or rules[steps].any():
        raise StrategyError(
            "vectorbt has no no_trade_band, no smallest orders, no lots and no live planner: use "
            "engine 'kernel', or costs without them"
        )
    volume = np.ones(market.close.shape) if market.volume is None else market.volume
    if np.isnan(market.close).any() or not (volume > 0).all():
        raise DataError(
            "vectorbt loses orders where a bar is missing or has no volume: use engine 'kernel', "
            "or symbols that have every bar"
        )
    if simulate(market, weights, costs, initial_cash, record_equity=False).reduced:
        raise StrategyError(
            "vectorbt does not reduce weights by what is held without a decision: "
            "use engine 'kernel', or decide on every symbol"
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
        fees=np.broadcast_to(rules[layout.FEE], market.open.shape),
        slippage=slippage_of(market, costs),
        max_size=np.inf
        if costs.max_volume_share is None or market.volume is None
        else costs.max_volume_share * market.volume,
        min_size=0.0,  # the default drops orders under 1e-8 units without a warning
        init_cash=initial_cash,
        # The mean step: vectorbt's years are then elapsed time, bars that are missing included.
        freq=pd.Timedelta(market.elapsed) / max(len(market.ts) - 1, 1),
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
    values = pl.Series("weight", weights.reshape(-1)[market.panel.cells]).fill_nan(None)
    return market.bars.select("symbol", "ts").with_columns(values)
