"""Orders and fills, and the order machine: one table of legal (state, event) pairs.

The machine decides which state an event leads to. Where events come from is execution's affair,
keeping them the ledger's.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum

from penstock.core.errors import IllegalTransitionError


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


class Phase(IntEnum):
    """The two phases of a rebalance: buys are planned from what the sells have yielded."""

    SELLS = 0
    BUYS = 1


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"


class OrderState(StrEnum):
    PLANNED = "planned"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Nothing more is expected of the order (a late fill is still booked)."""
        return self in _FINAL


_FINAL = frozenset(
    {OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED}
)


class OrderEventKind(StrEnum):
    SUBMIT = "submit"  # committed, and about to leave; one time for all of a wave
    ACCEPT = "accept"  # the venue's word: it works
    PARTIAL_FILL = "partial_fill"  # a fill that leaves something open
    FILL = "fill"  # the fill that completes the quantity (or goes beyond it)
    LOSE_TRACK = "lose_track"  # no usable answer: the venue may or may not have the order
    REQUEST_CANCEL = "request_cancel"
    CANCEL = "cancel"  # the venue's word: cancelled
    REJECT = "reject"  # the venue's word: refused, or it has never had the order
    EXPIRE = "expire"  # the venue's word: expired
    ABANDON = "abandon"  # never sent, and never will be

    @property
    def is_fill(self) -> bool:
        return self in {OrderEventKind.PARTIAL_FILL, OrderEventKind.FILL}


class EndCause(StrEnum):
    """Why an order has ended. Decisions ask for it; the reason beside it is text for people."""

    FILLED = "filled"
    NEVER_SENT = "never_sent"  # its run ended before the request left
    STOPPED = "stopped"  # the kill switch kept the request from leaving
    REFUSED_HERE = "refused_here"  # by our own adapter: nothing was sent
    REFUSED = "refused"  # the venue refused the request
    PACED_OUT = "paced_out"  # the venue refused it for its rate for as long as it was offered
    NEVER_ARRIVED = "never_arrived"  # the venue says that it has no such order
    NOT_FILLED_IN_TIME = "not_filled_in_time"  # cancelled by us: its time was over
    CANCELLED_BY_KILL_SWITCH = "cancelled_by_kill_switch"
    CANCELLED = "cancelled"  # by the venue, or by somebody there
    EXPIRED = "expired"
    ACCEPTED_BREAK = "accepted_break"  # an operator accepted that the venue does not have it

    @property
    def venue_has_no_order(self) -> bool:
        """Whether the venue says that it has no such order. That alone has been wrong before."""
        return self in {EndCause.PACED_OUT, EndCause.NEVER_ARRIVED}

    @property
    def may_be_sent_again(self) -> bool:
        """As far as is known no venue has had the order: its quantity may go out anew."""
        return self is EndCause.NEVER_SENT or self.venue_has_no_order


#: What an event says of an order's end where it names no cause itself.
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

    `cause` is the one it had, `named` the one that the event names. None where the order works. An
    order that is being cancelled has the cause of the request, and keeps it when that succeeds.
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

#: Every legal pair. Anything else is an error that is recorded and raised, never dropped. What the
#: venue says may arrive in any order, late and twice, and leads to the same end: a state gives way
#: only to one that says more (rejected, open, partially filled, expired, cancelled, filled). Our
#: own acts (submit, request_cancel, abandon) come in the program's order.
TRANSITIONS: dict[tuple[OrderState, OrderEventKind], OrderState] = {
    (_S.PLANNED, _E.SUBMIT): _S.SUBMITTING,
    (_S.PLANNED, _E.ABANDON): _S.CANCELED,
    (
        _S.SUBMITTING,
        _E.ABANDON,
    ): _S.CANCELED,  # the sender itself knows that the request did not leave
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
    # A fill may arrive after the order ended: the venue's books were ahead of its answer. It is
    # booked.
    **{(ended, _E.PARTIAL_FILL): ended for ended in (_S.CANCELED, _S.EXPIRED, _S.FILLED)},
    **{(ended, _E.FILL): _S.FILLED for ended in (_S.CANCELED, _S.EXPIRED, _S.FILLED)},
    # The venue says again what we know already.
    (_S.CANCELED, _E.CANCEL): _S.CANCELED,
    (_S.EXPIRED, _E.EXPIRE): _S.EXPIRED,
    (_S.REJECTED, _E.REJECT): _S.REJECTED,
    (_S.FILLED, _E.ACCEPT): _S.FILLED,
    (_S.CANCELED, _E.ACCEPT): _S.CANCELED,
    (_S.EXPIRED, _E.ACCEPT): _S.EXPIRED,
    # Two last words mean the same to us, that nothing works any more; one name for both, whichever
    # came first.
    (_S.CANCELED, _E.EXPIRE): _S.CANCELED,
    (_S.EXPIRED, _E.CANCEL): _S.CANCELED,
    # "No such order" was wrong where the venue shows the order after all: what it shows holds, in
    # either order of arrival.
    (_S.REJECTED, _E.ACCEPT): _S.OPEN,
    (_S.REJECTED, _E.PARTIAL_FILL): _S.PARTIALLY_FILLED,
    (_S.REJECTED, _E.FILL): _S.FILLED,
    (_S.REJECTED, _E.CANCEL): _S.CANCELED,
    (_S.REJECTED, _E.EXPIRE): _S.EXPIRED,
}


def next_state(state: OrderState, event: OrderEventKind) -> OrderState:
    """Return the state that `event` leads to; raise IllegalTransitionError where the table has no
    such pair.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(
            f"event '{event}' is not legal for an order that is '{state}'"
        ) from None


@dataclass(frozen=True)
class OrderRequest:
    """An order as it will be sent. Quantity in base units, price in quote units (limit orders
    only).

    `asked_at` is when, by this machine's clock, its sender was last known to hold the account's
    lease. The request is signed with that instant where the venue refuses old requests: a process
    that sleeps between the two cannot send when it wakes. `venue` names the venue that the order
    goes to, for an account on several; "" where there is one.
    """

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    asked_at: datetime | None = field(default=None, compare=False)
    venue: str = ""


@dataclass(frozen=True)
class Fill:
    """One trade of one order. `fee` is in `fee_asset`, which may be the base asset."""

    trade_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    at: datetime

    @property
    def notional(self) -> Decimal:
        return self.quantity * self.price


@dataclass(frozen=True)
class OrderReport:
    """What the venue says of an order: open, (partially) filled, canceled, rejected or expired, and
    how much is filled.
    """

    client_order_id: str
    venue_order_id: str
    symbol: str
    state: OrderState
    filled_quantity: Decimal
    reason: str = ""


@dataclass(frozen=True)
class OrderEvent:
    """One event of one order, to be appended: what happened, when, and what the venue said. Fills
    are booked as Fill.

    `end_cause` is why the order ends by this event, or is cancelled; None where the kind says it.
    """

    client_order_id: str
    kind: OrderEventKind
    at: datetime
    reason: str = ""
    venue_order_id: str = ""
    end_cause: EndCause | None = None


def client_order_id(
    account: str,
    portfolio_version: str,
    slot: datetime,
    symbol: str,
    phase: Phase,
    child: int,
    attempt: int,
) -> str:
    """Return the deterministic id of an order: the same decision gives the same id, so that the
    venue can be asked for it.

    That an order leaves once is for the ledger: Binance and Kraken refuse a second use of an id
    only while the first is open.

    32 hexadecimal digits, the first 128 bits of a SHA-256. Legal at Binance and Bybit (36
    characters), OKX (32, letters and digits) and Kraken (a UUID without dashes is 32 hexadecimal
    digits).

    Phase and child are hashed as one number: an order has the id that earlier versions gave it.
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
