"""The compiled loop of a simulated account: what is due at an open, and the value at each close.

The rules are those of penstock.research.engine.kernel, which prepares the arrays and is the only
caller. Sums over a row or a block may be taken in any order, as in penstock.research.engine.orders.
"""

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np

from penstock.core.extras import extra
from penstock.research.engine import layout, orders
from penstock.research.engine.layout import (
    BLOCK,
    DOWNSIDE2,
    DRAWDOWN,
    DUE,
    EQUITY_SUM,
    FIRST,
    LAST,
    PEAK,
    PENDING,
    PRICE,
    RESERVE,
    SIZE,
    TOTAL,
    TOTAL2,
    TOTAL3,
    TOTAL4,
    UNITS,
    VALUE_AT_END,
)
from penstock.research.engine.orders import compiled, fill_price, inlined, summed, trade, trade_live

with extra("research"):
    from numba import njit

#: The bits of infinity.
_INFINITY = 0x7FF0000000000000
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
_cached = njit(**_OPTIONS)  # type: ignore[call-overload]  # numba's stubs have no _nrt


@_cached
def rows_with_a_decision(weights, rows):  # type: ignore[no-untyped-def]  # numba infers array types
    """Return the rows of `weights`, of shape (bars, symbols), that are not all NaN."""
    bars, symbols = weights.shape
    found = 0
    if symbols == 1:
        for t in range(bars):
            if weights[t, 0] == weights[t, 0]:
                rows[found] = t
                found += 1
        return found
    for t in range(bars):
        decided = 0
        for k in range(symbols):
            decided += weights[t, k] == weights[t, k]
        rows[found] = t
        found += decided > 0
    return found


@compiled
def _write_off(t, bars, ends, work, limits, cash, written_off):  # type: ignore[no-untyped-def]
    """Write off what is held of symbols that end at row `t`; return (cash, the next such row)."""
    following = bars
    for k in range(ends.size):
        if ends[k] == t:
            if work[UNITS, k] != 0:
                cash += work[UNITS, k] * work[PRICE, k] * limits[VALUE_AT_END]
            written_off[k], work[UNITS, k], work[PENDING, k] = work[UNITS, k], 0.0, np.nan
        elif ends[k] > t:
            following = min(following, ends[k])
    return cash, following


@inlined
def _due_with_gaps(open_, volume, t, work):  # type: ignore[no-untyped-def]
    """Move what waits and can trade now from PENDING to DUE; return how many wait on."""
    waiting = 0
    for k in range(work.shape[1]):
        price = open_[t, k]
        if price > 0:
            work[PRICE, k] = price
        tradable = price > 0 and volume[t, k] > 0
        work[DUE, k] = work[PENDING, k] if tradable else np.nan
        if tradable:
            work[PENDING, k] = np.nan
        elif work[PENDING, k] == work[PENDING, k]:
            waiting += 1
    return waiting


@summed
def _value_all(work, prices, first, block, filled, count, cash):  # type: ignore[no-untyped-def]
    for i in range(count):
        worth = 0.0
        for k in range(prices.shape[1]):
            worth += work[UNITS, k] * prices[first + i, k]
        block[filled + i] = cash + worth


@summed
def _value_held(  # type: ignore[no-untyped-def]
    work, prices, first, block, filled, count, cash, columns, held
):
    for i in range(count):
        worth = 0.0
        for j in range(held):
            worth += work[UNITS, columns[j]] * prices[first + i, columns[j]]
        block[filled + i] = cash + worth


@compiled
def _value_rows(  # type: ignore[no-untyped-def]
    work, prices, first, block, filled, count, cash, columns, held
):
    """Value the rows [first, first + count) of `prices` into `block` from `filled` on.

    Only what is held is looked at, or all where that is most.
    """
    if held == 0:
        for i in range(count):
            block[filled + i] = cash
    elif prices.shape[1] == 1:
        for i in range(count):
            block[filled + i] = cash + work[UNITS, 0] * prices[first + i, 0]
    elif 2 * held > prices.shape[1]:
        _value_all(work, prices, first, block, filled, count, cash)
    else:
        _value_held(work, prices, first, block, filled, count, cash, columns, held)


@compiled
def _value(  # type: ignore[no-untyped-def]
    work, close, flows, first, block, filled, count, cash, columns, held, has_gaps
):
    """Value bars into `block`, and return the cash. A flow is paid before its bar is valued.

    With gaps the last prices of what is held are valued as a row of their own, by the same code: a
    gap that is yet to come changes no digit.
    """
    if not has_gaps and not flows.shape[0]:
        _value_rows(work, close, first, block, filled, count, cash, columns, held)
        return cash
    for i in range(count):
        for j in range(held):
            k = columns[j]
            if close[first + i, k] > 0:
                work[PRICE, k] = close[first + i, k]
            if flows.shape[0]:
                cash += work[UNITS, k] * flows[first + i, k]
        _value_rows(work, work, PRICE, block, filled + i, 1, cash, columns, held)
    return cash


@compiled
def _range_of(block, count):  # type: ignore[no-untyped-def]
    """Return (whether the values are all above zero and finite, the smallest, the largest).

    The bits of such floats are ordered as whole numbers are, whose minimum the processor finds in
    vectors. Bits of what is negative are below zero, those of NaN and infinity above any other.
    """
    low, high = np.int64(_INFINITY), np.int64(0)
    for i in range(count):
        bits = np.float64(block[i]).view(np.int64)
        low, high = min(low, bits), max(high, bits)
    ordinary = low > 0 and high < _INFINITY
    return ordinary, np.int64(low).view(np.float64), np.int64(high).view(np.float64)


@compiled
def _return(worth, before):  # type: ignore[no-untyped-def]
    """Return the return of one bar: 0 where all was lost before, unknown where there was debt."""
    if before > 0:
        return worth / before - 1
    return 0.0 if before == 0 and worth == 0 else np.nan


@summed
def _sum_returns(returns, first, count, sums):  # type: ignore[no-untyped-def]
    total, total2, total3, total4, downside2 = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(first, count):
        r = returns[i]
        r2 = r * r
        total += r
        total2 += r2
        total3 += r2 * r
        total4 += r2 * r2
        low = r if r < 0 else 0.0
        downside2 += low * low
    sums[TOTAL] += total
    sums[TOTAL2] += total2
    sums[TOTAL3] += total3
    sums[TOTAL4] += total4
    sums[DOWNSIDE2] += downside2


@summed
def _sum_of(block, count):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(count):
        total += block[i]
    return total


@compiled
def _worst_fall(block, count, peak, fall):  # type: ignore[no-untyped-def]
    """Return (whether all values are ordinary, the peak, the worst fall from a peak) after a block.

    An ordinary block whose range is narrower than the worst fall has no new one. What was not a
    number stays that.
    """
    ordinary, low, high = _range_of(block, count)
    if ordinary and low >= max(high, peak) * (1 - fall):
        return ordinary, max(high, peak), fall
    floor = peak * (1 - fall)
    for i in range(count):
        worth = block[i]
        if worth > peak:
            peak = worth
            floor = peak * (1 - fall)
        elif not worth >= floor and not np.isnan(fall):
            fall = 1 - worth / peak
            floor = worth
    return ordinary, peak, fall


@compiled
def _sum_block(block, count, valued, returns, sums, equity):  # type: ignore[no-untyped-def]
    """Add the figures of the block's first `count` values to `sums`, and the values to `equity`.

    `valued` bars came before.
    """
    for i in range(count if equity.size else 0):
        equity[valued + i] = block[i]
    sums[EQUITY_SUM] += _sum_of(block, count)
    if valued == 0:
        sums[FIRST], sums[LAST], sums[PEAK] = block[0], block[0], block[0]
    ordinary, sums[PEAK], sums[DRAWDOWN] = _worst_fall(block, count, sums[PEAK], sums[DRAWDOWN])
    returns[0] = _return(block[0], sums[LAST])
    if ordinary:
        for i in range(1, count):
            returns[i] = block[i] / block[i - 1] - 1
    else:
        for i in range(1, count):
            returns[i] = _return(block[i], block[i - 1])
    _sum_returns(returns, 1 if valued == 0 else 0, count, sums)
    sums[LAST] = block[count - 1]


@inlined
def _take(weights, row, open_, t, work, has_gaps):  # type: ignore[no-untyped-def]
    """Take over the weights of a row: they are due at once where nothing has to wait."""
    for k in range(work.shape[1]):
        weight = weights[row, k]
        if not has_gaps:
            work[DUE, k], work[PRICE, k] = weight, open_[t, k]
        elif not np.isnan(weight):
            work[PENDING, k] = weight


@inlined
def _note(work, columns, fills, t):  # type: ignore[no-untyped-def]
    """Record the fills, and list in `columns` what is held now; return how many that are."""
    held = 0
    for k in range(work.shape[1]):
        if fills.shape[0]:
            fills[t, k] = work[SIZE, k]
        columns[held] = k
        held += work[UNITS, k] != 0
    return held


@compiled
def _run(  # type: ignore[no-untyped-def]
    open_,
    close,
    volume,
    flows,
    rows,
    weights,
    is_dense,
    has_gaps,
    ends,
    rules,
    limits,
    flags,
    cash,
    equity,
    fills,
    written_off,
    work,
    columns,
    block,
    returns,
    sums,
):
    """Simulate an account into `sums`, and into `equity` and `fills` unless they have no rows.

    `rows` are the rows at whose close something was decided. The weights of rows[d] are
    weights[rows[d]] of a dense matrix, else weights[d]. `flags` say whether any symbol has a price
    step, whether any has a smallest order, and whether the volume binds.
    """
    bars, symbols = close.shape
    next_end = bars
    for k in range(symbols):
        work[PENDING, k] = np.nan
        next_end = min(next_end, ends[k])
    t, d, filled, waiting, held, valued = 0, 0, 0, 0, 0, 0
    while t < bars:
        acts = waiting > 0
        if t >= next_end:
            cash, next_end = _write_off(t, bars, ends, work, limits, cash, written_off)
            acts = True
        if d < rows.size and rows[d] == t - 1:
            _take(weights, rows[d] if is_dense else d, open_, t, work, has_gaps)
            d += 1
            acts = True
        if acts:
            if has_gaps:
                waiting = _due_with_gaps(open_, volume, t, work)
            if limits[RESERVE] < 0:
                cash = trade(work, t, volume, rules, limits, flags, cash, columns, sums)
            else:
                cash = trade_live(work, t, volume, rules, limits, cash, sums)
            held = _note(work, columns, fills, t)
        stop = t + 1 if waiting > 0 else min(bars, next_end)
        if d < rows.size:
            stop = min(stop, rows[d] + 1)
        while t < stop:
            count = min(stop - t, BLOCK - filled)
            cash = _value(
                work, close, flows, t, block, filled, count, cash, columns, held, has_gaps
            )
            filled += count
            t += count
            if filled == BLOCK or t == bars:
                _sum_block(block, filled, valued, returns, sums, equity)
                valued += filled
                filled = 0


#: The files whose code the functions below contain.
_SOURCES = (layout.__file__, orders.__file__, __file__)


def _keyed(stamp: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the loop and what prices its fills, compiled.

    numba looks for changes in this file alone before it takes code from its cache, and at the
    values that a function closes over: the stamp stands for the sources of all files.
    """

    @_cached
    def run(*arguments):  # type: ignore[no-untyped-def]
        if stamp >= 0:
            _run(*arguments)

    @_cached
    def price_fills(open_, rows, columns, units, rules, prices):  # type: ignore[no-untyped-def]
        """Fill `prices` with the price of each order of `units` (signed)."""
        for i in range(rows.size if stamp >= 0 else 0):
            prices[i] = fill_price(units[i], open_[rows[i], columns[i]], rules, columns[i])

    return run, price_fills


run, price_fills = _keyed(crc32(b"".join(Path(source).read_bytes() for source in _SOURCES)))
