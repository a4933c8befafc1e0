"""The way of one request to the venue: the kill switch, the lease, the venue's pace, and what its
answer means.

Nothing here writes to the ledger: the intent was committed before, and the outcome is for placement
to record. That lets the requests of a phase leave side by side.
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
from penstock.core.orders import (
    EndCause,
    OrderEvent,
    OrderEventKind,
    OrderReport,
    OrderRequest,
    OrderState,
)
from penstock.execution.kill_switch import SwitchWatch
from penstock.execution.lease import LeaseKeeper
from penstock.execution.session import AccountSession
from penstock.risk.rules import halted

#: Waiting is done in pieces of this length, so that the lease is renewed and the kill switch read
#: in between.
_PIECE_SECONDS = 1.0
#: What to wait for where the venue says "slow down" and not for how long.
_DEFAULT_PACE_SECONDS = 1.0
_ENDED = (OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)


@dataclass(frozen=True)
class Outcome:
    """What became of one request: the venue's report, or None, and the event to record, or None
    where following records it.
    """

    report: OrderReport | None
    event: OrderEvent | None


@dataclass
class Pace:
    """Holds every sender of a phase back while the venue wants it: to go on against a 429 earns a
    ban.
    """

    _gate: threading.Lock = field(default_factory=threading.Lock)
    _held: int = 0

    def pass_gate(self) -> int:
        """Return the number of holds so far, once none is under way."""
        with self._gate:
            return self._held

    def hold(
        self, session: AccountSession, keeper: LeaseKeeper, seconds: float, passed: int
    ) -> None:
        """Wait `seconds`, all senders with us; where another has waited since `passed`, its wait
        was ours too.
        """
        with self._gate:
            if self._held != passed:
                return
            wait_alive(session, keeper, seconds)
            self._held += 1


def wait_alive(session: AccountSession, keeper: LeaseKeeper, seconds: float) -> None:
    """Wait, keeping the lease alive."""
    left = seconds
    while left > 0:
        _ = keeper.lease
        session.pause(min(left, _PIECE_SECONDS))
        left -= _PIECE_SECONDS


def send_all(
    session: AccountSession, keeper: LeaseKeeper, requests: Sequence[OrderRequest]
) -> list[Outcome]:
    """Send each request once, some at a time; return the outcomes in the order of the requests.

    What one raises (a lost lease) is raised after those under way have come back; the others do not
    leave. All of them are then still SUBMITTING in the ledger.
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
) -> Outcome:
    """Send one order that is SUBMITTING in the ledger, unless the kill switch forbids it.

    The venue takes it at most once: it is sent again only after the venue itself has said that it
    refused it for its rate.
    """
    waited = 0.0
    while True:
        passed = pace.pass_gate()
        # Before the lease is looked at: who sleeps after that sends a request too old.
        asked_at = session.machine_clock.now()
        _ = keeper.lease  # a process that slept since the intent was committed must not send: another may have resolved it
        halt = watch.look()  # after the lease, whose renewal may wait for the database
        if halted(halt, request.side):
            return Outcome(None, stopped(request, halt, session.clock.now()))
        try:
            return _accepted(
                session, request, session.exchange.submit(replace(request, asked_at=asked_at))
            )
        except DuplicateOrderError:
            return _ask(session, request)
        except (NotSentError, VenueRejectedError, UnknownSymbolError) as error:
            return _refused(session, request, error)
        except RateLimitedError as refusal:
            seconds = refusal.retry_after_seconds or _DEFAULT_PACE_SECONDS
            if waited + seconds > session.policy.longest_pacing_seconds:
                reason = (
                    f"never arrived: paced for {waited:g} s, the venue still refuses it for its "
                    f"rate: {refusal}"
                )
                return _outcome(session, request, OrderEventKind.REJECT, reason, EndCause.PACED_OUT)
            pace.hold(session, keeper, seconds, passed)
            waited += seconds
        except VenueUnavailableError as silence:
            return _outcome(session, request, OrderEventKind.LOSE_TRACK, str(silence))


def stopped(request: OrderRequest, halt: Halt, at: datetime) -> OrderEvent:
    """Return the event of an order that the kill switch kept from leaving."""
    reason = f"stopped by the kill switch: {halt.state}, {halt.reason} (set by {halt.by})"
    return OrderEvent(
        request.client_order_id, OrderEventKind.ABANDON, at, reason, end_cause=EndCause.STOPPED
    )


def _refused(session: AccountSession, request: OrderRequest, error: VenueError) -> Outcome:
    """Return the end of an order that our own adapter refused, or else the venue."""
    if isinstance(error, NotSentError):
        kind, cause = OrderEventKind.ABANDON, EndCause.REFUSED_HERE
    else:
        kind, cause = OrderEventKind.REJECT, EndCause.REFUSED
    return _outcome(session, request, kind, str(error), cause)


def _ask(session: AccountSession, request: OrderRequest) -> Outcome:
    """Return what the venue has under an id that it calls a duplicate."""
    try:
        return _accepted(session, request, session.find_order(request))
    except (OrderNotFoundError, VenueUnavailableError) as silence:
        reason = f"the venue called it a duplicate, then: {silence}"
        return _outcome(session, request, OrderEventKind.LOSE_TRACK, reason)


def _accepted(session: AccountSession, request: OrderRequest, report: OrderReport) -> Outcome:
    """Return the acceptance; the last word of an order that has ended already is recorded after its
    fills, by following.
    """
    if report.state in _ENDED:
        return Outcome(report, None)
    event = OrderEvent(
        request.client_order_id,
        OrderEventKind.ACCEPT,
        session.clock.now(),
        "",
        report.venue_order_id,
    )
    return Outcome(report, event)


def _outcome(
    session: AccountSession,
    request: OrderRequest,
    kind: OrderEventKind,
    reason: str,
    end_cause: EndCause | None = None,
) -> Outcome:
    at = session.clock.now()
    event = OrderEvent(request.client_order_id, kind, at, reason, end_cause=end_cause)
    return Outcome(None, event)
