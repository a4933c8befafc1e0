"""The values an account is made of: leases, rebalances, order records, breaks and halts. Plain data; the ledger keeps them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from penstock.core.orders import OrderRequest, OrderState


@dataclass(frozen=True)
class Lease:
    """The right to write for one account until `expires_at`. A later lease has a higher `token` and voids this one."""

    account: str
    holder: str
    token: int
    expires_at: datetime


class RebalanceStatus(StrEnum):
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Rebalance:
    """One slot's rebalance of one account. `slot` is the bar close it acts on; there is one a (account, slot)."""

    id: int
    account: str
    slot: datetime
    portfolio_version: str
    status: RebalanceStatus
    reason: str = ""


@dataclass(frozen=True)
class PlannedOrder:
    """An order to be written ahead, with what it was decided on. `reference_price` is the price the plan used (quote units)."""

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


class BreakKind(StrEnum):
    """Ways in which ledger and venue can disagree."""

    POSITION_MISMATCH = "position_mismatch"
    MISSING_FILL = "missing_fill"
    DOUBLED_FILL = "doubled_fill"
    OVERFILL = "overfill"
    UNKNOWN_ORDER = "unknown_order"
    ORDER_GONE = "order_gone"
    MANUAL_TRADE = "manual_trade"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRUNCATED_TRADES = "truncated_trades"
    BASE_ASSET_FEE = "base_asset_fee"
    DUST = "dust"
    INSTRUMENT_CHANGED = "instrument_changed"


@dataclass(frozen=True)
class Break:
    """A difference between ledger and venue. While open, `subject` (a symbol or an asset) is locked for trading."""

    account: str
    subject: str
    kind: BreakKind
    detail: str
    ledger_value: Decimal | None = None
    venue_value: Decimal | None = None


class TradingState(StrEnum):
    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


@dataclass(frozen=True)
class Halt:
    """Why an account (or "*": every account) may not trade freely, who said so and when."""

    account: str
    state: TradingState
    reason: str
    by: str
    at: datetime
