"""Pre-trade risk of one slot: reviews before orders leave, their records, and what follows.

The rules are in penstock.risk. What they see is made in penstock.execution.risk_view. When a parent
order ends because of a review is for penstock.execution.algorithms.phase_worker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from penstock.core.accounting import summed
from penstock.core.halts import Halt, stricter
from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.core.orders import Phase
from penstock.core.proposals import ProposedOrder
from penstock.core.risk_records import PositionMark, RecordedFinding, RiskVerdict
from penstock.core.timeframes import Timeframe
from penstock.execution.lease import LeaseKeeper
from penstock.execution.risk_view import RiskView
from penstock.execution.routing.limits import PartLimits
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import Book
from penstock.risk.limits import RiskLimits
from penstock.risk.losses import breaches
from penstock.risk.protection import STOP_NAMES, advanced_marks, positions_to_close
from penstock.risk.review import ApprovedOrders, ReviewedOrder, review
from penstock.risk.rules import PriceCollar, RiskContext, RuleFinding
from penstock.risk.unknown_equity import UnknownEquity

#: Rules whose finding may be over a moment later. They keep back the child that is due, and not the
#: rest of the order.
_MOMENTARY = frozenset({PriceCollar.name, UnknownEquity.name})
_ZERO = Decimal(0)


@dataclass(frozen=True)
class WaveReview:
    """What risk lets pass of the child orders that are due at one instant."""

    passed: Mapping[str, Decimal]
    """The quantity that may leave, by symbol (base units)."""

    deferred: frozenset[str] = frozenset()
    """Symbols whose child only a price that is not confirmed keeps back: its quantity joins the
    next child."""


class PreTradeRisk:
    """One slot's reviews, and their findings.

    A plan is reviewed before its parent orders are committed. Child orders that are due later are
    reviewed again, because the account may have changed. Those of one instant are reviewed
    together.
    """

    def __init__(
        self,
        *,
        session: AccountSession,
        keeper: LeaseKeeper,
        limits: RiskLimits,
        slot: datetime,
        locks: Mapping[str, str],
        halt: Halt,
        planned_instruments: Mapping[str, Instrument] | None = None,
        timeframe: Timeframe | None = None,
    ) -> None:
        """`locks` and `halt` are as read at the start of the slot. `planned_instruments` are those
        that the control store has. `timeframe` is that of the bars.
        """
        self.view = RiskView(
            session=session, limits=limits, slot=slot, locks=locks, halt=halt, timeframe=timeframe
        )
        self.closing: tuple[RuleFinding, ...] = ()
        self.planned_instruments = dict(planned_instruments or {})
        """The instruments that orders were planned with, as the control store has them."""
        self._session = session
        self._keeper = keeper
        self._limits = limits
        self._slot = slot
        self._exit_positions: Mapping[str, Decimal] = {}
        self._findings: list[RuleFinding] = []
        self._alerts: list[str] = []
        self._recorded: set[tuple[str, Phase, str]] = set()

    @property
    def halt(self) -> Halt:
        """The trading state, as last read."""
        return self.view.halt

    @property
    def locks(self) -> Mapping[str, str]:
        """The reason for each locked subject (symbol or asset), as last read."""
        return self.view.locks

    @property
    def findings(self) -> tuple[RuleFinding, ...]:
        """Every finding of the slot: positions to be closed first, then those of the reviews."""
        return (*self.closing, *self._findings)

    @property
    def alerts(self) -> tuple[str, ...]:
        """What an operator must know of the slot's reviews."""
        quote_alert = [self.view.quote_alert] if self.view.quote_alert else []
        return (*self._alerts, *quote_alert)

    @property
    def bounds(self) -> PartLimits:
        """The limits on the parts of an order that is divided over venues."""
        limits = self._limits
        return PartLimits(limits.price_collar, limits.max_order_notional, self._exit_positions)

    def open(self, book: Book, targets: PortfolioTargets) -> PortfolioTargets:
        """Start the slot: set the trading state that breached limits ask for, and record which
        stops fire: a run that is killed after its sells leaves their cooldown.

        Returns the targets, with zero for every position that is to be closed.
        """
        self.closing = positions_to_close(
            self._enforced(self.view.read(book, targets)), self._limits
        )
        self.view.exits = frozenset(finding.symbol for finding in self.closing)
        self._exit_positions = {symbol: book.positions[symbol] for symbol in self.view.exits}
        self._record([_closing_verdict(finding, book) for finding in self.closing])
        marks = dict(self.view.history.marks)
        for symbol in (each.symbol for each in self.closing if each.rule in STOP_NAMES):
            marks[symbol] = replace(marks.get(symbol, PositionMark()), stopped_at=self._slot)
        self._keep_marks(marks)
        return replace(targets, weights={**targets.weights, **dict.fromkeys(self.view.exits, 0.0)})

    def review_plan(
        self,
        orders: Sequence[ProposedOrder],
        book: Book,
        targets: PortfolioTargets,
        requests: Mapping[str, tuple[float, ...]],
    ) -> ApprovedOrders:
        """Return what the rules let pass of a plan, and keep their verdicts.

        `requests` has by symbol when requests of its order may leave, in seconds from now. The
        instruments of approved orders are recorded too.
        """
        requests = {symbol: times * self._parts for symbol, times in requests.items()}
        context = self.view.quoted(self.view.refreshed(book, targets), orders, requests)
        approved = review(orders, context, self._limits)
        self._record(approved.verdicts)
        self._findings += approved.findings
        symbols = {order.symbol for order in approved.orders} - self.planned_instruments.keys()
        if symbols:
            new = {symbol: book.instruments[symbol] for symbol in sorted(symbols)}
            self._session.control_store.record_instruments(self._keeper.lease, list(new.values()))
            self.planned_instruments |= new
        return approved

    def review_wave(
        self,
        children: Sequence[ProposedOrder],
        rests: Mapping[str, Decimal],
        book: Book,
        targets: PortfolioTargets,
        pieces: Mapping[str, int],
    ) -> WaveReview:
        """Return what the rules let pass of the children that are due now.

        `rests` (base units by symbol) are the open quantities of the parent orders. They are given
        up where a child does not pass. `pieces` has by symbol in how many requests its child
        leaves. A loss limit that is breached by now sets the trading state. A position whose stop
        fires by now is not increased.
        """
        context = self._enforced(self.view.read_again(book, targets))
        stops = [
            each for each in positions_to_close(context, self._limits) if each.rule in STOP_NAMES
        ]
        stopped = [
            ReviewedOrder(child, RiskVerdict.DENY, None, findings)
            for child in children
            if not context.reduces(child)
            and (findings := tuple(each for each in stops if each.symbol == child.symbol))
        ]
        going = [child for child in children if all(child is not each.order for each in stopped)]
        requests = {child.symbol: (0.0,) * pieces[child.symbol] * self._parts for child in going}
        approved = review(going, self.view.quoted(context, going, requests), self._limits)
        deferred = frozenset(
            each.order.symbol
            for each in approved.reviewed
            if each.passed is None and all(found.rule in _MOMENTARY for found in each.findings)
        )
        self._record_new([*approved.reviewed, *stopped], rests, deferred)
        return WaveReview({order.symbol: order.quantity for order in approved.orders}, deferred)

    def close(self, book: Book) -> None:
        """End the slot: record the best price of each position, and of which a stop has fired.

        A price that is not confirmed is no best price. What could still be sold keeps its best
        price, and so does what an open break says is gone: it may come back. Nothing is recorded
        where no rule needs it.
        """
        if not self._limits.guards_positions:
            return
        stopped = {each.symbol: self._slot for each in self.closing if each.rule in STOP_NAMES}
        held = holdings_by_symbol(summed([book.balances, book.missing]), self._session.quote)
        positions = {s: quantity for s, quantity in held.items() if s not in book.crumbs}
        prices = {s: price for s, price in book.prices.items() if s not in book.unsure}
        self._keep_marks(advanced_marks(self.view.history.marks, positions, prices, stopped))

    def _keep_marks(self, marks: Mapping[str, PositionMark]) -> None:
        if marks != self.view.history.marks:
            self._session.control_store.record_marks(self._keeper.lease, marks)
            self.view.history = replace(self.view.history, marks=marks)

    @property
    def _parts(self) -> int:
        """How many requests one request may become: one per venue."""
        return 1 if self._session.venues is None else len(self._session.venues.accounts)

    def _enforced(self, context: RiskContext) -> RiskContext:
        """Set the trading state where a breached limit asks for a stricter one.

        Returns the context with the state that is in force then.
        """
        for breach in breaches(context, self._limits):
            state = breach.limit.trading_state
            if state is None or not stricter(state, self.view.halt.state):
                continue
            self._session.control_store.set_trading_state(
                self._session.account,
                state,
                breach.reason,
                f"risk rule {breach.rule}",
                self._session.clock.now(),
                flatten=breach.limit.flatten,
                only_tighten=True,
                alert=True,
            )
            self.view.halt = self._session.switch.read()
        return replace(context, halt=self.view.halt)

    def _record_new(
        self,
        reviewed: Sequence[ReviewedOrder],
        rests: Mapping[str, Decimal],
        deferred: frozenset[str],
    ) -> None:
        """Record each finding against an order once. Every wave would repeat it."""
        verdicts: list[RecordedFinding] = []
        found = [(each, finding) for each in reviewed for finding in each.findings]
        for each, finding in found:
            order, waits = each.order, each.order.symbol in deferred
            if (order.symbol, order.phase, finding.rule) in self._recorded:
                continue
            self._recorded.add((order.symbol, order.phase, finding.rule))
            reason = f"{finding.reason}; {_consequence(finding, waits)}"
            self._findings.append(replace(finding, reason=reason, closes=False))
            wanted = order.quantity if waits else rests[order.symbol]
            passed = _ZERO if each.passed is None else each.passed.quantity
            verdicts.append(
                RecordedFinding(order.symbol, each.verdict, finding.rule, reason, wanted, passed)
            )
            if finding.closes:
                self._alerts.append(
                    f"{order.symbol} is no longer bought by {finding.rule}: {reason}"
                )
        self._record(verdicts)

    def _record(self, verdicts: Sequence[RecordedFinding]) -> None:
        if verdicts:
            self._session.control_store.record_verdicts(
                self._keeper.lease, self._slot, verdicts, self._session.clock.now()
            )


def _closing_verdict(finding: RuleFinding, book: Book) -> RecordedFinding:
    position = book.positions.get(finding.symbol, _ZERO)
    return RecordedFinding(
        finding.symbol, RiskVerdict.CLOSE, finding.rule, finding.reason, position, _ZERO
    )


def _consequence(finding: RuleFinding, deferred: bool) -> str:
    if deferred:
        return "this piece joins the next one"
    if finding.closes:
        return (
            "the rest is not bought, "
            "and the next slot closes the position if the price is still there"
        )
    return "the rest of the order is not sent"
