"""A refusal is what the venue is known to mean by it, and nothing else: unmodified ccxt over
constructed answers of each venue.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
import requests

from penstock.adapters.exchanges.refusals import Meaning, refusal_table
from penstock.core.errors import (
    DuplicateOrderError,
    InsufficientFundsError,
    OrderNotFoundError,
    RateLimitedError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from tests.contracts.exchanges.constructed_venue import Said, account_at

NAME = "0123456789abcdef0123456789abcdef"
ORDER = OrderRequest(NAME, "AAA/USDT", Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(2))
VENUES = ("binance", "bybit", "kraken", "okx", "whitebit")
UNKNOWN = VenueUnavailableError


def refused(venue: str, code: str, text: str = "") -> Said:
    """Return the venue's answer that refuses an order with a code of its own."""
    match venue:
        case "binance":
            return 400, {"code": int(code), "msg": text}
        case "bybit":
            return 200, {"retCode": int(code), "retMsg": text, "result": {}}
        case "okx":
            row = {"clOrdId": NAME, "ordId": "", "sCode": code, "sMsg": text}
            return 200, {"code": "1", "data": [row], "msg": "All operations failed"}
        case "kraken":
            return 200, {"error": [code]}
    return 422, {"code": 30, "message": "Validation failed", "errors": {"amount": [code]}}


#: What Bybit is asked before an order: whether the account is a unified one.
UNIFIED = {"retCode": 0, "result": {"unified": 1, "uta": 1, "unifiedMarginStatus": 5}}


def submitted(venue: str, said: Said) -> tuple[VenueError | None, int]:
    """Submit an order that is answered so; return the error and how many orders left."""

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        return said if method == "POST" else (200, UNIFIED)

    exchange, wire = account_at(venue, answer)
    error: VenueError | None = None
    try:
        exchange.submit(ORDER)
    except VenueError as raised:
        error = raised
    return error, sum(method == "POST" for method, _, _ in wire.requests)


CASES: list[tuple[str, str, str, type[VenueError]]] = [
    ("binance", "-1013", "Filter failure: LOT_SIZE", VenueRejectedError),
    ("binance", "-1015", "Too many new orders.", RateLimitedError),
    ("binance", "-1021", "Timestamp for this request is outside", VenueRejectedError),
    ("binance", "-1121", "Invalid symbol.", VenueRejectedError),
    ("binance", "-2010", "Account has insufficient balance for", InsufficientFundsError),
    ("binance", "-2010", "Duplicate order sent.", DuplicateOrderError),
    ("binance", "-2010", "Market is closed.", VenueRejectedError),
    ("binance", "-1006", "An unexpected response was received", UNKNOWN),
    ("binance", "-1007", "Timeout waiting for response", UNKNOWN),
    ("bybit", "170131", "Insufficient balance.", InsufficientFundsError),
    ("bybit", "170140", "Order value exceeded lower limit.", VenueRejectedError),
    ("bybit", "10006", "Too many visits!", RateLimitedError),
    ("bybit", "170005", "Too many new orders", RateLimitedError),
    ("bybit", "170141", "Duplicate clientOrderId", DuplicateOrderError),
    ("bybit", "110072", "OrderLinkedID is duplicate", DuplicateOrderError),
    ("bybit", "170146", "Order creation timeout", UNKNOWN),
    ("bybit", "170147", "Order cancellation timeout", UNKNOWN),
    ("bybit", "170234", "System error", UNKNOWN),
    ("bybit", "340099", "Server error", UNKNOWN),
    ("bybit", "429", "High server load", UNKNOWN),
    ("okx", "51008", "Insufficient balance", InsufficientFundsError),
    ("okx", "51020", "Your order should meet the minimum", VenueRejectedError),
    ("okx", "50061", "Requests exceed the sub-account limit", RateLimitedError),
    ("okx", "51016", "Client order ID already exists", DuplicateOrderError),
    ("okx", "51149", "Order timed out", UNKNOWN),
    ("okx", "51054", "Request timed out", UNKNOWN),
    ("okx", "50004", "Endpoint request timeout", UNKNOWN),
    ("kraken", "EOrder:Insufficient funds", "", InsufficientFundsError),
    ("kraken", "EOrder:Cost minimum not met", "", VenueRejectedError),
    ("kraken", "EGeneral:Invalid arguments:volume", "", VenueRejectedError),
    ("kraken", "EService:Market in cancel_only mode", "", VenueRejectedError),
    ("kraken", "EOrder:Rate limit exceeded", "", RateLimitedError),
    ("kraken", "EAPI:Invalid nonce", "", RateLimitedError),
    ("kraken", "EService:Throttled: 1764300000", "", RateLimitedError),
    ("kraken", "EService:Timeout", "", UNKNOWN),
    ("kraken", "EService:Unavailable", "", UNKNOWN),
    ("kraken", "EGeneral:Internal error", "", UNKNOWN),
    ("kraken", "EGeneral:Internal error:17", "", UNKNOWN),
    ("kraken", "EGeneral:Unknown error", "", UNKNOWN),
    ("whitebit", "Not enough balance.", "", InsufficientFundsError),
    ("whitebit", "Given amount is less than min amount 200000", "", VenueRejectedError),
]


@pytest.mark.parametrize(("venue", "code", "text", "expected"), CASES)
def test_refusal_of_an_order_means_what_its_venue_says(
    venue: str, code: str, text: str, expected: type[VenueError]
) -> None:
    """The venue's own code decides, whatever class ccxt has for it. The order leaves once."""
    error, orders = submitted(venue, refused(venue, code, text))
    assert (type(error), orders) == (expected, 1)


@pytest.mark.parametrize("venue", VENUES)
def test_code_that_is_in_no_table_is_unknown(venue: str) -> None:
    """Nobody knows what the venue did."""
    code = {"kraken": "EOrder:Something new", "whitebit": "Something new"}.get(venue, "98765")
    error, orders = submitted(venue, refused(venue, code, "insufficient, duplicate, not found"))
    assert (type(error), orders) == (UNKNOWN, 1)
    assert "table of refusals" in str(error)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "{}",
        "[]",
        "<html>busy</html>",
        '"ok"',
        '{"retCode":0,"retMsg":"OK","result":{}}',
        '{"code":"0","data":[]}',
        '{"code":"0","data":[{"ordId":"","clOrdId":"","sCode":"0"}]}',
        '{"error":[],"result":{}}',
        '{"error":[],"result":{"txid":[]}}',
    ],
)
def test_answer_without_an_order_id_is_unknown(venue: str, body: str) -> None:
    """An answer under 200 that names no order is neither an acceptance nor a refusal."""
    error, orders = submitted(venue, (200, body))
    assert (type(error), orders) == (UNKNOWN, 1)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520, 523, 524, 530])
def test_gateway_that_gave_up_is_unknown(venue: str, status: int) -> None:
    """Also with a body that refuses, and at the statuses that ccxt has no class for."""
    code = {"kraken": "EOrder:Insufficient funds", "whitebit": "Not enough balance."}.get(
        venue, {"binance": "-2010", "bybit": "170131", "okx": "51008"}.get(venue, "")
    )
    for body in ("<html>timed out</html>", refused(venue, code)[1]):
        error, orders = submitted(venue, (status, body))
        assert (type(error), orders) == (UNKNOWN, 1)


@pytest.mark.parametrize("venue", VENUES)
def test_request_that_times_out_leaves_once(venue: str) -> None:
    """ccxt's own retries stay off: they would send the order again."""

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        if method == "GET":
            return 200, UNIFIED
        raise requests.exceptions.ReadTimeout("no answer in 10 s")

    exchange, wire = account_at(venue, answer)
    with pytest.raises(VenueUnavailableError):
        exchange.submit(ORDER)
    assert sum(method == "POST" for method, _, _ in wire.requests) == 1


@pytest.mark.parametrize("code", ["0", "2"])
@pytest.mark.parametrize(
    ("row_code", "expected"),
    [("51008", InsufficientFundsError), ("51149", UNKNOWN), ("51016", DuplicateOrderError)],
)
def test_okx_refusal_in_a_row_of_a_successful_answer_is_read(
    code: str, row_code: str, expected: type[VenueError]
) -> None:
    """OKX may say 0 or 2 at the top and refuse in the row. ccxt raises nothing there."""
    row = {"clOrdId": NAME, "ordId": "", "sCode": row_code, "sMsg": "refused"}
    error, _ = submitted("okx", (200, {"code": code, "data": [row], "msg": ""}))
    assert type(error) is expected


def test_rows_that_disagree_say_nothing() -> None:
    """Two codes of different meanings in one answer: which is of our order is not known."""
    table = refusal_table("okx")
    assert table is not None
    rows = [{"sCode": "51008"}, {"sCode": "51149"}]
    assert table.of_answer({"code": "1", "data": rows})[1] is None
    assert table.of_answer({"code": "1", "data": rows[:1]}) == ("51008", Meaning.NO_FUNDS)
    placed = {"sCode": "0", "ordId": "7"}
    assert table.of_answer({"code": "2", "data": [rows[0], placed]})[1] is None


@pytest.mark.parametrize("top", ["0", "1", "2"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("51400", OrderNotFoundError),
        ("50013", UNKNOWN),
        ("51149", UNKNOWN),
        ("98765", UNKNOWN),
        ("51205", VenueRejectedError),
    ],
)
def test_cancellation_that_okx_refuses_in_a_row_ends_nothing(
    top: str, code: str, expected: type[VenueError]
) -> None:
    """The row names the order, of which ccxt makes a rejected one: the ledger would end an order
    that works on.
    """
    row = {"clOrdId": NAME, "ordId": "7", "sCode": code, "sMsg": "refused"}
    exchange, _ = account_at("okx", lambda *_: (200, {"code": top, "data": [row], "msg": ""}))
    with pytest.raises(VenueError) as failure:
        exchange.cancel(NAME, "AAA/USDT")
    assert type(failure.value) is expected


@pytest.mark.parametrize("code", ["51008", "51149"])
def test_order_that_okx_refuses_in_a_row_with_an_id_means_what_its_code_says(code: str) -> None:
    """An id beside a code makes no order of it."""
    expected = {"51008": InsufficientFundsError, "51149": UNKNOWN}[code]
    row = {"clOrdId": NAME, "ordId": "7", "sCode": code, "sMsg": "refused"}
    error, _ = submitted("okx", (200, {"code": "2", "data": [row], "msg": ""}))
    assert type(error) is expected


def test_key_that_a_refusal_repeats_is_in_no_message() -> None:
    """Bybit shows what it was to be signed, the key within. The message goes to logs, alerts, the
    ledger and the file of a certification.
    """
    key = "TheKeyOfTheAccount"
    text = f"error sign! origin_string[1700000000000{key}5000]"
    exchange, _ = account_at(
        "bybit", lambda *_: (200, {"retCode": 10004, "retMsg": text}), api_key=key
    )
    with pytest.raises(VenueRejectedError) as failure:
        exchange.balances()
    chained = [failure.value, failure.value.__cause__]
    assert "1700000000000(redacted)5000" in str(failure.value)
    assert not [each for each in chained if key in str(each)]


def test_signature_in_a_page_that_repeats_the_address_is_in_no_message() -> None:
    """A proxy's error page may show what it was asked for."""
    page = "<p>Cannot GET /api/v3/account?timestamp=1&signature=0f1e2d3c</p>"
    exchange, _ = account_at("binance", lambda *_: (404, page))
    with pytest.raises(VenueUnavailableError, match="Cannot GET") as failure:
        exchange.balances()
    assert "0f1e2d3c" not in str(failure.value)


@pytest.mark.parametrize("venue", ["binance", "okx", "bybit"])
def test_answer_about_another_order_is_unknown(venue: str) -> None:
    """The venue answers a request of ours with somebody else's order."""
    answer = {
        "binance": {"symbol": "AAAUSDT", "orderId": 7, "clientOrderId": "other", "status": "NEW"},
        "okx": {"code": "0", "data": [{"ordId": "7", "clOrdId": "other", "sCode": "0"}]},
        "bybit": {"retCode": 0, "result": {"orderId": "7", "orderLinkId": "other"}},
    }[venue]
    error, _ = submitted(venue, (200, answer))
    assert type(error) is UNKNOWN
    assert "other" in str(error)


@pytest.mark.parametrize(
    ("venue", "code"),
    [("okx", "51400"), ("okx", "51402"), ("bybit", "170142"), ("bybit", "170143")],
)
def test_code_for_an_ended_order_is_no_denial_of_it(venue: str, code: str) -> None:
    """To a cancellation it says that nothing is left to cancel. To a question it says nothing: ccxt
    has "order not found" for some of these.
    """
    exchange, _ = account_at(venue, lambda *_: refused(venue, code))
    with pytest.raises(OrderNotFoundError, match="nothing is left to cancel"):
        exchange.cancel(NAME, "AAA/USDT")
    with pytest.raises(VenueError) as failure:
        exchange.find_order(NAME, "AAA/USDT")
    assert not isinstance(failure.value, OrderNotFoundError)


@pytest.mark.parametrize(
    ("venue", "code"),
    [
        ("binance", "-2013"),
        ("okx", "51603"),
        ("bybit", "110001"),
        ("kraken", "EOrder:Unknown order"),
    ],
)
def test_venues_own_words_for_no_such_order_are_a_denial(venue: str, code: str) -> None:
    """Each of the venue's lists is asked before it is believed."""
    exchange, wire = account_at(venue, lambda *_: refused(venue, code))
    with pytest.raises(OrderNotFoundError):
        exchange.find_order(NAME, "AAA/USDT")
    assert len(wire.requests) == (2 if venue in ("bybit", "kraken") else 1)
    with pytest.raises(OrderNotFoundError):
        exchange.cancel(NAME, "AAA/USDT")


def test_order_that_one_list_denies_is_found_in_the_other() -> None:
    """Bybit denies it when asked for open orders, and lists it among ended ones."""
    ended = {
        "symbol": "AAAUSDT",
        "orderId": "7",
        "orderLinkId": NAME,
        "orderStatus": "Filled",
        "qty": "1",
        "cumExecQty": "1",
        "side": "Buy",
        "orderType": "Limit",
        "price": "2",
    }

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        if path.endswith("realtime"):
            return refused("bybit", "110001")
        return 200, {"retCode": 0, "result": {"list": [ended], "nextPageCursor": ""}}

    exchange, _ = account_at("bybit", answer)
    assert exchange.find_order(NAME, "AAA/USDT").state is OrderState.FILLED


@pytest.mark.parametrize("filled", ["NaN", "-1", "Infinity"])
def test_order_with_a_filled_quantity_that_is_none_is_not_understood(filled: str) -> None:
    """No quantity is made of it."""
    order = {"symbol": "AAAUSDT", "orderId": 7, "clientOrderId": NAME, "status": "NEW"}
    exchange, _ = account_at("binance", lambda *_: (200, {**order, "executedQty": filled}))
    with pytest.raises(VenueUnavailableError):
        exchange.find_order(NAME, "AAA/USDT")
