"""How venues are asked for an order by client order id, in the requests that ccxt makes.
Nothing leaves the machine.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.exchanges.order_lookup import order_lookup
from penstock.core.errors import ConfigError, OrderNotFoundError, VenueError, VenueUnavailableError
from penstock.core.orders import OrderState
from tests.contracts.exchanges.conftest import TRADED

NAME = "0123456789abcdef0123456789abcdef"
WITH_DASHES = "01234567-89ab-cdef-0123-456789abcdef"
DESCR = {
    "pair": "AAAUSDT",
    "type": "buy",
    "ordertype": "limit",
    "price": "2.00",
    "price2": "0",
    "leverage": "none",
}
#: Venue -> the paths that are asked, what is open first.
ASKED = {
    "kraken": ["/0/private/OpenOrders", "/0/private/ClosedOrders"],
    "bybit": ["/v5/order/realtime", "/v5/order/history"],
    "whitebit": ["/api/v4/orders", "/api/v4/trade-account/order/history"],
}
#: Venue -> the field in which it is told the client order id.
NAMED_BY = {"kraken": "cl_ord_id", "bybit": "orderLinkId", "whitebit": "clientOrderId"}


def order_of(venue: str, kind: str, name: str = NAME) -> dict[str, object]:
    """An order as the venue's documentation shows one: working with 0.4 of 1 filled, filled, or
    ended with 0.4 filled.
    """
    done = "1" if kind == "filled" else "0.4"
    if venue == "kraken":
        status = {"working": "open", "filled": "closed", "cut": "canceled"}[kind]
        rest = {
            "userref": 0,
            "cl_ord_id": name,
            "status": status,
            "opentm": 1733815269.37,
            "descr": DESCR,
            "oflags": "fciq",
        }
        return {
            **rest,
            "vol": "1",
            "vol_exec": done,
            "cost": "2",
            "fee": "0.01",
            "price": "2",
            "limitprice": "0.0",
        }
    if venue == "whitebit":
        ended = {
            "id": 4986126152,
            "ctime": 1597486960.311311,
            "ftime": 1597486960.311332,
            "status": {"filled": "FILLED", "cut": "CANCELED"}.get(kind),
        }
        open_ = {
            "orderId": 3686033640,
            "market": "AAAUSDT",
            "timestamp": 1594605801.49815,
            "left": "0.6",
        }
        figures = {"amount": "1", "price": "2", "dealStock": done, "dealMoney": "0.8"}
        return {
            **(open_ if kind == "working" else ended),
            **figures,
            "clientOrderId": name,
            "side": "buy",
            "type": "limit",
            "dealFee": "0",
        }
    status = {"working": "PartiallyFilled", "filled": "Filled", "cut": "PartiallyFilledCanceled"}[
        kind
    ]
    rest = {
        "symbol": "AAAUSDT",
        "orderType": "Limit",
        "orderLinkId": name,
        "orderId": "77",
        "orderStatus": status,
    }
    figures = {
        "price": "2",
        "qty": "1",
        "cumExecQty": done,
        "avgPrice": "2",
        "cumExecValue": "2",
        "cumExecFee": "0",
    }
    return {
        **rest,
        **figures,
        "side": "Buy",
        "createdTime": "1672217377164",
        "updatedTime": "1672217377164",
    }


def listing(venue: str, path: str, *orders: Mapping[str, object]) -> object:
    """The venue's answer with these orders in the list of that path."""
    if venue == "kraken":
        found = {f"OQCLML-BW3P3-BUCMW{n}": order for n, order in enumerate(orders)}
        return {
            "error": [],
            "result": {"open": found}
            if path.endswith("OpenOrders")
            else {"closed": found, "count": len(found)},
        }
    if venue == "whitebit":
        # The list of ended orders says by an error that it has none of the name.
        if path.endswith("history") and not orders:
            return {
                "code": 0,
                "message": "Validation failed",
                "errors": {"clientOrderId": ["OrderHistory was not found."]},
            }
        return {"AAAUSDT": orders} if path.endswith("history") else orders
    return {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"category": "spot", "list": orders, "nextPageCursor": ""},
    }


@dataclass
class Wire:
    """A venue on the near side of the wire, and the account there. A path that it has no answer for
    gets a 503.
    """

    venue: str

    def __post_init__(self) -> None:
        self.answers = {path: listing(self.venue, path) for path in ASKED.get(self.venue, [])}
        self.requests: list[requests.PreparedRequest] = []
        self.exchange = CcxtExchange(
            self.venue,
            "key",
            "c2VjcmV0",
            password="phrase",
            live=True,
            rate_limit_ms=0,
            read_attempts=1,
        )
        self.exchange.session.mount("https://", Answering(self))
        steps = {
            "precision": {"amount": 0.001, "price": 0.01},
            "limits": {"amount": {}, "price": {}, "cost": {}},
        }
        market = {
            "id": "AAAUSDT",
            "symbol": "AAA/USDT",
            "base": "AAA",
            "quote": "USDT",
            "type": "spot",
            "spot": True,
            **steps,
        }
        self.exchange.client.set_markets(
            [
                {
                    **market,
                    **dict.fromkeys(("swap", "future", "option", "linear", "inverse"), False),
                    "info": {},
                }
            ]
        )
        self.exchange._has_markets = True

    def lists(self, path: str, *orders: Mapping[str, object]) -> None:
        self.answers[path] = listing(self.venue, path, *orders)

    @property
    def paths(self) -> list[str]:
        return [urlsplit(str(request.url)).path for request in self.requests]

    def fields(self, request: requests.PreparedRequest) -> dict[str, str]:
        """Return the parameters of a request, wherever the venue wants them."""
        text = request.body.decode() if isinstance(request.body, bytes) else str(request.body or "")
        if text.startswith("{"):
            return dict(json.loads(text))
        return {
            name: values[0]
            for name, values in parse_qs(text or urlsplit(str(request.url)).query).items()
        }


class Answering(HTTPAdapter):
    """Keeps every request and answers it by its path."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        self.wire.requests.append(request)
        answer = self.wire.answers.get(urlsplit(request.url).path)
        if callable(answer):
            answer = answer(self.wire.fields(request))
        response = requests.Response()
        response.status_code, response._content = (
            503 if answer is None else 200,
            json.dumps(answer).encode(),
        )
        response.url, response.request = request.url, request
        return response


@pytest.fixture(params=ASKED)
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)


def named_by(wire: Wire) -> str:
    return NAMED_BY[wire.venue]


def test_working_order_is_found_by_the_name_it_was_sent_with(wire: Wire) -> None:
    """The lookup asks the list of open orders for the id in the field that carried it. It asks for
    nothing else.
    """
    wire.lists(ASKED[wire.venue][0], order_of(wire.venue, "working"))
    report = wire.exchange.find_order(NAME, "AAA/USDT")
    assert (report.client_order_id, report.state, report.filled_quantity) == (
        NAME,
        OrderState.PARTIALLY_FILLED,
        Decimal("0.4"),
    )
    (asked,) = wire.requests
    fields = wire.fields(asked)
    assert fields[named_by(wire)] == NAME
    others = {"txid", "userref", "orderId", "clientOrderId"} - {named_by(wire)}
    assert not others & fields.keys()


@pytest.mark.parametrize(
    ("kind", "state"), [("filled", OrderState.FILLED), ("cut", OrderState.CANCELED)]
)
def test_ended_order_is_found_after_the_open_ones(wire: Wire, kind: str, state: OrderState) -> None:
    """An order that is not open is looked for among ended orders. An order that ended partly filled
    is not FILLED.
    """
    wire.lists(ASKED[wire.venue][1], order_of(wire.venue, kind))
    report = wire.exchange.find_order(NAME, "AAA/USDT")
    assert (report.client_order_id, report.state) == (NAME, state)
    assert wire.paths == ASKED[wire.venue]
    assert [wire.fields(request)[named_by(wire)] for request in wire.requests] == [NAME, NAME]


#: Venue -> the fields of an order that it ended without a trade, and why by its own words.
ENDED = {
    "bybit": ({"orderStatus": "Rejected", "rejectReason": "EC_NoEnoughBalance"}, "rejectReason"),
    "kraken": ({"status": "canceled", "reason": "Out of funds"}, "reason"),
    "whitebit": ({"status": "CANCELED"}, ""),
}


def test_reason_of_an_ended_order_is_the_venue_s(wire: Wire) -> None:
    """A venue takes an order and ends it later without a trade. Its words are in the report: an
    alert shows them.
    """
    fields, named = ENDED[wire.venue]
    filled = order_lookup(wire.venue).filled_in
    wire.lists(ASKED[wire.venue][1], {**order_of(wire.venue, "cut"), **fields, filled: "0"})
    report = wire.exchange.find_order(NAME, "AAA/USDT")
    rejected = wire.venue == "bybit"
    assert report.state is (OrderState.REJECTED if rejected else OrderState.CANCELED)
    assert report.reason == fields.get(named, "")


@pytest.mark.parametrize("venue", ["bybit", "okx"])
def test_order_that_ended_as_it_should_has_no_reason(venue: str) -> None:
    """Bybit fills the field in any case, and OKX names the one who cancelled."""
    lookup = order_lookup(venue)
    nothing = "EC_NoError" if venue == "bybit" else ""
    assert lookup.reason_of({"info": {lookup.reason_in: nothing}}) == ""
    assert lookup.reason_of({"info": {lookup.reason_in: "no funds"}}) == "no funds"


def test_order_is_denied_only_after_every_list_was_answered_without_it(wire: Wire) -> None:
    """Both lists are empty: there is no such order. One of them without an answer: nobody knows."""
    with pytest.raises(OrderNotFoundError, match="neither among its open nor its ended orders"):
        wire.exchange.find_order(NAME, "AAA/USDT")
    assert wire.paths == ASKED[wire.venue]
    for silent in ASKED[wire.venue]:
        kept = wire.answers.pop(silent)
        with pytest.raises(VenueUnavailableError):
            wire.exchange.find_order(NAME, "AAA/USDT")
        wire.answers[silent] = kept


@pytest.mark.parametrize("which", [0, 1])
def test_answer_without_a_list_is_no_denial(wire: Wire, which: int) -> None:
    """ccxt reads an answer that lacks the list as an empty one: the order would be believed not to
    exist.
    """
    wire.answers[ASKED[wire.venue][which]] = {"error": [], "retCode": 0, "result": {}}
    with pytest.raises(VenueUnavailableError, match="no usable answer"):
        wire.exchange.find_order(NAME, "AAA/USDT")


@pytest.mark.parametrize("which", [0, 1])
def test_list_of_other_orders_is_no_denial(wire: Wire, which: int) -> None:
    """A venue that ignores the name lists one page of its orders; ours may be on another page."""
    kind = ("working", "cut")[which]
    wire.lists(ASKED[wire.venue][which], order_of(wire.venue, kind, "f" * 32))
    with pytest.raises(VenueUnavailableError, match="it lists others"):
        wire.exchange.find_order(NAME, "AAA/USDT")


def test_name_written_with_dashes_is_ours() -> None:
    """Kraken may write 32 hexadecimal digits as the UUID that they are."""
    wire = Wire("kraken")
    wire.lists(ASKED["kraken"][1], order_of("kraken", "filled", WITH_DASHES))
    assert wire.exchange.find_order(NAME, "AAA/USDT").client_order_id == NAME
    wire.lists(ASKED["kraken"][0], order_of("kraken", "working", WITH_DASHES))
    assert [report.client_order_id for report in wire.exchange.open_orders()] == [NAME]


def test_two_orders_under_one_name_are_not_chosen_from() -> None:
    """Kraken accepts a client order id again once its first order has ended. A person must see
    which order is meant.
    """
    wire = Wire("kraken")
    wire.lists(ASKED["kraken"][1], order_of("kraken", "filled"), order_of("kraken", "cut"))
    with pytest.raises(VenueError, match="under the one name"):
        wire.exchange.find_order(NAME, "AAA/USDT")


#: The venues that answer with one order, and under which path.
ONE_ORDER = {"binance": "/api/v3/order", "okx": "/api/v5/trade/order"}


def answers_one(wire: Wire, name: str | None, **more: str) -> None:
    """Answer with one filled order of this name; None leaves the name out."""
    if wire.venue == "binance":
        order = {"symbol": "AAAUSDT", "orderId": 77, "status": "FILLED", "executedQty": "1"}
        named = {} if name is None else {"clientOrderId": name}
        answer: object = {**order, **named, **more}
    else:
        order = {"instId": "AAAUSDT", "ordId": "77", "state": "filled", "accFillSz": "1"}
        named = {} if name is None else {"clOrdId": name}
        answer = {"code": "0", "msg": "", "data": [{**order, **named, "instType": "SPOT"}]}
    wire.answers[ONE_ORDER[wire.venue]] = answer


@pytest.mark.parametrize("venue", ONE_ORDER)
@pytest.mark.parametrize("name", [NAME, "", None])
def test_one_order_of_our_name_or_of_none_is_ours(venue: str, name: str | None) -> None:
    """The request names the order by our id alone: an answer that leaves the id out is about it."""
    wire = Wire(venue)
    answers_one(wire, name)
    report = wire.exchange.find_order(NAME, "AAA/USDT")
    assert (report.client_order_id, report.state) == (NAME, OrderState.FILLED)


@pytest.mark.parametrize("venue", ONE_ORDER)
def test_one_order_of_another_name_is_neither_ours_nor_a_denial(venue: str) -> None:
    """What became of another order says nothing of ours, also not that it does not exist."""
    wire = Wire(venue)
    answers_one(wire, "f" * 32)
    with pytest.raises(VenueUnavailableError, match=f"answers with order 77, '{'f' * 32}'"):
        wire.exchange.find_order(NAME, "AAA/USDT")
    answers_one(wire, NAME)
    assert wire.exchange.find_order(NAME, "AAA/USDT").client_order_id == NAME


def test_cancelled_order_keeps_its_name_where_the_cancellation_has_one_of_its_own() -> None:
    """Binance writes the cancellation's own id where the order's stands otherwise, and the order's
    beside it.
    """
    wire = Wire("binance")
    answers_one(wire, "cancel-1", origClientOrderId=NAME, status="CANCELED")
    report = wire.exchange.cancel(NAME, "AAA/USDT")
    assert (report.client_order_id, report.state) == (NAME, OrderState.CANCELED)


def test_order_is_cancelled_by_its_name_and_then_looked_for(wire: Wire) -> None:
    """The venue only says that it took the cancellation: what became of the order is asked for. No
    other id is sent.
    """
    path = {
        "kraken": "/0/private/CancelOrder",
        "bybit": "/v5/order/cancel",
        "whitebit": "/api/v4/order/cancel",
    }[wire.venue]
    taken = {
        "retCode": 0,
        "error": [],
        "result": {"count": 1, "orderId": "77", "orderLinkId": NAME},
    }
    wire.answers[path] = taken
    wire.lists(ASKED[wire.venue][1], order_of(wire.venue, "cut"))
    assert wire.exchange.cancel(NAME, "AAA/USDT").state is OrderState.CANCELED
    fields = wire.fields(wire.requests[0])
    assert (wire.paths[0], fields[named_by(wire)]) == (path, NAME)
    assert not ({"txid", "orderId", "clientOrderId"} - {named_by(wire)}) & fields.keys()


def test_cancellation_of_what_is_not_there_is_a_denial(wire: Wire) -> None:
    """The venues' own codes for "no such order" reach the caller as OrderNotFoundError."""
    wire.answers |= {
        "/0/private/CancelOrder": {"error": ["EOrder:Unknown order"]},
        "/v5/order/cancel": {"retCode": 170213, "retMsg": "Order does not exist.", "result": {}},
        "/api/v4/order/cancel": {
            "code": 2,
            "message": "Inner validation failed",
            "errors": {"orderId": ["Unexecuted order was not found."]},
        },
    }
    with pytest.raises(OrderNotFoundError):
        wire.exchange.cancel(NAME, "AAA/USDT")


@pytest.mark.parametrize("which", [0, 1])
def test_refusal_that_ccxt_takes_for_no_such_order_is_no_denial(which: int) -> None:
    """ccxt reads every 422 of this form of WhiteBIT's as "no such order", also where the venue did
    not understand the question.
    """
    wire = Wire("whitebit")
    wire.answers[ASKED["whitebit"][which]] = {
        "response": None,
        "status": 422,
        "errors": {"market": ["Market field format is invalid."]},
    }
    with pytest.raises(VenueUnavailableError, match="without a word of the order"):
        wire.exchange.find_order(NAME, "AAA/USDT")


@pytest.mark.parametrize("venue_id", ["", "3686033640"])
def test_cancellation_that_whitebit_did_not_understand_is_no_denial(venue_id: str) -> None:
    """The order may still work, so that the kill switch has to report it as left."""
    wire = Wire("whitebit")
    wire.answers["/api/v4/order/cancel"] = {
        "response": None,
        "status": 422,
        "errors": {"clientOrderId": ["The client order id format is invalid."]},
    }
    with pytest.raises(VenueUnavailableError, match="without a word of the order"):
        wire.exchange.cancel("" if venue_id else NAME, "AAA/USDT", venue_id)


def test_more_orders_that_end_between_two_pages_than_pages_share_are_noticed() -> None:
    """Of 160 working orders 60 end after the first page: ten others have passed the reader."""
    wire = Wire("whitebit")
    orders = [{**order_of("whitebit", "working"), "orderId": n} for n in range(160)]

    def page(fields: Mapping[str, str]) -> object:
        shown = orders[int(fields["offset"]) :][: int(fields["limit"])]
        if int(fields["offset"]) == 0:
            del orders[:60]
        return shown

    wire.answers[ASKED["whitebit"][0]] = page
    with pytest.raises(VenueUnavailableError, match="ended while they were read"):
        wire.exchange.open_orders()


@pytest.mark.parametrize("ends", [0, 30])
def test_working_orders_of_all_pages_are_listed(ends: int) -> None:
    """WhiteBIT shows 50 working orders and a hundred at most. 230 are all listed, also where some
    end between two pages: the kill switch cancels what is listed.
    """
    wire = Wire("whitebit")
    orders = [{**order_of("whitebit", "working"), "orderId": n} for n in range(230)]

    def page(fields: Mapping[str, str]) -> object:
        shown = orders[int(fields["offset"]) :][: int(fields["limit"])]
        del orders[:ends]
        return shown

    wire.answers[ASKED["whitebit"][0]] = page
    found = [report.venue_order_id for report in wire.exchange.open_orders()]
    assert len(found) == len(set(found))
    assert {str(order["orderId"]) for order in orders} <= set(found)
    assert len(found) == 230


def test_venue_that_shows_its_first_working_orders_again_is_not_believed() -> None:
    """Where the way to the others is overlooked, what works is unknown."""
    wire = Wire("whitebit")
    wire.lists(
        ASKED["whitebit"][0],
        *({**order_of("whitebit", "working"), "orderId": n} for n in range(100)),
    )
    with pytest.raises(VenueUnavailableError, match="the same open orders again"):
        wire.exchange.open_orders()


@pytest.mark.parametrize("status", ["CANCELED", "PARTIALLY_FILLED", "CANCELED_STP"])
def test_ended_whitebit_order_is_not_called_open(status: str) -> None:
    """WhiteBIT has words for ended orders that ccxt reads as open, or not at all."""
    wire = Wire("whitebit")
    wire.lists(ASKED["whitebit"][1], {**order_of("whitebit", "cut"), "status": status})
    assert wire.exchange.find_order(NAME, "AAA/USDT").state is OrderState.CANCELED
    wire.lists(ASKED["whitebit"][1], {**order_of("whitebit", "cut"), "status": "OPEN"})
    with pytest.raises(VenueUnavailableError, match="among the ended ones"):
        wire.exchange.find_order(NAME, "AAA/USDT")


def test_venue_whose_orders_cannot_be_found_is_not_traded() -> None:
    """An account there is refused with the venues that can be traded; its market data works."""
    with pytest.raises(
        ConfigError,
        match=r"'bitstamp' cannot be traded.*binance.*kraken.*still serves for market data",
    ):
        CcxtExchange("bitstamp", "key", "secret", live=True)
    assert CcxtMarketData("bitstamp").venue == "bitstamp"


@pytest.mark.parametrize("venue", TRADED)
def test_venue_of_the_table_is_one_that_ccxt_has(venue: str) -> None:
    """Each name leads to a ccxt client and to a way of finding orders there."""
    assert CcxtExchange(venue, "key", "c2VjcmV0", password="phrase", live=True).client.id == venue
    assert order_lookup(venue).questions
