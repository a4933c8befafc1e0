"""Finding the bar at which the market comes to an order that waits: a resting limit, or a stop.

Bars count that opened at or after the time up to which the order has been matched. Of a closed bar
high and low are known, of the present one only the open.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from penstock.core.timeframes import Timeframe
from penstock.practice.accounts import PracticeOrder
from penstock.practice.market import PracticeMarket
from penstock.practice.series import BarArrays, PracticeBar
from penstock.simulation.fill_model import decimal_of, first_bar_through

_FOREVER = 2**62
_BY_LENGTH = sorted(Timeframe, key=lambda t: t.seconds)


class Trigger(NamedTuple):
    """The instant at which the last price reached a stop."""

    price: Decimal
    """The last price then: the stop's, or the open of a bar that opened beyond it."""
    timeframe: Timeframe
    """The length of the bar."""
    bar: PracticeBar
    """The bar."""
    at_ms: int
    """The bar's open, or its last millisecond where the stop was reached within it."""
    matched_to_ms: int
    """Bars that open before this time can fill the order no more."""


def bar_through(
    market: PracticeMarket, symbol: str, order: PracticeOrder, now: int
) -> tuple[Timeframe, PracticeBar] | None:
    """Return the next closed bar that trades strictly through the order's limit; None where there
    is none yet.
    """
    return _next_closed(
        market,
        symbol,
        order,
        now,
        lambda bars: first_bar_through(
            order.side, order.price, bars.values[:, 1], bars.values[:, 2]
        ),
    )


def trigger_of(
    market: PracticeMarket, symbol: str, order: PracticeOrder, now: int
) -> Trigger | None:
    """Return when the last price reached the order's stop; None where it has not yet."""
    found = _next_closed(market, symbol, order, now, lambda bars: _first_reaching(order, bars))
    if found is not None:
        timeframe, bar = found
        opened = decimal_of(bar.open)
        if is_reached(order, opened):
            return Trigger(opened, timeframe, bar, bar.ts, bar.ts)
        end = bar.ts + timeframe.seconds * 1000
        return Trigger(order.stop_price, timeframe, bar, end - 1, end)
    known = market.quote(symbol, now)
    if known is None or not known.is_open or known.bar_ts < order.matched_to_ms:
        return None
    last = decimal_of(known.price)
    if not is_reached(order, last):
        return None
    present = PracticeBar(known.bar_ts, *(known.price,) * 4, known.volume)
    return Trigger(last, known.timeframe, present, known.bar_ts, known.bar_ts)


def is_reached(order: PracticeOrder, last: Decimal) -> bool:
    """Return whether a last price is at the order's stop or beyond."""
    return last >= order.stop_price if order.rises else last <= order.stop_price


def _first_reaching(order: PracticeOrder, bars: BarArrays) -> int | None:
    at = float(order.stop_price)
    hits = np.flatnonzero(bars.values[:, 1] >= at if order.rises else bars.values[:, 2] <= at)
    return int(hits[0]) if len(hits) else None


def _next_closed(
    market: PracticeMarket,
    symbol: str,
    order: PracticeOrder,
    now: int,
    find: Callable[[BarArrays], int | None],
) -> tuple[Timeframe, PracticeBar] | None:
    """Return the first closed bar that `find` has the position of; None where there is none yet.

    It comes from the shortest timeframe there is at that time. Bars that are none move the order's
    `matched_to_ms`.
    """
    by_timeframe = market.table[symbol]
    while True:
        pages = [
            (by_timeframe[t].page(order.matched_to_ms, _FOREVER, 1), t)
            for t in _BY_LENGTH
            if t in by_timeframe
        ]
        starts = [(int(page.ts[0]), t.seconds, t) for page, t in pages if len(page)]
        if not starts:
            return None
        _, seconds, timeframe = min(starts)
        closed = by_timeframe[timeframe].window(order.matched_to_ms, now - seconds * 1000 + 1)
        if len(closed) == 0:
            return None
        found = find(closed)
        if found is not None:
            return timeframe, closed[found]
        order.matched_to_ms = int(closed.ts[-1]) + seconds * 1000
