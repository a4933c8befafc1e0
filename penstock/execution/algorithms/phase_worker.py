"""Working one phase of a rebalance over time: child orders go out when they are due, through the
same ledger as every order.

The parents are committed before the first child leaves, and what comes next is always read off the
ledger, so an interrupted run goes on with what is left. Each child is written ahead, sent once, and
followed to its end before its parent's next one.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

from penstock.core.halts import Halt
from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import EndCause, Fill, OrderRequest, Phase, Side, client_order_id
from penstock.core.parent_orders import ParentOrder
from penstock.core.proposals import ProposedOrder
from penstock.core.rebalances import Rebalance
from penstock.execution.algorithms import (
    ChildOrder,
    Finished,
    MarketStyle,
    Plan,
    Progress,
    Send,
    Step,
    Style,
    Wait,
    plan_order,
    requests_ahead,
)
from penstock.execution.algorithms.parents import Parent
from penstock.execution.lease import LeaseKeeper
from penstock.execution.orders.intents import place
from penstock.execution.orders.resend import cleared
from penstock.execution.orders.submit import stopped
from penstock.execution.orders.track import OrderTracker
from penstock.execution.review_waves import Ahead, Judge
from penstock.execution.routing.limits import Bounds
from penstock.execution.routing.router import numbered, route_orders
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book, Skipped
from penstock.risk.review import ApprovedOrders
from penstock.risk.rules import halted

#: While nothing is due, the kill switch and the lease are looked at this often.
_LOOK_SECONDS = 1.0
#: A slot's fills are looked for from this much before it on: it may begin a little early, and
#: clocks differ.
_FILLS_BEFORE = timedelta(minutes=1)


@dataclass(frozen=True)
class Worked:
    """What one run of a phase did: requests sent, fills booked, and what no venue would take of an
    order.
    """

    sent: int = 0
    fills: tuple[Fill, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@dataclass
class PhaseWorker:
    """One phase (sells or buys) of one rebalance, worked in `style`.

    `review_all(None, ahead)` plans the phase anew and reviews it; `review_all(orders, ahead)`
    reviews what an interrupted run left; `ahead` says when their requests may leave. Risk has the
    word on every run, `judge` on every wave of children that are due at one instant (`look` is how
    the account stands then), and the kill switch before every child. `bounds` holds for all parts
    of a parent together, where the account has several venues. `cost_fraction` (of notional) is
    kept back from the cash that buys may use.
    """

    session: AccountSession
    style: Style
    keeper: LeaseKeeper
    rebalance: Rebalance
    phase: Phase
    targets: PortfolioTargets
    instruments: Mapping[str, Instrument]
    review_all: Callable[[Sequence[ProposedOrder] | None, Ahead], ApprovedOrders]
    judge: Judge
    look: Callable[[Collection[str]], Book]
    bounds: Bounds
    cost_fraction: Decimal = Decimal(0)
    _allowed: dict[str, Decimal] = field(default_factory=dict)
    _fills: list[Fill] = field(default_factory=list)
    _passed: dict[str, timedelta] = field(default_factory=dict)
    _unrouted: dict[str, Skipped] = field(default_factory=dict)
    _sent: int = 0
    _stopped: bool = False
    _just_reviewed: bool = False
    _seen: Book | None = None

    def work(self) -> Worked:
        """Send what is due until nothing more will be; return what was done. Raises what placement
        and following raise.
        """
        begun = self.session.parent_orders.work_of(self.rebalance.id)
        mine = [work for work in begun if work.order.phase == self.phase]
        if begun and not mine and all(work.order.phase > self.phase for work in begun):
            return Worked()  # a later phase was begun, so this one was over
        works = self._resumed(mine) if mine else self._begun()
        self._just_reviewed = isinstance(
            self.style, MarketStyle
        )  # all goes out at once, a moment after its review
        while works and not self._stopped and self._turn(works):
            pass
        return Worked(self._sent, tuple(self._fills), tuple(self._unrouted.values()))

    def _begun(self) -> list[Parent]:
        """Plan, review and commit the phase's parents."""
        approved = self.review_all(
            None, lambda order: requests_ahead(self._planned(order), Progress(), timedelta(0))
        ).orders
        at = self.session.clock.now()
        works = [
            ParentOrder(
                self.rebalance.id,
                order,
                self.targets.versions_of(order.symbol),
                self._planned(order).model_dump_json(),
                at,
            )
            for order in approved
        ]
        if works:
            self.session.parent_orders.begin_work(self.keeper.lease, works)
        return [Parent(work, self.instruments[work.order.symbol]) for work in works]

    def _planned(self, order: ProposedOrder) -> Plan:
        ask = self.session.volume_profiles
        profile = None if ask is None else ask(order.symbol, self.rebalance.slot)
        return plan_order(
            order,
            self.instruments[order.symbol],
            self.style,
            self.session.clock.now(),
            profile,
        )

    def _resumed(self, begun: Iterable[ParentOrder]) -> list[Parent]:
        """Take up what was begun; have what is left of it reviewed again, since the account has
        changed.
        """
        works = [
            Parent(work, self.instruments[work.order.symbol])
            for work in begun
            if work.order.symbol in self.instruments
        ]
        orders, now = self._orders(), self.session.clock.now()
        ahead = {work.symbol: work.requests_ahead(orders, now) for work in works}
        filled = {work.symbol: work.progress(orders, None).filled for work in works}
        left = [work.order.resized(work.order.quantity - filled[work.symbol]) for work in works]
        passed = self.review_all(
            [order for order in left if order.quantity > 0], lambda order: ahead[order.symbol]
        )
        approved = {order.symbol: order.quantity for order in passed.orders}
        self._allowed = {
            symbol: quantity + approved.get(symbol, Decimal(0))
            for symbol, quantity in filled.items()
        }
        return works

    def _turn(self, works: Sequence[Parent]) -> bool:
        """Send every child that is due and follow it to its end, or else wait; return whether there
        is more to do.
        """
        just_reviewed, self._just_reviewed = self._just_reviewed, False
        if self._seen is not None and not self._due(steps := self._steps(works, self._seen)):
            return self._wait(
                steps
            )  # when it is due depends on no price: the account is read only for what leaves
        self._seen = book = self.look([work.symbol for work in works])
        steps = self._steps(works, book)
        due = self._due(steps)
        if not due:
            return self._wait(steps)
        if not just_reviewed:
            due = self._judged(due, book)
            if self._halted(steps):  # what was found may have set the account's state
                return False
        if not due or not self._send(due):
            self._look_later(_LOOK_SECONDS)
        return True

    @staticmethod
    def _due(steps: Sequence[tuple[Parent, Step]]) -> list[tuple[Parent, Send]]:
        return [(work, step) for work, step in steps if isinstance(step, Send)]

    def _judged(self, due: Sequence[tuple[Parent, Send]], book: Book) -> list[tuple[Parent, Send]]:
        """Return what risk lets pass of what is due. A child that is denied, or cut to less, is the
        last of its order.

        What only its price keeps back is let go, as where no venue takes it: its quantity joins the
        next child.
        """
        orders, now = self._orders(), self.session.clock.now()
        filled = {work.symbol: work.progress(orders).filled for work, _ in due}
        prices = {work.symbol: book.prices.get(work.symbol, work.order.price) for work, _ in due}
        children = [
            replace(work.order.resized(step.child.quantity), price=prices[work.symbol])
            for work, step in due
        ]
        rests = {work.symbol: work.order.quantity - filled[work.symbol] for work, _ in due}
        word = self.judge.wave(children, rests, book, self.targets)
        going: list[tuple[Parent, Send]] = []
        for work, step in due:
            symbol, child = work.symbol, step.child
            passed = word.passed.get(symbol, Decimal(0))
            if symbol in word.put_off:
                self._passed[symbol] = now - work.start
            elif passed < child.quantity:
                self._allowed[symbol] = filled[symbol] + passed
            if (
                passed > 0
                and work.instrument.refusal(passed, child.price or prices[symbol]) is None
            ):
                going.append((work, replace(step, child=replace(child, quantity=passed))))
        return going

    def _wait(self, steps: Sequence[tuple[Parent, Step]]) -> bool:
        """Wait for the next child's time, with nothing but a look at the kill switch; return
        whether there is more to do.
        """
        waits = [work.start + step.until for work, step in steps if isinstance(step, Wait)]
        if not waits:
            return False
        while (left := (min(waits) - self.session.clock.now()).total_seconds()) > 0:
            if self._halted(steps):
                return False
            self._look_later(min(left, _LOOK_SECONDS))
        return True

    def _look_later(self, seconds: float) -> None:
        self.session.pause(max(seconds, self.session.policy.poll_seconds))
        _ = (
            self.keeper.lease
        )  # renews it: waiting writes nothing, and must not let the lease run out

    def _steps(self, works: Sequence[Parent], book: Book) -> list[tuple[Parent, Step]]:
        """Return what is next for each parent. Buys are bounded by the cash there is: prices move
        while they are worked.
        """
        orders, now, cash = self._orders(), self.session.clock.now(), book.cash
        steps: list[tuple[Parent, Step]] = []
        for work in works:
            price, bound = (
                book.prices.get(work.symbol, work.order.price),
                self._allowed.get(work.symbol),
            )
            if work.order.side is Side.BUY:
                affordable = work.instrument.round_lots(
                    max(cash, Decimal(0)) / (price * (1 + self.cost_fraction))
                )
                payable = work.progress(orders).filled + affordable
                bound = payable if bound is None else min(bound, payable)
            step = work.next_step(orders, now, price, bound, self._passed.get(work.symbol))
            if isinstance(step, Send) and work.order.side is Side.BUY:
                cash -= step.child.quantity * (step.child.price or price) * (1 + self.cost_fraction)
            steps.append((work, step))
        return steps

    def _send(self, due: Sequence[tuple[Parent, Send]]) -> bool:
        """Send what is due and follow it to its end; return whether anything could be sent."""
        planned = self._requests(due)
        if not planned:
            return False
        going = cleared(self.session, self.keeper, self.rebalance, self.instruments, planned)
        self._fills += going.fills
        reports = place(self.session, self.keeper, self.rebalance, going.orders)
        self._sent += len(going.orders)
        default = self.session.policy.follow_timeout_seconds
        patience = min(
            default if step.patience_seconds is None else step.patience_seconds for _, step in due
        )
        follower = OrderTracker(self.session, self.keeper, self.rebalance.slot)
        names = {order.request.client_order_id for order in going.orders}
        endless = follower.follow(names, reports, patience)
        self._fills += follower.booked
        ended = [order for order in self._orders() if order.request.client_order_id in names]
        self._stopped = bool(endless or going.held_back) or any(
            order.end_cause is EndCause.STOPPED for order in ended
        )
        return True

    def _requests(self, due: Sequence[tuple[Parent, Send]]) -> list[OrderIntent]:
        """Return the requests of the children that are due: one each, or where the account has
        several venues its parts.
        """
        orders, now = self._orders(), self.session.clock.now()
        if self.session.venues is None:
            return [self._request(work, step.child, orders) for work, step in due]
        children = {work.symbol: (work, step.child) for work, step in due}
        drafts = [work.order.resized(child.quantity) for work, child in children.values()]
        limits = {
            symbol: child.price
            for symbol, (_, child) in children.items()
            if child.price is not None
        }
        bounds = self._bounds_now([work for work, _ in children.values()], orders)
        routed = route_orders(
            drafts, self.session.venues.offers(list(children)), self.cost_fraction, bounds, limits
        )
        parts = numbered(routed.parts)
        going = {part.symbol for part in parts}
        self._passed |= {
            symbol: now - work.start
            for symbol, (work, _) in children.items()
            if symbol not in going
        }
        self._unrouted = {
            symbol: why for symbol, why in self._unrouted.items() if symbol not in children
        }
        self._unrouted |= {why.symbol: why for why in routed.skipped}
        return [self._request_of_part(*children[part.symbol], part, orders) for part in parts]

    def _bounds_now(self, works: Sequence[Parent], orders: Sequence[OrderRecord]) -> Bounds:
        """Return the bounds with what each parent's earlier children have used up taken off its
        ceiling.
        """
        ceilings = {work.symbol: self.bounds.ceiling(work.order) for work in works}
        spent = dict.fromkeys(ceilings, Decimal(0))
        mine = {order.request.client_order_id for order in orders if order.phase == self.phase}
        for symbol in (symbol for symbol, ceiling in ceilings.items() if ceiling is not None):
            booked = self.session.ledger.fills(
                self.session.account, symbol, self.rebalance.slot - _FILLS_BEFORE
            )
            spent[symbol] = sum(
                (fill.notional for fill in booked if fill.client_order_id in mine), Decimal(0)
            )
        left = {
            symbol: ceiling - spent[symbol]
            for symbol, ceiling in ceilings.items()
            if ceiling is not None
        }
        return replace(self.bounds, ceilings=left)

    def _request_of_part(
        self, work: Parent, child: ChildOrder, part: ProposedOrder, orders: Sequence[OrderRecord]
    ) -> OrderIntent:
        """Return the request of a child's part: the parts are children of their own, numbered on."""
        number = child.number + part.child - work.order.child
        return self._request(
            work, replace(child, quantity=part.quantity, number=number), orders, part.venue
        )

    def _request(
        self, work: Parent, child: ChildOrder, orders: Sequence[OrderRecord], venue: str = ""
    ) -> OrderIntent:
        number, attempt = child.number, work.attempt(child.number, orders)
        rebalance, symbol = self.rebalance, work.symbol
        name = client_order_id(
            rebalance.account,
            rebalance.portfolio_version,
            rebalance.slot,
            symbol,
            self.phase,
            number,
            attempt,
        )
        request = OrderRequest(
            name, symbol, work.order.side, child.type, child.quantity, child.price, venue=venue
        )
        order, version = work.order, work.begun.strategy_version
        return OrderIntent(
            request, self.phase, number, attempt, version, order.target_weight, order.price
        )

    def _halted(self, steps: Sequence[tuple[Parent, Step]]) -> bool:
        """Where the kill switch forbids what is still to come, write each next child down as
        stopped and say so.
        """
        halt = self.session.kill_switch.read()
        forbidden = [
            w
            for w, step in steps
            if not isinstance(step, Finished) and _must_stop(halt, w.order.side)
        ]
        if not forbidden:
            return False
        orders = self._orders()
        planned, at = (
            [self._request(work, work.rest(orders).child, orders) for work in forbidden],
            self.session.clock.now(),
        )
        events = [stopped(order.request, halt, at) for order in planned]
        self.session.ledger.write_ahead(self.keeper.lease, self.rebalance.id, planned, events, at)
        return True

    def _orders(self) -> Sequence[OrderRecord]:
        return self.session.ledger.orders(self.session.account, rebalance_id=self.rebalance.id)


def _must_stop(halt: Halt, side: Side) -> bool:
    """A halt that flattens lets sells pass, but not slowly: the work ends, and the next slot closes
    all at once.
    """
    return halt.flatten or halted(halt, side)
