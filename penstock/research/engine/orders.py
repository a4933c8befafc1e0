"""Which orders an account makes at one open, and what they fill: compiled for the loop.

Two ways, by penstock.research.engine.kernel's rules: `trade` fills the smaller buys first where
cash is short, `trade_live` plans as penstock.portfolio.rebalancing does.

Sums over a row may be taken in any order (`reassoc`, `contract`), so that the processor's vectors
are used. Nothing else is relaxed: what is not a number stays that.
"""

import numpy as np

from penstock.core.extras import extra
from penstock.research.engine.layout import (
    BAND,
    DUE,
    FEE,
    KEEP,
    LEAST,
    LOT,
    MIN_NOTIONAL,
    MIN_QUANTITY,
    NOTIONAL,
    ORDERS,
    PRICE,
    REDUCED,
    RESERVE,
    SHARE,
    SIZE,
    SLIPPAGE,
    TICK,
    TRADED,
    UNFILLED,
    UNITS,
    VALUE,
)

with extra("research"):
    from numba import njit

#: Two amounts closer than this are the same one (relative, absolute).
_REL, _ABS = 1e-12, 1e-12
#: Weights that exceed what is left by less than this fraction of it are not scaled down.
_FULL = 1e-9
#: An order of less than this fraction of equity is the rounding of a sum.
_DUST = 1e-12
#: A number of lots or price steps that is this near to a whole one is that one.
_WHOLE, _WHOLE_REL = 1e-9, 1e-13

# Without numba's reference counts (_nrt), which take longer than the orders. So nothing here makes
# an array. Not cached one by one: see `_keyed` in penstock.research.engine.loop.
_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
compiled = njit(**_OPTIONS)  # type: ignore[call-overload]  # numba's stubs have no _nrt
#: A call hands over each array in seven words: what is called at each row is inlined.
inlined = njit(inline="always", **_OPTIONS)  # type: ignore[call-overload]
summed = njit(fastmath={"reassoc", "contract"}, **_OPTIONS)  # type: ignore[call-overload]


@compiled
def _same(a, b):  # type: ignore[no-untyped-def]  # numba infers types
    return a == b or abs(a - b) <= max(_REL * max(abs(a), abs(b)), _ABS)


@compiled
def _less(a, b):  # type: ignore[no-untyped-def]
    """Return a - b, exactly zero where the two are the same amount."""
    return 0.0 if _same(a, b) else a - b


@compiled
def _whole(count):  # type: ignore[no-untyped-def]
    """Return a count of lots or steps, rounded down to a whole one."""
    return np.floor(count + _WHOLE + _WHOLE_REL * abs(count))


@summed
def _worth(work):  # type: ignore[no-untyped-def]
    """Return what is held, at the prices of `work`."""
    total = 0.0
    for k in range(work.shape[1]):
        total += work[UNITS, k] * work[PRICE, k]
    return total


@compiled
def fill_price(size, price, rules, k):  # type: ignore[no-untyped-def]
    """Return the price at which an order of `size` (signed) fills when the open is `price`.

    It is worse by the slippage, which is at most the price. Where the price step is known it is the
    nearest step, and never better than `price`: as FillModel.taker_price has it.
    """
    slip = min(max(price * rules[SLIPPAGE, k], rules[LEAST, k]), price)
    tick = rules[TICK, k]
    if tick == 0:
        return price + slip if size > 0 else price - slip
    steps, slip = price / tick, slip / tick
    if size > 0:
        return tick * max(_whole(steps + slip + 0.5), -_whole(-steps))
    return min(tick * max(min(_whole(steps - slip + 0.5), _whole(steps)), 1.0), price)


@compiled
def _legal(size, price, rules, k):  # type: ignore[no-untyped-def]
    """Return `size` (signed) in whole lots, 0 where the venue would refuse it as too small."""
    lot, magnitude = rules[LOT, k], abs(size)
    if lot > 0:
        magnitude = lot * _whole(magnitude / lot)
    if magnitude < rules[MIN_QUANTITY, k] * (1 - _WHOLE):
        return 0.0
    if magnitude * price < rules[MIN_NOTIONAL, k] * (1 - _WHOLE):
        return 0.0
    return magnitude if size > 0 else -magnitude


@compiled
def _filled(size, most, rules, k):  # type: ignore[no-untyped-def]
    """Return how much of `size` (signed) a bar fills that gives `most`, in whole lots."""
    if abs(size) <= most:
        return size
    lot = rules[LOT, k]
    if lot > 0:
        most = lot * _whole(most / lot)
    return most if size > 0 else -most


@compiled
def _scale_of(work, equity):  # type: ignore[no-untyped-def]
    """Return the factor by which the weights that are due fit beside what is held without one."""
    held, due = 0.0, 0.0
    if equity <= 0:
        return 1.0
    for k in range(work.shape[1]):
        if work[DUE, k] == work[DUE, k]:
            due += abs(work[DUE, k])
        elif work[UNITS, k] != 0:
            held += abs(work[UNITS, k] * work[PRICE, k])
    if held <= 0 or due <= 0 or due * equity + held <= equity * (1 + _FULL):
        return 1.0
    return max(equity - held, 0.0) / (due * equity)


@inlined
def _want(work, factor, band, dust):  # type: ignore[no-untyped-def]
    """Fill SIZE and VALUE of `work` with what the due weights lack; return how many orders.

    Differences within the band are left alone, unless the weight is zero.
    """
    wanted = 0
    for k in range(work.shape[1]):
        goal, units, price = work[DUE, k] * factor, work[UNITS, k], work[PRICE, k]
        value = goal - units * price
        size = -units if goal == 0 else value / price
        made = (abs(value) > dust) & (abs(size) > _ABS) & ((abs(value) >= band) | (goal == 0))
        work[VALUE, k] = value
        work[SIZE, k] = size if made else 0.0
        wanted += made
    return wanted


@inlined
def _limit(work, t, volume, rules, limits, has_steps):  # type: ignore[no-untyped-def]
    """Cut SIZE to what is legal and what the volume fills; return the notional that it does not."""
    unfilled = 0.0
    for k in range(work.shape[1]):
        size = work[SIZE, k]
        if size == 0:
            continue
        if has_steps:
            size = _legal(size, work[PRICE, k], rules, k)
        filled = _filled(size, limits[SHARE] * volume[t, k], rules, k)
        unfilled += abs(size - filled) * work[PRICE, k]
        work[SIZE, k] = filled
    return unfilled


@inlined
def _price(work, rules, has_ticks):  # type: ignore[no-untyped-def]
    """Fill NOTIONAL with what each order moves, bought above zero and sold below, at its price."""
    if has_ticks:
        for k in range(work.shape[1]):
            size = work[SIZE, k]
            work[NOTIONAL, k] = (
                0.0 if size == 0 else size * fill_price(size, work[PRICE, k], rules, k)
            )
    else:
        for k in range(work.shape[1]):
            size, price = work[SIZE, k], work[PRICE, k]
            slip = min(max(price * rules[SLIPPAGE, k], rules[LEAST, k]), price)
            work[NOTIONAL, k] = size * price + abs(size) * slip if size != 0 else 0.0


@summed
def _bill(work, rules):  # type: ignore[no-untyped-def]
    """Return (cash that all orders need, their notional, their number)."""
    needed, traded, orders = 0.0, 0.0, 0
    for k in range(work.shape[1]):
        notional = work[NOTIONAL, k]
        needed += notional + abs(notional) * rules[FEE, k]
        traded += abs(notional)
        orders += work[SIZE, k] != 0
    return needed, traded, orders


@inlined
def _hold(work):  # type: ignore[no-untyped-def]
    """Add SIZE to what is held; a rest that is rounding is nothing."""
    for k in range(work.shape[1]):
        size = work[SIZE, k]
        units = work[UNITS, k] + size
        rest = abs(units) > max(_REL * abs(size), _ABS)
        work[UNITS, k] = units if rest | (size == 0) else 0.0


@compiled
def _by_value(work, columns):  # type: ignore[no-untyped-def]
    """List the buys in `columns` by value, ascending and stable; return how many there are."""
    count = 0
    for k in range(work.shape[1]):
        if work[SIZE, k] > 0:
            i = count - 1
            while i >= 0 and work[VALUE, columns[i]] > work[VALUE, k]:
                columns[i + 1] = columns[i]
                i -= 1
            columns[i + 1] = k
            count += 1
    return count


@compiled
def _pay_in_turn(work, rules, cash, dust, columns):  # type: ignore[no-untyped-def]
    """Fill the sells, then the buys from the smallest on, as far as cash goes; return the cash.

    SIZE and NOTIONAL become what was filled.
    """
    for k in range(work.shape[1]):
        if work[SIZE, k] < 0:
            proceeds = -work[NOTIONAL, k]
            cash += proceeds - proceeds * rules[FEE, k]
    count = _by_value(work, columns)
    for j in range(count):
        k = columns[j]
        notional = work[NOTIONAL, k]
        needed = notional * (1 + rules[FEE, k])
        if needed <= cash or _same(needed, cash):
            cash = _less(cash, needed)
            cash = 0.0 if _same(cash, 0.0) else cash
            continue
        price = notional / work[SIZE, k]
        size = max(cash, 0.0) / (1 + rules[FEE, k]) / price
        cut = _legal(size, work[PRICE, k], rules, k) if cash > dust else 0.0
        work[SIZE, k], work[NOTIONAL, k] = cut, cut * price
        if cash > 0:
            cash = 0.0 if cut == size else cash - cut * price * (1 + rules[FEE, k])
    return cash


@inlined
def trade(work, t, volume, rules, limits, flags, cash, columns, sums):  # type: ignore[no-untyped-def]
    """Fill what is due in `work`, the smaller buys first where cash is short; return the cash."""
    has_ticks, has_steps, has_share = flags
    equity = cash + _worth(work)
    undecided = 0
    for k in range(work.shape[1]):
        undecided += work[DUE, k] != work[DUE, k]
    scale = _scale_of(work, equity) if undecided else 1.0
    sums[REDUCED] += scale < 1
    dust = _DUST * abs(equity)
    # Who owes more than all that is held is worth closes it.
    if _want(work, scale * max(equity, 0.0), limits[BAND] * equity, dust) > 0:
        if has_steps or has_share:
            sums[UNFILLED] += _limit(work, t, volume, rules, limits, has_steps)
        _price(work, rules, has_ticks)
        needed, traded, orders = _bill(work, rules)
        if cash - needed > 1e-8 * abs(equity):
            cash -= needed
        else:  # the order matters only where cash is short
            cash = _pay_in_turn(work, rules, cash, dust, columns)
            _, traded, orders = _bill(work, rules)
        _hold(work)
        sums[TRADED] += traded
        sums[ORDERS] += orders
    return cash


@compiled
def _live_scale(work, rules, equity):  # type: ignore[no-untyped-def]
    """Return the planner's factor: what stays as it is leaves the rest to the weights that are due.

    A holding that is to be sold and of which nothing can be stays, too.
    """
    stays, due = 0.0, 0.0
    for k in range(work.shape[1]):
        goal, units, price = work[DUE, k], work[UNITS, k], work[PRICE, k]
        crumb = goal <= 0 and units > 0
        if crumb:
            crumb = _legal(max(units - rules[KEEP, k], 0.0), price, rules, k) == 0
        if (np.isnan(goal) or crumb) and units > 0:
            stays += units * price
        elif goal > 0:
            due += goal
    if stays <= 0 or due <= 0 or equity <= 0:
        return 1.0
    factor = max(1 - stays / equity, 0.0) / due
    return 1.0 if factor >= 1 - _FULL else factor


@compiled
def _live_sells(work, t, volume, rules, limits, equity, factor, cash, sums):  # type: ignore[no-untyped-def]
    """Plan and fill the sells as the planner does, and take them off what is due; return cash."""
    for k in range(work.shape[1]):
        goal, units, price = work[DUE, k] * factor, work[UNITS, k], work[PRICE, k]
        if np.isnan(goal) or units <= 0:
            continue
        excess = units - max(max(goal, 0.0) * equity / price, rules[KEEP, k])
        if excess * price <= _DUST * equity:
            continue
        if goal > 0 and excess * price < limits[BAND] * equity:
            continue
        sold = -_legal(-excess, price, rules, k)
        if sold == 0:
            continue
        work[DUE, k] = np.nan
        filled = _filled(sold, limits[SHARE] * volume[t, k], rules, k)
        sums[UNFILLED] += (sold - filled) * price
        if filled > 0:
            notional = filled * fill_price(-filled, price, rules, k)
            cash += notional - notional * rules[FEE, k]
            work[SIZE, k], work[UNITS, k] = -filled, _less(units, filled)
            sums[ORDERS] += 1
            sums[TRADED] += notional
    return cash


@compiled
def _live_buys(work, t, volume, rules, limits, cash, sums):  # type: ignore[no-untyped-def]
    """Plan the buys by the equity after the sells, scaled down together to the cash, and fill them
    in the order of the symbols; return the cash.
    """
    equity = cash + _worth(work)
    factor = _live_scale(work, rules, equity)
    cost = 0.0
    for k in range(work.shape[1]):
        goal, price = work[DUE, k], work[PRICE, k]
        lacking = max(goal, 0.0) * factor * equity / price - work[UNITS, k] if goal > 0 else 0.0
        value, work[VALUE, k] = lacking * price, 0.0
        if value > _DUST * equity and value >= limits[BAND] * equity:
            work[VALUE, k] = _legal(lacking, price, rules, k)
            cost += work[VALUE, k] * price * (1 + limits[RESERVE])
    share = max(cash, 0.0) / cost if cost > cash else 1.0
    for k in range(work.shape[1]):
        if work[VALUE, k] == 0:
            continue
        price, wanted = work[PRICE, k], work[VALUE, k]
        if share < 1:
            wanted = _legal(wanted * share, price, rules, k)
        at = fill_price(wanted, price, rules, k)
        filled = _filled(wanted, limits[SHARE] * volume[t, k], rules, k)
        if wanted * at * (1 + rules[FEE, k]) > cash * (1 + _ABS):
            filled = 0.0  # the venue takes no order that the account cannot pay
        else:
            sums[UNFILLED] += (wanted - filled) * price
        if filled > 0:
            cash -= filled * at * (1 + rules[FEE, k])
            work[SIZE, k] = filled
            work[UNITS, k] += filled
            sums[ORDERS] += 1
            sums[TRADED] += filled * at
    return cash


@inlined
def trade_live(work, t, volume, rules, limits, cash, sums):  # type: ignore[no-untyped-def]
    """Fill what is due in `work` as the live planner would have it; return the cash."""
    equity = cash + _worth(work)
    factor = _live_scale(work, rules, equity)
    sums[REDUCED] += factor < 1
    if _want(work, factor * equity, limits[BAND] * equity, _DUST * abs(equity)) > 0:
        for k in range(work.shape[1]):
            work[SIZE, k] = 0.0
        cash = _live_sells(work, t, volume, rules, limits, equity, factor, cash, sums)
        cash = _live_buys(work, t, volume, rules, limits, cash, sums)
    return cash
