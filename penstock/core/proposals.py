"""What a decision rests on and what it wants: the bar that was seen, and the proposed order."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from penstock.core.orders import Phase, Side


@dataclass(frozen=True)
class SeenBar:
    """The newest bar a decision saw of a symbol: when it closed (UTC) and at what price (quote
    units).

    `daily_volatility` is the standard deviation of the log returns before it, scaled to a day; None
    where too few were seen.
    """

    closed_at: datetime
    close: float
    daily_volatility: float | None = None


@dataclass(frozen=True)
class ProposedOrder:
    """An order that a plan wants, not yet reviewed. `price` is the reference the plan used (quote
    units).

    `venue` is where a part of it goes, for an account on several venues; "" until it is routed.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    target_weight: float
    phase: Phase
    venue: str = ""

    @property
    def notional(self) -> Decimal:
        return self.quantity * self.price

    def resized(self, quantity: Decimal) -> "ProposedOrder":
        return replace(self, quantity=quantity)
