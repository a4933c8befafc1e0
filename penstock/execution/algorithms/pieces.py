"""Pieces: a child order that is larger than the venue takes at once leaves as several orders."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from penstock.core.instruments import Instrument
from penstock.core.orders import OrderType

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Pieces:
    """A quantity in pieces."""

    quantities: tuple[Decimal, ...]
    """The pieces, each legal at the venue (base units)."""
    left: Decimal = _ZERO
    """What no legal piece has (base units). Pieces and `left` sum exactly to the quantity."""


def pieces(kind: OrderType, quantity: Decimal, price: Decimal, instrument: Instrument) -> Pieces:
    """Return the fewest equal pieces that the venue takes, in whole lots.

    Pieces differ by a lot at most. Something is left where the venue's minimum is more than half of
    its maximum: pieces of the largest size are then fewer, and the rest is too small. What no bound
    concerns is one piece.
    """
    largest = instrument.largest(kind, price)
    if largest is None or quantity <= largest:
        return Pieces((quantity,))
    step, least = instrument.lot_step, least_quantity(instrument, price)
    lots = int((quantity / step).to_integral_value(ROUND_FLOOR))
    most = int(largest / step)
    if largest < least or most == 0:
        return Pieces((), quantity)
    count = -(-lots // most)
    if lots // count * step < least:
        count -= 1
        lots = count * most
    size, larger = divmod(lots, count)
    found = (step * (size + 1),) * larger + (step * size,) * (count - larger)
    return Pieces(found, quantity - step * lots)


def piece_count(kind: OrderType, quantity: Decimal, price: Decimal, instrument: Instrument) -> int:
    """Return how many orders a quantity leaves as, 1 at least."""
    return max(len(pieces(kind, quantity, price, instrument).quantities), 1)


def least_quantity(instrument: Instrument, price: Decimal) -> Decimal:
    """Return the smallest legal quantity of an order at a price, in whole lots."""
    by_notional = instrument.min_notional / (price * instrument.contract_size)
    wanted = max(instrument.min_quantity, by_notional, instrument.lot_step)
    lots = (wanted / instrument.lot_step).to_integral_value(ROUND_CEILING)
    return lots * instrument.lot_step
