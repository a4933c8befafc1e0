"""What was paid for the position that is held, by symbol: the average cost of profit and loss, as
stops ask for it.

It differs from a strategy's books (penstock.core.profit) in two things: fees in quote are no part
of the price, and a sale closes no more than the fills had bought, because what came in without a
fill (an opening balance, a deposit) has no entry.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

from penstock.core.instruments import spot_assets
from penstock.core.orders import Fill
from penstock.core.profit import EXACT, cost_after, venue_order

_ZERO = Decimal(0)
#: Digits of a price that is divided out: the same wherever it is asked for.
_PRICE = Context(prec=28)


@dataclass(frozen=True)
class Entry:
    """The quantity of a symbol that its fills have left (base units) and what that was bought for
    (quote units).
    """

    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO

    @property
    def price(self) -> Decimal | None:
        """The average price paid; None where nothing is held."""
        return _PRICE.divide(self.cost, self.quantity) if self.quantity else None

    def after(self, fills: Iterable[Fill]) -> "Entry":
        """Return the entry after fills of its symbol, given in the venue's order."""
        entry = self
        with localcontext(EXACT):
            for fill in fills:
                entry = entry._after_one(fill)
        return entry

    def _after_one(self, fill: Fill) -> "Entry":
        """A buy adds its notional, a sale takes its share of the cost away; a base fee makes what
        is left dearer.
        """
        fee = fill.fee if fill.fee_asset == spot_assets(fill.symbol)[0] else _ZERO
        change, cash = fill.side.sign * fill.quantity - fee, -fill.side.sign * fill.notional
        quantity = self.quantity + change
        return (
            Entry(quantity, cost_after(self.quantity, self.cost, change, cash))
            if quantity > 0
            else Entry()
        )


def entry_prices(fills: Iterable[Fill]) -> dict[str, Decimal]:
    """Return the average price paid for what is held now, by symbol, whatever the order in which
    the fills are given.
    """
    by_symbol: dict[str, list[Fill]] = {}
    for fill in sorted(fills, key=venue_order):
        by_symbol.setdefault(fill.symbol, []).append(fill)
    entries = {symbol: Entry().after(of_one) for symbol, of_one in by_symbol.items()}
    return {
        symbol: price for symbol, entry in entries.items() if (price := entry.price) is not None
    }
