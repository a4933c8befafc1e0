"""The fast loop: one pass over the bars simulates a spot account and sums what every figure needs.

The rules of the simulation:

- A weight that is decided at the close of bar t becomes an order at the open of bar t+1. NaN means
  "hold".
- A symbol without a bar cannot trade in it. Its order waits for its next open, or for a newer
  decision. Its holding is valued at the last price seen, never at a later one.
- Orders are sized by the equity at the open. Sells are filled before buys.
- Where the cash cannot pay all buys, fees included, the smaller ones are filled first and the
  largest is cut. Equal ones are filled in the order of the symbols.

On bars without gaps this is vectorbt's `from_orders` with `call_seq="auto"`, down to its
tolerances. The tests compare the two.
"""

from dataclasses import dataclass

import numpy as np

from penstock.core.extras import extra
from penstock.research.engine.costs import Costs
from penstock.research.engine.market import BarMatrices, Matrix

with extra("research"):
    from numba import njit

#: Two amounts closer than this are the same one (relative, absolute): vectorbt's own tolerances.
_REL, _ABS = 1e-9, 1e-12


@dataclass(frozen=True)
class Moments:
    """Sums over one equity curve, from which penstock.research.engine.metrics makes the figures."""

    returns: int
    """The number of per-bar returns."""
    total: float
    """The sum of the returns."""
    total2: float
    """The sum of their squares."""
    total3: float
    """The sum of their third powers."""
    total4: float
    """The sum of their fourth powers."""
    downside2: float
    """The sum of the squares of the negative returns."""
    max_drawdown: float
    """The largest fall from a peak, as a positive fraction of the peak."""
    traded: float
    """The notional of all orders, in quote units."""
    orders: int
    """The number of orders."""
    equity_sum: float
    """The sum of the equity over bars."""
    first_equity: float
    """The equity at the first close."""
    final_equity: float
    """The equity at the last close."""


@dataclass(frozen=True)
class Run:
    """One simulated account."""

    equity: Matrix
    """The equity at each close, of shape (bars,), in quote units."""
    fills: Matrix
    """Base units bought, or sold where negative, at each open: (bars, symbols); empty unless
    recorded.
    """
    moments: Moments
    """The sums over the equity curve."""


def simulate(
    market: BarMatrices,
    weights: Matrix,
    costs: Costs,
    initial_cash: float,
    record_fills: bool = False,
) -> Run:
    """Simulate an account that follows `weights`, of shape (bars, symbols).

    It starts with `initial_cash` (quote units) before the first bar. The fills are kept only with
    `record_fills`.
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
def _sort_by_value(columns, sizes, values, count):  # type: ignore[no-untyped-def]  # numba infers array types
    """Sort the first `count` of all three by `values`, ascending and stable, by insertion."""
    for j in range(1, count):
        value, column, size, i = values[j], columns[j], sizes[j], j - 1
        while i >= 0 and values[i] > value:
            values[i + 1], columns[i + 1], sizes[i + 1] = values[i], columns[i], sizes[i]
            i -= 1
        values[i + 1], columns[i + 1], sizes[i + 1] = value, column, size


@njit(cache=True, nogil=True)
def _sell(size, units, price, cash, costs):  # type: ignore[no-untyped-def]
    """Return (units sold, cash after) for a sale of `size`, at most what is held."""
    size = min(units, size)
    if units == 0 or _close(size, 0.0):
        return 0.0, cash
    proceeds = size * (price * (1 - costs[1]))
    return size, cash + (proceeds - proceeds * costs[0])


@njit(cache=True, nogil=True)
def _buy(size, price, cash, costs):  # type: ignore[no-untyped-def]
    """Return (units bought, cash after) for a purchase of `size`, cut to what the cash can pay."""
    if cash == 0 or _close(size, 0.0):
        return 0.0, cash
    fill_price = price * (1 + costs[1])
    needed = size * fill_price * (1 + costs[0])
    if needed <= cash or _close(needed, cash):
        cash = _less(cash, needed)
        return size, 0.0 if _close(cash, 0.0) else cash
    return cash / (1 + costs[0]) / fill_price, 0.0


# Inlined: a call with a dozen arrays counts references to each, which costs a fifth of the run.
@njit(cache=True, nogil=True, inline="always")
def _sell_due(  # type: ignore[no-untyped-def]
    pending, units, price, tradable, equity, cash, costs, sizes, columns, values, fills_row
):
    """Fill the sells that are due, and list the buys in `columns`, `sizes` and `values`.

    Returns (cash, orders, notional traded, symbols that wait for a bar, number of buys, notional
    that they need).
    """
    band, min_notional = costs[2], costs[3]
    orders, traded, waiting, buys, needed = 0, 0.0, 0, 0, 0.0
    for k in range(units.size):
        target = pending[k]
        if np.isnan(target):
            continue
        if not tradable[k] > 0:
            waiting += 1
            continue
        pending[k] = np.nan
        value = target * equity - units[k] * price[k]
        if (target != 0 and abs(value) < band * equity) or abs(value) < min_notional:
            continue
        size = target * equity / price[k] - units[k]
        if size > 0:
            columns[buys], sizes[buys], values[buys] = k, size, value
            buys += 1
            needed += value
            continue
        sold, cash = _sell(-size, units[k], price[k], cash, costs)
        if sold > 0:
            units[k] = _less(units[k], sold)
            orders += 1
            traded += sold * price[k] * (1 - costs[1])
            if fills_row.size:
                fills_row[k] = -sold
    return cash, orders, traded, waiting, buys, needed


@njit(cache=True, nogil=True, inline="always")
def _buy_due(buys, units, price, cash, costs, sizes, columns, fills_row):  # type: ignore[no-untyped-def]
    """Fill the first `buys` orders of `columns` and `sizes`, in that order.

    Returns (cash, orders, notional traded).
    """
    orders, traded = 0, 0.0
    for j in range(buys):
        k = columns[j]
        bought, cash = _buy(sizes[j], price[k], cash, costs)
        if bought > 0:
            units[k] += bought
            orders += 1
            traded += bought * price[k] * (1 + costs[1])
            if fills_row.size:
                fills_row[k] = bought
    return cash, orders, traded


@njit(cache=True, nogil=True, inline="always")
def _trade(pending, units, price, tradable, cash, costs, sizes, columns, values, fills_row):  # type: ignore[no-untyped-def]
    """Fill what is pending in the symbols that are `tradable`.

    Returns (cash, orders, notional traded, symbols that still wait).
    """
    equity = cash
    for k in range(units.size):
        equity += units[k] * price[k]
    cash, sells, sold, waiting, buys, needed = _sell_due(
        pending, units, price, tradable, equity, cash, costs, sizes, columns, values, fills_row
    )
    # The order matters only where cash is short.
    if needed * (1 + costs[1]) * (1 + costs[0]) > cash * (1 - 1e-6):
        _sort_by_value(columns, sizes, values, buys)
    cash, bought_orders, bought = _buy_due(
        buys, units, price, cash, costs, sizes, columns, fills_row
    )
    return cash, sells + bought_orders, sold + bought, waiting


@njit(cache=True, nogil=True)
def _simulate(open_, close, weights, fee, slippage, band, min_notional, cash, equity, fills):  # type: ignore[no-untyped-def]
    bars, symbols = close.shape
    units, price, pending = np.zeros(symbols), np.zeros(symbols), np.full(symbols, np.nan)
    sizes, values, columns = np.empty(symbols), np.empty(symbols), np.empty(symbols, np.int64)
    costs, no_record = (fee, slippage, band, min_notional), np.empty(0)
    orders, traded, equity_sum, waiting = 0, 0.0, 0.0, 0
    total, total2, total3, total4, downside2, drawdown, peak = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(bars):
        if t > 0:
            for k in range(symbols):
                if not np.isnan(weights[t - 1, k]):
                    pending[k] = weights[t - 1, k]
                    waiting += 1
        if waiting:
            for k in range(symbols):
                price[k] = open_[t, k] if open_[t, k] > 0 else price[k]
            row = fills[t] if fills.shape[0] else no_record
            cash, made, notional, waiting = _trade(
                pending, units, price, open_[t], cash, costs, sizes, columns, values, row
            )
            orders += made
            traded += notional
        worth = cash
        for k in range(symbols):
            price[k] = close[t, k] if close[t, k] > 0 else price[k]
            worth += units[k] * price[k]
        equity[t] = worth
        equity_sum += worth
        if worth > peak:
            peak = worth
        elif worth < peak * (1 - drawdown):  # the division is made only at a new worst
            drawdown = 1 - worth / peak
        if t > 0:
            r = worth / equity[t - 1] - 1
            total += r
            total2 += r * r
            total3 += r * r * r
            total4 += r * r * r * r
            downside2 += r * r if r < 0 else 0.0
    return bars - 1, orders, total, total2, total3, total4, downside2, drawdown, traded, equity_sum
