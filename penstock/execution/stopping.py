"""Ending what an account has at the venue, by an operator's word or the kill switch's: its orders, and every position."""

from decimal import Decimal

from penstock.core.errors import OrderNotFoundError, VenueUnavailableError
from penstock.execution.desk import TradingDesk
from penstock.ports import Exchange

#: The portfolio version of a slot that closes everything: no strategy decided it.
FLATTEN_VERSION = "flatten"


def cancel_working(desk: TradingDesk) -> list[str]:
    """Ask the venue to cancel every working order of the account; return the client order ids that it cancelled.

    The ledger is not written: the venue's word reaches it when the orders are followed or recovered, by whoever holds the
    account. An order that ended meanwhile is none; one without an answer is asked for again by the next who looks.
    """
    venues = [desk.exchange] if desk.venues is None else list(desk.venues.accounts.values())
    cancelled: list[str] = []
    silent: VenueUnavailableError | None = None
    for venue in venues:
        try:
            cancelled += _cancel_at(venue)
        except VenueUnavailableError as error:  # the others are cancelled first
            silent = error
    if silent is not None:
        raise silent
    return cancelled


def _cancel_at(venue: Exchange) -> list[str]:
    cancelled: list[str] = []
    for report in venue.open_orders():
        try:
            venue.cancel(report.client_order_id, report.symbol)
        except (OrderNotFoundError, VenueUnavailableError):
            continue
        cancelled.append(report.client_order_id)
    return cancelled


def holds_positions(desk: TradingDesk) -> bool:
    """Return whether the ledger has anything besides the quote asset."""
    held = desk.ledger.positions(desk.account)
    return any(quantity > Decimal(0) for asset, quantity in held.items() if asset != desk.quote)
