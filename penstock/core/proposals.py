"""What a plan is made from and what it wants: the newest bar, and the proposed order."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from penstock.core.orders import Phase, Side


@dataclass(frozen=True)
class SeenBar:
    """The newest bar of a symbol that a decision saw."""

    closed_at: datetime
    """When it closed (UTC)."""
    close: float
    """Its close (quote units)."""
    daily_volatility: float | None = None
    """The standard deviation of the log returns before it, scaled to a day; None for too few."""


@dataclass(frozen=True)
class ProposedOrder:
    """An order that a plan wants, not yet reviewed."""

    symbol: str
    """The symbol, such as "BTC/USDT"."""
    side: Side
    """Buy or sell."""
    quantity: Decimal
    """Base units."""
    price: Decimal
    """The price that the plan used (quote units)."""
    target_weight: float
    """The fraction of equity that the plan works towards."""
    phase: Phase
    """The phase of the rebalance that it belongs to."""
    venue: str = ""
    """The venue of this part, for an account on several venues; "" until it is routed."""

    @property
    def notional(self) -> Decimal:
        """Quantity times price, in quote units."""
        return self.quantity * self.price

    def resized(self, quantity: Decimal) -> "ProposedOrder":
        """Return the same order with another quantity (base units)."""
        return replace(self, quantity=quantity)
