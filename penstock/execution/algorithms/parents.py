"""A parent order and its children: how far the work is, from the ledger's orders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import count

from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderRecord, SlotOrders
from penstock.core.orders import EndCause
from penstock.core.parent_orders import ParentOrder
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms import Plan, Progress, Step, next_step, requests_ahead

#: How often a child that never reaches the venue is tried in all.
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class WorkingParent:
    """A parent order while it is worked. Its children are numbered from 0.

    It keeps no state: its methods take the slot's orders as the ledger has them.
    """

    parent: ParentOrder
    """The parent as it was committed."""
    instrument: Instrument
    """The instrument of its symbol, as read at the start of the run."""

    @cached_property
    def plan(self) -> Plan:
        """The committed plan."""
        return Plan.model_validate_json(self.parent.plan)

    @property
    def order(self) -> ProposedOrder:
        """The approved order."""
        return self.parent.order

    @property
    def symbol(self) -> str:
        """The order's symbol."""
        return self.parent.order.symbol

    @property
    def start(self) -> datetime:
        """When the work began (UTC)."""
        return self.parent.started_at

    def next_step(
        self,
        orders: Sequence[OrderRecord],
        now: datetime,
        last_price: Decimal,
        allowed: Decimal | None,
        passed: timedelta | None = None,
    ) -> Step:
        """Return what is due now. All children must have ended.

        `allowed` bounds the summed fills. What was due up to `passed` (from the start of the work)
        is not sent, because it could not leave then.
        """
        progress = self.progress(orders, allowed)
        if passed is not None:
            progress = replace(progress, last_at=max(passed, progress.last_at or passed))
        return next_step(
            self.plan, self.order, progress, now - self.start, last_price, self.instrument
        )

    def progress(self, orders: Sequence[OrderRecord], allowed: Decimal | None = None) -> Progress:
        """Return what has been sent and filled.

        A child that never reached the venue counts as not sent until its attempts are used up.
        Where one of the parts sent at a moment is such a child, that moment is due again.
        """
        children = self._children(orders)
        if not children:
            return Progress(allowed=allowed)
        lost = _lost(children)
        taken = [order for order in children if order.child not in lost]
        moments = {self._moment(order) for order in taken}
        newest = max(moments, default=None)
        if newest in {self._moment(order) for order in children if order not in taken}:
            newest = max((moment for moment in moments if moment != newest), default=None)
        return Progress(
            sent=max((order.child + 1 for order in taken), default=0),
            filled=sum((order.filled_quantity for order in children), Decimal(0)),
            last_at=newest,
            allowed=allowed,
        )

    def requests_ahead(self, orders: Sequence[OrderRecord], now: datetime) -> tuple[float, ...]:
        """Return the seconds from `now` at which requests of this parent may still leave."""
        progress, passed = self.progress(orders), now - self.start
        return requests_ahead(self.plan, progress, passed, self.order.price, self.instrument)

    def free_numbers(self, orders: Sequence[OrderRecord]) -> Iterator[int]:
        """Yield the numbers of the next children: those of lost children first, then new ones."""
        children = self._children(orders)
        yield from sorted(_lost(children))
        yield from count(max((order.child + 1 for order in children), default=0))

    def attempt(self, number: int, orders: Sequence[OrderRecord]) -> int:
        """Return the attempt under which the child `number` is to be sent.

        It is one more than any earlier attempt of this child and of all lost children, whose
        quantity it may take. So attempts run out even where a lost child is divided differently.
        """
        children = self._children(orders)
        counted = {number} | _lost(children)
        attempts = [order.attempt for order in children if order.child in counted]
        return max(attempts, default=-1) + 1

    def _children(self, orders: Sequence[OrderRecord]) -> list[OrderRecord]:
        symbol, phase = self.symbol, self.order.phase
        if isinstance(orders, SlotOrders):  # many parents look for their own
            orders = orders.by_symbol.get(symbol, ())
        return [
            order for order in orders if order.request.symbol == symbol and order.phase is phase
        ]

    def _moment(self, order: OrderRecord) -> timedelta:
        """Return when a child was sent, from the start of the work.

        It is never below zero, so that a clock that was set back makes no moment due twice.
        """
        return max(order.created_at - self.start, timedelta(0))


def _lost(children: Sequence[OrderRecord]) -> set[int]:
    """Return the numbers of the children that never reached the venue and may be sent again.

    The newest attempt of each child decides.
    """
    newest = {order.child: order for order in sorted(children, key=lambda order: order.attempt)}
    return {
        number
        for number, order in newest.items()
        if _never_traded(order) and order.attempt + 1 < MAX_ATTEMPTS
    }


def _never_traded(order: OrderRecord) -> bool:
    cause = order.end_cause
    return cause is EndCause.STOPPED or (cause is not None and cause.may_be_sent_again)
