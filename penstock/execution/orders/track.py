"""Following orders to their end: ask the venue, book fills by trade id, cancel what takes too long.

Fills are booked before an order's end is recorded. A crash between the two leaves the order
unfinished, and no fill is lost.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import inf

import structlog

from penstock.core.amounts import plain
from penstock.core.errors import (
    OrderNotFoundError,
    RateLimitedError,
    UnknownSymbolError,
    VenueError,
)
from penstock.core.log_ids import order_id
from penstock.core.order_records import OrderRecord
from penstock.core.orders import (
    EndCause,
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderReport,
    OrderState,
)
from penstock.execution.lease import LeaseKeeper
from penstock.execution.orders.submit import wait_alive
from penstock.execution.session import AccountSession

#: Trades are read from this much before the slot, because clocks differ.
TRADES_MARGIN = timedelta(minutes=5)

_log = structlog.get_logger(__name__)
_LOST = (OrderState.SUBMITTING, OrderState.UNKNOWN)
_WORKING = (OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL)
_END_EVENTS = {
    OrderState.CANCELED: OrderEventKind.CANCEL,
    OrderState.EXPIRED: OrderEventKind.EXPIRE,
    OrderState.REJECTED: OrderEventKind.REJECT,
}


_ZERO = Decimal(0)


class OrderTracker:
    """Follows a set of orders of one slot to their end.

    Waiting time is counted in pauses of `policy.poll_seconds` each, and not measured by a clock. A
    venue clock that is stepped by hand stands still meanwhile. The orders are not read again:
    nobody but the lease's holder changes them, and what is written here leads to the same record
    as in the ledger.
    """

    def __init__(self, session: AccountSession, keeper: LeaseKeeper, slot: datetime) -> None:
        self._session = session
        self._keeper = keeper
        self._since = slot - TRADES_MARGIN
        self.orders: dict[str, OrderRecord] = {}
        """The orders as the ledger has them now, by client order id."""
        self.booked: list[Fill] = []
        """Every fill that was booked on the way."""
        self.unlisted: set[str] = set()
        """The ids of orders on symbols that the venue did not list when last asked."""

    def follow(
        self,
        orders: Collection[OrderRecord],
        reports: Mapping[str, OrderReport],
        patience_seconds: float,
    ) -> list[OrderRecord]:
        """Ask until every order has ended or the time is over; return those that have not ended.

        `orders` are as the ledger has them now. `reports` are answers that are known already; the
        first look does not ask for them. What still works after `patience_seconds` is cancelled, or
        earlier where a halt asks for it. A lost order is asked about for the visibility delay
        before "no such order" is believed. An order on a symbol that the venue does not list is not
        waited for. Raises StaleLeaseError where the lease was lost, and StoreError.
        """
        policy, waited = self._session.policy, 0.0
        cancelled: dict[str, float] = {}
        limit = (
            max(patience_seconds, policy.visibility_delay_seconds) + policy.follow_timeout_seconds
        )
        known = dict(reports)
        self.orders = {order.request.client_order_id: order for order in orders}
        while True:
            unfinished = self._look(known, waited)
            known = {}
            if waited >= limit or all(
                order.request.client_order_id in self.unlisted for order in unfinished
            ):
                return unfinished
            if waited >= patience_seconds:
                known = self._cancel(
                    unfinished, cancelled, waited, "not filled in time", EndCause.NOT_FILLED_IN_TIME
                )
            else:
                known = self._called_back(unfinished, cancelled, waited)
            if known:
                continue
            self._session.pause(policy.poll_seconds)
            # This renews the lease, which nothing else does while we wait.
            _ = self._keeper.lease
            waited += policy.poll_seconds

    def _look(self, known: Mapping[str, OrderReport], waited: float) -> list[OrderRecord]:
        """Ask about every unfinished order once and record it; return those that have not ended."""
        orders = self._unfinished()
        reports: dict[str, OrderReport] = {}
        events: list[OrderEvent] = []
        asked = [order for order in orders if order.request.client_order_id not in known]
        found = self._session.runner.map(
            lambda order: self._ask(order, waited),
            asked,
            at_once=self._session.policy.senders,
            name="orders",
        )
        answers = dict(zip((order.request.client_order_id for order in asked), found, strict=True))
        for order in orders:
            name = order.request.client_order_id
            answer = known.get(name) or answers.get(name)
            if isinstance(answer, OrderReport):
                reports[name] = answer
            elif answer is not None:
                events.append(answer)
        self._write(events)
        self._settle(
            [order for order in orders if order.request.client_order_id in reports], reports, waited
        )
        return self._unfinished()

    def _unfinished(self) -> list[OrderRecord]:
        return [order for order in self.orders.values() if not order.state.is_final]

    def _ask(self, order: OrderRecord, waited: float) -> OrderReport | OrderEvent | None:
        """Return the venue's report, or else the event to record, or None where there is neither.

        There may be an event where the venue does not answer, or answers "no such order". Another
        refusal is an answer about the question, and not about the order: it is asked again.
        """
        with order_id(order.request.client_order_id):
            return self._asked(order, waited)

    def _asked(self, order: OrderRecord, waited: float) -> OrderReport | OrderEvent | None:
        request = order.request
        try:
            report = self._session.find_order(request)
            self.unlisted.discard(request.client_order_id)
            return report
        except UnknownSymbolError as error:
            self.unlisted.add(request.client_order_id)
            if order.state is OrderState.SUBMITTING:
                return self._event(order, OrderEventKind.LOSE_TRACK, str(error))
        except OrderNotFoundError as error:
            if order.state in _LOST and waited >= self._session.policy.visibility_delay_seconds:
                reason = f"never arrived: asked for {waited:g} s, the venue says: {error}"
                return self._event(
                    order, OrderEventKind.REJECT, reason, end_cause=EndCause.NEVER_ARRIVED
                )
        except VenueError as error:
            if isinstance(error, RateLimitedError):  # more questions would earn a ban
                self._slow_down(error)
            if order.state is OrderState.SUBMITTING:
                return self._event(order, OrderEventKind.LOSE_TRACK, str(error))
        return None

    def _slow_down(self, error: RateLimitedError) -> None:
        asked = error.retry_after_seconds or self._session.policy.poll_seconds
        wait_alive(
            self._session, self._keeper, min(asked, self._session.policy.longest_pacing_seconds)
        )

    def _settle(
        self, orders: Sequence[OrderRecord], reports: Mapping[str, OrderReport], waited: float
    ) -> None:
        """Record the venue's reports: acceptances and fills in one write, then ends."""
        accepted = [
            self._event(
                order,
                OrderEventKind.ACCEPT,
                venue_order_id=reports[order.request.client_order_id].venue_order_id,
            )
            for order in orders
            if order.state in _LOST
            and reports[order.request.client_order_id].state not in _END_EVENTS
        ]
        filled = [
            order for order in orders if _shows_more(reports[order.request.client_order_id], order)
        ]
        booked = dict.fromkeys((order.request.client_order_id for order in orders), _ZERO)
        for fill in self._book(filled, reports, accepted):
            booked[fill.client_order_id] += fill.quantity
        ends = (
            self._end_event(
                order,
                reports[order.request.client_order_id],
                order.filled_quantity + booked[order.request.client_order_id],
                waited,
            )
            for order in orders
        )
        self._write([event for event in ends if event is not None])

    def _end_event(
        self, order: OrderRecord, report: OrderReport, filled: Decimal, waited: float
    ) -> OrderEvent | None:
        """Return the order's end, once every fill that the venue reports is booked; else None.

        `filled` is what is booked. An order that the venue calls filled, with less than its
        quantity, may have trades that are not listed yet: it ends after the visibility delay.
        """
        if report.filled_quantity > filled:
            return None
        kind, reason, cause = _END_EVENTS.get(report.state), report.reason, None
        if report.state is OrderState.FILLED and filled < order.request.quantity:
            if waited < self._session.policy.visibility_delay_seconds:
                return None
            kind, cause = OrderEventKind.CANCEL, EndCause.CANCELLED
            reason = (
                f"ended at the venue with {plain(filled)} of {plain(order.request.quantity)} filled"
            )
        if kind is None:
            return None
        if kind is OrderEventKind.REJECT and (
            order.state not in _LOST or report.filled_quantity > 0
        ):
            # The venue had taken the request: only a request can be rejected.
            kind, cause = OrderEventKind.CANCEL, None if filled else EndCause.REFUSED
        if order.state is OrderState.PENDING_CANCEL and report.state is OrderState.CANCELED:
            reason = ""  # that of our own request stays
        return self._event(order, kind, reason, report.venue_order_id, cause)

    def _book(
        self,
        orders: Sequence[OrderRecord],
        reports: Mapping[str, OrderReport],
        accepted: Sequence[OrderEvent],
    ) -> Sequence[Fill]:
        """Record the acceptances, book the orders' trades that are not booked yet, and return them.

        Trades are those of the reports. Where a report has none, the venue is asked, once per
        symbol and venue; acceptances do not wait for its answer.
        """
        asked = [
            order.request for order in orders if not reports[order.request.client_order_id].fills
        ]
        if asked or not orders:
            self._write(accepted)
            accepted = ()
        if not orders:
            return []
        names = {request.client_order_id for request in asked}
        places = sorted({(request.venue, request.symbol) for request in asked})
        answers = self._session.runner.map(
            self._trades, places, at_once=self._session.policy.senders, name="trades"
        )
        trades = [fill for order in orders for fill in reports[order.request.client_order_id].fills]
        trades += [fill for found in answers for fill in found if fill.client_order_id in names]
        ledger, lease = self._session.ledger, self._keeper.lease
        booked = ledger.book_fills(lease, trades, accepted) if trades else []
        self._note_recorded(accepted)
        for fill in booked:
            order = self.orders[fill.client_order_id]
            self.orders[fill.client_order_id] = order.after_fill(fill, order.request.quantity)
            with order_id(fill.client_order_id):
                _log.info(
                    "fill_booked",
                    symbol=fill.symbol,
                    side=fill.side.value,
                    trade=fill.trade_id,
                    quantity=str(fill.quantity),
                    price=str(fill.price),
                )
        self.booked += booked
        return booked

    def _trades(self, place: tuple[str, str]) -> Sequence[Fill]:
        venue, symbol = place
        try:
            if venue and self._session.venues is not None:
                return self._session.venues.fills_at(venue, symbol, self._since)
            return self._session.exchange.fills(symbol, self._since)
        except VenueError:
            return []  # the next look asks again

    def _called_back(
        self, unfinished: Collection[OrderRecord], cancelled: dict[str, float], waited: float
    ) -> dict[str, OrderReport]:
        """Cancel what the kill switch asks for. One that flattens leaves orders that reduce."""
        halt = self._session.switch.read() if unfinished else None
        if halt is None or not (halt.cancel or halt.flatten):
            return {}
        left = [order for order in unfinished if not (halt.flatten and self._reduces(order))]
        reason = f"cancelled by the kill switch: {halt.reason} (set by {halt.by})"
        return self._cancel(left, cancelled, waited, reason, EndCause.CANCELLED_BY_KILL_SWITCH)

    def _reduces(self, order: OrderRecord) -> bool:
        """Return whether what is still open of the order makes its position smaller."""
        left = order.request.quantity - order.filled_quantity
        return self._session.reduces(replace(order.request, quantity=left))

    def _cancel(
        self,
        unfinished: Collection[OrderRecord],
        cancelled: dict[str, float],
        waited: float,
        reason: str,
        cause: EndCause,
    ) -> dict[str, OrderReport]:
        """Ask the venue to cancel each working order; return its answers by client order id.

        `cancelled` keeps at which `waited` a cancellation was taken. Where the order still works
        after the time by which venues lag, it is asked for again. Any other answer does not keep
        the others from being cancelled, and the request is repeated: "no such order" may be said of
        an order that was placed just now. The next look finds one that ended meanwhile.
        """
        lag = self._session.policy.refusal_lag_seconds
        working = [
            order
            for order in unfinished
            if order.state in _WORKING
            and waited - cancelled.get(order.request.client_order_id, -inf) > lag
        ]
        self._write(
            [
                self._event(order, OrderEventKind.REQUEST_CANCEL, reason, end_cause=cause)
                for order in working
                if order.state is not OrderState.PENDING_CANCEL or order.end_cause is not cause
            ]
        )
        reports: dict[str, OrderReport] = {}
        for order in working:
            name = order.request.client_order_id
            try:
                with order_id(name):
                    reports[name] = self._session.cancel(order.request)
            except VenueError as error:
                if isinstance(error, RateLimitedError):
                    self._slow_down(error)
            else:
                cancelled[name] = waited
        return reports

    def _event(
        self,
        order: OrderRecord,
        kind: OrderEventKind,
        reason: str = "",
        venue_order_id: str = "",
        end_cause: EndCause | None = None,
    ) -> OrderEvent:
        name, at = order.request.client_order_id, self._session.clock.now()
        return OrderEvent(name, kind, at, reason, venue_order_id, end_cause)

    def _write(self, events: Sequence[OrderEvent]) -> None:
        if not events:
            return
        self._session.ledger.record_events(self._keeper.lease, events)
        self._note_recorded(events)

    def _note_recorded(self, events: Sequence[OrderEvent]) -> None:
        for event in events:
            order = self.orders[event.client_order_id]
            self.orders[event.client_order_id] = order.after_event(event)
            with order_id(event.client_order_id):
                _log.info("order_recorded", event_kind=event.kind.value, reason=event.reason)


def _shows_more(report: OrderReport, order: OrderRecord) -> bool:
    """Return whether the venue reports fills that are not booked, or calls an order filled that is
    not.
    """
    whole = order.request.quantity if report.state is OrderState.FILLED else _ZERO
    return max(report.filled_quantity, whole) > order.filled_quantity
