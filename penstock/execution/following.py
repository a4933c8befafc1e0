"""Following orders to their end: asking the venue, booking fills by trade id, and cancelling what takes too long.

Fills are booked before an order's last word is, so that a crash between the two leaves the order unfinished, not a fill lost.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.accounts import OrderRecord
from penstock.core.errors import OrderNotFoundError, VenueUnavailableError
from penstock.core.orders import Fill, OrderEventKind, OrderReport, OrderState
from penstock.execution.desk import TradingDesk
from penstock.execution.lease import LeaseKeeper
from penstock.execution.placement import NEVER_ARRIVED

#: No order is older than its slot but for clocks that differ; trades are asked for from this long before it.
TRADES_MARGIN = timedelta(minutes=5)

_LOST = (OrderState.SUBMITTING, OrderState.UNKNOWN)
_WORKING = (OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL)
_LAST_WORDS = {
    OrderState.CANCELED: OrderEventKind.CANCEL,
    OrderState.EXPIRED: OrderEventKind.EXPIRE,
    OrderState.REJECTED: OrderEventKind.REJECT,
}


class Follower:
    """Follows a set of orders of one slot to their end. `booked` is every fill booked on the way."""

    def __init__(self, desk: TradingDesk, keeper: LeaseKeeper, slot: datetime) -> None:
        self._desk = desk
        self._keeper = keeper
        self._since = slot - TRADES_MARGIN
        self.booked: list[Fill] = []

    def follow(self, ids: Collection[str], reports: Mapping[str, OrderReport], patience_seconds: float) -> list[OrderRecord]:
        """Poll until every order has ended; cancel what still works after `patience_seconds`; return what has not ended.

        `reports` are answers that are known already: the first look needs no question for them. An order that was lost is
        asked about for the visibility delay before "no such order" is believed.
        """
        policy, waited = self._desk.policy, 0.0
        cancelled: set[str] = set()
        limit = max(patience_seconds, policy.visibility_delay_seconds) + policy.follow_timeout_seconds
        known = dict(reports)
        while True:
            unfinished = self._look(ids, known, waited)
            known = {}
            if not unfinished or waited >= limit:
                return unfinished
            if waited >= patience_seconds:
                known = self._cancel(unfinished, cancelled)
            if known:
                continue
            self._desk.pause(policy.poll_seconds)
            _ = self._keeper.lease  # renews it: waiting writes nothing, and must not let the lease run out
            waited += policy.poll_seconds

    def _look(self, ids: Collection[str], known: Mapping[str, OrderReport], waited: float) -> list[OrderRecord]:
        """Ask about and settle every unfinished order once; return those that are still unfinished."""
        for order in self._unfinished(ids):
            report = known.get(order.request.client_order_id) or self._ask(order, waited)
            if report is not None:
                self._settle(order, report)
        return self._unfinished(ids)

    def _unfinished(self, ids: Collection[str]) -> list[OrderRecord]:
        orders = self._desk.ledger.orders(self._desk.account, unfinished_only=True)
        return [order for order in orders if order.request.client_order_id in ids]

    def _ask(self, order: OrderRecord, waited: float) -> OrderReport | None:
        request = order.request
        try:
            return self._desk.exchange.find_order(request.client_order_id, request.symbol)
        except VenueUnavailableError as silence:
            if order.state is OrderState.SUBMITTING:
                self._record(order, OrderEventKind.LOSE_TRACK, str(silence))
        except OrderNotFoundError as denial:
            if order.state in _LOST and waited >= self._desk.policy.visibility_delay_seconds:
                reason = f"{NEVER_ARRIVED}: asked for {waited:g} s, the venue says: {denial}"
                self._record(order, OrderEventKind.REJECT, reason)
        return None

    def _settle(self, order: OrderRecord, report: OrderReport) -> None:
        """Bring the ledger to what the venue reports: accepted, then its fills, then its last word."""
        if order.state in _LOST and report.state not in _LAST_WORDS:
            self._record(order, OrderEventKind.ACCEPT, venue_order_id=report.venue_order_id)
        missing = report.filled_quantity - order.filled_quantity
        if missing > 0:
            missing -= self._book(order)
        last_word = _LAST_WORDS.get(report.state)
        if last_word is not None and missing <= 0:
            self._record(order, last_word, report.reason, report.venue_order_id)

    def _book(self, order: OrderRecord) -> Decimal:
        """Book the order's trades that are not booked yet; return their summed quantity."""
        booked = Decimal(0)
        try:
            trades = self._desk.exchange.fills(order.request.symbol, self._since)
        except VenueUnavailableError:
            return booked  # the next look asks again
        for fill in trades:
            if fill.client_order_id == order.request.client_order_id and self._desk.ledger.book_fill(self._keeper.lease, fill):
                self.booked.append(fill)
                booked += fill.quantity
        return booked

    def _cancel(self, unfinished: Collection[OrderRecord], cancelled: set[str]) -> dict[str, OrderReport]:
        """Ask the venue once to cancel each order that works; return its answers, and note in `cancelled` who got one.

        An order that ended meanwhile is found by the next look; a cancellation without an answer is asked for again.
        """
        reports: dict[str, OrderReport] = {}
        for order in unfinished:
            name = order.request.client_order_id
            if order.state not in _WORKING or name in cancelled:
                continue
            self._record(order, OrderEventKind.REQUEST_CANCEL, "not filled in time")
            try:
                reports[name] = self._desk.exchange.cancel(name, order.request.symbol)
            except VenueUnavailableError:
                continue
            except OrderNotFoundError:
                pass
            cancelled.add(name)
        return reports

    def _record(self, order: OrderRecord, event: OrderEventKind, reason: str = "", venue_order_id: str = "") -> None:
        at, name = self._desk.clock.now(), order.request.client_order_id
        self._desk.ledger.record_event(self._keeper.lease, name, event, at, reason, venue_order_id)
