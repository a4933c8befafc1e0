"""The rebalance of one account for one slot, from the lease to the last word. It reads like the
runbook's steps.

Running a slot again is safe: a slot that has ended sends nothing, one that was interrupted goes on
where it stopped.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from penstock.core.errors import ConfigError, StaleDataError
from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill, Phase, Side
from penstock.core.proposals import ProposedOrder
from penstock.core.rebalances import Rebalance, RebalanceStatus
from penstock.execution.algorithms import MarketStyle
from penstock.execution.algorithms.phase_worker import PhaseWorker
from penstock.execution.lease import LeaseKeeper, take_lease
from penstock.execution.orders.cancel import cancel_working
from penstock.execution.orders.intents import intents, place
from penstock.execution.orders.recover import Recovery, end_superseded, recover
from penstock.execution.orders.resend import cleared
from penstock.execution.orders.track import OrderTracker
from penstock.execution.pretrade import Guard
from penstock.execution.rebalance.outcome import cut_short, new_breaks, outcome_of, refusal_of
from penstock.execution.rebalance.report import RebalanceReport
from penstock.execution.reconciliation.reconcile import Reconciliation, reconcile
from penstock.execution.review_waves import Ahead, Judge
from penstock.execution.routing.router import divided, joined, margin_of
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import (
    Book,
    RebalancePolicy,
    Skipped,
    plan_buys,
    plan_sells,
)
from penstock.risk.limits import RiskLimits
from penstock.risk.review import ApprovedOrders

#: A run may start this much before its slot by the venue's clock without being early.
_EARLY_SECONDS = 1.0
#: An order that never reached the venue is sent under a new id at most this many times in one run.
_MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class RebalanceInputs:
    """What to rebalance to. `slot` is the bar close it acts on.

    `decide` is given a portfolio version and returns its targets at the slot. The version is the
    one the ledger fixed when the slot was first run, which an interrupted slot keeps though another
    has been promoted since.
    """

    slot: datetime
    portfolio_version: str
    decide: Callable[[str], PortfolioTargets]
    policy: RebalancePolicy
    limits: RiskLimits


def rebalance(session: AccountSession, inputs: RebalanceInputs) -> RebalanceReport:
    """Bring the account to the slot's targets, once; return what was done.

    Raises what stops a run half-way (StaleDataError, VenueUnavailableError, StaleLeaseError,
    StoreError ...); the slot is then still RUNNING and may be run again.
    """
    if inputs.policy.quote != session.quote:
        raise ConfigError(
            f"the policy's quote is {inputs.policy.quote} and the account's is {session.quote}: make them the same"
        )
    clock = session.machine_clock
    started = clock.elapsed_seconds()
    policy = session.policy
    session.ledger.open_account(session.account, session.exchange_name, session.quote)
    keeper = take_lease(
        session.ledger,
        session.account,
        policy.lease_ttl_seconds,
        policy.lease_wait_seconds,
        clock=clock,
        ids=session.ids,
    )
    if keeper is None:
        reason = "another process holds the account's lease: it is trading now"
        return RebalanceReport(session.account, inputs.slot, None, reason, inputs.portfolio_version)
    try:
        report = _run(session, keeper, inputs)
    finally:
        keeper.release()
    return replace(report, duration_seconds=clock.elapsed_seconds() - started)


def _run(session: AccountSession, keeper: LeaseKeeper, inputs: RebalanceInputs) -> RebalanceReport:
    lateness = (session.clock.now() - inputs.slot).total_seconds()
    if lateness < -_EARLY_SECONDS:
        raise StaleDataError(
            f"the slot {inputs.slot:%Y-%m-%d %H:%M} closes in {-lateness:.0f} s: wait for it"
        )
    halt = session.kill_switch.read()
    working = cancel_working(session).left if halt.cancel or halt.flatten else ()
    recovery = recover(session, keeper, inputs.slot)
    instruments = session.exchange.instruments()
    reconciled = reconcile(session, keeper, instruments)
    passed = end_superseded(session, keeper, inputs.slot)
    slot = session.ledger.start_rebalance(keeper.lease, inputs.slot, inputs.portfolio_version)
    orders = tuple(session.ledger.orders(session.account, rebalance_id=slot.id))
    report = RebalanceReport(
        session.account,
        inputs.slot,
        slot.status,
        slot.reason,
        slot.portfolio_version,
        resumed=bool(orders),
        orders=orders,
        fills=recovery.fills,
        breaks=reconciled.breaks,
        opened=reconciled.opened,
        alerts=(*working, *cut_short(passed)),
        lateness_seconds=lateness,
    )
    if slot.status is not RebalanceStatus.RUNNING:
        return replace(
            report,
            already_done=True,
            reason=f"already {slot.status}{f' ({slot.reason})' if slot.reason else ''}",
        )
    refusal = refusal_of(session, inputs.slot, lateness, instruments)
    if refusal is not None:
        refusal = (
            f"{refusal}; {slot.reason}" if slot.reason else refusal
        )  # what stopped an earlier run of it
        return _end(
            session,
            keeper,
            slot,
            report,
            RebalanceStatus.FAILED if orders else RebalanceStatus.SKIPPED,
            refusal,
        )
    guard = Guard(
        session, keeper, inputs.limits, slot.slot, reconciled.locks, session.kill_switch.read()
    )
    judge = Judge(guard, frozenset(reconciled.planned))
    return _Run(session, keeper, inputs, slot, recovery, reconciled, guard, judge).execute(
        report, instruments
    )


def _end(
    session: AccountSession,
    keeper: LeaseKeeper,
    slot: Rebalance,
    report: RebalanceReport,
    status: RebalanceStatus,
    reason: str,
) -> RebalanceReport:
    session.ledger.end_rebalance(keeper.lease, slot.id, status, reason)
    return replace(report, status=status, reason=reason)


@dataclass
class _Run:
    """The trading part of one rebalance: sells to their end, then buys from what the sells really
    yielded.
    """

    session: AccountSession
    keeper: LeaseKeeper
    inputs: RebalanceInputs
    slot: Rebalance
    recovery: Recovery
    reconciled: Reconciliation
    guard: Guard
    judge: Judge
    fills: list[Fill] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    sent: int = 0

    def execute(
        self, report: RebalanceReport, instruments: Mapping[str, Instrument]
    ) -> RebalanceReport:
        targets = self._decided()
        before = self._book(targets, instruments)
        targets = self.guard.open(before, targets)
        for phase in Phase:
            self._trade(phase, targets, instruments)
        after = self._book(targets, instruments)
        self.guard.close(after)
        final = reconcile(self.session, self.keeper, instruments)
        in_doubt = self.guard.in_doubt(after)
        self.session.control_store.record_equity(
            self.keeper.lease, self.slot.slot, after.equity, after.cash, in_doubt
        )
        orders = self._orders()
        report = replace(
            report,
            sent=self.sent,
            equity_before=before.equity,
            equity_after=after.equity,
            cash_after=after.cash,
            orders=tuple(orders),
            fills=(*self.recovery.fills, *self.fills, *final.fills),
            skipped=tuple(self.skipped),
            findings=(*self.guard.closing, *self.judge.findings),
            breaks=final.breaks,
            opened=(*self.reconciled.opened, *new_breaks(final.breaks, self.reconciled.breaks)),
            alerts=(*report.alerts, *self.guard.alerts),
        )
        status, reason = outcome_of(orders)
        return _end(self.session, self.keeper, self.slot, report, status, reason)

    def _decided(self) -> PortfolioTargets:
        """Return the slot's targets, kept in the ledger. An account that is being flattened asks no
        strategy.
        """
        version = self.slot.portfolio_version
        if self.guard.halt.flatten:
            return PortfolioTargets(version, {}, {}, {})
        targets = self.inputs.decide(version)
        decided = {
            symbol: weight for symbol, weight in targets.weights.items() if weight is not None
        }
        self.session.ledger.record_targets(self.keeper.lease, self.slot.id, decided)
        return targets

    def _trade(
        self, phase: Phase, targets: PortfolioTargets, instruments: Mapping[str, Instrument]
    ) -> None:
        """Plan one phase (or take up the plan that an interrupted run committed), review it, place
        and follow it.
        """
        if not isinstance(self.session.style, MarketStyle):
            self._work(phase, targets, instruments)
            return
        for _ in range(_MAX_ATTEMPTS):
            if not self._trade_once(phase, targets, instruments):
                return

    def _work(
        self,
        phase: Phase,
        targets: PortfolioTargets,
        instruments: Mapping[str, Instrument],
    ) -> None:
        """Work one phase over time, in the session's style; what risk wants closed goes out
        whole and at once.
        """

        def review_all(left: Sequence[ProposedOrder] | None, ahead: Ahead) -> ApprovedOrders:
            book = self._book(targets, instruments)
            drafts = self._drafts(phase, targets, book) if left is None else left
            return self.judge.plan(drafts, book, targets, ahead)

        def look(symbols: Collection[str]) -> Book:
            return self._book(targets, instruments, symbols)

        urgent = self.guard.halt.flatten or (phase is Phase.SELLS and self.guard.closing)
        style = MarketStyle() if urgent else self.session.style
        worked = PhaseWorker(
            self.session,
            style,
            self.keeper,
            self.slot,
            phase,
            targets,
            instruments,
            review_all,
            self.judge,
            look,
            self.guard.bounds,
            self.inputs.policy.cost_fraction,
        ).work()
        self.sent += worked.sent
        self.fills += worked.fills
        self.skipped += worked.skipped
        self.guard.forget_counts()

    def _trade_once(
        self, phase: Phase, targets: PortfolioTargets, instruments: Mapping[str, Instrument]
    ) -> bool:
        """Send what the phase still lacks; return whether anything was sent."""
        book = self._book(targets, instruments)
        drafts = self._drafts(phase, targets, book)
        approved = self.judge.plan(joined(drafts), book, targets)
        approved, skipped = divided(
            self.session, approved, drafts, margin_of(self.inputs.policy), self.guard.bounds
        )
        self.skipped += skipped
        planned = intents(approved, self.slot, targets, instruments, self.inputs.policy)
        going = cleared(self.session, self.keeper, self.slot, instruments, planned)
        orders, self.fills = going.orders, [*self.fills, *going.fills]
        reports = place(self.session, self.keeper, self.slot, orders)
        self.sent += len(orders)
        if not orders:
            return False
        follower = OrderTracker(self.session, self.keeper, self.slot.slot)
        ids = {order.request.client_order_id for order in orders}
        follower.follow(ids, reports, self.session.policy.follow_timeout_seconds)
        self.fills += follower.booked
        self.guard.sent(len(orders), follower.booked)
        return True

    def _drafts(self, phase: Phase, targets: PortfolioTargets, book: Book) -> list[ProposedOrder]:
        orders = self._orders()
        committed = [order for order in orders if order.phase == phase]
        if committed:
            return [
                draft
                for order in committed
                if (draft := _again(order, committed, targets, book)) is not None
            ]
        if phase is Phase.SELLS and orders:
            return []  # the buys were committed, so the sells were over
        if phase is Phase.SELLS:
            drafts, skipped = plan_sells(book)
        else:
            sold = {
                order.request.symbol: None for order in orders if order.request.side is Side.SELL
            }
            drafts, skipped = plan_buys(replace(book, targets={**book.targets, **sold}))
        self.skipped += skipped
        return drafts

    def _book(
        self,
        targets: PortfolioTargets,
        instruments: Mapping[str, Instrument],
        worked: Collection[str] = (),
    ) -> Book:
        """Return the account as it is now, at the venue's last prices; those of `worked` symbols
        are among them.
        """
        positions = dict(self.session.ledger.positions(self.session.account))
        quote = self.session.quote
        if (
            quote in self.guard.locks
        ):  # the ledger's cash is in doubt: never plan with more than the venue has
            positions[quote] = min(
                positions.get(quote, Decimal(0)),
                self.session.exchange.balances().get(quote, Decimal(0)),
            )
        held = holdings_by_symbol(positions, quote, instruments)
        symbols = sorted(
            symbol for symbol in {*targets.weights, *held, *worked} if symbol in instruments
        )
        prices = self.session.exchange.last_prices(symbols)
        return Book(targets.weights, positions, prices, instruments, self.inputs.policy)

    def _orders(self) -> list[OrderRecord]:
        return list(self.session.ledger.orders(self.session.account, rebalance_id=self.slot.id))


def _again(
    order: OrderRecord, committed: list[OrderRecord], targets: PortfolioTargets, book: Book
) -> ProposedOrder | None:
    """Return the order under its next attempt where it never reached the venue and no later attempt
    stands for it.
    """
    request = order.request
    later = any(
        o.request.symbol == request.symbol and o.child == order.child and o.attempt > order.attempt
        for o in committed
    )
    if later or order.end_cause is None or not order.end_cause.may_be_sent_again:
        return None
    price = book.prices.get(request.symbol, request.price)
    weight = targets.weights.get(request.symbol) or 0.0
    if price is None:
        return None
    return ProposedOrder(
        request.symbol,
        request.side,
        request.quantity,
        price,
        weight,
        order.phase,
        order.child,
        order.attempt + 1,
        request.venue,
    )
