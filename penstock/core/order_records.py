"""Orders as the ledger keeps them: the intent that is written ahead, and the record that its events
lead to.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from penstock.core.orders import EndCause, OrderRequest, OrderState, Phase


@dataclass(frozen=True)
class OrderIntent:
    """An order to be written ahead, with what it was decided on. `reference_price` is the price the
    plan used (quote units).

    `child` counts a parent's requests from 0, `attempt` how often one of them was tried before.
    """

    request: OrderRequest
    phase: Phase
    child: int
    attempt: int
    strategy_version: str
    target_weight: float
    reference_price: Decimal


@dataclass(frozen=True)
class OrderRecord:
    """An order as the ledger knows it.

    `end_cause` is why it has ended, or is being cancelled; None while it works. `reason` is text.
    """

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
    end_cause: EndCause | None = None
    phase: Phase = Phase.SELLS
    child: int = 0
    attempt: int = 0

    @property
    def open_quantity(self) -> Decimal:
        return self.request.quantity - self.filled_quantity
