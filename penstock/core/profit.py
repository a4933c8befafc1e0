"""Profit and loss of fills, in Decimal: average cost per strategy and symbol, realised and
unrealised, and by day.

Fills are taken in the venue's order (time, then trade id), so the figures do not depend on the
order in which they arrived. What came into the account without a fill (an opening balance, a
deposit) has no cost: it is in the positions and not in here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from penstock.core.instruments import spot_assets
from penstock.core.orders import Fill

_ZERO = Decimal(0)
#: Sums and products of amounts are exact in this context; only the division that shares out a cost
#: is rounded.
EXACT = Context(prec=400)
#: The cost of a part of a position is rounded to this; what is rounded off stays with the rest, so
#: nothing is lost.
_SHARE = Decimal("1e-18")


@dataclass(frozen=True)
class Holding:
    """What one strategy made of one symbol. Quantities in base units, the others in quote units.

    `cost` is what the quantity held has cost, fees included (negative where more was sold than
    bought: what it brought in). `realised` is what closed quantities brought over their average
    cost, after fees in base or quote. `fees` are those fees, at the fill's price. `other_fees` are
    fees in a third asset, by asset, in that asset: they are in no quote figure. At all times
    realised - cost is the quote cash that the fills moved, to the last digit.
    """

    strategy: str
    symbol: str
    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO
    realised: Decimal = _ZERO
    fees: Decimal = _ZERO
    traded: Decimal = _ZERO
    fills: int = 0
    other_fees: Mapping[str, Decimal] = field(default_factory=dict)

    def unrealised(self, price: Decimal) -> Decimal:
        """Return what the quantity held is worth at `price` over its cost."""
        with localcontext(EXACT):
            return self.quantity * price - self.cost


@dataclass(frozen=True)
class DayResult:
    """One strategy's day (UTC): what it realised, paid in fees (base and quote fees, in quote) and
    traded, in quote units.
    """

    day: date
    strategy: str
    realised: Decimal = _ZERO
    fees: Decimal = _ZERO
    traded: Decimal = _ZERO
    fills: int = 0


@dataclass(frozen=True)
class Profits:
    """The holdings by strategy and symbol, and the days, oldest first."""

    holdings: Sequence[Holding]
    days: Sequence[DayResult]


def profits(fills: Iterable[tuple[str, Fill]]) -> Profits:
    """Return profit and loss of the fills, each given with the strategy version whose order it
    filled.
    """
    holdings: dict[tuple[str, str], Holding] = {}
    days: dict[tuple[date, str], DayResult] = {}
    with localcontext(EXACT):
        for strategy, fill in sorted(fills, key=lambda pair: venue_order(pair[1])):
            before = holdings.get((strategy, fill.symbol), Holding(strategy, fill.symbol))
            after = _after(before, fill)
            holdings[strategy, fill.symbol] = after
            key = fill.at.astimezone(UTC).date(), strategy
            day = days.get(key, DayResult(*key))
            days[key] = replace(
                day,
                realised=day.realised + after.realised - before.realised,
                fees=day.fees + after.fees - before.fees,
                traded=day.traded + fill.notional,
                fills=day.fills + 1,
            )
    return Profits([holdings[key] for key in sorted(holdings)], [days[key] for key in sorted(days)])


def venue_order(fill: Fill) -> tuple[object, ...]:
    """Return what fills are sorted by: time, then symbol, then trade id (ids that are numbers in
    the order of numbers).
    """
    return fill.at, fill.symbol, len(fill.trade_id), fill.trade_id


def _after(held: Holding, fill: Fill) -> Holding:
    """Return the holding after one more fill. A base fee changes the quantity, a quote fee the
    cash.
    """
    base, quote = spot_assets(fill.symbol)
    change, cash = fill.side.sign * fill.quantity, -fill.side.sign * fill.notional
    fee = _ZERO
    others = held.other_fees
    if fill.fee_asset == base:
        change, fee = change - fill.fee, fill.fee * fill.price
    elif fill.fee_asset == quote:
        cash, fee = cash - fill.fee, fill.fee
    elif fill.fee:
        others = {**others, fill.fee_asset: others.get(fill.fee_asset, _ZERO) + fill.fee}
    quantity, cost = held.quantity + change, cost_after(held.quantity, held.cost, change, cash)
    return replace(
        held,
        quantity=quantity,
        cost=cost,
        realised=held.realised + cash - held.cost + cost,
        fees=held.fees + fee,
        traded=held.traded + fill.notional,
        fills=held.fills + 1,
        other_fees=others,
    )


def cost_after(held: Decimal, cost: Decimal, change: Decimal, cash: Decimal) -> Decimal:
    """Return the average cost, summed up, of what is left of `held` (which had `cost`) after
    `change`, which moved `cash`.

    More of the same side adds its cash; less takes its share of the cost away; what goes through
    zero begins anew with its share of the cash. It is exact, but for the sharing, in a context that
    is (EXACT).
    """
    quantity = held + change
    if held * change >= 0:
        return cost - cash
    if quantity == 0:
        return _ZERO
    if held * quantity > 0:
        return _shared(cost, quantity, held)
    return _shared(-cash, quantity, change)


def _shared(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return (amount * part / whole).quantize(_SHARE, rounding=ROUND_HALF_EVEN)
