"""Orders as the ledger keeps them: the intent that is written ahead, and the record that its events
lead to.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from penstock.core.orders import OrderRequest, OrderState


@dataclass(frozen=True)
class OrderIntent:
    """An order to be written ahead, with what it was decided on. `reference_price` is the price the
    plan used (quote units).
    """

    request: OrderRequest
    leg: int
    attempt: int
    strategy_version: str
    target_weight: float
    reference_price: Decimal


@dataclass(frozen=True)
class OrderRecord:
    """An order as the ledger knows it."""

    account: str
    rebalance_id: int
    request: OrderRequest
    strategy_version: str
    state: OrderState
    filled_quantity: Decimal
    venue_order_id: str
    created_at: datetime
    updated_at: datetime
    reason: str = ""
    leg: int = 0
    attempt: int = 0

    @property
    def open_quantity(self) -> Decimal:
        return self.request.quantity - self.filled_quantity
