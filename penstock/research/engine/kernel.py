"""The fast loop: one pass over the bars simulates a spot account and sums what every figure needs.

The rules of the simulation:

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
- Orders are sized by the equity at the open. Sells are filled before buys.
- Where the cash cannot pay all buys, fees included, the smaller ones are filled first and the
  largest is cut. Equal ones are filled in the order of the symbols.

On bars without gaps, where nothing undecided crowds others out, this is vectorbt's `from_orders`
with `call_seq="auto"`, down to its tolerances. The tests compare the two.
"""

from dataclasses import dataclass

import numpy as np

from penstock.core.extras import extra
from penstock.research.engine.costs import Costs
from penstock.research.engine.market import BarMatrices, Matrix
from penstock.research.engine.metrics import Moments

with extra("research"):
    from numba import njit

#: Two amounts closer than this are the same one (relative, absolute): vectorbt's own tolerances.
_REL, _ABS = 1e-9, 1e-12


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
    reduced: int = 0
    """The number of bars at which undecided holdings reduced the others' weights."""
    written_off: Matrix | None = None
    """The base units of each symbol that were held when its bars ended."""


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
    written_off = np.zeros(symbols)
    share = costs.max_volume_share
    sums = _simulate(
        market.open,
        market.close,
        # Without volumes every bar fills everything that has a price.
        market.open if market.volume is None else market.volume,
        np.ascontiguousarray(weights),
        np.full(symbols, bars) if market.ends is None else market.ends,
        np.zeros(symbols)
        if market.price_ticks is None
        else market.price_ticks * costs.min_slippage_ticks,
        (
            costs.fee,
            costs.slippage,
            costs.no_trade_band,
            costs.min_notional,
            np.inf if share is None or market.volume is None else share,
            costs.value_at_end,
        ),
        float(initial_cash),
        equity,
        fills,
        written_off,
    )
    returns, orders, reduced, *of_returns, traded, unfilled, equity_sum = sums
    # In the order of the fields of Moments.
    in_order = [int(returns), *of_returns, traded, int(orders), unfilled, equity_sum]
    in_order += [float(equity[0]), float(equity[-1])]
    return Run(equity, fills, Moments(*in_order), int(reduced), written_off)


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
def _slippage(price, least, costs):  # type: ignore[no-untyped-def]
    """Return the slippage as a fraction of `price`; `least` is in quote units."""
    return max(costs[1], least / price)


@njit(cache=True, nogil=True)
def _sell(size, units, price, most, least, cash, costs):  # type: ignore[no-untyped-def]
    """Return (units sold, notional, cash after) for a sale of `size`, at most what is held, and at
    most `most`.
    """
    size = min(units, size, most)
    if units == 0 or _close(size, 0.0):
        return 0.0, 0.0, cash
    proceeds = size * (price * (1 - _slippage(price, least, costs)))
    return size, proceeds, cash + (proceeds - proceeds * costs[0])


@njit(cache=True, nogil=True)
def _buy(size, price, most, least, cash, costs):  # type: ignore[no-untyped-def]
    """Return (units bought, notional, cash after) for a purchase of `size`, at most `most`, cut to
    what the cash can pay.
    """
    size = min(size, most)
    if cash == 0 or _close(size, 0.0):
        return 0.0, 0.0, cash
    fill_price = price * (1 + _slippage(price, least, costs))
    needed = size * fill_price * (1 + costs[0])
    if needed <= cash or _close(needed, cash):
        cash = _less(cash, needed)
        return size, size * fill_price, 0.0 if _close(cash, 0.0) else cash
    size = cash / (1 + costs[0]) / fill_price
    return size, size * fill_price, 0.0


# Inlined: a call with a dozen arrays counts references to each, which costs a fifth of the run.
@njit(cache=True, nogil=True, inline="always")
def _scale_of(pending, units, price, tradable, volume, equity):  # type: ignore[no-untyped-def]
    """Return the factor by which the weights that are due fit beside what is held without one."""
    held, due = 0.0, 0.0
    for k in range(units.size):
        if np.isnan(pending[k]) or not (tradable[k] > 0 and volume[k] > 0):
            held += units[k] * price[k]
        else:
            due += pending[k]
    if held <= 0 or due * equity + held <= equity * (1 + _REL):
        return 1.0
    return max(equity - held, 0.0) / (due * equity)


@njit(cache=True, nogil=True, inline="always")
def _sell_due(  # type: ignore[no-untyped-def]
    pending,
    units,
    price,
    tradable,
    volume,
    least,
    scale,
    equity,
    cash,
    costs,
    sizes,
    columns,
    values,
    fills_row,
):
    """Fill the sells that are due, and list the buys in `columns`, `sizes` and `values`.

    Returns (cash, orders, notional traded, notional that volume does not fill, symbols that wait
    for a bar, number of buys, notional that they need).
    """
    band, min_notional, share = costs[2], costs[3], costs[4]
    orders, traded, unfilled, waiting, buys, needed = 0, 0.0, 0.0, 0, 0, 0.0
    for k in range(units.size):
        target = pending[k] * scale
        if np.isnan(target):
            continue
        if not (tradable[k] > 0 and volume[k] > 0):
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
        most = share * volume[k]
        unfilled += max(min(-size, units[k]) - most, 0.0) * price[k]
        sold, notional, cash = _sell(-size, units[k], price[k], most, least[k], cash, costs)
        if sold > 0:
            units[k] = _less(units[k], sold)
            orders += 1
            traded += notional
            if fills_row.size:
                fills_row[k] = -sold
    return cash, orders, traded, unfilled, waiting, buys, needed


@njit(cache=True, nogil=True, inline="always")
def _buy_due(buys, units, price, volume, least, cash, costs, sizes, columns, fills_row):  # type: ignore[no-untyped-def]
    """Fill the first `buys` orders of `columns` and `sizes`, in that order.

    Returns (cash, orders, notional traded, notional that volume does not fill).
    """
    orders, traded, unfilled = 0, 0.0, 0.0
    for j in range(buys):
        k = columns[j]
        most = costs[4] * volume[k]
        unfilled += max(sizes[j] - most, 0.0) * price[k]
        bought, notional, cash = _buy(sizes[j], price[k], most, least[k], cash, costs)
        if bought > 0:
            units[k] += bought
            orders += 1
            traded += notional
            if fills_row.size:
                fills_row[k] = bought
    return cash, orders, traded, unfilled


@njit(cache=True, nogil=True, inline="always")
def _trade(  # type: ignore[no-untyped-def]
    pending,
    units,
    price,
    tradable,
    volume,
    least,
    has_ticks,
    cash,
    costs,
    sizes,
    columns,
    values,
    fills_row,
):
    """Fill what is pending in the symbols that are `tradable`.

    Returns (cash, orders, notional traded, notional that volume does not fill, whether weights were
    scaled down, symbols that still wait).
    """
    equity = cash
    for k in range(units.size):
        equity += units[k] * price[k]
    scale = _scale_of(pending, units, price, tradable, volume, equity)
    cash, sells, sold, unsold, waiting, buys, needed = _sell_due(
        pending,
        units,
        price,
        tradable,
        volume,
        least,
        scale,
        equity,
        cash,
        costs,
        sizes,
        columns,
        values,
        fills_row,
    )
    # The order matters only where cash is short.
    if has_ticks or needed * (1 + costs[1]) * (1 + costs[0]) > cash * (1 - 1e-6):
        _sort_by_value(columns, sizes, values, buys)
    cash, bought_orders, bought, unbought = _buy_due(
        buys, units, price, volume, least, cash, costs, sizes, columns, fills_row
    )
    return cash, sells + bought_orders, sold + bought, unsold + unbought, scale < 1, waiting


@njit(cache=True, nogil=True)
def _write_off(t, bars, ends, pending, units, price, cash, costs, written_off):  # type: ignore[no-untyped-def]
    """Write off what is held of symbols that end at row `t`; return (cash, the next such row)."""
    following = bars
    for k in range(units.size):
        if ends[k] == t:
            cash += units[k] * price[k] * costs[5]
            written_off[k], units[k], pending[k] = units[k], 0.0, np.nan
        elif ends[k] > t:
            following = min(following, ends[k])
    return cash, following


@njit(cache=True, nogil=True)
def _simulate(  # type: ignore[no-untyped-def]
    open_, close, volume, weights, ends, least, costs, cash, equity, fills, written_off
):
    bars, symbols = close.shape
    units, price, pending = np.zeros(symbols), np.zeros(symbols), np.full(symbols, np.nan)
    sizes, values, columns = np.empty(symbols), np.empty(symbols), np.empty(symbols, np.int64)
    no_record, has_ticks, next_end = np.empty(0), least.max() > 0, ends.min()
    orders, traded, unfilled, equity_sum, waiting, reduced = 0, 0.0, 0.0, 0.0, 0, 0
    total, total2, total3, total4, downside2, drawdown, peak = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(bars):
        if t >= next_end:
            cash, next_end = _write_off(
                t, bars, ends, pending, units, price, cash, costs, written_off
            )
        if t > 0:
            for k in range(symbols):
                if not np.isnan(weights[t - 1, k]):
                    pending[k] = weights[t - 1, k]
                    waiting += 1
        if waiting:
            for k in range(symbols):
                price[k] = open_[t, k] if open_[t, k] > 0 else price[k]
            row = fills[t] if fills.shape[0] else no_record
            cash, made, notional, unmade, scaled, waiting = _trade(
                pending,
                units,
                price,
                open_[t],
                volume[t],
                least,
                has_ticks,
                cash,
                costs,
                sizes,
                columns,
                values,
                row,
            )
            orders += made
            traded += notional
            unfilled += unmade
            reduced += scaled
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
    return (
        bars - 1,
        orders,
        reduced,
        total,
        total2,
        total3,
        total4,
        downside2,
        drawdown,
        traded,
        unfilled,
        equity_sum,
    )
