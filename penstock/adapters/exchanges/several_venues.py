"""Several venues as one account: summed balances, and the trades and orders of all.

Each order goes to the venue that it names. penstock.execution.routing.split chooses that venue.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

import polars as pl

from penstock.core.earn_balances import EarnBalance
from penstock.core.errors import (
    ConfigError,
    DuplicateOrderError,
    NotSentError,
    OrderNotFoundError,
    RateLimitedError,
    UnknownSymbolError,
    VenueUnavailableError,
)
from penstock.core.instruments import Instrument, common_rules
from penstock.core.machine import THREADS
from penstock.core.orders import Fill, OrderReport, OrderRequest
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.core.transfers import Transfer
from penstock.ports import TaskRunner, VenueAccount, VenueOffer

Answer = TypeVar("Answer")

#: Stands between a venue's name and its own id: two venues may number two trades alike.
_OF = ":"


class SeveralVenues:
    """Exchange and Venues over accounts at several venues, by name. Thread-safe as they are.

    The order of the venues counts. Time, bars, prices and quotes are those of the first that lists
    the symbol. The next ones are asked where it does not answer. Balances, trades, orders and
    transfers are those of all. A venue that does not answer is VenueUnavailableError, because half
    a sum is none. `fee_bps` is what a taker pays, by venue.
    """

    def __init__(
        self,
        venues: Mapping[str, VenueAccount],
        fee_bps: Mapping[str, Decimal],
        *,
        runner: TaskRunner = THREADS,
    ) -> None:
        wrong = [name for name in venues if not name or _OF in name]
        if not venues or wrong or venues.keys() != fee_bps.keys():
            raise ConfigError(
                f"venues {list(venues)} with fees {list(fee_bps)}: "
                f"each needs a name without '{_OF}', and a fee"
            )
        self._venues = dict(venues)
        self._runner = runner
        self._fee_bps = dict(fee_bps)
        self._listings: Mapping[str, Mapping[str, Instrument]] = {}
        #: Every symbol that a venue has listed so far, by venue.
        self._seen: dict[str, set[str]] = {name: set() for name in venues}
        #: The venue that an order was sent to, by client order id.
        self._where: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def accounts(self) -> Mapping[str, VenueAccount]:
        """The accounts by the name of their venue."""
        return dict(self._venues)

    def offers(self, symbols: Sequence[str]) -> Sequence[VenueOffer]:
        self._listed()
        return list(self._each(lambda name: self._offer(name, symbols)).values())

    def _offer(self, name: str, symbols: Sequence[str]) -> VenueOffer:
        venue, listing = self._venues[name], self._listings[name]
        listed = {symbol: listing[symbol] for symbol in symbols if symbol in listing}
        try:
            quotes = venue.quotes(list(listed)) if listed else {}
            return VenueOffer(name, listed, quotes, venue.free_balances(), self._fee_bps[name])
        except VenueUnavailableError as error:
            return VenueOffer(name, error=str(error))

    def now(self) -> datetime:
        return self._first(list(self._venues), lambda venue: venue.now())

    def instruments(self) -> Mapping[str, Instrument]:
        """Return the instruments of all venues.

        A symbol that several venues list has rules that are legal at each of them.
        """
        self._listings = self._each(lambda name: self._venues[name].instruments())
        found: dict[str, list[Instrument]] = {}
        for name, listing in self._listings.items():
            self._seen[name].update(listing)
            for symbol, instrument in listing.items():
                found.setdefault(symbol, []).append(instrument)
        return {symbol: common_rules(instruments) for symbol, instruments in found.items()}

    def fetch_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        return self._first(
            self._listing(symbol), lambda venue: venue.fetch_bars(symbol, timeframe, since, limit)
        )

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        return self._of_symbols(symbols, lambda venue, listed: venue.last_prices(listed))

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        return self._of_symbols(symbols, lambda venue, listed: venue.quotes(listed))

    def balances(self) -> Mapping[str, Decimal]:
        total: dict[str, Decimal] = {}
        for balances in self._each(lambda name: self._venues[name].balances()).values():
            for asset, quantity in balances.items():
                total[asset] = total.get(asset, Decimal(0)) + quantity
        return {asset: quantity for asset, quantity in total.items() if quantity}

    def submit(self, order: OrderRequest) -> OrderReport:
        """Send the order to the venue that it names, or to the first that lists its symbol."""
        name = order.venue or self._listing(order.symbol)[0]
        if name not in self._venues:
            known = ", ".join(self._venues)
            raise NotSentError(
                f"order {order.client_order_id}: no venue '{name}' ({known}); nothing was sent"
            )
        with self._lock:
            other = self._where.setdefault(order.client_order_id, name)
        if other != name:
            raise DuplicateOrderError(
                f"order {order.client_order_id} was sent to {other}: "
                f"it is not sent to {name} as well"
            )
        return _with_venue(name, self._venues[name].submit(order))

    def find_order(self, client_order_id: str, symbol: str) -> OrderReport:
        """Ask the venue that the order was sent to, or all where that is not known.

        It is not found only where every venue answers that it has no such order.
        """
        return self._found(
            client_order_id, symbol, lambda venue: venue.find_order(client_order_id, symbol)
        )

    def find_order_at(self, venue: str, client_order_id: str, symbol: str) -> OrderReport:
        return _with_venue(venue, self._account(venue).find_order(client_order_id, symbol))

    def cancel(self, client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        if not client_order_id:
            name, _, theirs = venue_order_id.partition(_OF)
            if name not in self._venues:
                raise OrderNotFoundError(
                    f"order '{venue_order_id}' names none of {', '.join(self._venues)}"
                )
            return _with_venue(name, self._venues[name].cancel("", symbol, theirs))
        return self._found(
            client_order_id, symbol, lambda venue: venue.cancel(client_order_id, symbol)
        )

    def cancel_at(self, venue: str, client_order_id: str, symbol: str) -> OrderReport:
        return _with_venue(venue, self._account(venue).cancel(client_order_id, symbol))

    def open_orders(self) -> Sequence[OrderReport]:
        found = self._each(lambda name: self._venues[name].open_orders())
        return [_with_venue(name, report) for name, reports in found.items() for report in reports]

    def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the trades at all venues, oldest first.

        A venue that pauses the symbol still has its past trades, so it is asked too.
        """
        self._listed()
        found = self._each(lambda name: self._fills_if_listed(name, symbol, since))
        answers = [fills for fills in found.values() if fills is not None]
        if not answers:
            raise UnknownSymbolError(_unlisted(self._venues, symbol))
        return sorted((fill for fills in answers for fill in fills), key=lambda fill: fill.at)

    def _fills_if_listed(self, venue: str, symbol: str, since: datetime) -> Sequence[Fill] | None:
        """Return the trades at one venue; None where it has never listed the symbol."""
        try:
            return self.fills_at(venue, symbol, since)
        except UnknownSymbolError as error:
            if symbol in self._seen[venue]:
                raise VenueUnavailableError(
                    f"{venue} listed {symbol} and does not now: its trades are unknown ({error})"
                ) from error
            return None

    def fills_at(self, venue: str, symbol: str, since: datetime) -> Sequence[Fill]:
        return [_fill_of(venue, fill) for fill in self._account(venue).fills(symbol, since)]

    def earn_balances(self) -> Sequence[EarnBalance]:
        found = self._each(lambda name: self._venues[name].earn_balances())
        return [balance for balances in found.values() for balance in balances]

    def transfers(self, since: datetime) -> Sequence[Transfer] | None:
        """Return the transfers of all venues, those between them included.

        None means that one of them does not report transfers.
        """
        found = self._each(lambda name: self._venues[name].transfers(since)).values()
        answers = [transfers for transfers in found if transfers is not None]
        if len(answers) < len(found):
            return None
        return sorted(
            (transfer for transfers in answers for transfer in transfers), key=lambda each: each.at
        )

    def _found(
        self, client_order_id: str, symbol: str, ask: Callable[[VenueAccount], OrderReport]
    ) -> OrderReport:
        """Return the answer of the venue that has the order.

        That is the venue that it was sent to, or else any. A venue that pauses the symbol still has
        its orders, so the listing is not looked at. A venue that does not know the symbol now may
        have listed it then: that is no answer about the order.
        """
        sent_to = self._where.get(client_order_id)
        unanswered: VenueUnavailableError | None = None
        not_found: list[str] = []
        unlisted: list[str] = []
        for name in self._venues if sent_to is None else [sent_to]:
            try:
                report = _with_venue(name, ask(self._venues[name]))
            except VenueUnavailableError as error:
                unanswered = (
                    error
                    if unanswered is None or isinstance(error, RateLimitedError)
                    else unanswered
                )
            except OrderNotFoundError as error:
                not_found.append(f"{name}: {error}")
            except UnknownSymbolError:
                unlisted.append(name)
            else:
                self._where[client_order_id] = name
                return report
        if unanswered is None and not_found and unlisted:
            who = ", ".join(unlisted)
            unanswered = VenueUnavailableError(
                f"{who} do not list {symbol} now: order {client_order_id} may be there all the same"
            )
        if unanswered is not None:
            raise unanswered
        raise (
            OrderNotFoundError("; ".join(not_found))
            if not_found
            else UnknownSymbolError(_unlisted(unlisted, symbol))
        )

    def _account(self, name: str) -> VenueAccount:
        """Return the account at a venue.

        Raises VenueUnavailableError for a venue that is not the account's: an order there cannot be
        asked for.
        """
        if name not in self._venues:
            raise VenueUnavailableError(
                f"the account is not at '{name}' ({', '.join(self._venues)}): was it taken away?"
            )
        return self._venues[name]

    def _listed(self) -> Mapping[str, Mapping[str, Instrument]]:
        if not self._listings:
            self.instruments()
        return self._listings

    def _listing(self, symbol: str) -> list[str]:
        """Return the names of the venues that list the symbol."""
        names = [name for name, listing in self._listed().items() if symbol in listing]
        if not names:
            raise UnknownSymbolError(_unlisted(self._venues, symbol))
        return names

    def _of_symbols(
        self, symbols: Sequence[str], ask: Callable[[VenueAccount, list[str]], Mapping[str, Answer]]
    ) -> Mapping[str, Answer]:
        """Return each symbol's answer of the first venue that lists it and has one.

        Raises VenueUnavailableError where a venue did not answer and a symbol lacks an answer.
        """
        listing = {symbol: self._listing(symbol) for symbol in symbols}
        found: dict[str, Answer] = {}
        unanswered: VenueUnavailableError | None = None
        for name, venue in self._venues.items():
            open_ones = [
                symbol for symbol in symbols if name in listing[symbol] and symbol not in found
            ]
            try:
                found |= ask(venue, open_ones) if open_ones else {}
            except VenueUnavailableError as error:
                unanswered = error
        if unanswered is not None and len(found) < len(listing):
            raise unanswered
        return found

    def _first(self, names: Sequence[str], ask: Callable[[VenueAccount], Answer]) -> Answer:
        """Return the answer of the first of these venues that gives one."""
        for name in names[:-1]:
            try:
                return ask(self._venues[name])
            except VenueUnavailableError:
                continue
        return ask(self._venues[names[-1]])

    def _each(self, ask: Callable[[str], Answer]) -> dict[str, Answer]:
        """Ask every venue side by side; return the answers by venue, or raise the first error."""
        names = list(self._venues)
        answers = self._runner.map(ask, names, at_once=len(names), name="venue")
        return dict(zip(names, answers, strict=True))


def _unlisted(names: Iterable[str], symbol: str) -> str:
    return f"none of {', '.join(names)} lists '{symbol}'"


def _fill_of(name: str, fill: Fill) -> Fill:
    """Return the fill with the venue's name before its trade id."""
    return replace(fill, trade_id=f"{name}{_OF}{fill.trade_id}")


def _with_venue(name: str, report: OrderReport) -> OrderReport:
    """Return the report with the venue's name before its ids."""
    return replace(
        report,
        venue_order_id=f"{name}{_OF}{report.venue_order_id}",
        fills=tuple(_fill_of(name, fill) for fill in report.fills),
    )
