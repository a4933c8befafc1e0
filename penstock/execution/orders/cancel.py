"""Cancelling the working orders of an account, and finding the positions that are left to sell.

An operator or the kill switch asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from penstock.core.errors import OrderNotFoundError, VenueError
from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.execution.session import AccountSession
from penstock.ports import Exchange

#: The portfolio version of a slot that closes everything: no strategy decided it.
FLATTEN_VERSION = "flatten"


@dataclass(frozen=True)
class Cancellation:
    """Which orders the venue cancelled, and which are left."""

    cancelled: tuple[str, ...] = ()
    """The ids of cancelled orders: ours, or the venue's where there is no other."""
    left: tuple[str, ...] = ()
    """One sentence for each order that may still work: which it is, and why."""


def cancel_working(session: AccountSession) -> Cancellation:
    """Ask the venue to cancel every working order of the account, ours or not.

    A refusal for one order does not stop the others. The ledger is not written: tracking or
    recovery records the ends. An order that ended meanwhile is in neither list. One without an
    answer is in `left`, and the next run asks again. Raises VenueError where a venue does not list
    its orders; the orders of the other venues are cancelled first.
    """
    venues = (
        [session.exchange] if session.venues is None else list(session.venues.accounts.values())
    )
    done = Cancellation()
    not_listed: VenueError | None = None
    for venue in venues:
        try:
            here = _cancel_at(venue)
        except VenueError as error:  # raised after the other venues
            not_listed = error
        else:
            done = Cancellation(done.cancelled + here.cancelled, done.left + here.left)
    if not_listed is not None:
        raise not_listed
    return done


def _cancel_at(venue: Exchange) -> Cancellation:
    cancelled: list[str] = []
    left: list[str] = []
    for report in venue.open_orders():
        try:
            venue.cancel(report.client_order_id, report.symbol, report.venue_order_id)
        except OrderNotFoundError:
            continue
        except VenueError as error:
            named = report.client_order_id or f"{report.venue_order_id} (the venue's id)"
            left.append(f"order {named} of {report.symbol} may still work: {error}")
        else:
            cancelled.append(report.client_order_id or report.venue_order_id)
    return Cancellation(tuple(cancelled), tuple(left))


def holds_positions(
    session: AccountSession, instruments: Mapping[str, Instrument], keep: Mapping[str, Decimal]
) -> bool:
    """Return whether the ledger has any position that is large enough to be sold.

    What the policy keeps of an asset is not for sale.
    """
    balances = session.ledger.balances(session.account)
    above = {asset: held - keep.get(asset, Decimal(0)) for asset, held in balances.items()}
    return bool(left_to_sell(session, instruments, above))


def left_to_sell(
    session: AccountSession, instruments: Mapping[str, Instrument], balances: Mapping[str, Decimal]
) -> tuple[str, ...]:
    """Return the symbols, sorted, of which these balances (by asset) are enough for an order.

    A symbol whose price is not known counts as one. So does one that is enough at the middle of bid
    and ask, whatever its last price.
    """
    holdings = holdings_by_symbol(balances, session.quote, instruments)
    lots = {
        symbol: whole
        for symbol, quantity in sorted(holdings.items())
        if (whole := instruments[symbol].round_lots(quantity)) > 0
    }
    last = session.exchange.last_prices(list(lots))
    small = [
        symbol
        for symbol, price in last.items()
        if instruments[symbol].refusal(lots[symbol], price) is not None
    ]
    quotes = session.exchange.quotes(small) if small else {}
    crumbs = {
        symbol
        for symbol in small
        if symbol not in quotes
        or instruments[symbol].refusal(lots[symbol], quotes[symbol].mid) is not None
    }
    return tuple(symbol for symbol in lots if symbol not in crumbs)
