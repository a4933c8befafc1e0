"""What several venues as one account promise: sums and names. An unreachable venue never counts as
an answer of another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import polars as pl
import pytest

from penstock.adapters.exchanges.bars_market import BarsMarketData
from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import SteppedClock
from penstock.core.errors import (
    ConfigError,
    DuplicateOrderError,
    NotSentError,
    OrderNotFoundError,
    UnknownSymbolError,
    VenueUnavailableError,
)
from penstock.core.instruments import Instrument
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.core.timeframes import Timeframe
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind
from penstock.simulation.paper import PaperExchange

_NUMBERS = count(1)
EACH = {"USDT": Decimal(5_000), "AAA": Decimal(20)}


class Shrinking(CcxtExchange):
    """A venue that pauses symbols (its markets are then not active) or drops them (it knows them no
    more).
    """

    paused: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()

    def instruments(self) -> dict[str, Instrument]:
        return {
            name: rules
            for name, rules in super().instruments().items()
            if name not in self.paused | self.dropped
        }

    def require_symbol(self, symbol: str) -> None:
        super().require_symbol(symbol)
        if symbol in self.dropped:
            raise UnknownSymbolError(f"{self.venue} does not list the spot symbol '{symbol}'")


@dataclass
class Pair:
    """Two practice exchanges as one account, and what controls each."""

    exchange: SeveralVenues
    first: PracticeControl
    second: PracticeControl

    def silence(self, name: str, path: str = "/api/v3/", method: str = "") -> None:
        fault = Fault(kind=FaultKind.ERROR_BEFORE, path=path, method=method)
        getattr(self, name).arm(fault)

    def forgetful(self) -> SeveralVenues:
        """Return the same account in a process that has just begun."""
        return SeveralVenues(self.exchange.accounts, {"first": Decimal(10), "second": Decimal(4)})

    def order(self, venue: str, quantity: str = "1", price: str | None = None) -> OrderRequest:
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        limit = None if price is None else Decimal(price)
        return OrderRequest(
            f"part-{next(_NUMBERS)}",
            "AAA/USDT",
            Side.BUY,
            kind,
            Decimal(quantity),
            limit,
            venue=venue,
        )


@pytest.fixture
def pair(server: Any, other_server: Any, control: PracticeControl) -> Iterator[Pair]:
    second = PracticeControl(other_server.url)
    second.step(to=control.now())
    key = f"pair-{next(_NUMBERS)}"
    venues = {}
    for name, url, controls in (
        ("first", server.url, control),
        ("second", other_server.url, second),
    ):
        controls.create_account(key, "secret", EACH)
        venues[name] = Shrinking("binance", key, "secret", base_url=url, read_attempts=1)
    yield Pair(SeveralVenues(venues, {"first": Decimal(10), "second": Decimal(4)}), control, second)
    second.clear_faults()
    second.clear_books()


def test_balances_are_the_sums_of_all(pair: Pair) -> None:
    """What both hold is the account's; while one of them is silent nobody knows the sum."""
    assert pair.exchange.balances() == {"USDT": 10_000, "AAA": 40}
    pair.silence("second", "/api/v3/account")
    with pytest.raises(VenueUnavailableError):
        pair.exchange.balances()


def test_trades_of_two_venues_never_share_an_id(pair: Pair) -> None:
    """Each venue numbers its own trades. The ids begin with the venue's name, and every trade is
    listed.
    """
    orders = [pair.order("first"), pair.order("second"), pair.order("second")]
    for order in orders:
        pair.exchange.submit(order)
    fills = pair.exchange.fills("AAA/USDT", pair.exchange.now())
    assert {fill.client_order_id: fill.trade_id.split(":")[0] for fill in fills} == {
        order.client_order_id: order.venue for order in orders
    }
    assert len({fill.trade_id for fill in fills}) == 3
    alone = pair.exchange.fills_at("second", "AAA/USDT", pair.exchange.now())
    assert list(alone) == [fill for fill in fills if fill.trade_id.startswith("second:")]


def test_order_is_denied_only_when_every_venue_denies_it(pair: Pair) -> None:
    """One venue's "no such order" says nothing while another is silent, whether the process
    remembers or not.
    """
    with pytest.raises(OrderNotFoundError, match=r"first: .*; second: "):
        pair.exchange.find_order("never-used", "AAA/USDT")
    order = pair.order("second")
    sent = pair.exchange.submit(order)
    forgetful = pair.forgetful()
    assert forgetful.find_order(order.client_order_id, "AAA/USDT") == sent
    pair.silence("second", "/api/v3/order")
    for exchange in (pair.exchange, forgetful):
        for ask in (exchange.find_order, exchange.cancel):
            with pytest.raises(VenueUnavailableError):
                ask(order.client_order_id, "AAA/USDT")


def test_order_is_found_though_another_venue_is_silent(pair: Pair) -> None:
    """The venue that has the order has answered. The other venue's answer is not needed."""
    order = pair.order("second")
    sent = pair.exchange.submit(order)
    pair.silence("first", "/api/v3/order")
    assert pair.exchange.find_order(order.client_order_id, "AAA/USDT") == sent
    forgetful = pair.forgetful()
    assert forgetful.find_order(order.client_order_id, "AAA/USDT") == sent


def test_order_is_found_where_its_symbol_is_paused(pair: Pair) -> None:
    """The venue no longer lists the symbol when the process begins. The order, its trades and its
    end can still be read.
    """
    filled, resting = pair.order("first"), pair.order("first", price="50")
    sent = pair.exchange.submit(filled)
    pair.exchange.submit(resting)
    pair.exchange.accounts["first"].paused = frozenset({"AAA/USDT"})  # type: ignore[attr-defined]  # Shrinking
    fresh = pair.forgetful()
    assert fresh.find_order(filled.client_order_id, "AAA/USDT") == sent
    assert fresh.find_order_at("first", filled.client_order_id, "AAA/USDT") == sent
    fills = pair.forgetful().fills("AAA/USDT", pair.exchange.now())
    assert [fill.client_order_id for fill in fills] == [filled.client_order_id]
    assert pair.forgetful().cancel(resting.client_order_id, "AAA/USDT").state is OrderState.CANCELED


def test_venue_that_dropped_the_symbol_has_not_denied_the_order(pair: Pair) -> None:
    """The other venue's "no such order" speaks for itself only. Whether the order exists is
    unknown, and nothing is sent again.
    """
    order = pair.order("first")
    pair.exchange.submit(order)
    pair.exchange.accounts["first"].dropped = frozenset({"AAA/USDT"})  # type: ignore[attr-defined]  # Shrinking
    fresh = pair.forgetful()
    for ask in (fresh.find_order, fresh.cancel):
        with pytest.raises(VenueUnavailableError, match="first do not list AAA/USDT now"):
            ask(order.client_order_id, "AAA/USDT")
    for ask_at in (fresh.find_order_at, fresh.cancel_at):
        with pytest.raises(UnknownSymbolError):
            ask_at("first", order.client_order_id, "AAA/USDT")
        with pytest.raises(OrderNotFoundError):
            ask_at("second", order.client_order_id, "AAA/USDT")
        with pytest.raises(VenueUnavailableError, match="not at 'third'"):
            ask_at("third", order.client_order_id, "AAA/USDT")


def test_trades_of_a_venue_that_dropped_the_symbol_are_unknown_not_none(pair: Pair) -> None:
    """Who saw it listed there knows that trades may be missing; for who never did, the venue has
    none.
    """
    pair.exchange.submit(pair.order("second"))
    pair.exchange.instruments()
    pair.exchange.accounts["first"].dropped = frozenset({"AAA/USDT"})  # type: ignore[attr-defined]  # Shrinking
    with pytest.raises(VenueUnavailableError, match="first listed AAA/USDT and does not now"):
        pair.exchange.fills("AAA/USDT", pair.exchange.now())
    assert len(pair.forgetful().fills("AAA/USDT", pair.exchange.now())) == 1


def test_working_orders_of_all_are_listed_and_cancelled_where_they_are(pair: Pair) -> None:
    """An order in each book: both are listed, and each is cancelled at its own venue."""
    orders = [pair.order(venue, price="50") for venue in ("first", "second")]
    for order in orders:
        pair.exchange.submit(order)
    assert [report.client_order_id for report in pair.exchange.open_orders()] == [
        order.client_order_id for order in orders
    ]
    for order in reversed(orders):
        report = pair.exchange.cancel(order.client_order_id, "AAA/USDT")
        assert (report.state, report.venue_order_id.split(":")[0]) == (
            OrderState.CANCELED,
            order.venue,
        )
    assert list(pair.exchange.open_orders()) == []


def test_order_goes_to_the_venue_that_it_names_and_to_no_other(pair: Pair) -> None:
    """A venue name that the account does not have is refused before anything leaves. An id that
    went to one venue never goes to another.
    """
    with pytest.raises(NotSentError, match=r"no venue 'third' \(first, second\); nothing was sent"):
        pair.exchange.submit(pair.order("third"))
    order = pair.order("first")
    pair.exchange.submit(order)
    twin = OrderRequest(
        order.client_order_id, order.symbol, order.side, order.type, order.quantity, venue="second"
    )
    with pytest.raises(DuplicateOrderError, match="was sent to first"):
        pair.exchange.submit(twin)
    assert pair.exchange.accounts["second"].balances() == EACH


def test_rules_are_legal_at_every_venue(pair: Pair) -> None:
    """The steps are the smallest that both take; a symbol that nobody lists is named."""
    before = pair.exchange.instruments()["AAA/USDT"]
    pair.second.change_instrument("AAA/USDT", lot_step=Decimal("0.01"))
    try:
        assert pair.exchange.instruments()["AAA/USDT"].lot_step == Decimal("0.01")
        assert before.lot_step == Decimal("0.001")
    finally:
        pair.second.change_instrument("AAA/USDT", lot_step=Decimal("0.001"))
    with pytest.raises(UnknownSymbolError, match="none of first, second lists 'NOPE/USDT'"):
        pair.exchange.find_order("any", "NOPE/USDT")


def test_second_venue_stands_in_while_the_first_is_silent(pair: Pair) -> None:
    """Time, prices and quotes are the first venue's, else the second's; with both silent there are
    none.
    """
    pair.exchange.instruments()
    pair.first.show_book("AAA/USDT", 90, 91)
    pair.second.show_book("AAA/USDT", 95, 96)
    try:
        assert pair.exchange.quotes(["AAA/USDT"])["AAA/USDT"].bid == 90
        pair.silence("first")
        assert pair.exchange.quotes(["AAA/USDT"])["AAA/USDT"].bid == 95
        assert pair.exchange.now() == pair.second.now()
        pair.silence("second")
        with pytest.raises(VenueUnavailableError):
            pair.exchange.last_prices(["AAA/USDT"])
    finally:
        pair.first.clear_books()


def test_offers_tell_what_is_free_and_who_is_silent(pair: Pair) -> None:
    """What a working order holds is not offered; a venue that does not answer offers nothing and
    says so.
    """
    pair.exchange.submit(pair.order("second", quantity="40", price="50"))
    first, second = pair.exchange.offers(["AAA/USDT"])
    assert (first.free, first.fee_bps) == (EACH, 10)
    assert (second.free, second.fee_bps) == ({"USDT": 3_000, "AAA": 20}, 4)
    assert second.quotes["AAA/USDT"].ask > second.quotes["AAA/USDT"].bid
    pair.silence("first", "/api/v3/account")
    silent, answering = pair.exchange.offers(["AAA/USDT"])
    assert "503" in silent.error
    assert (silent.free, silent.quotes, answering.error) == ({}, {}, "")


def test_venues_need_names_of_their_own() -> None:
    """A trade's id begins with its venue's name, so the name cannot hold what ends it."""
    with pytest.raises(ConfigError, match="a:b"):
        SeveralVenues({"a:b": None}, {"a:b": Decimal(1)})  # type: ignore[dict-item]  # never asked


def test_paper_accounts_can_be_several_venues_too() -> None:
    """The cash and orders of two paper accounts belong to one account. A resting order at one venue
    reserves nothing at the other.
    """
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        ("AAA/USDT", start + n * timedelta(days=1), 110.0, 114.0, 106.0, 110.0, 300.0)
        for n in range(30)
    ]
    bars = pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")
    market = BarsMarketData({Timeframe.D1: bars}, None, SteppedClock(start + timedelta(days=10)))
    venues = {
        name: PaperExchange(market, balances={"USDT": Decimal(500)}) for name in ("here", "there")
    }
    account = SeveralVenues(venues, dict.fromkeys(venues, Decimal(10)))
    account.submit(
        OrderRequest(
            "rests", "AAA/USDT", Side.BUY, OrderType.LIMIT, Decimal(4), Decimal(50), venue="there"
        )
    )
    account.submit(
        OrderRequest("fills", "AAA/USDT", Side.BUY, OrderType.MARKET, Decimal(1), venue="here")
    )
    assert account.balances() == {"USDT": 1_000 - Decimal("110.01"), "AAA": Decimal("0.999")}
    assert [offer.free["USDT"] for offer in account.offers(["AAA/USDT"])] == [
        Decimal("389.99"),
        300,
    ]
    assert [fill.trade_id for fill in account.fills("AAA/USDT", start)] == ["here:1"]
