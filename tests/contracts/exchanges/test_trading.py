"""What every exchange promises of orders, balances and fills."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.core.errors import (
    DuplicateOrderError,
    InsufficientFundsError,
    NotSentError,
    OrderNotFoundError,
    VenueRejectedError,
)
from penstock.core.orders import OrderState, Side
from penstock.core.timeframes import Timeframe
from tests.contracts.exchanges.conftest import Venue

DAY = timedelta(days=1)
START_USDT, START_AAA = Decimal(10_000), Decimal(50)


def test_market_buy_fills_at_the_ask_and_pays_its_fee_in_base(venue: Venue) -> None:
    """Two units: quote falls by the notional at the ask, base rises by two less 10 bps."""
    order, price = venue.order("2"), venue.ask
    report = venue.exchange.submit(order)
    assert (report.state, report.filled_quantity) == (OrderState.FILLED, Decimal(2))
    assert venue.exchange.balances() == {
        "USDT": START_USDT - 2 * price,
        "AAA": START_AAA + Decimal("1.998"),
    }
    (fill,) = venue.exchange.fills("AAA/USDT", venue.exchange.now())
    assert (fill.client_order_id, fill.side, fill.quantity, fill.price) == (
        order.client_order_id,
        Side.BUY,
        2,
        price,
    )
    assert (fill.fee, fill.fee_asset, fill.at) == (Decimal("0.002"), "AAA", venue.exchange.now())


def test_market_sell_fills_at_the_bid_and_pays_its_fee_in_quote(venue: Venue) -> None:
    """Selling three units at the day's open brings the notional less 10 bps."""
    price = venue.price
    venue.exchange.submit(venue.order("3", Side.SELL))
    assert venue.exchange.balances() == {
        "USDT": START_USDT + 3 * price * Decimal("0.999"),
        "AAA": Decimal(47),
    }
    (fill,) = venue.exchange.fills("AAA/USDT", venue.exchange.now())
    assert (fill.fee, fill.fee_asset) == (3 * price * Decimal("0.001"), "USDT")


def test_client_order_id_of_an_open_order_is_not_taken_twice(venue: Venue) -> None:
    """An id is refused while its order rests. Some venues take it again once it has ended."""
    order = venue.order("1", price="50")
    venue.exchange.submit(order)
    after = venue.exchange.balances()
    with pytest.raises(DuplicateOrderError):
        venue.exchange.submit(order)
    assert venue.exchange.balances() == after


def test_order_without_funds_is_refused(venue: Venue) -> None:
    """More than the free balance, either way, is InsufficientFundsError and changes nothing."""
    for order in (venue.order("99"), venue.order("50.001", Side.SELL)):
        with pytest.raises(InsufficientFundsError):
            venue.exchange.submit(order)
    assert venue.exchange.balances() == {"USDT": START_USDT, "AAA": START_AAA}


@pytest.mark.parametrize(
    ("quantity", "price"),
    [("0.001", None), ("0.01", "90")],
    ids=["under the minimum notional", "limit under the minimum notional"],
)
def test_order_that_breaks_a_filter_is_rejected_by_name(
    venue: Venue, quantity: str, price: str | None
) -> None:
    """The venue's filters refuse the order: VenueRejectedError with code -1013, and no order
    exists.
    """
    order = venue.order(quantity, price=price)
    with pytest.raises(VenueRejectedError) as refusal:
        venue.exchange.submit(order)
    assert type(refusal.value) is VenueRejectedError
    with pytest.raises(OrderNotFoundError):
        venue.exchange.find_order(order.client_order_id, "AAA/USDT")


@pytest.mark.parametrize(
    ("quantity", "price"),
    [("0.5001", None), ("0.0001", None), ("1", "90.001")],
    ids=["off the lot step", "under a lot", "off the tick"],
)
def test_order_that_no_request_can_say_is_not_sent(
    venue: Venue, quantity: str, price: str | None
) -> None:
    """A number off the venue's steps is refused here: NotSentError, and no order comes to be."""
    order = venue.order(quantity, price=price)
    with pytest.raises(NotSentError):
        venue.exchange.submit(order)
    with pytest.raises(OrderNotFoundError):
        venue.exchange.find_order(order.client_order_id, "AAA/USDT")


def test_order_is_found_by_its_client_order_id(venue: Venue) -> None:
    """An ended order is found again, also by a new process. An id that was never used, or that is
    of another symbol, is not found. The order was sent as execution sends it: with the instant at
    which its sender held the lease.
    """
    order = replace(venue.order("1"), asked_at=datetime.now(UTC))
    sent = venue.exchange.submit(order)
    assert venue.exchange.find_order(order.client_order_id, "AAA/USDT") == sent
    assert venue.fresh().find_order(order.client_order_id, "AAA/USDT") == sent
    for client_order_id, symbol in (
        ("never-used", "AAA/USDT"),
        (order.client_order_id, "BBB/USDT"),
    ):
        with pytest.raises(OrderNotFoundError):
            venue.exchange.find_order(client_order_id, symbol)


def test_resting_limit_order_is_open_and_locks_its_funds(venue: Venue) -> None:
    """A buy under the market works, is listed, keeps the total and takes the free balance."""
    order = venue.order("70", price="90")
    report = venue.exchange.submit(order)
    assert (report.state, report.filled_quantity) == (OrderState.OPEN, 0)
    assert [found.client_order_id for found in venue.exchange.open_orders()] == [
        order.client_order_id
    ]
    assert venue.exchange.balances() == {"USDT": START_USDT, "AAA": START_AAA}
    with pytest.raises(InsufficientFundsError):
        venue.exchange.submit(venue.order("50", price="90"))


def test_cancelled_order_frees_its_funds_and_is_not_cancelled_twice(venue: Venue) -> None:
    """After the cancellation nothing is open and the money can be spent; a second one is
    OrderNotFoundError.
    """
    order = venue.order("70", price="90")
    venue.exchange.submit(order)
    report = venue.exchange.cancel(order.client_order_id, "AAA/USDT")
    assert (report.client_order_id, report.state) == (order.client_order_id, OrderState.CANCELED)
    assert list(venue.exchange.open_orders()) == []
    assert venue.exchange.submit(venue.order("50", price="90")).state is OrderState.OPEN
    for client_order_id in (order.client_order_id, "never-used"):
        with pytest.raises(OrderNotFoundError):
            venue.exchange.cancel(client_order_id, "AAA/USDT")


def test_order_is_cancelled_by_the_venues_id_where_it_has_no_other(venue: Venue) -> None:
    """What an order made by hand has is the venue's id, as the list of working orders shows it."""
    order = venue.order("70", price="90")
    venue.exchange.submit(order)
    (listed,) = venue.exchange.open_orders()
    report = venue.exchange.cancel("", "AAA/USDT", listed.venue_order_id)
    assert (report.venue_order_id, report.state) == (listed.venue_order_id, OrderState.CANCELED)
    assert list(venue.exchange.open_orders()) == []
    with pytest.raises(OrderNotFoundError):
        venue.exchange.cancel("", "AAA/USDT", listed.venue_order_id)


def test_resting_sell_fills_at_its_price_once_the_market_passes_it(venue: Venue) -> None:
    """The open rises by one per day. A sell two above it is passed within three days, at its own
    price.
    """
    limit = venue.price + 2
    order = venue.order("1", Side.SELL, f"{limit:f}")
    venue.exchange.submit(order)
    since = venue.exchange.now()
    venue.step(3 * DAY)
    assert venue.exchange.find_order(order.client_order_id, "AAA/USDT").state is OrderState.FILLED
    (fill,) = venue.exchange.fills("AAA/USDT", since)
    assert (fill.price, fill.quantity, fill.fee) == (limit, 1, limit / 1000)
    assert venue.exchange.balances() == {
        "USDT": START_USDT + limit * Decimal("0.999"),
        "AAA": START_AAA - 1,
    }


def test_crossing_limit_fills_at_the_better_price(venue: Venue) -> None:
    """A buy ten above the market pays the market's price."""
    price = venue.ask
    report = venue.exchange.submit(venue.order("1", price=f"{price + 10:f}"))
    assert report.state is OrderState.FILLED
    assert venue.exchange.balances()["USDT"] == START_USDT - price


def test_fills_are_told_from_since_on_with_their_client_order_ids(venue: Venue) -> None:
    """Fills come oldest first, from `since` on, of one symbol, and a new process names their orders
    too.
    """
    orders = []
    for _ in range(3):
        orders.append(venue.order("1"))
        venue.exchange.submit(orders[-1])
        venue.step(DAY)
    venue.exchange.submit(venue.order("1", symbol="BBB/USDT"))
    now = venue.exchange.now()
    ids = [order.client_order_id for order in orders]
    for exchange in (venue.exchange, venue.fresh()):
        assert [fill.client_order_id for fill in exchange.fills("AAA/USDT", now - 10 * DAY)] == ids
        assert [fill.client_order_id for fill in exchange.fills("AAA/USDT", now - 2 * DAY)] == ids[
            1:
        ]
        assert list(exchange.fills("AAA/USDT", now)) == []


def test_account_outlives_the_process(venue: Venue) -> None:
    """A new process on the same account sees the same balances and open orders. What it cancels
    frees the funds.
    """
    venue.exchange.submit(venue.order("1"))
    venue.exchange.submit(venue.order("70", price="90"))
    fresh = venue.fresh()
    assert fresh.balances() == venue.exchange.balances()
    assert fresh.open_orders() == venue.exchange.open_orders()
    assert (
        fresh.cancel(fresh.open_orders()[0].client_order_id, "AAA/USDT").state
        is OrderState.CANCELED
    )
    assert fresh.submit(venue.order("70", price="90")).state is OrderState.OPEN


def test_symbol_without_a_bar_does_not_trade(venue: Venue) -> None:
    """The venue refuses an order on a day without a bar. On the next day with a bar the order fills
    at that open.
    """
    if venue.exchange.fetch_bars("GAP/USDT", Timeframe.D1, venue.exchange.now(), 1).height:
        venue.step(DAY)
    order = venue.order("1", symbol="GAP/USDT")
    with pytest.raises(VenueRejectedError, match=r"[Mm]arket is closed"):
        venue.exchange.submit(order)
    venue.step(DAY)
    venue.exchange.submit(order)
    assert [fill.price for fill in venue.exchange.fills("GAP/USDT", venue.exchange.now())] == [
        venue.ask
    ]
