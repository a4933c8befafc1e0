"""The way of an order to the venue: written ahead, then sent once, past the kill switch, the lease
and the venue's pace.

What became of an order whose answer was lost is for tracking and recovery to ask; nothing here
sends twice.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

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
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    EndCause,
    OrderEvent,
    OrderEventKind,
    OrderReport,
    OrderRequest,
    OrderState,
)
from penstock.core.rebalances import Rebalance
from penstock.execution.kill_switch import SwitchWatch
from penstock.execution.lease import LeaseKeeper
from penstock.execution.session import AccountSession

#: Waiting is done in pieces of this length, so that the lease is renewed and the kill switch read
#: in between.
_PIECE_SECONDS = 1.0
#: What to wait for where the venue says "slow down" and not for how long.
_DEFAULT_PACE_SECONDS = 1.0
_ENDED = (OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)


@dataclass(frozen=True)
class SubmitOutcome:
    """What became of one request at the venue."""

    report: OrderReport | None
    """The venue's report; None where it took no order, or did not answer."""

    event: OrderEvent | None
    """The event to record; None where tracking records it."""


@dataclass
class Pace:
    """Holds all senders of a phase back while the venue wants it: to go on against a 429 earns a
    ban.
    """

    _gate: threading.Lock = field(default_factory=threading.Lock)
    _holds: int = 0

    def pass_gate(self) -> int:
        """Return the number of holds so far, once none is under way."""
        with self._gate:
            return self._holds

    def hold(
        self, session: AccountSession, keeper: LeaseKeeper, seconds: float, passed: int
    ) -> None:
        """Wait `seconds`, all senders with us; where another has waited since `passed`, its wait
        was ours too.
        """
        with self._gate:
            if self._holds != passed:
                return
            wait_alive(session, keeper, seconds)
            self._holds += 1


def wait_alive(session: AccountSession, keeper: LeaseKeeper, seconds: float) -> None:
    """Wait, keeping the lease alive."""
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
) -> dict[str, OrderReport]:
    """Commit all intents, send each once, and return the venue's reports by client order id.

    The intents are one transaction. The answers are recorded in a second one, after all requests
    have come back. A crash in between leaves the orders SUBMITTING, which is resolved by asking the
    venue. An order without a report was refused (REJECTED), lost (UNKNOWN), or not sent (CANCELED).
    The kill switch keeps an order from being sent, or our own adapter does. Raises what `send_all`
    raises; no answer is recorded then.
    """
    if not orders:
        return {}
    halt, at = session.kill_switch.read(), session.clock.now()
    leaving: list[OrderRequest] = []
    events: list[OrderEvent] = []
    for request in (order.request for order in orders):
        if session.forbids(halt, request):
            events.append(stopped(request, halt, at))
        else:
            leaving.append(request)
            events.append(OrderEvent(request.client_order_id, OrderEventKind.SUBMIT, at))
    session.ledger.write_ahead(keeper.lease, rebalance.id, orders, events, at)
    outcomes = send_all(session, keeper, leaving)
    answers = [outcome.event for outcome in outcomes if outcome.event is not None]
    if answers:
        session.ledger.record_events(keeper.lease, answers)
    reports = [outcome.report for outcome in outcomes if outcome.report is not None]
    return {report.client_order_id: report for report in reports}


def send_all(
    session: AccountSession, keeper: LeaseKeeper, requests: Sequence[OrderRequest]
) -> list[SubmitOutcome]:
    """Send each request once, `policy.senders` at a time; return the outcomes in the order of the
    requests.

    What one raises (a lost lease) is raised after those under way have come back; requests that
    have not been begun do not leave. All of them are then still SUBMITTING in the ledger.
    """
    pace, watch = Pace(), SwitchWatch(session.kill_switch, session.policy.kill_switch_seconds)
    return session.runner.map(
        lambda request: _send(session, keeper, pace, watch, request),
        requests,
        at_once=session.policy.senders,
        name="sender",
    )


def _send(
    session: AccountSession,
    keeper: LeaseKeeper,
    pace: Pace,
    watch: SwitchWatch,
    request: OrderRequest,
) -> SubmitOutcome:
    """Send one order that is SUBMITTING in the ledger, unless the kill switch forbids it.

    The venue takes it at most once: it is sent again only after the venue itself has said that it
    refused it for its rate.
    """
    waited = 0.0
    while True:
        passed = pace.pass_gate()
        # The request is dated before the lease is looked at: a process that sleeps after the look
        # sends a request too old for the venue (docs/decisions/0007).
        asked_at = session.machine_clock.now()
        # A process that slept since the intent was committed must not send: another may have
        # resolved it.
        _ = keeper.lease
        halt = watch.look()  # after the lease, whose renewal may wait for the database
        if session.forbids(halt, request):
            return SubmitOutcome(None, stopped(request, halt, session.clock.now()))
        try:
            return _accepted(
                session, request, session.exchange.submit(replace(request, asked_at=asked_at))
            )
        except DuplicateOrderError:
            return _ask(session, request)
        except (NotSentError, VenueRejectedError, UnknownSymbolError) as error:
            return _refused(session, request, error)
        except RateLimitedError as error:
            seconds = error.retry_after_seconds or _DEFAULT_PACE_SECONDS
            if waited + seconds > session.policy.longest_pacing_seconds:
                reason = (
                    f"never arrived: paced for {waited:g} s, "
                    f"the venue still refuses it for its rate: {error}"
                )
                return _outcome(session, request, OrderEventKind.REJECT, reason, EndCause.PACED_OUT)
            pace.hold(session, keeper, seconds, passed)
            waited += seconds
        except VenueUnavailableError as error:
            return _outcome(session, request, OrderEventKind.LOSE_TRACK, str(error))


def stopped(request: OrderRequest, halt: Halt, at: datetime) -> OrderEvent:
    """Return the event of an order that the kill switch kept from leaving."""
    reason = f"stopped by the kill switch: {halt.state}, {halt.reason} (set by {halt.by})"
    return OrderEvent(
        request.client_order_id, OrderEventKind.ABANDON, at, reason, end_cause=EndCause.STOPPED
    )


def _refused(session: AccountSession, request: OrderRequest, error: VenueError) -> SubmitOutcome:
    """Return the end of an order that our own adapter refused, or else the venue."""
    if isinstance(error, NotSentError):
        kind, cause = OrderEventKind.ABANDON, EndCause.REFUSED_HERE
    else:
        kind, cause = OrderEventKind.REJECT, EndCause.REFUSED
    return _outcome(session, request, kind, str(error), cause)


def _ask(session: AccountSession, request: OrderRequest) -> SubmitOutcome:
    """Return what the venue has under an id that it calls a duplicate."""
    try:
        return _accepted(session, request, session.find_order(request))
    except (OrderNotFoundError, VenueUnavailableError) as error:
        reason = f"the venue called it a duplicate, then: {error}"
        return _outcome(session, request, OrderEventKind.LOSE_TRACK, reason)


def _accepted(session: AccountSession, request: OrderRequest, report: OrderReport) -> SubmitOutcome:
    """Return the acceptance. The end of an order that has ended already is recorded after its
    fills, by tracking.
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
