"""The simulation of an account over bars, for searches, the gate and the comparison with live.

The rules:

- A weight that is decided at the close of bar t becomes an order at the open of bar t+1. NaN means
  "hold".
- A symbol without a bar, or with a bar without volume, cannot trade in it. Its order waits for its
  next open, or for a newer decision. Its holding is valued at the last price seen, never at a later
  one.
- An order takes at most the costs' share of its bar's volume. The rest is not made, as in live
  trading. Slippage is at least the costs' number of price steps.
- What is held and cannot be traded, or was not decided on, reduces what the others may have: their
  weights are scaled down together to what it leaves.
- A holding whose bars have ended is written to the costs' fraction of its last close. That is known
  LATE_BARS rows after the last bar: until then the bar may only be late.
- Weights within the no-trade band of what is held are left alone, unless they are zero. Quantities
  are whole lots, of at least the smallest quantity and notional. Where an instrument's price step
  is known, fills are on it. An order of less than 1e-12 of equity is rounding, and is not made.
- Orders are sized by the equity at the open. Sells are filled before buys.
- Where the cash cannot pay all buys, fees included, the smaller ones are filled first and the
  largest is cut. Equal ones are filled in the order of the symbols. With `buy_reserve_bps` buys are
  planned as live ones are: by the equity after the sells, and scaled down together.
- A cash flow of a bar (funding, for example) is paid on what is held after the bar's open.

On bars without gaps and without the rules that it does not have, this is vectorbt's `from_orders`
with `call_seq="auto"`, down to its tolerances. The tests compare the two, compare with a simulator
of fifty digits, and compare the live rules with the replay through the live planner.

Weights and holdings may be below zero here. An account of this version is long only: the market
refuses such weights (BarMatrices.matrix).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.core.errors import DataError, StrategyError
from penstock.research.engine import layout
from penstock.research.engine.costs import Costs, InstrumentRules
from penstock.research.engine.loop import price_fills, rows_with_a_decision, run
from penstock.research.engine.market import BarMatrices, Matrix
from penstock.research.engine.metrics import Moments


@dataclass(frozen=True)
class Decisions:
    """Target weights at the rows at whose close something was decided, and at no others."""

    rows: npt.NDArray[np.int64]
    """The rows of the market, ascending, of shape (decisions,)."""
    weights: Matrix
    """The weights, of shape (decisions, symbols); NaN is "no decision"."""


@dataclass(frozen=True)
class Run:
    """One simulated account."""

    equity: Matrix
    """The equity at each close, of shape (bars,), in quote units; empty unless recorded."""
    fills: Matrix
    """Base units bought, or sold where negative, at each open: (bars, symbols); empty unless
    recorded.
    """
    moments: Moments
    """The sums over the equity curve."""
    reduced: int = 0
    """The number of bars at which undecided holdings reduced the others' weights."""
    written_off: Matrix | None = None
    """The base units of each symbol that were held when its bars ended."""


def simulate(
    market: BarMatrices,
    weights: Matrix | Decisions,
    costs: Costs,
    initial_cash: float,
    record_fills: bool = False,
    record_equity: bool = True,
) -> Run:
    """Simulate an account that follows `weights`, of shape (bars, symbols), or sparse decisions.

    It starts with `initial_cash` (quote units) before the first bar. The fills are kept only with
    `record_fills`, the equity at each close only with `record_equity`. The sums are made either
    way, from blocks of bars.

    Raises StrategyError where the weights do not have the market's shape, or decisions are not in
    the order of its rows, and DataError where the cash is not above zero or a cash flow is not
    known.

    Examples
    --------
    >>> from penstock.core.timeframes import Timeframe
    >>> from penstock.research.engine.market import market_of_prices
    >>> prices = np.array([[10.0], [10.0], [12.0]])
    >>> market = market_of_prices(prices, prices, Timeframe.D1)
    >>> costs = Costs(fee_bps=0, slippage_bps=0)
    >>> simulate(market, Decisions(np.array([0]), np.array([[1.0]])), costs, 100.0).equity.tolist()
    [100.0, 100.0, 120.0]
    """
    bars, symbols = market.close.shape
    rows, decided, is_dense = _decisions(market, weights)
    if not 0 < initial_cash < np.inf:
        raise DataError(f"an account starts with cash above zero, not {initial_cash}")
    flows = np.empty((0, symbols)) if market.cash_flows is None else _flows(market)
    rules = rules_of(market, costs)
    share = np.inf if market.volume is None else costs.max_volume_share or np.inf
    reserve = -1.0 if costs.buy_reserve_bps is None else costs.buy_reserve_bps / 1e4
    smallest = rules[layout.LOT : layout.LOT + 3]
    equity = np.empty(bars if record_equity else 0)
    fills = np.zeros((bars, symbols) if record_fills else (0, symbols))
    written_off, sums = np.zeros(symbols), np.zeros(layout.SUMS)
    run(
        _read_only(market.open),
        _read_only(market.close),
        # Without volumes every bar fills everything that has a price.
        _read_only(market.open if market.volume is None else market.volume),
        _read_only(flows),
        rows,
        _read_only(decided),
        is_dense,
        not market.is_complete,
        np.full(symbols, bars) if market.ends is None else market.ends,
        rules,
        np.array([costs.no_trade_band, share, costs.value_at_end, reserve]),
        (bool(rules[layout.TICK].any()), bool(smallest.any()), share < np.inf),
        float(initial_cash),
        equity,
        fills,
        written_off,
        np.zeros((layout.WORK, symbols)),
        np.empty(symbols, np.int64),
        np.empty(layout.BLOCK),
        np.empty(layout.BLOCK),
        sums,
    )
    figures: list[Any] = sums.tolist()
    figures[layout.ORDERS] = int(figures[layout.ORDERS])
    moments = Moments(bars - 1, *figures[: layout.PEAK])
    return Run(equity, fills, moments, int(figures[layout.REDUCED]), written_off)


def fill_prices(
    market: BarMatrices,
    costs: Costs,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    units: Matrix,
) -> Matrix:
    """Return the prices at which orders filled, slippage included, of shape (orders,).

    Order i is for `units[i]` base units (below zero: sold) of symbol `columns[i]` at the open of
    bar `rows[i]`.
    """
    prices = np.empty(len(rows))
    price_fills(_read_only(market.open), rows, columns, units, rules_of(market, costs), prices)
    return prices


def _read_only(table: Matrix) -> Matrix:
    """Return a view that cannot be written to, as a panel's arrays are: numba compiles anew for
    every mixture of the two kinds.
    """
    view = table.view()
    view.flags.writeable = False
    return view


def _decisions(
    market: BarMatrices, weights: Matrix | Decisions
) -> tuple[npt.NDArray[np.int64], Matrix, bool]:
    """Return (rows with a decision, weights, whether these have a row for each bar)."""
    bars, symbols = market.close.shape
    if isinstance(weights, Decisions):
        rows = np.array(weights.rows, np.int64)
        if weights.weights.shape != (len(rows), symbols):
            raise StrategyError(
                f"{len(rows)} decisions on {symbols} symbols have weights of shape "
                f"{weights.weights.shape}: give one row per decision, one column per symbol"
            )
        if len(rows) and (rows[0] < 0 or rows[-1] >= bars or (np.diff(rows) <= 0).any()):
            raise StrategyError(
                f"rows of decisions are not ascending within the market's {bars} bars"
            )
        return rows, np.ascontiguousarray(weights.weights, np.float64), False
    if weights.shape != market.close.shape:
        raise StrategyError(
            f"weights of shape {weights.shape} do not fit a market of {bars} bars and {symbols} "
            "symbols: give one row per bar, one column per symbol"
        )
    dense = _read_only(np.ascontiguousarray(weights, np.float64))
    rows = np.empty(bars, np.int64)
    return rows[: rows_with_a_decision(dense, rows)], dense, True


def _flows(market: BarMatrices) -> Matrix:
    flows = np.ascontiguousarray(market.cash_flows, np.float64)
    if flows.shape != market.close.shape or not np.isfinite(flows).all():
        raise DataError(
            f"cash flows of shape {flows.shape} must have a known amount for each of "
            f"{market.close.shape[0]} bars and {market.close.shape[1]} symbols: 0 is no flow"
        )
    return flows


def rules_of(market: BarMatrices, costs: Costs) -> Matrix:
    """Return what holds for each symbol: (rules, symbols), by the rows of `layout`."""
    rules = np.zeros((layout.RULES, len(market.symbols)))
    rules[layout.FEE], rules[layout.SLIPPAGE] = costs.fee, costs.slippage
    rules[layout.MIN_NOTIONAL] = costs.min_notional
    if market.price_ticks is not None:
        rules[layout.LEAST] = market.price_ticks * costs.min_slippage_ticks
    known = {each.symbol: each for each in costs.instruments}
    for column, symbol in enumerate(market.symbols) if known else ():
        if symbol in known:
            rules[:, column] = _rules_of(known[symbol], costs, rules[layout.LEAST, column])
    return rules


def _rules_of(instrument: InstrumentRules, costs: Costs, least: float) -> list[float]:
    """Return the rules of one symbol, in the order of the rows of `rules`."""
    tick = instrument.price_tick
    return [
        costs.fee if instrument.fee_bps is None else instrument.fee_bps / 1e4,
        costs.slippage if instrument.slippage_bps is None else instrument.slippage_bps / 1e4,
        tick * costs.min_slippage_ticks if tick else least,
        tick,
        instrument.lot_step,
        instrument.min_quantity,
        max(instrument.min_notional, costs.min_notional),
        instrument.keep,
    ]
