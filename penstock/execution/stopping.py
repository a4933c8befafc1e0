"""Ending what an account has at the venue, by an operator's word or the kill switch's: its orders, and every position."""

from collections.abc import Mapping
from decimal import Decimal

from penstock.core.errors import OrderNotFoundError, UnknownSymbolError, VenueUnavailableError
from penstock.core.instruments import Instrument
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
        except (OrderNotFoundError, UnknownSymbolError, VenueUnavailableError):
            continue
        cancelled.append(report.client_order_id)
    return cancelled


def holds_positions(desk: TradingDesk, instruments: Mapping[str, Instrument]) -> bool:
    """Return whether the ledger has anything that the venue would take an order to sell: what fees left of a lot is none."""
    held = {f"{asset}/{desk.quote}": quantity for asset, quantity in desk.ledger.positions(desk.account).items()}
    lots = {symbol: instruments[symbol].round_lots(quantity) for symbol, quantity in held.items() if symbol in instruments}
    prices = desk.exchange.last_prices(sorted(symbol for symbol, quantity in lots.items() if quantity > 0))
    return any(_could_be_sold(instruments[symbol], lots[symbol], price) for symbol, price in prices.items())


def _could_be_sold(instrument: Instrument, lots: Decimal, price: Decimal) -> bool:
    """Return whether the venue takes an order over these lots; what is over its maximum is sold in pieces."""
    piece = lots if instrument.max_quantity is None else min(lots, instrument.max_quantity)
    return instrument.refusal(piece, price) is None
