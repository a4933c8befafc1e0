"""Stop orders: when they trigger, at which price they then trade, what they reserve."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.core.timeframes import Timeframe
from penstock.practice.binance_errors import PracticeRefusal
from penstock.simulation.journal import Journal
from tests.unit.practice.conftest import Frames, Row, Sessions, SignedAccount

D = Timeframe.D1
DAY = timedelta(days=1)
#: Prices at 10, a day that falls to 8, a day that opens at 7, a day that rises to 13.
DAYS: list[Row] = [
    (10.0, 10.5, 9.5, 10.0, 1000.0),
    (10.0, 10.0, 8.0, 8.5, 1000.0),
    (7.0, 7.5, 6.5, 7.0, 1000.0),
    (7.0, 13.0, 7.0, 12.0, 1000.0),
    (12.0, 12.5, 11.5, 12.0, 1000.0),
]


@pytest.fixture
def falling(open_account: Sessions, frame: Frames) -> SignedAccount:
    return open_account({D: frame(DAYS, D)})


def stop(
    session: SignedAccount, kind: str, side: str, at: str, quantity: str = "10", **more: str
) -> dict[str, Any]:
    """Place a stop order; with a `price` one that becomes a limit order."""
    given = {"symbol": "AAAUSDT", "type": kind, "side": side, "stopPrice": at} | more
    if "price" in more:
        given.setdefault("timeInForce", "GTC")
    answer = session.ask("POST /api/v3/order", **given, quantity=quantity)
    return dict(answer)


def trades(session: SignedAccount) -> list[tuple[str, str, bool]]:
    found = session.ask("GET /api/v3/myTrades", symbol="AAAUSDT")
    return [(trade["price"], trade["qty"], trade["isMaker"]) for trade in found]


def test_stop_waits_off_the_book_with_its_funds_locked(falling: SignedAccount) -> None:
    """Until the last price reaches it, the order is NEW, does not work, and reserves its base."""
    answer = stop(falling, "STOP_LOSS_LIMIT", "SELL", "9", price="8.9")
    assert set(answer) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    falling.step(DAY)
    (shown,) = falling.ask("GET /api/v3/openOrders")
    assert (shown["status"], shown["isWorking"], shown["workingTime"]) == ("NEW", False, -1)
    assert (shown["stopPrice"], shown["price"]) == ("9.00000000", "8.90000000")
    assert falling.held("AAA") == (90, 10)


def test_stop_that_a_bar_reaches_takes_at_the_stop(falling: SignedAccount) -> None:
    """The second day falls from 10 to 8. At a stop of 9 the bid is 9, within the limit of 8.9. The
    fill is known once the day has closed.
    """
    order = stop(falling, "STOP_LOSS_LIMIT", "SELL", "9", price="8.9")["orderId"]
    falling.step(2 * DAY - timedelta(seconds=1))
    assert falling.order(order)["status"] == "NEW"
    falling.step(timedelta(seconds=1))
    filled = falling.order(order)
    assert (filled["status"], filled["isWorking"]) == ("FILLED", True)
    assert filled["workingTime"] == filled["updateTime"] == falling.time.now_ms() - 1
    assert trades(falling) == [("9.00000000", "10.00000000", False)]
    assert falling.held("AAA") == (90, 0)


def test_gap_beyond_the_limit_leaves_the_order_on_the_book(falling: SignedAccount) -> None:
    """The third day opens at 7, under a stop of 7.8 and its limit of 7.7. The order rests there
    from the open on, and fills as maker on the day that rises through it.
    """
    falling.step(2 * DAY - timedelta(seconds=1))
    order = stop(falling, "STOP_LOSS_LIMIT", "SELL", "7.8", price="7.7")["orderId"]
    falling.step(timedelta(seconds=1))
    resting = falling.order(order)
    assert (resting["status"], resting["isWorking"]) == ("NEW", True)
    assert resting["workingTime"] == falling.time.now_ms()
    falling.step(2 * DAY)
    assert trades(falling) == [("7.70000000", "10.00000000", True)]


@pytest.mark.parametrize("seen_after", [timedelta(seconds=1), DAY + timedelta(hours=1)])
def test_gap_costs_a_stop_without_a_limit_what_it_cost(
    falling: SignedAccount, seen_after: timedelta
) -> None:
    """A market order fills at the open of 7, not at the stop of 7.8, and as of the open, whenever
    somebody looks.
    """
    falling.step(2 * DAY - timedelta(seconds=1))
    stop(falling, "STOP_LOSS", "SELL", "7.8")
    opened = falling.time.now_ms() + 1000
    falling.step(seen_after)
    assert trades(falling) == [("7.00000000", "10.00000000", False)]
    assert falling.account.trades["AAAUSDT"][0].at_ms == opened


def test_bar_that_triggered_a_stop_fills_no_limit_above_it(falling: SignedAccount) -> None:
    """The second day falls from 10 to 8. Its high came before the stop of 9 was reached, so a limit
    of 9.5 waits for the fourth day.
    """
    order = stop(falling, "STOP_LOSS_LIMIT", "SELL", "9", price="9.5")["orderId"]
    falling.step(3 * DAY)
    assert falling.order(order)["isWorking"]
    assert trades(falling) == []
    falling.step(DAY)
    assert trades(falling) == [("9.50000000", "10.00000000", True)]


@pytest.mark.parametrize(
    ("kind", "side", "at", "day", "price"),
    [
        ("STOP_LOSS", "BUY", "12.5", 4, "12.51000000"),
        ("TAKE_PROFIT", "SELL", "12.5", 4, "12.50000000"),
        ("TAKE_PROFIT", "BUY", "8.5", 2, "8.51000000"),
    ],
)
def test_side_and_type_say_from_where_a_stop_is_reached(
    falling: SignedAccount, kind: str, side: str, at: str, day: int, price: str
) -> None:
    """A buy's stop loss and a sell's take profit are above the market, the others under it."""
    stop(falling, kind, side, at)
    falling.step((day - 1) * DAY)
    assert trades(falling) == []
    falling.step(DAY)
    assert trades(falling) == [(price, "10.00000000", False)]
    assert [falling.held(asset)[1] for asset in ("AAA", "USDT")] == [0, 0]


@pytest.mark.parametrize(
    ("kind", "side", "at"),
    [("STOP_LOSS", "SELL", "10"), ("STOP_LOSS", "BUY", "9"), ("TAKE_PROFIT", "SELL", "9.5")],
)
def test_stop_on_the_wrong_side_of_the_market_is_refused(
    falling: SignedAccount, kind: str, side: str, at: str
) -> None:
    with pytest.raises(PracticeRefusal, match="trigger immediately") as refusal:
        stop(falling, kind, side, at)
    assert refusal.value.code == -2010
    assert falling.account.orders == {}


def test_stop_needs_its_funds_at_once_and_a_cancel_frees_them(falling: SignedAccount) -> None:
    """A buy at 11 reserves what the ask at its stop costs."""
    order = stop(falling, "STOP_LOSS", "BUY", "11")["orderId"]
    assert falling.held("USDT") == (Decimal("889.90"), Decimal("110.10"))
    with pytest.raises(PracticeRefusal, match="insufficient balance"):
        stop(falling, "STOP_LOSS", "BUY", "11", quantity="100")
    answer = falling.ask(
        "DELETE /api/v3/order", symbol="AAAUSDT", orderId=str(order), newClientOrderId="mine"
    )
    assert (answer["status"], answer["clientOrderId"]) == ("CANCELED", "mine")
    assert answer["stopPrice"] == "11.00000000"
    assert falling.held("USDT") == (1000, 0)


def test_market_stop_that_a_gap_makes_too_dear_expires(
    open_account: Sessions, frame: Frames
) -> None:
    """A buy of all the cash at 12 meets an open of 20."""
    rows: list[Row] = [(10.0, 11.0, 9.0, 10.0, 1e4), (20.0, 20.0, 20.0, 20.0, 1e4)]
    session = open_account({D: frame(rows, D)})
    order = stop(session, "STOP_LOSS", "BUY", "12", quantity="83")["orderId"]
    session.step(DAY)
    assert session.order(order)["status"] == "EXPIRED"
    assert (session.held("USDT"), trades(session)) == ((1000, 0), [])


@pytest.mark.parametrize(("quantity", "status"), [("50", "FILLED"), ("91", "EXPIRED")])
def test_orders_are_matched_in_the_order_of_time(
    open_account: Sessions, frame: Frames, quantity: str, status: str
) -> None:
    """An older order sells on the third day, a stop buys at the open of the second: the trades are
    numbered by time, and the stop cannot spend what the sale will bring. The exchange hears of
    neither before the fourth day.
    """
    rows: list[Row] = [(10.0, 10.0, 10.0, 10.0, 1e4), (12.0, 12.0, 12.0, 12.0, 1e4)]
    session = open_account({D: frame([*rows, (12.0, 13.0, 12.0, 12.0, 1e4)], D)})
    session.place("SELL", "100", "12.5")
    bought = stop(session, "STOP_LOSS", "BUY", "10.9", quantity=quantity)["orderId"]
    session.step(3 * DAY)
    assert session.order(bought)["status"] == status
    found = [trade["time"] for trade in session.ask("GET /api/v3/myTrades", symbol="AAAUSDT")]
    assert found == sorted(found)
    assert len(found) == (2 if status == "FILLED" else 1)


def test_sixth_stop_of_a_symbol_breaks_the_filter(falling: SignedAccount) -> None:
    """exchangeInfo says that five may work."""
    for _ in range(5):
        stop(falling, "STOP_LOSS", "SELL", "5")
    with pytest.raises(PracticeRefusal, match="MAX_NUM_ALGO_ORDERS"):
        stop(falling, "STOP_LOSS", "SELL", "5")


def test_stop_survives_a_restart_of_the_exchange(
    open_account: Sessions, frame: Frames, tmp_path: Path
) -> None:
    """A second exchange on the journal of the first has the order, its lock and its stop, and
    triggers it.
    """
    bars = {D: frame(DAYS, D)}
    first = open_account(bars, Journal(tmp_path / "journal"))
    order = stop(first, "STOP_LOSS_LIMIT", "SELL", "9", price="8.9")["orderId"]
    first.venue.journal.commit()
    again = open_account(bars, Journal(tmp_path / "journal"))
    assert again.order(order) == first.order(order)
    assert again.held("AAA") == (90, 10)
    again.step(2 * DAY)
    assert again.order(order)["status"] == "FILLED"
