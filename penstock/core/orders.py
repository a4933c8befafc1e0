"""Orders and fills, and the order machine: one table of legal (state, event) pairs.

The machine decides which state an event leads to. Events come from penstock.execution, and the
ledger keeps them.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum

from penstock.core.errors import IllegalTransitionError


class Side(StrEnum):
    """Whether an order buys or sells the base asset."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class Phase(IntEnum):
    """The two phases of a rebalance: buys are planned from what the sells have yielded."""

    SELLS = 0
    BUYS = 1


class OrderType(StrEnum):
    """Whether an order takes the market's price or names its own."""

    MARKET = "market"
    LIMIT = "limit"


class OrderState(StrEnum):
    """What has become of an order."""

    PLANNED = "planned"
    """Committed, and not about to leave yet."""
    SUBMITTING = "submitting"
    """About to leave, or sent and not answered yet."""
    UNKNOWN = "unknown"
    """The request got no usable answer. Only the venue can resolve it."""
    OPEN = "open"
    """It works at the venue; nothing is filled."""
    PARTIALLY_FILLED = "partially_filled"
    """It works at the venue; a part is filled."""
    PENDING_CANCEL = "pending_cancel"
    """The venue is asked to cancel it."""
    FILLED = "filled"
    """The whole quantity is filled."""
    CANCELED = "canceled"
    """It was cancelled, or never sent."""
    REJECTED = "rejected"
    """It was refused, or the venue never had it."""
    EXPIRED = "expired"
    """The venue ended it without filling the whole quantity."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected of the order. A late fill is still booked."""
        return self in _FINAL


_FINAL = frozenset(
    {OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED}
)


class OrderEventKind(StrEnum):
    """What happens to an order."""

    SUBMIT = "submit"
    """The request is about to leave. All requests of a wave have the same time."""
    ACCEPT = "accept"
    """The venue answers that the order works."""
    PARTIAL_FILL = "partial_fill"
    """A fill that leaves a part of the quantity open."""
    FILL = "fill"
    """The fill that completes the quantity, or exceeds it."""
    LOSE_TRACK = "lose_track"
    """No usable answer came: the venue may or may not have the order."""
    REQUEST_CANCEL = "request_cancel"
    """We are about to ask the venue to cancel it."""
    CANCEL = "cancel"
    """The venue answers that it is cancelled."""
    REJECT = "reject"
    """The order was refused, or the venue answers that it never had it."""
    EXPIRE = "expire"
    """The venue answers that it has expired."""
    ABANDON = "abandon"
    """It was never sent and never will be."""

    @property
    def is_fill(self) -> bool:
        """Whether the event belongs to a fill."""
        return self in {OrderEventKind.PARTIAL_FILL, OrderEventKind.FILL}


class EndCause(StrEnum):
    """Why an order has ended. Decisions ask for it; the reason beside it is text for people."""

    FILLED = "filled"
    """Its whole quantity is filled."""
    NEVER_SENT = "never_sent"
    """Its run ended before the request left."""
    STOPPED = "stopped"
    """The kill switch kept the request from leaving."""
    REFUSED_HERE = "refused_here"
    """Our own adapter refused it; nothing was sent."""
    REFUSED = "refused"
    """The venue refused the request, or took it and then refused the order."""
    PACED_OUT = "paced_out"
    """The venue refused it because of the request rate, each time that it was sent."""
    NEVER_ARRIVED = "never_arrived"
    """The venue says that it has no such order."""
    NOT_FILLED_IN_TIME = "not_filled_in_time"
    """We cancelled it because its time was over."""
    CANCELLED_BY_KILL_SWITCH = "cancelled_by_kill_switch"
    """The kill switch cancelled it."""
    CANCELLED = "cancelled"
    """The venue, or somebody there, cancelled it."""
    EXPIRED = "expired"
    """The venue let it expire."""
    ACCEPTED_BREAK = "accepted_break"
    """An operator accepted that the venue does not have it."""

    @property
    def venue_has_no_order(self) -> bool:
        """Whether the venue says that it has no such order. Such an answer can be wrong."""
        return self in {EndCause.PACED_OUT, EndCause.NEVER_ARRIVED}

    @property
    def was_not_taken(self) -> bool:
        """Whether no venue took the order, as far as is known: refused, or not there."""
        refused = {EndCause.REFUSED, EndCause.REFUSED_HERE}
        return self in refused or self.venue_has_no_order

    @property
    def may_be_sent_again(self) -> bool:
        """Whether no venue had the order, as far as is known. Its quantity may be sent again."""
        return self is EndCause.NEVER_SENT or self.venue_has_no_order


#: The end cause of an event that names none itself.
_CAUSE_OF = {
    OrderEventKind.REQUEST_CANCEL: EndCause.CANCELLED,
    OrderEventKind.CANCEL: EndCause.CANCELLED,
    OrderEventKind.REJECT: EndCause.REFUSED,
    OrderEventKind.EXPIRE: EndCause.EXPIRED,
    OrderEventKind.ABANDON: EndCause.NEVER_SENT,
}


def next_cause(
    before: OrderState,
    cause: EndCause | None,
    event: OrderEventKind,
    named: EndCause | None,
    after: OrderState,
) -> EndCause | None:
    """Return why an order has ended once `event` has led it from `before` to `after`.

    `cause` is the one it had, `named` the one that the event names. The answer is None where the
    order works. An order that is being cancelled has the cause of the request. It keeps that cause
    when the request succeeds.
    """
    if after is OrderState.FILLED:
        return EndCause.FILLED
    if not after.is_final and after is not OrderState.PENDING_CANCEL:
        return None
    if named is not None:
        return named
    cancelled = before is OrderState.PENDING_CANCEL and event is OrderEventKind.CANCEL
    return cause if cancelled or after is before else _CAUSE_OF[event]


_S, _E = OrderState, OrderEventKind

#: Every legal pair. Anything else is an error that is recorded and raised, never dropped. The
#: venue's answers may arrive in any order, late and twice, and lead to the same end. So a state
#: changes only to a later one of: rejected, open, partially filled, expired, cancelled, filled. Our
#: own events (submit, request_cancel, abandon) come in the program's order.
TRANSITIONS: dict[tuple[OrderState, OrderEventKind], OrderState] = {
    (_S.PLANNED, _E.SUBMIT): _S.SUBMITTING,
    (_S.PLANNED, _E.ABANDON): _S.CANCELED,
    # Only the sender itself knows that its request did not leave.
    (_S.SUBMITTING, _E.ABANDON): _S.CANCELED,
    **{
        pair: state
        for waiting in (_S.SUBMITTING, _S.UNKNOWN)
        for pair, state in {
            (waiting, _E.LOSE_TRACK): _S.UNKNOWN,
            (waiting, _E.ACCEPT): _S.OPEN,
            (waiting, _E.PARTIAL_FILL): _S.PARTIALLY_FILLED,
            (waiting, _E.FILL): _S.FILLED,
            (waiting, _E.REJECT): _S.REJECTED,
            (waiting, _E.CANCEL): _S.CANCELED,
            (waiting, _E.EXPIRE): _S.EXPIRED,
        }.items()
    },
    **{
        pair: state
        for working in (_S.OPEN, _S.PARTIALLY_FILLED)
        for pair, state in {
            (working, _E.ACCEPT): working,
            (working, _E.PARTIAL_FILL): _S.PARTIALLY_FILLED,
            (working, _E.FILL): _S.FILLED,
            (working, _E.REQUEST_CANCEL): _S.PENDING_CANCEL,
            (working, _E.CANCEL): _S.CANCELED,
            (working, _E.EXPIRE): _S.EXPIRED,
        }.items()
    },
    (_S.PENDING_CANCEL, _E.ACCEPT): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _E.REQUEST_CANCEL): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _E.PARTIAL_FILL): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _E.FILL): _S.FILLED,
    (_S.PENDING_CANCEL, _E.CANCEL): _S.CANCELED,
    (_S.PENDING_CANCEL, _E.EXPIRE): _S.EXPIRED,
    # A fill may arrive after the order has ended. It is booked.
    **{(ended, _E.PARTIAL_FILL): ended for ended in (_S.CANCELED, _S.EXPIRED, _S.FILLED)},
    **{(ended, _E.FILL): _S.FILLED for ended in (_S.CANCELED, _S.EXPIRED, _S.FILLED)},
    # The venue repeats an answer.
    (_S.CANCELED, _E.CANCEL): _S.CANCELED,
    (_S.EXPIRED, _E.EXPIRE): _S.EXPIRED,
    (_S.REJECTED, _E.REJECT): _S.REJECTED,
    (_S.FILLED, _E.ACCEPT): _S.FILLED,
    (_S.CANCELED, _E.ACCEPT): _S.CANCELED,
    (_S.EXPIRED, _E.ACCEPT): _S.EXPIRED,
    # Cancelled and expired mean the same to us: the order has ended. The first answer is kept.
    (_S.CANCELED, _E.EXPIRE): _S.CANCELED,
    (_S.EXPIRED, _E.CANCEL): _S.CANCELED,
    # "No such order" was wrong where the venue shows the order later.
    (_S.REJECTED, _E.ACCEPT): _S.OPEN,
    (_S.REJECTED, _E.PARTIAL_FILL): _S.PARTIALLY_FILLED,
    (_S.REJECTED, _E.FILL): _S.FILLED,
    (_S.REJECTED, _E.CANCEL): _S.CANCELED,
    (_S.REJECTED, _E.EXPIRE): _S.EXPIRED,
}


def next_state(state: OrderState, event: OrderEventKind) -> OrderState:
    """Return the state that `event` leads to.

    Raises IllegalTransitionError where the table has no such pair.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(
            f"event '{event}' is not legal for an order that is '{state}'"
        ) from None


@dataclass(frozen=True)
class OrderRequest:
    """An order as it will be sent."""

    client_order_id: str
    """Our name for the order; see `client_order_id` below."""
    symbol: str
    """The symbol, such as "BTC/USDT"."""
    side: Side
    """Buy or sell."""
    type: OrderType
    """Market or limit."""
    quantity: Decimal
    """Base units."""
    price: Decimal | None = None
    """The limit price (quote units); None for a market order."""
    asked_at: datetime | None = field(default=None, compare=False)
    """When its sender was last known to have the account's lease, by this machine's clock.

    The request is signed with this time where the venue refuses old requests. So a process that was
    suspended in between cannot send when it goes on.
    """
    venue: str = ""
    """The venue that it goes to, for an account on several venues; "" where there is one."""


@dataclass(frozen=True)
class Fill:
    """One trade of one order."""

    trade_id: str
    """The venue's id of the trade."""
    client_order_id: str
    """The order that it belongs to."""
    symbol: str
    """The symbol, such as "BTC/USDT"."""
    side: Side
    """The side of the order."""
    quantity: Decimal
    """Base units, before fees."""
    price: Decimal
    """Quote units per base unit."""
    fee: Decimal
    """The fee, in `fee_asset`; below zero for a rebate."""
    fee_asset: str
    """The asset of the fee: base, quote or a third asset."""
    at: datetime
    """When it was made by the venue's clock (UTC)."""

    @property
    def notional(self) -> Decimal:
        """Quantity times price, in quote units."""
        return self.quantity * self.price


@dataclass(frozen=True)
class OrderReport:
    """A venue's answer about an order."""

    client_order_id: str
    """Our name for the order."""
    venue_order_id: str
    """The venue's own id of it."""
    symbol: str
    """The symbol, such as "BTC/USDT"."""
    state: OrderState
    """Its state at the venue: open, partially filled, or one of the final states."""
    filled_quantity: Decimal
    """The base units that are filled."""
    reason: str = ""
    """The venue's reason, if it gave one."""
    fills: tuple[Fill, ...] = field(default=(), compare=False)
    """The order's trades, where the answer has all of them; else none. Answers about one order are
    equal whether or not they have them."""


@dataclass(frozen=True)
class OrderEvent:
    """One event of one order, to be appended. Fills are booked as Fill."""

    client_order_id: str
    """The order that it belongs to."""
    kind: OrderEventKind
    """What happened."""
    at: datetime
    """When it happened (UTC)."""
    reason: str = ""
    """The reason, for people."""
    venue_order_id: str = ""
    """The venue's own id of the order, where the venue named it."""
    end_cause: EndCause | None = None
    """Why the order ends, or is being cancelled; None where the kind says it."""


def client_order_id(
    account: str,
    portfolio_version: str,
    slot: datetime,
    symbol: str,
    phase: Phase,
    child: int,
    attempt: int,
) -> str:
    """Return the deterministic id of an order: 32 hexadecimal digits.

    The same decision gives the same id, so that the venue can be asked for the order. The id does
    not keep an order from leaving twice; the ledger does. Binance and Kraken refuse a second use of
    an id only while the first order is open.

    The id is the first 128 bits of a SHA-256. It is legal at Binance and Bybit (36 characters), OKX
    (32 letters and digits), WhiteBIT (32 are recommended) and Kraken (a UUID without dashes).

    Phase and child are hashed as one number, so that an order keeps the id of earlier versions.
    """
    key = "|".join(
        [
            account,
            portfolio_version,
            slot.astimezone(UTC).isoformat(),
            symbol,
            str(phase + len(Phase) * child),
            str(attempt),
        ]
    )
    return hashlib.sha256(key.encode()).hexdigest()[:32]
