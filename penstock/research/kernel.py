"""The fast inner loop: one pass over the bars simulates a spot account and gathers every figure a search needs.

What it decides: a weight decided at the close of bar t becomes an order at the open of t+1. NaN means hold. A symbol
without a bar cannot trade in it: its order waits for its next open (or a newer decision), and the holding is valued at the
last price seen, never at a later one. Orders are sized by the equity at the open. Sells come before buys, in ascending
order of signed notional, equal ones in column order, that is by symbol. A buy that the cash cannot pay, fee included, is
cut to what it can pay: the largest buy comes last and bears it. On bars without gaps this is vectorbt's `from_orders`
with `call_seq="auto"`, down to its tolerances, which the tests use as oracle.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from penstock.research.costs import Costs
from penstock.research.market import Market, Matrix

#: Two amounts closer than this are the same one (relative, absolute): vectorbt's own tolerances.
_REL, _ABS = 1e-9, 1e-12


@dataclass(frozen=True)
class Moments:
    """Sums over one equity curve, from which research.metrics makes every figure.

    `returns` counts per-bar returns; `total` to `total4` are the sums of their powers; `downside2` is that of the
    squares of the negative ones. `traded` is the notional of all orders, `equity_sum` the sum of equity over bars.
    """

    returns: int
    total: float
    total2: float
    total3: float
    total4: float
    downside2: float
    max_drawdown: float
    traded: float
    orders: int
    equity_sum: float
    first_equity: float
    final_equity: float


@dataclass(frozen=True)
class Run:
    """One simulated account: `equity` at each close, `fills` (bars, symbols) signed units where recorded, and the sums."""

    equity: Matrix
    fills: Matrix
    moments: Moments


def simulate(market: Market, weights: Matrix, costs: Costs, initial_cash: float, record_fills: bool = False) -> Run:
    """Simulate an account that starts with `initial_cash` before the first bar and follows `weights` (bars, symbols).

    `fills[t, k]` are the base units of symbol k bought (sold, where negative) at the open of bar t; empty unless recorded.
    """
    bars, symbols = market.close.shape
    equity = np.empty(bars)
    fills = np.zeros((bars, symbols) if record_fills else (0, symbols))
    sums = _simulate(
        market.open,
        market.close,
        np.ascontiguousarray(weights),
        costs.fee,
        costs.slippage,
        costs.no_trade_band,
        costs.min_notional,
        float(initial_cash),
        equity,
        fills,
    )
    returns, orders, *rest = sums
    total, total2, total3, total4, downside2, max_drawdown, traded, equity_sum = rest
    return Run(
        equity,
        fills,
        Moments(
            int(returns),
            total,
            total2,
            total3,
            total4,
            downside2,
            max_drawdown,
            traded,
            int(orders),
            equity_sum,
            float(equity[0]),
            float(equity[-1]),
        ),
    )


@njit(cache=True, nogil=True)
def _close(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= max(_REL * max(abs(a), abs(b)), _ABS)


@njit(cache=True, nogil=True)
def _less(a: float, b: float) -> float:
    """Return a - b, exactly zero where the two are the same amount."""
    return 0.0 if _close(a, b) else a - b


@njit(cache=True, nogil=True)
def _sort_by_value(due, values, count):  # type: ignore[no-untyped-def]  # inlined array code
    """Sort `due[:count]` by `values[:count]` ascending, stable: few items, so by insertion."""
    for j in range(1, count):
        value, column, i = values[j], due[j], j - 1
        while i >= 0 and values[i] > value:
            values[i + 1], due[i + 1] = values[i], due[i]
            i -= 1
        values[i + 1], due[i + 1] = value, column


@njit(cache=True, nogil=True)
def _fill(delta, units, price, cash, fee, slippage):  # type: ignore[no-untyped-def]
    """Return (signed units filled, cash after) for an order of `delta` units at `price` against what is held."""
    if delta < 0:
        size = min(units, -delta)
        if units == 0 or _close(size, 0.0):
            return 0.0, cash
        proceeds = size * (price * (1 - slippage))
        return -size, cash + (proceeds - proceeds * fee)
    if cash == 0 or _close(delta, 0.0):
        return 0.0, cash
    fill_price = price * (1 + slippage)
    cost = delta * fill_price
    needed = cost + cost * fee
    if needed <= cash or _close(needed, cash):
        return delta, _less(cash, needed)
    return cash / (1 + fee) / fill_price, 0.0


@njit(cache=True, nogil=True)
def _trade(count, due, values, pending, units, price, cash, costs, fills_row):  # type: ignore[no-untyped-def]
    """Fill the `count` orders of the symbols in `due`, cheapest first; return (cash, orders, notional traded)."""
    fee, slippage, band, min_notional = costs
    equity = cash
    for k in range(units.size):
        if units[k] != 0:
            equity += units[k] * price[k]
    for j in range(count):
        values[j] = pending[due[j]] * equity - units[due[j]] * price[due[j]]
    _sort_by_value(due, values, count)
    orders, traded = 0, 0.0
    for j in range(count):
        k = due[j]
        target, pending[k] = pending[k], np.nan
        if target != 0 and abs(target - units[k] * price[k] / equity) < band:
            continue
        delta = target * equity / price[k] - units[k]
        if min_notional > 0 and abs(delta) * price[k] < min_notional:
            continue
        filled, cash = _fill(delta, units[k], price[k], cash, fee, slippage)
        if _close(cash, 0.0):
            cash = 0.0
        if filled == 0:
            continue
        units[k] = _less(units[k], -filled)
        orders += 1
        traded += abs(filled) * price[k] * (1 + slippage if filled > 0 else 1 - slippage)
        if fills_row.size:
            fills_row[k] = filled
    return cash, orders, traded


@njit(cache=True, nogil=True)
def _simulate(open_, close, weights, fee, slippage, band, min_notional, cash, equity, fills):  # type: ignore[no-untyped-def]
    bars, symbols = close.shape
    units, price, values = np.zeros(symbols), np.zeros(symbols), np.empty(symbols)
    pending, due = np.full(symbols, np.nan), np.empty(symbols, np.int64)
    no_record = np.empty(0)
    orders, traded, equity_sum = 0, 0.0, 0.0
    total, total2, total3, total4, downside2, drawdown, peak = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(bars):
        count = 0
        for k in range(symbols):
            if t > 0 and not np.isnan(weights[t - 1, k]):
                pending[k] = weights[t - 1, k]
            if open_[t, k] > 0:
                price[k] = open_[t, k]
                if not np.isnan(pending[k]):
                    due[count] = k
                    count += 1
        if count:
            row = fills[t] if fills.shape[0] else no_record
            cash, made, notional = _trade(
                count, due, values, pending, units, price, cash, (fee, slippage, band, min_notional), row
            )
            orders += made
            traded += notional
        worth = cash
        for k in range(symbols):
            if close[t, k] > 0:
                price[k] = close[t, k]
            if units[k] != 0:
                worth += units[k] * price[k]
        equity[t] = worth
        equity_sum += worth
        peak = max(peak, worth)
        drawdown = max(drawdown, 1 - worth / peak)
        if t > 0:
            r = worth / equity[t - 1] - 1
            total += r
            total2 += r * r
            total3 += r * r * r
            total4 += r * r * r * r
            downside2 += r * r if r < 0 else 0.0
    return bars - 1, orders, total, total2, total3, total4, downside2, drawdown, traded, equity_sum
