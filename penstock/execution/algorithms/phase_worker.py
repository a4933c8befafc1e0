"""Trading one phase of a slot, its sells or its buys: plan, review, and send what is due.

Every style is worked here. A market order is a parent with one child that is due at once. The
parents are committed before the first child leaves, those of market orders with it. What comes next
is always worked out from the ledger, so an interrupted run goes on with what is left. Each child is
written ahead, sent once, and followed to its end before its parent's next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.amounts import plain
from penstock.core.halts import Halt
from penstock.core.order_records import SlotOrders
from penstock.core.orders import EndCause, Fill, Phase, Side
from penstock.core.parent_orders import ParentOrder
from penstock.execution.algorithms import (
    Finished,
    MarketStyle,
    Send,
    Step,
    Style,
    Wait,
)
from penstock.execution.algorithms.intents import child_intents, rest_intent
from penstock.execution.algorithms.parents import WorkingParent
from penstock.execution.algorithms.phase_plan import plan_phase
from penstock.execution.algorithms.pieces import piece_count
from penstock.execution.algorithms.resend import cleared
from penstock.execution.algorithms.slot_context import SlotContext
from penstock.execution.orders.submit import place, stopped
from penstock.execution.orders.track import OrderTracker
from penstock.execution.pretrade import PreTradeRisk
from penstock.portfolio.rebalancing import Book, Skipped

#: The seconds between two checks of the kill switch and the lease while nothing is due.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class PhaseResult:
    """What one run of a phase did."""

    sent: int
    """Requests that were written ahead to be sent."""

    fills: tuple[Fill, ...]
    """The fills that were booked."""

    skipped: tuple[Skipped, ...]
    """Symbols for which no order was made, and quantities that were not sent, each with the
    reason."""


class PhaseWorker:
    """One phase of one slot, worked to its end.

    Risk reviews the plan on every run, and the children of every later instant. The kill switch is
    looked at before every child: a reading serves for `policy.kill_switch_seconds`. Schedules count
    by the venue's clock (`session.clock`); waiting is real time (`session.pause`). The book is read
    again before anything leaves that was not reviewed on it.
    """

    def __init__(
        self,
        context: SlotContext,
        risk: PreTradeRisk,
        *,
        phase: Phase,
        style: Style,
        orders: SlotOrders,
        book: Book | None = None,
    ) -> None:
        """`orders` are all orders of the slot so far. `book` is the account as it was read just
        now; it is read where none is given.
        """
        self._context = context
        self._session = context.session
        self._risk = risk
        self._phase = phase
        self._style = style
        self._now: datetime = context.session.clock.now()
        self._given = book
        self._book: Book
        self._orders = orders
        self._allowed: dict[str, Decimal] = {}  # bounds a parent's summed fills
        self._passed: dict[str, timedelta] = {}  # what was due until then is not sent
        self._planned_now = False  # the plan was made from this book and its cash
        self._reviewed_now = False  # what is due was reviewed on this book
        self._stopped = False
        self._uncommitted: tuple[ParentOrder, ...] = ()  # they are committed with their children
        self._sent = 0
        self._fills: list[Fill] = []
        self._not_sent: dict[str, Skipped] = {}

    @property
    def orders(self) -> SlotOrders:
        """All orders of the slot, as the ledger has them after the last request."""
        return self._orders

    def work(self) -> PhaseResult:
        """Send what is due until nothing more will be; return what was done.

        Raises what `place` and OrderTracker raise; the slot may then be run again.
        """
        plan = plan_phase(
            self._context,
            self._risk,
            phase=self._phase,
            style=self._style,
            orders=self._orders,
            now=self._now,
            book=self._given,
        )
        if plan is None:
            return PhaseResult(0, (), ())
        self._book, self._allowed = plan.book, dict(plan.allowed)
        self._planned_now, self._uncommitted = plan.is_new, plan.uncommitted
        # Market orders leave right after their review.
        self._reviewed_now = isinstance(self._style, MarketStyle)
        while plan.parents and not self._stopped and self._turn(plan.parents):
            self._now = self._session.clock.now()
        self._commit_parents()
        skipped = (*plan.skipped, *self._not_sent.values())
        return PhaseResult(self._sent, tuple(self._fills), skipped)

    def _turn(self, parents: Sequence[WorkingParent]) -> bool:
        """Send every child that is due and follow it to its end, or wait.

        Returns whether there is more to do.
        """
        reviewed, self._reviewed_now = self._reviewed_now, False
        if not reviewed:
            self._commit_parents()
        steps = self._steps(parents)
        if _due(steps) and not reviewed:
            symbols = [parent.symbol for parent in parents]
            self._book = self._context.read_book(self._risk.locks, symbols)
            steps = self._steps(parents)
        due = _due(steps)
        if not due:
            self._commit_parents()
            return self._wait(steps)
        if not reviewed:
            due = self._review(due)
            if self._halted(steps):  # a breached limit may have set the account's state
                return False
        if not due or not self._send(due):
            self._pause(_LOOK_SECONDS)
        return True

    def _steps(self, parents: Sequence[WorkingParent]) -> list[tuple[WorkingParent, Step]]:
        """Return what is next for each parent.

        Buys are bounded by the cash of the book, because prices move while they are worked. Those
        that were planned from this book need no bound.
        """
        cost, cash = 1 + self._context.policy.cost_fraction, self._book.cash
        planned_now, self._planned_now = self._planned_now, False
        steps: list[tuple[WorkingParent, Step]] = []
        for parent in parents:
            symbol, is_buy = parent.symbol, parent.order.side is Side.BUY
            price = self._book.prices.get(symbol, parent.order.price)
            bound = self._allowed.get(symbol)
            if is_buy and not planned_now:
                lots = parent.instrument.round_lots(max(cash, Decimal(0)) / (price * cost))
                payable = parent.progress(self._orders).filled + lots
                bound = payable if bound is None else min(bound, payable)
            step = parent.next_step(self._orders, self._now, price, bound, self._passed.get(symbol))
            if not isinstance(step, Send) and step.reason:
                self._not_sent[symbol] = Skipped(symbol, step.reason)
            if isinstance(step, Send) and is_buy:
                cash -= step.child.quantity * (step.child.price or price) * cost
            steps.append((parent, step))
        return steps

    def _review(
        self, due: Sequence[tuple[WorkingParent, Send]]
    ) -> list[tuple[WorkingParent, Send]]:
        """Return what risk lets pass of what is due.

        A child that is denied, or cut to less, is the last of its order. One that only the price
        collar keeps back is not sent now, and its quantity joins the next child.
        """
        filled = {parent.symbol: parent.progress(self._orders).filled for parent, _ in due}
        rests = {parent.symbol: parent.order.quantity - filled[parent.symbol] for parent, _ in due}
        children = [
            replace(
                parent.order.resized(step.child.quantity),
                price=self._book.prices.get(parent.symbol, parent.order.price),
            )
            for parent, step in due
        ]
        pieces = {
            parent.symbol: piece_count(
                step.child.type, child.quantity, child.price, parent.instrument
            )
            for (parent, step), child in zip(due, children, strict=True)
        }
        review = self._risk.review_wave(children, rests, self._book, self._context.targets, pieces)
        going: list[tuple[WorkingParent, Send]] = []
        for (parent, step), child in zip(due, children, strict=True):
            symbol, passed = parent.symbol, review.passed.get(parent.symbol, Decimal(0))
            if symbol in review.deferred:
                self._passed[symbol] = self._now - parent.start
            elif passed < child.quantity:
                self._allowed[symbol] = filled[symbol] + passed
            price = step.child.price or child.price
            if passed > 0 and parent.instrument.refusal(passed, price) is None:
                going.append((parent, replace(step, child=replace(step.child, quantity=passed))))
        return going

    def _send(self, due: Sequence[tuple[WorkingParent, Send]]) -> bool:
        """Send what is due and follow it to its end; return whether anything could be sent."""
        context, session = self._context, self._session
        children = [(parent, step.child) for parent, step in due]
        made = child_intents(context, children, self._orders, self._risk.bounds, self._book.prices)
        for symbol in (parent.symbol for parent, _ in due):
            self._not_sent.pop(symbol, None)
        self._not_sent |= made.skipped
        going_symbols = {intent.request.symbol for intent in made.intents}
        for parent, _ in due:
            if parent.symbol not in going_symbols:
                self._passed[parent.symbol] = self._now - parent.start
        if not made.intents:
            return False
        going = cleared(context, made.intents, self._orders)
        self._fills += going.fills
        if going.locks is not None:  # the next book is read with them, and reviewed
            self._risk.view.locks = going.locks
        reports = place(session, context.keeper, context.rebalance, going.orders, self._uncommitted)
        if going.orders:
            self._uncommitted = ()
        self._sent += len(going.orders)
        names = {order.request.client_order_id for order in going.orders}
        tracker = OrderTracker(session, context.keeper, context.rebalance.slot)
        written = context.read_orders()
        unfinished = tracker.follow(
            [order for order in written if order.request.client_order_id in names],
            reports,
            self._patience(due),
        )
        self._fills += tracker.booked
        self._risk.view.count(len(going.orders), [*going.fills, *tracker.booked])
        self._orders = SlotOrders(
            tracker.orders.get(order.request.client_order_id, order) for order in written
        )
        for parent in (parent for parent, _ in due if parent.symbol in going.kept_back):
            self._end_kept_back(parent, going.kept_back[parent.symbol])
        self._stopped = bool(unfinished) or any(
            order.end_cause is EndCause.STOPPED
            for order in self._orders
            if order.request.client_order_id in names
        )
        return True

    def _commit_parents(self) -> None:
        """Commit parents that no child has been committed with."""
        if self._uncommitted:
            self._session.parent_orders.begin_work(self._context.keeper.lease, self._uncommitted)
            self._uncommitted = ()

    def _end_kept_back(self, parent: WorkingParent, shown: str) -> None:
        """Let nothing more leave of a parent: `shown` says that an earlier order may exist."""
        symbol, wanted = parent.symbol, parent.order.quantity
        self._allowed[symbol] = filled = parent.progress(self._orders).filled
        if filled >= wanted:
            return
        self._not_sent[symbol] = Skipped(
            symbol,
            f"{parent.order.side} of {plain(wanted - filled)} of {plain(wanted)} "
            f"is not sent: {shown}",
        )

    def _patience(self, due: Sequence[tuple[WorkingParent, Send]]) -> float:
        """Return for how many seconds the children may work before they are cancelled."""
        usual = self._session.policy.follow_timeout_seconds
        return min(
            usual if step.patience_seconds is None else step.patience_seconds for _, step in due
        )

    def _wait(self, steps: Sequence[tuple[WorkingParent, Step]]) -> bool:
        """Wait for the next child's time, and check the kill switch and the lease meanwhile.

        Returns whether there is more to do.
        """
        times = [parent.start + step.until for parent, step in steps if isinstance(step, Wait)]
        if not times:
            return False
        while (left := (min(times) - self._session.clock.now()).total_seconds()) > 0:
            if self._halted(steps):
                return False
            self._pause(min(left, _LOOK_SECONDS))
        return True

    def _pause(self, seconds: float) -> None:
        self._session.pause(max(seconds, self._session.policy.poll_seconds))
        _ = self._context.keeper.lease  # renews it, which nothing else does while we wait

    def _halted(self, steps: Sequence[tuple[WorkingParent, Step]]) -> bool:
        """Return whether the kill switch forbids what is still to come of any parent.

        The rest of each such parent is recorded as stopped.
        """
        context, halt = self._context, self._session.switch.read()
        forbidden = [
            parent
            for parent, step in steps
            if not isinstance(step, Finished) and self._must_stop(halt, parent)
        ]
        if not forbidden:
            return False
        rests = [rest_intent(context, parent, self._orders) for parent in forbidden]
        at = self._session.clock.now()
        events = [stopped(rest.request, halt, at) for rest in rests]
        self._session.ledger.write_ahead(
            context.keeper.lease, context.rebalance.id, rests, events, at
        )
        self._orders = context.read_orders()
        self._risk.view.count(len(rests))
        return True

    def _must_stop(self, halt: Halt, parent: WorkingParent) -> bool:
        """Return whether the rest of a parent may not be sent.

        A halt that flattens ends all work over time, even of orders that reduce. The next slot
        closes every position at once.
        """
        if halt.flatten and not isinstance(parent.plan.style, MarketStyle):
            return True
        rest = rest_intent(self._context, parent, self._orders)
        return self._session.forbids(halt, rest.request)


def _due(steps: Sequence[tuple[WorkingParent, Step]]) -> list[tuple[WorkingParent, Send]]:
    return [(parent, step) for parent, step in steps if isinstance(step, Send)]
