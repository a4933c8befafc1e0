"""Average cost: what is left of the price paid when a position grows, shrinks or turns.

`cost_after` is the arithmetic, which profit and loss uses too. CostBasis gives the entry price of a
position, which stops ask for. It differs from penstock.core.profit in two ways. A fee in quote is
no part of the entry price. A sell closes no more than the fills have bought, because an opening
balance or a deposit has no cost.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from penstock.core.accounting import EXACT, effect_of, venue_order
from penstock.core.instruments import spot_assets
from penstock.core.orders import Fill

_ZERO = Decimal(0)
#: The digits of an entry price.
_PRICE = Context(prec=28)
#: The cost of a part of a position is rounded to this. What is rounded off stays with the rest.
_SHARE = Decimal("1e-18")


def cost_after(before: Decimal, cost: Decimal, change: Decimal, cash: Decimal) -> Decimal:
    """Return the cost of a position after a trade, by the average cost method.

    `before` is the quantity before it and `cost` its cost. The trade changes the quantity by
    `change` and the cash by `cash`, both signed. A trade that adds to the position adds its cash to
    the cost. A trade that reduces it takes the same share of the cost away. After a trade through
    zero, the cost is the new position's share of the trade's cash. Call it in the context EXACT:
    then only the share is rounded, to 18 decimals.
    """
    quantity = before + change
    if before * change >= 0:
        return cost - cash
    if quantity == 0:
        return _ZERO
    if before * quantity > 0:
        return _share(cost, quantity, before)
    return _share(-cash, quantity, change)


def _share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return (amount * part / whole).quantize(_SHARE, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True)
class CostBasis:
    """What is held of a symbol by its fills alone, and what it was bought for."""

    quantity: Decimal = _ZERO
    """Base units that the fills have left; never below zero."""
    cost: Decimal = _ZERO
    """Quote units paid for that quantity, without fees in quote."""

    @property
    def price(self) -> Decimal | None:
        """The entry price: the average price paid, in quote units; None where nothing is held."""
        return _PRICE.divide(self.cost, self.quantity) if self.quantity else None

    def after(self, fills: Iterable[Fill]) -> "CostBasis":
        """Return the cost basis after fills of its symbol, given in the venue's order.

        A buy adds its notional to the cost. A sell takes its share of the cost away. A fee in the
        base asset makes the quantity smaller and leaves the cost as it is.
        """
        basis = self
        with localcontext(EXACT):
            for fill in fills:
                base, quote = spot_assets(fill.symbol)
                effect = effect_of(fill, base, quote)
                change = effect.of(base)
                quantity = basis.quantity + change
                if quantity <= 0:
                    basis = CostBasis()
                    continue
                cost = cost_after(basis.quantity, basis.cost, change, effect.paid.amount)
                basis = CostBasis(quantity, cost)
        return basis


def cost_bases(fills: Iterable[Fill]) -> dict[str, CostBasis]:
    """Return what is held now by the fills alone, by symbol.

    The fills may be given in any order. A symbol of which nothing is held is absent.
    """
    by_symbol: dict[str, list[Fill]] = {}
    for fill in sorted(fills, key=venue_order):
        by_symbol.setdefault(fill.symbol, []).append(fill)
    bases = {symbol: CostBasis().after(each) for symbol, each in by_symbol.items()}
    return {symbol: basis for symbol, basis in bases.items() if basis.quantity}


def entry_prices(bases: Mapping[str, CostBasis]) -> dict[str, Decimal]:
    """Return the average price paid for what is held, by symbol."""
    return {symbol: basis.price for symbol, basis in bases.items() if basis.price is not None}
