"""Breaks about orders: those that work on one side only, and those filled beyond their quantity."""

from collections.abc import Sequence
from decimal import Decimal

from penstock.core.amounts import plain
from penstock.core.breaks import Break, BreakAcceptance, BreakKind
from penstock.core.errors import OrderNotFoundError, UnknownSymbolError, VenueError
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill, OrderReport, OrderState
from penstock.execution.reconciliation.differences import ExplainedDifference
from penstock.execution.session import AccountSession

#: An accepted doubled fill means that its overfilled order is accepted too.
_OVERFILL_SEEN = frozenset({BreakKind.OVERFILL, BreakKind.DOUBLED_FILL})


def open_order_breaks(
    session: AccountSession, unsettled: Sequence[OrderRecord]
) -> list[ExplainedDifference]:
    """Return a break per order that works at the venue and not in the ledger, or the reverse.

    `unsettled` has the ledger's orders that have not ended.
    """
    working = {
        order.client_order_id or order.venue_order_id: order
        for order in session.exchange.open_orders()
    }
    unfinished = {
        order.request.client_order_id: order for order in unsettled if not order.state.is_final
    }
    found = [
        _unknown_order(session, report)
        for name, report in working.items()
        if name not in unfinished
    ]
    gone = [
        order for name, order in unfinished.items() if name not in working and _gone(session, order)
    ]
    return found + [_gone_order(session, order) for order in gone]


def _unknown_order(session: AccountSession, report: OrderReport) -> ExplainedDifference:
    detail = (
        f"order {report.client_order_id or report.venue_order_id} works at the venue and not "
        "in the ledger"
    )
    return ExplainedDifference(
        Break(session.account, report.symbol, BreakKind.UNKNOWN_ORDER, detail)
    )


def _gone_order(session: AccountSession, order: OrderRecord) -> ExplainedDifference:
    name = order.request.client_order_id
    detail = (
        f"order {name} has not ended in the ledger and is unknown to the venue, or its symbol is"
    )
    return ExplainedDifference(
        Break(session.account, order.request.symbol, BreakKind.ORDER_GONE, detail), orders=(name,)
    )


def _gone(session: AccountSession, order: OrderRecord) -> bool:
    """Return whether the venue no longer knows the order, or its symbol.

    Recovery deals with a lost order whose symbol is listed.
    """
    if order.state is OrderState.PLANNED:
        return False
    lost = order.state in (OrderState.SUBMITTING, OrderState.UNKNOWN)
    try:
        session.find_order(order.request)
    except UnknownSymbolError:
        return True
    except OrderNotFoundError:
        return not lost
    except VenueError:
        if not lost:
            raise
    return False


def overfilled_orders(
    session: AccountSession, unsettled: Sequence[OrderRecord]
) -> list[OrderRecord]:
    """Return those that were filled beyond their quantity and have not been accepted since."""
    over = [order for order in unsettled if order.filled_quantity > order.request.quantity]
    if not over:
        return []
    accepted = session.control_store.acceptances(session.account)
    return [order for order in over if not _has_accepted(accepted, order)]


def _has_accepted(accepted: Sequence[BreakAcceptance], order: OrderRecord) -> bool:
    symbol, at = order.request.symbol, order.updated_at
    return any(
        each.kind in _OVERFILL_SEEN and each.subject == symbol and each.at >= at
        for each in accepted
    )


def overfill_breaks(
    session: AccountSession, overfilled: Sequence[OrderRecord], doubled: Sequence[Fill]
) -> list[ExplainedDifference]:
    """Return a break per symbol with an order filled beyond its quantity.

    Fills that were booked twice (`doubled`) do not count.
    """
    twice = [(fill.client_order_id, fill.quantity) for fill in doubled]
    real = [order for order in overfilled if _really_filled(order, twice) > order.request.quantity]
    return [
        _overfill(session, order)
        for order in {order.request.symbol: order for order in real}.values()
    ]


def _really_filled(order: OrderRecord, twice: Sequence[tuple[str, Decimal]]) -> Decimal:
    return order.filled_quantity - sum(
        (q for name, q in twice if name == order.request.client_order_id), Decimal(0)
    )


def _overfill(session: AccountSession, order: OrderRecord) -> ExplainedDifference:
    request = order.request
    detail = (
        f"order {request.client_order_id} for {plain(request.quantity)} was filled with "
        f"{plain(order.filled_quantity)}"
    )
    found = Break(
        session.account,
        request.symbol,
        BreakKind.OVERFILL,
        detail,
        request.quantity,
        order.filled_quantity,
    )
    return ExplainedDifference(found)
