"""The values an account is made of: leases, rebalances, order records, breaks and halts. Plain data; the ledger keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from penstock.core.instruments import Instrument
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


@dataclass(frozen=True)
class AccountTotals:
    """How much an account has done: slots by status, orders, fills, and the notional traded (quote units)."""

    slots: Mapping[RebalanceStatus, int]
    orders: int
    fills: int
    traded: Decimal


@dataclass(frozen=True)
class Transfer:
    """A deposit (quantity above zero) or withdrawal (below) that the venue's own history shows."""

    asset: str
    quantity: Decimal
    at: datetime


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
    FILL_DIFFERS = "fill_differs"
    DUST = "dust"
    INSTRUMENT_CHANGED = "instrument_changed"


@dataclass(frozen=True)
class Break:
    """A difference between ledger and venue. While open, `subject` (a symbol or an asset) is locked for trading.

    `changes` is what accepting it would book, by asset; None where that was not kept.
    """

    account: str
    subject: str
    kind: BreakKind
    detail: str
    ledger_value: Decimal | None = None
    venue_value: Decimal | None = None
    changes: Mapping[str, Decimal] | None = None

    @property
    def told(self) -> str:
        """The detail, and what accepting the break books."""
        booked = ", ".join(f"{change:+f} {asset}" for asset, change in sorted((self.changes or {}).items()) if change)
        return f"{self.detail} (accepting books {booked})" if booked else self.detail


@dataclass(frozen=True)
class TradeMark:
    """How far a symbol's fills were compared with the venue's trades, one by one.

    `since` is the time from which trades are of interest: the newest fill that was found equal, or the oldest that was not
    compared yet where that is older. `newest` marks the newest fill there is. `due_since` is the time of the oldest that was
    not compared yet; None where all were.
    """

    symbol: str
    since: datetime
    newest: int
    due_since: datetime | None


class TradingState(StrEnum):
    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


@dataclass(frozen=True)
class Halt:
    """Why an account (or "*": every account) may not trade freely, who said so and when.

    `cancel` asks that the working orders be cancelled, `flatten` that every position be closed: sells pass then, though the
    account is halted.
    """

    account: str
    state: TradingState
    reason: str
    by: str
    at: datetime
    cancel: bool = False
    flatten: bool = False


@dataclass(frozen=True)
class BreakAcceptance:
    """An operator's word that the ledger takes over what the venue says. `value` is what it changed equity by (quote units)."""

    account: str
    subject: str
    kind: BreakKind
    reason: str
    by: str
    at: datetime
    value: Decimal = Decimal(0)

    @property
    def word(self) -> str:
        """The reason that stands with all that the acceptance books, ends and closes."""
        return f"accepted {self.kind} by {self.by}: {self.reason}"


@dataclass(frozen=True)
class Settlement:
    """An acceptance with all that follows from it, to be written together.

    That is the `changes` of positions by asset, the `orders` (client order ids) to be cancelled in the ledger, and the
    `instrument` to plan with from now on.
    """

    accepted: BreakAcceptance
    changes: Mapping[str, Decimal] = field(default_factory=dict)
    orders: tuple[str, ...] = ()
    instrument: Instrument | None = None


class Verdict(StrEnum):
    """What review says of an order, or of a position."""

    ALLOW = "allow"
    SHRINK = "shrink"
    DENY = "deny"
    FLATTEN = "flatten"


@dataclass(frozen=True)
class RiskVerdict:
    """One rule's word, kept: which symbol, how much was wanted and how much was let pass (base units), and why."""

    symbol: str
    verdict: Verdict
    rule: str
    reason: str
    wanted: Decimal
    passed: Decimal


@dataclass(frozen=True)
class PositionMark:
    """What is remembered of a position: its highest price since it was opened, and when it was last stopped out."""

    high: Decimal | None = None
    stopped_at: datetime | None = None


@dataclass(frozen=True)
class RiskHistory:
    """What an account did before now, as far as risk rules ask.

    `day_start` and `peak` are equities (quote units) without the transfers in them (what operators' acceptances added or took,
    and what was in doubt); None where none is recorded. `transferred` is the sum of those up to now. `targets` are the weights
    of the newest earlier slots, newest first, two at most. `marks` by asset.
    """

    day_start: Decimal | None = None
    peak: Decimal | None = None
    transferred: Decimal = Decimal(0)
    targets: tuple[Mapping[str, float], ...] = ()
    orders_last_minute: int = 0
    orders_today: int = 0
    traded_last_hour: Decimal = Decimal(0)
    marks: Mapping[str, PositionMark] = field(default_factory=dict)
