"""What an order does to a position. A position is signed: above zero is long, below zero short."""

from decimal import Decimal
from typing import Protocol

from penstock.core.orders import Side


class SidedQuantity(Protocol):
    """A side and a quantity, as a proposed order, a request and a fill have them."""

    @property
    def side(self) -> Side: ...

    @property
    def quantity(self) -> Decimal: ...


def reduces(order: SidedQuantity, position: Decimal) -> bool:
    """Return whether the order brings the position nearer to zero and not beyond it.

    The formula is side x position < 0 and quantity <= |position|, with side 1 for a buy and -1 for
    a sell. An order that goes through zero does not reduce: it opens a new position.
    """
    return order.side.sign * position < 0 and order.quantity <= abs(position)
