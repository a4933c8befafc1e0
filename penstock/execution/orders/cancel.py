"""Cancelling the working orders of an account, and finding the positions that are left to sell.

An operator or the kill switch asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from penstock.core.errors import OrderNotFoundError, VenueError
from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.core.orders import OrderReport
from penstock.execution.session import AccountSession
from penstock.ports import Exchange

#: The portfolio version of a slot that closes everything: no strategy decided it.
FLATTEN_VERSION = "flatten"
#: Why an order may still work whose cancellation the venue took.
_TAKEN = "it was asked to be cancelled and is open"


@dataclass(frozen=True)
class Cancellation:
    """Which orders were cancelled, and which are left."""

    cancelled: tuple[str, ...] = ()
    """The ids of the orders that were asked to be cancelled and work no more: ours, or the venue's
    where there is no other."""
    left: tuple[str, ...] = ()
    """One sentence for each order that may still work: which it is, and why."""


def cancel_working(session: AccountSession) -> Cancellation:
    """Ask the venue to cancel every working order of the account, ours or not.

    A refusal for one order does not stop the others. Where an answer does not show that the order
    has ended, the venue's list shows it after the time by which venues lag. What is listed then is
    asked for once more, and is in `left` unless that ends it. The ledger is not written: tracking
    or recovery records the ends. An order that ended meanwhile is in neither list. One without an
    answer is in `left`, and the next run asks again. Raises VenueError where a venue does not list
    its orders; the orders of the other venues are cancelled first.
    """
    venues = (
        [session.exchange] if session.venues is None else list(session.venues.accounts.values())
    )
    working = [_WorkingOrders(venue) for venue in venues]
    not_listed: VenueError | None = None
    for each in working:
        try:
            each.cancel()
        except VenueError as error:  # raised after the other venues
            not_listed = error
    if any(each.in_doubt for each in working):
        session.pause(session.policy.refusal_lag_seconds)
        for each in working:
            each.look_again()
    if not_listed is not None:
        raise not_listed
    return Cancellation(
        tuple(name for each in working for name in each.cancelled),
        tuple(sentence for each in working for sentence in each.left),
    )


@dataclass
class _WorkingOrders:
    """The working orders of one venue, while they are cancelled."""

    venue: Exchange
    """The account at the venue."""
    cancelled: list[str] = field(default_factory=list)
    """As in Cancellation."""
    left: list[str] = field(default_factory=list)
    """As in Cancellation."""
    in_doubt: list[tuple[OrderReport, bool]] = field(default_factory=list)
    """Orders whose answer does not show that they have ended, and whether the venue took the
    request."""

    def cancel(self) -> None:
        """Ask for each order. Raises VenueError where the venue does not list them."""
        for report in self.venue.open_orders():
            doubt = self._ask(report)
            if doubt:
                self.in_doubt.append((report, doubt == _TAKEN))

    def look_again(self) -> None:
        """Look which orders in doubt are listed, and ask for those once more."""
        if not self.in_doubt:
            return
        try:
            listed = {_ids(report) for report in self.venue.open_orders()}
        except VenueError as error:
            for report, _ in self.in_doubt:
                self._leave(report, str(error))
            return
        for report, was_taken in self.in_doubt:
            if _ids(report) in listed:
                if doubt := self._ask(report):
                    self._leave(report, doubt)
            elif was_taken:
                self.cancelled.append(_name(report))

    def _ask(self, report: OrderReport) -> str:
        """Ask to cancel an order; return why it may work all the same, "" where that is settled."""
        try:
            answer = self.venue.cancel(report.client_order_id, report.symbol, report.venue_order_id)
        except OrderNotFoundError as error:
            return f"it is listed as open, and to its cancellation the venue answers: {error}"
        except VenueError as error:
            self._leave(report, str(error))
            return ""
        if not answer.state.is_final:
            return _TAKEN
        self.cancelled.append(_name(report))
        return ""

    def _leave(self, report: OrderReport, reason: str) -> None:
        named = report.client_order_id or f"{report.venue_order_id} (the venue's id)"
        self.left.append(f"order {named} of {report.symbol} may still work: {reason}")


def _ids(report: OrderReport) -> tuple[str, str, str]:
    return report.client_order_id, report.venue_order_id, report.symbol


def _name(report: OrderReport) -> str:
    return report.client_order_id or report.venue_order_id


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
