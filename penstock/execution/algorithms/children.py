"""Child orders, and how a quantity is cut into pieces that the venue takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from penstock.core.instruments import NOTIONAL_HEADROOM, Instrument
from penstock.core.orders import OrderType, Side
from penstock.core.proposals import ProposedOrder

_ZERO = Decimal(0)
_BPS = Decimal(10_000)


@dataclass(frozen=True)
class ChildOrder:
    """One request of a parent order."""

    type: OrderType
    """Market or limit."""

    quantity: Decimal
    """Base units."""

    price: Decimal | None = None
    """The limit price (quote units). A child of a plan has none: it is set when it is sent."""

    at: timedelta = timedelta(0)
    """When it is due, counted from the start of the work."""

    number: int = 0
    """Its number among the parent's children, from 0. It is part of the child's id."""


def cut(
    order: ProposedOrder, shares: Sequence[Decimal], instrument: Instrument
) -> list[tuple[int, Decimal]]:
    """Return the pieces of an order: (index of the share, quantity), in proportion to `shares`.

    Quantities are whole lots and sum to the order. Rounding is cumulative: it moves no quantity by
    more than a lot. A piece below NOTIONAL_HEADROOM times the venue's minimum is added to the next
    one. What is left at the end joins the last piece. Shares are at least 0; where all are 0 they
    count the same. An order that is too small to be cut is one piece.
    """
    total = sum(shares, _ZERO)
    weights = list(shares) if total > 0 else [Decimal(1)] * max(len(shares), 1)
    total = sum(weights, _ZERO)
    pieces: list[tuple[int, Decimal]] = []
    passed, given = _ZERO, _ZERO
    for index, weight in enumerate(weights):
        passed += weight
        quantity = instrument.round_lots(order.quantity * passed / total) - given
        if quantity > 0 and _is_comfortable(quantity, order.price, instrument):
            pieces.append((index, quantity))
            given += quantity
    rest = order.quantity - given
    if rest and pieces:
        index, quantity = pieces[-1]
        pieces[-1] = (index, quantity + rest)
    elif rest:
        pieces.append((0, rest))
    return pieces


def _is_comfortable(quantity: Decimal, price: Decimal, instrument: Instrument) -> bool:
    return instrument.refusal(quantity, price / NOTIONAL_HEADROOM) is None


def limit_price(
    side: Side,
    last: Decimal,
    reference: Decimal,
    offset_bps: Decimal,
    collar_bps: Decimal,
    instrument: Instrument,
) -> Decimal | None:
    """Return last x (1 + side x offset) in whole ticks, within the venue's price band.

    It is never worse than reference x (1 + side x collar); None where the band has no such price.
    A positive offset crosses the market, a negative one rests in the order book. A buy is rounded
    down, a sell up.
    """
    wanted = last * (1 + side.sign * offset_bps / _BPS)
    worst = reference * (1 + side.sign * collar_bps / _BPS)
    bounded = min(wanted, worst) if side is Side.BUY else max(wanted, worst)
    rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
    price = instrument.round_price(bounded, rounding)
    allowed = instrument.price_range(side, last)
    if allowed is None:
        return price
    lowest, highest = allowed
    if lowest <= price <= highest:
        return price
    nearest = lowest if price < lowest else highest
    is_worse = nearest > worst if side is Side.BUY else nearest < worst
    return None if is_worse or lowest > highest else nearest
