"""Sending orders: each is written ahead, then sent once if the kill switch and the lease allow it.

Tracking and recovery ask what became of an order whose answer was lost.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from penstock.core.errors import (
    DuplicateOrderError,
    NotSentError,
    OrderNotFoundError,
    RateLimitedError,
    UnknownSymbolError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.halts import Halt
from penstock.core.log_ids import order_id
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    EndCause,
    OrderEvent,
    OrderEventKind,
    OrderReport,
    OrderRequest,
    OrderState,
)
from penstock.core.parent_orders import ParentOrder
from penstock.core.rebalances import Rebalance
from penstock.execution.lease import LeaseKeeper
from penstock.execution.session import AccountSession

#: Waiting is done in pieces of this length, so that the lease is renewed in between.
_PIECE_SECONDS = 1.0
#: How long to wait where the venue asks us to slow down and does not say for how long.
_DEFAULT_PACE_SECONDS = 1.0
_log = structlog.get_logger(__name__)
_ENDED = (OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)


@dataclass(frozen=True)
class SubmitOutcome:
    """What became of one request at the venue."""

    report: OrderReport | None
    """The venue's report; None where it accepted no order, or did not answer."""

    event: OrderEvent | None
    """The event to record; None where tracking records it."""

    is_refusal: bool = False
    """Whether the venue refused the request: it is asked for the order before that is recorded."""


@dataclass
class Pace:
    """Makes all senders of a phase wait while the venue asks for it (429). Else it bans us."""

    _gate: threading.Lock = field(default_factory=threading.Lock)
    _waits: int = 0

    def pass_gate(self) -> int:
        """Return the number of waits so far, once none is under way."""
        with self._gate:
            return self._waits

    def wait(
        self, session: AccountSession, keeper: LeaseKeeper, seconds: float, passed: int
    ) -> None:
        """Make all senders wait `seconds`, unless another wait has ended since `passed`.

        `passed` is what `pass_gate` returned before the request.
        """
        with self._gate:
            if self._waits != passed:
                return
            wait_alive(session, keeper, seconds)
            self._waits += 1


def wait_alive(session: AccountSession, keeper: LeaseKeeper, seconds: float) -> None:
    """Wait, and keep the lease alive. Raises StaleLeaseError where it was lost."""
    left = seconds
    while left > 0:
        _ = keeper.lease
        session.pause(min(left, _PIECE_SECONDS))
        left -= _PIECE_SECONDS


def place(
    session: AccountSession,
    keeper: LeaseKeeper,
    rebalance: Rebalance,
    orders: Sequence[OrderIntent],
    parents: Sequence[ParentOrder] = (),
) -> dict[str, OrderReport]:
    """Commit all intents, send each once, and return the venue's reports by client order id.

    The intents are one transaction, with those of their parents that are not committed yet. Where
    the venue took every order, OrderTracker records that together with the fills. Else the answers
    are a second transaction, after all requests have returned. A crash in between leaves the orders
    SUBMITTING; the venue is then asked for them. Refused
    orders are asked for once, and recorded in a third one. An order without a report was refused
    (REJECTED), lost (UNKNOWN) or not sent (CANCELED). The kill switch or our own adapter keeps an
    order from being sent. Raises what `send_all` raises; no answer is recorded then.
    """
    if not orders:
        return {}
    halt, at = session.switch.look(), session.clock.now()
    leaving: list[OrderRequest] = []
    events: list[OrderEvent] = []
    for request in (order.request for order in orders):
        if session.forbids(halt, request):
            events.append(stopped(request, halt, at))
        else:
            leaving.append(request)
            events.append(OrderEvent(request.client_order_id, OrderEventKind.SUBMIT, at))
    if parents:
        session.parent_orders.begin_work(keeper.lease, parents, orders, events, at)
    else:
        session.ledger.write_ahead(keeper.lease, rebalance.id, orders, events, at)
    _log.info("orders_written_ahead", orders=len(orders), leaving=len(leaving))
    outcomes = dict(zip(leaving, send_all(session, keeper, leaving), strict=True))
    refused = {request: each for request, each in outcomes.items() if each.is_refusal}
    answered = [each for request, each in outcomes.items() if request not in refused]
    if any(each.report is None for each in outcomes.values()):  # it takes time to ask about those
        _record(session, keeper, answered)
    if refused:
        wait_alive(session, keeper, session.policy.refusal_lag_seconds)
        confirmed = session.runner.map(
            lambda each: _confirmed(session, *each),
            list(refused.items()),
            at_once=session.policy.senders,
            name="refused",
        )
        _record(session, keeper, confirmed)
        answered += confirmed
    reports = [outcome.report for outcome in answered if outcome.report is not None]
    return {report.client_order_id: report for report in reports}


def _record(
    session: AccountSession, keeper: LeaseKeeper, outcomes: Sequence[SubmitOutcome]
) -> None:
    events = [outcome.event for outcome in outcomes if outcome.event is not None]
    if events:
        session.ledger.record_events(keeper.lease, events)


def _confirmed(
    session: AccountSession, request: OrderRequest, refused: SubmitOutcome
) -> SubmitOutcome:
    """Return a refusal once the venue says that it has no order of the name; else what it has.

    It is UNKNOWN where the venue does not say.
    """
    assert refused.event is not None
    try:
        return _accepted(session, request, session.find_order(request))
    except OrderNotFoundError:
        return refused
    except VenueError as error:
        reason = f"{refused.event.reason}; then asked for it: {error}"
        return _outcome(session, request, OrderEventKind.LOSE_TRACK, reason)


def send_all(
    session: AccountSession, keeper: LeaseKeeper, requests: Sequence[OrderRequest]
) -> list[SubmitOutcome]:
    """Send each request once, `policy.senders` at a time; return the outcomes in the same order.

    An error (such as a lost lease) is raised after the requests under way have returned. The others
    do not leave. All of them are then still SUBMITTING in the ledger.
    """
    pace = Pace()
    return session.runner.map(
        lambda request: _send(session, keeper, pace, request),
        requests,
        at_once=session.policy.senders,
        name="sender",
    )


def _send(
    session: AccountSession,
    keeper: LeaseKeeper,
    pace: Pace,
    request: OrderRequest,
) -> SubmitOutcome:
    """Send one order as `_sent_in_turn` does, and log what came of it."""
    with order_id(request.client_order_id):
        outcome = _sent_in_turn(session, keeper, pace, request)
        report, event = outcome.report, outcome.event
        _log.info(
            "order_answered",
            symbol=request.symbol,
            side=request.side.value,
            quantity=str(request.quantity),
            state=None if report is None else report.state.value,
            filled=None if report is None else str(report.filled_quantity),
            recorded=None if event is None else event.kind.value,
            reason="" if event is None else event.reason,
        )
        return outcome


def _sent_in_turn(
    session: AccountSession,
    keeper: LeaseKeeper,
    pace: Pace,
    request: OrderRequest,
) -> SubmitOutcome:
    """Send one order that is SUBMITTING in the ledger, unless the kill switch forbids it.

    It is sent again only where the venue answered that it refused it for its rate, and that it has
    no order of the name: once an order has filled, some venues take its name a second time.
    """
    waited = 0.0
    while True:
        passed = pace.pass_gate()
        try:
            found = _found(session, request) if waited else None
            return (
                _sent(session, keeper, request)
                if found is None
                else _accepted(session, request, found)
            )
        except DuplicateOrderError as error:
            return _ask(session, request, error)
        except (NotSentError, VenueRejectedError, UnknownSymbolError) as error:
            return _refused(session, request, error)
        except RateLimitedError as error:
            seconds = max(
                error.retry_after_seconds or _DEFAULT_PACE_SECONDS,
                session.policy.refusal_lag_seconds,
            )
            if waited + seconds > session.policy.longest_pacing_seconds:
                reason = (
                    f"never arrived: paced for {waited:g} s, "
                    f"the venue still refuses it for its rate: {error}"
                )
                return _refusal(session, request, reason, EndCause.PACED_OUT)
            pace.wait(session, keeper, seconds, passed)
            waited += seconds
        except VenueUnavailableError as error:
            return _outcome(session, request, OrderEventKind.LOSE_TRACK, str(error))


def _sent(session: AccountSession, keeper: LeaseKeeper, request: OrderRequest) -> SubmitOutcome:
    """Send the request now, or stop it."""
    # The request is dated before the lease is checked. A process that is suspended after the
    # check then sends a request that is too old for the venue (docs/decisions/0007).
    asked_at = session.machine_clock.now()
    # A process that was suspended since the intent was committed must not send: another may
    # have resolved it.
    _ = keeper.lease
    halt = session.switch.look()  # after the lease, whose renewal may wait for the database
    if session.forbids(halt, request):
        return SubmitOutcome(None, stopped(request, halt, session.clock.now()))
    report = session.exchange.submit(replace(request, asked_at=asked_at))
    if report.state is OrderState.REJECTED:
        reason = report.reason or f"the venue answers with order {report.venue_order_id}, rejected"
        return _refusal(session, request, reason, EndCause.REFUSED)
    return _accepted(session, request, report)


def _found(session: AccountSession, request: OrderRequest) -> OrderReport | None:
    """Return the order that the venue has under the name; None where it answers that it has none.

    Raises VenueUnavailableError where it does not say.
    """
    try:
        return session.find_order(request)
    except OrderNotFoundError:
        return None
    except VenueUnavailableError:
        raise
    except VenueError as error:
        raise VenueUnavailableError(f"asked before it is sent again: {error}") from error


def stopped(request: OrderRequest, halt: Halt, at: datetime) -> OrderEvent:
    """Return the event of an order that the kill switch kept from leaving."""
    reason = f"stopped by the kill switch: {halt.state}, {halt.reason} (set by {halt.by})"
    return OrderEvent(
        request.client_order_id, OrderEventKind.ABANDON, at, reason, end_cause=EndCause.STOPPED
    )


def _refused(session: AccountSession, request: OrderRequest, error: VenueError) -> SubmitOutcome:
    """Return the end of an order that our own adapter or the venue refused."""
    if isinstance(error, NotSentError):
        kind, cause = OrderEventKind.ABANDON, EndCause.REFUSED_HERE
        return _outcome(session, request, kind, str(error), cause)
    if isinstance(error, UnknownSymbolError):  # nothing was sent
        return _outcome(session, request, OrderEventKind.REJECT, str(error), EndCause.REFUSED)
    return _refusal(session, request, str(error), EndCause.REFUSED)


def _refusal(
    session: AccountSession, request: OrderRequest, reason: str, cause: EndCause
) -> SubmitOutcome:
    outcome = _outcome(session, request, OrderEventKind.REJECT, reason, cause)
    return replace(outcome, is_refusal=True)


def _ask(
    session: AccountSession, request: OrderRequest, duplicate: DuplicateOrderError
) -> SubmitOutcome:
    """Return the order that the venue has under an id that it calls a duplicate."""
    try:
        return _accepted(session, request, session.find_order(request))
    except VenueError as error:
        reason = f"the venue called it a duplicate ({duplicate}), then: {error}"
        return _outcome(session, request, OrderEventKind.LOSE_TRACK, reason)


def _accepted(session: AccountSession, request: OrderRequest, report: OrderReport) -> SubmitOutcome:
    """Return the acceptance, or no event where the order has ended already.

    Tracking records such an end after the order's fills.
    """
    if report.state in _ENDED:
        return SubmitOutcome(report, None)
    event = OrderEvent(
        request.client_order_id,
        OrderEventKind.ACCEPT,
        session.clock.now(),
        "",
        report.venue_order_id,
    )
    return SubmitOutcome(report, event)


def _outcome(
    session: AccountSession,
    request: OrderRequest,
    kind: OrderEventKind,
    reason: str,
    end_cause: EndCause | None = None,
) -> SubmitOutcome:
    at = session.clock.now()
    event = OrderEvent(request.client_order_id, kind, at, reason, end_cause=end_cause)
    return SubmitOutcome(None, event)
