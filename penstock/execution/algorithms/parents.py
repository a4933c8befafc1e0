"""A parent order and its children, as the ledger has them: how far the work is, read anew each
time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property

from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, OrderType
from penstock.core.parent_orders import ParentOrder
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms import (
    ChildOrder,
    Plan,
    Progress,
    Send,
    Step,
    next_step,
    requests_ahead,
)

#: A child that never reached the venue is sent under a new attempt at most this many times in all;
#: then its turn is over.
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Parent:
    """One order that is worked by children, which are numbered from 0."""

    begun: ParentOrder
    instrument: Instrument

    @cached_property
    def plan(self) -> Plan:
        return Plan.model_validate_json(self.begun.plan)

    @property
    def order(self) -> ProposedOrder:
        return self.begun.order

    @property
    def symbol(self) -> str:
        return self.begun.order.symbol

    @property
    def start(self) -> datetime:
        return self.begun.started_at

    def next_step(
        self,
        orders: Sequence[OrderRecord],
        now: datetime,
        last_price: Decimal,
        allowed: Decimal | None,
        passed: timedelta | None = None,
    ) -> Step:
        """Return what is due, all children having ended. `orders` are the rebalance's, `allowed`
        bounds the summed fills.

        What was due up to `passed` (from the start of the work) is let go: no venue would take it
        then.
        """
        progress = self.progress(orders, allowed)
        if passed is not None:
            progress = replace(progress, last_at=max(passed, progress.last_at or passed))
        return next_step(
            self.plan, self.order, progress, now - self.start, last_price, self.instrument
        )

    def progress(self, orders: Sequence[OrderRecord], allowed: Decimal | None = None) -> Progress:
        """Return what has been sent and filled. A child that never reached the venue counts as not
        sent.

        Where one part of a child reached its venue and another did not, the child's moment is not
        over.
        """
        children = self._children(orders)
        lost = [
            order for order in children if _never_traded(order) and order.attempt + 1 < MAX_ATTEMPTS
        ]
        taken = [order for order in children if order not in lost]
        moments = {order.created_at - self.start for order in taken}
        newest = max(moments, default=None)
        if any(order.created_at - self.start == newest for order in lost):
            newest = max((moment for moment in moments if moment != newest), default=None)
        return Progress(
            sent=max((order.child + 1 for order in taken), default=0),
            filled=sum((order.filled_quantity for order in children), Decimal(0)),
            last_at=newest,
            allowed=allowed,
        )

    def requests_ahead(self, orders: Sequence[OrderRecord], now: datetime) -> tuple[float, ...]:
        """Return the seconds from `now` at which requests of this parent may still leave."""
        return requests_ahead(self.plan, self.progress(orders), now - self.start)

    def attempt(self, number: int, orders: Sequence[OrderRecord]) -> int:
        """Return the attempt under which the child `number` is to be sent: one more than any
        before.
        """
        return max(
            (order.attempt + 1 for order in self._children(orders) if order.child == number),
            default=0,
        )

    def rest(self, orders: Sequence[OrderRecord]) -> Send:
        """Return all that is left as one child: what is written down where the kill switch ends the
        work.
        """
        progress = self.progress(orders)
        return Send(
            ChildOrder(
                OrderType.MARKET, self.order.quantity - progress.filled, number=progress.sent
            ),
            None,
        )

    def _children(self, orders: Sequence[OrderRecord]) -> list[OrderRecord]:
        return [
            order
            for order in orders
            if order.request.symbol == self.symbol and order.phase == self.order.phase
        ]


def _never_traded(order: OrderRecord) -> bool:
    cause = order.end_cause
    return cause is EndCause.STOPPED or (cause is not None and cause.may_be_sent_again)
