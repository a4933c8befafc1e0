"""Orders as the ledger keeps them: the intent that is written ahead, and what becomes of it.

OrderProgress alone decides what an event or a fill changes of an order. The ledger's writes and
rebuild, the view of a past time and the in-memory ledger all use it. The database's columns are its
fields.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal, localcontext
from functools import cached_property
from typing import Self

from penstock.core.accounting import EXACT
from penstock.core.orders import (
    EndCause,
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderState,
    Phase,
    next_cause,
    next_state,
)


@dataclass(frozen=True)
class OrderIntent:
    """An order to be written ahead, with what it was decided on."""

    request: OrderRequest
    """What will be sent."""
    phase: Phase
    """The phase of the rebalance that it belongs to."""
    child: int
    """Counts the requests of one parent order from 0."""
    attempt: int
    """How often this request was tried before."""
    strategy_version: str
    """The version that wanted it, such as "trend/1"."""
    target_weight: float
    """The fraction of equity that the plan worked towards."""
    reference_price: Decimal
    """The price that the plan used (quote units)."""


@dataclass(frozen=True, kw_only=True)
class OrderProgress:
    """What has become of an order, by its events and fills alone. A field here is a column."""

    state: OrderState = OrderState.PLANNED
    """Its state."""
    filled_quantity: Decimal = Decimal(0)
    """Base units; more than was asked for where the venue filled too much."""
    venue_order_id: str = ""
    """The venue's own id of it; "" until the venue has named one."""
    reason: str = ""
    """The last reason given, for people."""
    end_cause: EndCause | None = None
    """Why it has ended, or is being cancelled; None while it works."""
    updated_at: datetime
    """When it last changed."""

    def after_event(self, event: OrderEvent) -> Self:
        """Return the order after the event. Raises IllegalTransitionError where it is not legal.

        A fill's event changes only state, end cause and time; `after_fill` adds the quantity.
        """
        after = next_state(self.state, event.kind)
        named, reason = ("", "") if event.kind.is_fill else (event.venue_order_id, event.reason)
        return replace(
            self,
            state=after,
            venue_order_id=named or self.venue_order_id,
            reason=reason or self.reason,
            end_cause=next_cause(self.state, self.end_cause, event.kind, event.end_cause, after),
            updated_at=event.at,
        )

    def event_of(self, fill: Fill, ordered: Decimal) -> OrderEvent:
        """Return the event of a fill of this order, which is for `ordered` base units."""
        with localcontext(EXACT):
            complete = self.filled_quantity + fill.quantity >= ordered
        kind = OrderEventKind.FILL if complete else OrderEventKind.PARTIAL_FILL
        return OrderEvent(fill.client_order_id, kind, fill.at, f"trade {fill.trade_id}")

    def after_fill(self, fill: Fill, ordered: Decimal) -> Self:
        """Return the order of `ordered` base units after the fill; raises as `after_event`."""
        return self.after_event(self.event_of(fill, ordered)).with_quantity_of(fill)

    def with_quantity_of(self, fill: Fill) -> Self:
        """Return the order with the fill's quantity added to what is filled, and no more."""
        with localcontext(EXACT):
            filled = self.filled_quantity + fill.quantity
        return replace(self, filled_quantity=filled)


@dataclass(frozen=True, kw_only=True)
class OrderRecord(OrderProgress):
    """An order as the ledger knows it: what was planned, and what has become of it."""

    account: str
    """The account's name."""
    rebalance_id: int
    """The number of its rebalance in the ledger."""
    request: OrderRequest
    """What was, or will be, sent."""
    phase: Phase
    """The phase of the rebalance that it belongs to."""
    child: int
    """Counts the requests of one parent order from 0."""
    attempt: int
    """How often this request was tried before."""
    strategy_version: str
    """The version that wanted it, such as "trend/1"."""
    reference_price: Decimal
    """The price that the plan used (quote units)."""
    created_at: datetime
    """When it was written ahead (UTC)."""

    @property
    def as_planned(self) -> Self:
        """The order as it was written ahead, before its first event."""
        begun = OrderProgress(updated_at=self.created_at)
        return replace(self, **{each.name: getattr(begun, each.name) for each in fields(begun)})


def failed_orders(orders: Sequence[OrderRecord]) -> list[OrderRecord]:
    """Return the orders of a slot that no venue took, or that one ended with nothing filled.

    Those that were sent again are left out: a later attempt of the same symbol and phase has the
    quantity of all that never arrived before.
    """
    return [order for order in orders if _has_failed(order) and not _was_sent_again(order, orders)]


def _has_failed(order: OrderRecord) -> bool:
    cause = order.end_cause
    if cause is None or order.filled_quantity:
        return False
    return cause.was_not_taken or cause in {EndCause.CANCELLED, EndCause.EXPIRED}


def _was_sent_again(order: OrderRecord, orders: Sequence[OrderRecord]) -> bool:
    if order.end_cause is None or not order.end_cause.may_be_sent_again:
        return False
    return any(
        each.request.symbol == order.request.symbol
        and each.phase is order.phase
        and each.attempt > order.attempt
        and each.created_at >= order.created_at
        for each in orders
    )


class SlotOrders(tuple[OrderRecord, ...]):
    """The orders of a slot, oldest first, and those of each symbol."""

    @cached_property
    def by_symbol(self) -> Mapping[str, Sequence[OrderRecord]]:
        """The orders of each symbol, oldest first."""
        found: dict[str, list[OrderRecord]] = {}
        for order in self:
            found.setdefault(order.request.symbol, []).append(order)
        return found
