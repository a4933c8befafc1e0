"""What risk does with a slot before anything is planned: breached loss limits set the account's
state, stops close positions.

The rules themselves are in penstock.risk; here their words are kept, and carried into the slot's
targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.breaks import lock_subjects
from penstock.core.errors import VenueError
from penstock.core.halts import Halt, stricter
from penstock.core.orders import Fill
from penstock.core.proposals import ProposedOrder
from penstock.core.risk_records import RiskHistory, RiskVerdict, Verdict
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation.reconcile import locks_of
from penstock.execution.routing.limits import Bounds
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book
from penstock.risk.limits import RiskLimits
from penstock.risk.losses import breaches
from penstock.risk.protection import STOPS, advanced_marks, flattenings
from penstock.risk.review import ApprovedOrders
from penstock.risk.rules import RiskContext, RuleFinding

#: A minute's count is added to rather than read anew for this long: a phase of orders that go out
#: at once.
_COUNTS_HOLD = timedelta(seconds=10)


@dataclass
class Guard:
    """One slot's view of risk: what the account did before, which positions are being closed, and
    what was said.
    """

    session: AccountSession
    keeper: LeaseKeeper
    limits: RiskLimits
    slot: datetime
    locks: Mapping[str, str]
    halt: Halt
    history: RiskHistory = field(default_factory=RiskHistory)
    entries: Mapping[str, Decimal] = field(default_factory=dict)
    closing: tuple[RuleFinding, ...] = ()
    alerts: list[str] = field(default_factory=list)
    counted_at: datetime | None = None

    def open(self, book: Book, targets: PortfolioTargets) -> PortfolioTargets:
        """Read the account's past, act on breached limits, and return the targets with every
        position to be closed at zero.
        """
        self.closing = flattenings(self._acted_on(book, targets, self.in_doubt(book)), self.limits)
        self._keep([_closing_verdict(word, book) for word in self.closing])
        self.alerts += [_closing_alert(word, self.locks) for word in self.closing]
        return replace(targets, weights={**targets.weights, **dict.fromkeys(self._closed, 0.0)})

    def look_again(self, book: Book, targets: PortfolioTargets) -> RiskContext:
        """Return what the rules may look at in the middle of the work, read anew; a limit that was
        breached since is acted on.

        Locks are those of the breaks on record: nothing is compared with the venue.
        """
        in_doubt = self.in_doubt(book)  # by the locks that the book was made with
        self.halt = self.session.kill_switch.read()
        self.locks = locks_of(self.session.control_store.open_breaks(self.session.account))
        return self._acted_on(book, targets, in_doubt)

    def in_doubt(self, book: Book) -> Decimal:
        """Return by how much an open break on the cash has changed the book's equity: what left the
        venue is no loss yet.
        """
        if self.session.quote not in self.locks:
            return Decimal(0)
        return book.cash - self.session.ledger.positions(self.session.account).get(
            self.session.quote, Decimal(0)
        )

    def _acted_on(self, book: Book, targets: PortfolioTargets, in_doubt: Decimal) -> RiskContext:
        """Read what the account did, act on breached limits, and return what the rules may look at
        then.

        `in_doubt` counts as a transfer, until it is settled.
        """
        session = self.session
        self.counted_at = session.clock.now()
        history = session.control_store.risk_history(session.account, self.slot, self.counted_at)
        self.history = replace(history, transferred=history.transferred + in_doubt)
        if self.limits.guards_positions:
            self.entries = session.ledger.entry_prices(session.account)
        context = self.context(book, targets)
        self._breach(context)
        return replace(context, halt=self.halt)

    def stops(self, context: RiskContext) -> tuple[RuleFinding, ...]:
        """Return the stops that fire now."""
        return tuple(word for word in flattenings(context, self.limits) if word.rule in STOPS)

    def fresh_context(
        self,
        book: Book,
        targets: PortfolioTargets,
        orders: Sequence[ProposedOrder],
        requests: Mapping[str, tuple[float, ...]],
    ) -> RiskContext:
        """Return what the rules may look at for `orders`, with state, counts and quotes as they are
        now.
        """
        self.halt = self.session.kill_switch.read()
        self._recount()
        return self.quoted(self.context(book, targets), orders, requests)

    def quoted(
        self,
        context: RiskContext,
        orders: Sequence[ProposedOrder],
        requests: Mapping[str, tuple[float, ...]],
    ) -> RiskContext:
        """Return the context with the mids of what is about to trade, and when the requests leave."""
        mids, unquoted = self._mids(orders)
        return replace(context, mids=mids, unquoted=unquoted, requests=requests)

    def context(self, book: Book, targets: PortfolioTargets) -> RiskContext:
        """Return what the rules may look at."""
        return RiskContext(
            slot=self.slot,
            equity=book.equity,
            positions=book.positions,
            prices=book.prices,
            instruments=book.instruments,
            seen=targets.seen,
            halt=self.halt,
            quote=self.session.quote,
            locks=self.locks,
            weights=targets.weights,
            contributions=targets.contributions,
            quotas=targets.quotas,
            history=self.history,
            entries=self.entries,
            flatten=self._closed,
        )

    def _mids(self, orders: Sequence[ProposedOrder]) -> tuple[Mapping[str, Decimal], str]:
        """Return the mid of each symbol about to trade, by one request, and why they cannot be read
        ("" where they can).
        """
        if self.limits.price_collar is None or not orders:
            return {}, ""
        try:
            quotes = self.session.exchange.quotes(sorted({order.symbol for order in orders}))
        except VenueError as silence:
            said = (
                f"{self.session.account}: no order passes the price collar, quotes cannot be read"
            )
            if not any(
                alert.startswith(said) for alert in self.alerts
            ):  # worked orders ask in every wave
                self.alerts.append(f"{said}: {silence}")
            return {}, str(silence)
        return {symbol: quote.mid for symbol, quote in quotes.items()}, ""

    def _recount(self) -> None:
        """Count anew from the ledger where time has passed since: minutes in which orders were
        worked, or midnight.
        """
        now = self.session.clock.now()
        last = self.counted_at
        if last is not None and now - last < _COUNTS_HOLD and now.date() == last.date():
            return
        fresh = self.session.control_store.risk_history(self.session.account, self.slot, now)
        self.counted_at = now
        self.history = replace(
            self.history,
            orders_last_minute=fresh.orders_last_minute,
            orders_today=fresh.orders_today,
            traded_last_hour=fresh.traded_last_hour,
        )

    @property
    def bounds(self) -> Bounds:
        """What the limits demand of the parts of an order that is divided over venues."""
        return Bounds(self.limits.price_collar, self.limits.max_order_notional, self._closed)

    @property
    def _closed(self) -> frozenset[str]:
        return frozenset(word.symbol for word in self.closing)

    def _breach(self, context: RiskContext) -> None:
        """Set the account's state where a breached limit asks for a stricter one than is in force."""
        for breach in breaches(context, self.limits):
            state = breach.limit.trading_state
            if state is None or not stricter(state, self.halt.state):
                continue
            session, by = self.session, f"risk rule {breach.rule}"
            session.control_store.set_trading_state(
                session.account,
                state,
                breach.reason,
                by,
                session.clock.now(),
                flatten=breach.limit.flatten,
                only_tighten=True,
                alert=True,
            )
            self.halt = session.kill_switch.read()

    def reviewed(self, approved: ApprovedOrders) -> None:
        """Keep what the rules said of a plan."""
        self._keep(approved.verdicts)

    def ended(self, verdicts: Sequence[RiskVerdict], alerts: Sequence[str]) -> None:
        """Keep what the rules said of orders that were being worked."""
        self._keep(verdicts)
        self.alerts += alerts

    def forget_counts(self) -> None:
        """Have the ledger asked for the counts when they are next needed: it has every child,
        whichever review saw it.
        """
        self.counted_at = None

    def _keep(self, verdicts: Sequence[RiskVerdict]) -> None:
        if verdicts:
            self.session.control_store.record_verdicts(
                self.keeper.lease, self.slot, verdicts, self.session.clock.now()
            )

    def sent(self, orders: int, fills: Sequence[Fill]) -> None:
        """Count what a phase sent and traded, for the phases after it."""
        self.history = replace(
            self.history,
            orders_last_minute=self.history.orders_last_minute + orders,
            orders_today=self.history.orders_today + orders,
            traded_last_hour=self.history.traded_last_hour
            + sum((fill.notional for fill in fills), Decimal(0)),
        )

    def close(self, book: Book) -> None:
        """Remember the positions' highs, and which were stopped out, where a rule asks for them."""
        if not self.limits.guards_positions:
            return
        stopped = {word.symbol: self.slot for word in self.closing if word.rule in STOPS}
        marks = advanced_marks(
            self.history.marks, book.positions, book.prices, self.session.quote, stopped
        )
        if marks != self.history.marks:
            self.session.control_store.record_marks(self.keeper.lease, marks)


def _closing_alert(word: RuleFinding, locks: Mapping[str, str]) -> str:
    for subject in lock_subjects(word.symbol):
        if subject in locks:
            return f"{word.symbol} is to be closed by {word.rule} ({word.reason}) but is locked by a break: {locks[subject]}"
    return f"{word.symbol} is closed by {word.rule}: {word.reason}"


def _closing_verdict(word: RuleFinding, book: Book) -> RiskVerdict:
    held = book.held.get(word.symbol, Decimal(0))
    return RiskVerdict(word.symbol, Verdict.FLATTEN, word.rule, word.reason, held, Decimal(0))
