"""The report of a ccxt order, and the client order ids of the orders that were reported."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from penstock.adapters.exchanges.ccxt_errors import refusal
from penstock.adapters.exchanges.order_lookup import OrderLookup
from penstock.adapters.exchanges.refusals import RefusalTable
from penstock.adapters.exchanges.venue_session import VenueSession
from penstock.core.errors import VenueUnavailableError
from penstock.core.orders import OrderReport, OrderState

_STATES = {
    "open": OrderState.OPEN,
    "canceling": OrderState.OPEN,
    "closed": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}
#: ccxt's words for an order that ended before it was filled. How far it came must be stated. Of a
#: filled one ("closed") without a quantity, the trades tell.
_CUT_SHORT = ("canceled", "expired")


class OrderReports:
    """Makes reports of the orders in a venue's answers, and keeps their client order ids."""

    def __init__(
        self, venue: str, lookup: OrderLookup, refusals: RefusalTable | None, session: VenueSession
    ) -> None:
        self._venue = venue
        self._lookup = lookup
        self._refusals = refusals
        self._session = session
        #: Client order ids by venue order id. An entry never changes.
        self.client_ids: dict[str, str] = {}

    def of(self, order: Mapping[str, Any], client_order_id: str, symbol: str) -> OrderReport:
        """Return the report of a ccxt order. An order without a status was accepted: it is OPEN."""
        self.require_no_refusal(order, client_order_id)
        # ccxt makes an empty order of an answer that has none in it.
        if order["id"] in (None, ""):
            raise VenueUnavailableError(
                f"{self._venue}, order {client_order_id} in {symbol}: the answer has no order in it"
            )
        venue_id, named = str(order["id"]), self._lookup.name_of(order) or client_order_id
        if named:
            self.client_ids[venue_id] = named
        filled, cut_short = self._lookup.filled_of(order), self._lookup.is_cut_short(order)
        if filled is None and (cut_short or order.get("status") in _CUT_SHORT):
            raise ValueError(f"order {venue_id} has ended, and its filled quantity is missing")
        state = _STATES.get(order.get("status") or "open", OrderState.OPEN)
        if state is OrderState.OPEN and filled:
            state = OrderState.PARTIALLY_FILLED
        if cut_short:
            state = OrderState.CANCELED
        if filled is None:
            all_of_it = order.get("amount") if state is OrderState.FILLED else None
            filled = Decimal(str(all_of_it or 0))
        reason = self._lookup.reason_of(order) if state.is_final else ""
        return OrderReport(named, venue_id, symbol, state, filled, reason)

    def require_no_refusal(self, order: Any, name: str) -> None:
        """Raise the error of a refusal that ccxt has made an order of.

        OKX may refuse in the row of an answer that is a success at its top.
        """
        answer = order.get("info") if isinstance(order, dict) else None
        if self._refusals is None or answer is None:
            return
        code, meaning = self._refusals.of_answer(answer)
        if code:
            message = f"{self._venue}, order {name}: refused with code {code}"
            raise refusal(code, meaning, message, self._session.last, self._refusals)
