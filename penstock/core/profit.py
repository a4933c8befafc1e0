"""Profit and loss of fills, in Decimal, by average cost: per strategy and symbol, and per day.

Fills are taken in the venue's order (time, then trade id). So the figures do not depend on the
order in which fills arrived. An opening balance or a deposit has no fill and no cost: it is in the
ledger's balances and not in these figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date
from decimal import Decimal, localcontext

from penstock.core.accounting import EXACT, effect_of, venue_order
from penstock.core.cost_basis import cost_after
from penstock.core.instruments import spot_assets
from penstock.core.orders import Fill

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Holding:
    """What one strategy made of one symbol.

    At all times `realised - cost` is the quote cash that the fills moved, to the last digit.
    """

    strategy: str
    """The strategy version whose orders were filled, such as "trend/1"."""
    symbol: str
    """The symbol that was traded."""
    quantity: Decimal = _ZERO
    """Base units held, less fees in base; below zero where more was sold than bought."""
    cost: Decimal = _ZERO
    """Quote units that this quantity has cost, fees included; below zero for a short position."""
    realised: Decimal = _ZERO
    """Quote units that closed quantities brought above their average cost, after fees in base or
    quote."""
    fees: Decimal = _ZERO
    """Fees in base or quote, in quote units at the fill's price."""
    traded: Decimal = _ZERO
    """Sum of the fills' notionals, in quote units."""
    fills: int = 0
    """The number of fills."""
    other_fees: Mapping[str, Decimal] = field(default_factory=dict)
    """Fees in third assets, by asset and in that asset. No quote figure includes them."""

    def unrealised(self, price: Decimal) -> Decimal:
        """Return the quantity's value at `price` minus its cost, in quote units."""
        with localcontext(EXACT):
            return self.quantity * price - self.cost


@dataclass(frozen=True)
class DayResult:
    """What one strategy made on one day (UTC). Amounts are in quote units."""

    day: date
    """The day (UTC)."""
    strategy: str
    """The strategy version whose orders were filled."""
    realised: Decimal = _ZERO
    """Realised profit, after fees in base or quote."""
    fees: Decimal = _ZERO
    """Fees in base or quote, at the fill's price."""
    traded: Decimal = _ZERO
    """Sum of the fills' notionals."""
    fills: int = 0
    """The number of fills."""


@dataclass(frozen=True)
class Profits:
    """Profit and loss of an account."""

    holdings: Sequence[Holding]
    """One row per strategy and symbol, sorted by both."""
    days: Sequence[DayResult]
    """One row per day and strategy that traded, oldest first."""


def profits(fills: Iterable[tuple[str, Fill]]) -> Profits:
    """Return profit and loss of fills, each given with the strategy version that ordered it.

    The fills may be given in any order.
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


def _after(holding: Holding, fill: Fill) -> Holding:
    """Return the holding after one more fill.

    A fee in base changes the quantity, a fee in quote the cash, a fee in a third asset neither.
    """
    base, quote = spot_assets(fill.symbol)
    effect = effect_of(fill, base, quote)
    change, cash = effect.of(base), effect.of(quote)
    fee, others = _ZERO, holding.other_fees
    if fill.fee_asset == base:
        fee = fill.fee * fill.price
    elif fill.fee_asset == quote:
        fee = fill.fee
    elif fill.fee:
        others = {**others, fill.fee_asset: others.get(fill.fee_asset, _ZERO) + fill.fee}
    cost = cost_after(holding.quantity, holding.cost, change, cash)
    return replace(
        holding,
        quantity=holding.quantity + change,
        cost=cost,
        realised=holding.realised + cash - holding.cost + cost,
        fees=holding.fees + fee,
        traded=holding.traded + fill.notional,
        fills=holding.fills + 1,
        other_fees=others,
    )
