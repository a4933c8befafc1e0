"""How the practice exchange reads requests, as Binance does, down to codes, bodies and headers."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.timeframes import Timeframe
from penstock.practice.app import PracticeApp
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import ClockSpec, sped_up_clock, stepped_clock
from penstock.practice.limits import LimitSpec
from penstock.practice.server import AccountSpec, PracticeConfig, build_app
from tests.unit.practice.conftest import MIDNIGHT, bars_frame

FORM = {"content-type": "application/x-www-form-urlencoded"}
ORDER = {"symbol": "AAAUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
LIMIT = {**ORDER, "type": "LIMIT", "price": "9", "timeInForce": "GTC"}


@dataclass
class Answer:
    """What a request was answered with."""

    status: int
    json: Any
    headers: Mapping[str, str]


class Venue:
    """The application without a server, on five days at 10; its machine's clock is a year later."""

    def __init__(self, clock: ClockSpec | None = None, limits: LimitSpec | None = None) -> None:
        self.machine = SteppedClock(MIDNIGHT + timedelta(days=365))
        frame = bars_frame([(10.0, 11.0, 9.5, 10.0, 1000.0)] * 5, Timeframe.D1)
        self.app: PracticeApp = build_app(
            PracticeConfig(
                GivenCandles({Timeframe.D1: frame}),
                clock or stepped_clock(MIDNIGHT),
                (AccountSpec("key", "secret", {"USDT": "1000"}),),
                limits=limits or LimitSpec(),
            ),
            machine_clock=self.machine,
        )

    @property
    def now(self) -> int:
        """The machine's time in milliseconds, by which requests are signed."""
        return round(self.machine.now().timestamp() * 1000)

    def ask(
        self,
        method: str,
        path: str,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent: list[dict[str, Any]] = []
        named = [(n.encode(), v.encode("latin-1")) for n, v in (headers or {}).items()]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": named,
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(dict(message))

        asyncio.run(self.app(scope, receive, send))
        start, content = sent
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], json.loads(content["body"]), names)

    def signed(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
        *,
        signature_in: str = "query",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sign and send; the timestamp is in the query unless it is given."""
        named = {**(query or {})}
        if "timestamp" not in {**named, **(body or {})}:
            named["timestamp"] = str(self.now)
        text, form = urlencode(named), urlencode(body or {})
        signature = hmac.new(b"secret", (text + form).encode(), hashlib.sha256).hexdigest()
        if signature_in == "query":
            text += f"&signature={signature}"
        else:
            form += f"&signature={signature}"
        all_headers = {"x-mbx-apikey": "key", **FORM, **(headers or {})}
        return self.ask(method, path, text, form.encode(), all_headers)

    def order(self, **terms: str) -> Answer:
        return self.signed("POST", "/api/v3/order", {**ORDER, **terms})

    @property
    def orders(self) -> int:
        return len(self.app.engine.venue.accounts["key"].orders)


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.mark.parametrize("signature_in", ["query", "body"])
def test_parameters_may_be_in_the_query_and_in_the_body(venue: Venue, signature_in: str) -> None:
    """The signature covers the query and then the body, wherever it stands itself. basana has it in
    the query and all else in the body.
    """
    for query, body in (({}, ORDER), (ORDER, {}), (dict(list(ORDER.items())[:2]), ORDER)):
        answer = venue.signed("POST", "/api/v3/order", query, body, signature_in=signature_in)
        assert (answer.status, answer.json.get("status")) == (200, "FILLED"), answer.json


def test_everything_may_be_in_the_body(venue: Venue) -> None:
    form = urlencode({**ORDER, "timestamp": venue.now})
    signature = hmac.new(b"secret", form.encode(), hashlib.sha256).hexdigest().upper()
    body = f"{form}&signature={signature}".encode()
    answer = venue.ask("POST", "/api/v3/order", body=body, headers={"x-mbx-apikey": "key", **FORM})
    assert answer.json["status"] == "FILLED"


def test_the_query_counts_where_the_body_has_another_value(venue: Venue) -> None:
    answer = venue.signed("POST", "/api/v3/order", {**ORDER, "quantity": "2"}, ORDER)
    assert answer.json["executedQty"] == "2.00000000"


def test_a_parameter_may_not_be_doubled_in_one_place(venue: Venue) -> None:
    """-1101, before anything is done, and so for the signature."""
    text = urlencode({**ORDER, "timestamp": venue.now}) + "&quantity=2"
    signature = hmac.new(b"secret", text.encode(), hashlib.sha256).hexdigest()
    for doubled in (f"{text}&signature={signature}", f"a=1&signature={signature}&signature=0"):
        answer = venue.ask("POST", "/api/v3/order", doubled, headers={"x-mbx-apikey": "key"})
        assert answer.json["code"] == -1101
    assert venue.orders == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1e-2", -1100),
        ("+0.01", -1100),
        (" 0.01", -1100),
        ("0.01\n", -1100),
        ("0_0.01", -1100),
        ("٠.٠١", -1100),
        ("-1", -1100),
        (".5", -1100),
        ("1.", -1100),
        ("NaN", -1100),
        ("Infinity", -1100),
        ("1e400", -1100),
        ("1" + "0" * 40, -1100),
        ("0." + "1" * 21, -1100),
        ("", -1105),
        ("1" + "0" * 19, -1108),
        ("0.123456789", -1111),
        ("0", -1013),
    ],
)
@pytest.mark.parametrize("name", ["quantity", "price"])
def test_amount_that_is_no_plain_decimal_fills_nothing(
    venue: Venue, name: str, text: str, code: int
) -> None:
    """Binance takes digits, a point and digits, twenty of each, and no more than eight decimals."""
    answer = venue.order(**{**LIMIT, "price": "20", name: text})
    assert (answer.status, answer.json["code"], venue.orders) == (400, code, 0), answer.json


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"newClientOrderId": "ä"}, -1100),
        ({"newClientOrderId": "a.b"}, -1100),
        ({"newClientOrderId": "a b"}, -1100),
        ({"newClientOrderId": "x" * 37}, -1100),
        ({"newClientOrderId": ""}, -1118),
        ({"symbol": "aaausdt"}, -1100),
        ({"symbol": "AAA/USDT"}, -1100),
        ({"symbol": ""}, -1105),
        ({"side": "buy"}, -1117),
        ({"side": "HOLD"}, -1117),
        ({"type": "STOP"}, -1116),
        ({"timeInForce": "DAY"}, -1115),
        ({"newOrderRespType": "SHORT"}, -1136),
        ({"selfTradePreventionMode": "MAYBE"}, -1130),
        ({"timestamp": "x"}, -1100),
        ({"timestamp": ""}, -1105),
        ({"recvWindow": "5000.1234"}, -1100),
        ({"recvWindow": "60001"}, -1131),
        ({"unknown": "1"}, -1104),
        ({"timeinforce": "GTC"}, -1104),
        ({"price": "9"}, -1106),
        ({"timeInForce": "GTC"}, -1106),
        ({"stopPrice": "9"}, -1106),
        ({"icebergQty": "0.5"}, -1013),
        ({"trailingDelta": "100"}, -1013),
        ({"pegPriceType": "MARKET_PEG"}, -1013),
        ({"pegPriceType": "OTHER"}, -1210),
    ],
)
def test_parameter_that_an_order_does_not_read_is_refused_by_name(
    venue: Venue, terms: dict[str, str], code: int
) -> None:
    """No parameter is dropped in silence: each has its code, and nothing fills."""
    answer = venue.order(**terms)
    assert (answer.status, answer.json["code"], venue.orders) == (400, code, 0), answer.json


@pytest.mark.parametrize("name", ["symbol", "side", "type", "quantity"])
def test_order_without_a_mandatory_parameter_is_refused(venue: Venue, name: str) -> None:
    terms = {given: text for given, text in ORDER.items() if given != name}
    answer = venue.signed("POST", "/api/v3/order", terms)
    assert (answer.json["code"], name in answer.json["msg"]) == (-1102, True)


def test_unread_parameters_are_counted(venue: Venue) -> None:
    """So many were read, so many were sent: a client finds a misspelt name by it."""
    answer = venue.order(timeinforce="GTC", created="1")
    assert answer.json["msg"] == (
        "Not all sent parameters were read; read '6' parameter(s) but was sent '8'."
    )


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("symbol=AAAUSDT&interval=1d&limit=--5", -1100),
        ("symbol=AAAUSDT&interval=1d&limit=%C2%B2", -1100),
        ("symbol=AAAUSDT&interval=1d&limit=" + "9" * 40, -1100),
        ("symbol=AAAUSDT&interval=1d&limit=" + "9" * 12, -1108),
        ("symbol=AAAUSDT&interval=1d&startTime=" + "9" * 20, -1108),
        ("symbol=AAAUSDT&interval=1d&limit=0", -1130),
        ("symbol=AAAUSDT%00&interval=1d", -1100),
        ("symbol=%FF&interval=1d", -1100),
        ("symbol=%ED%A0%80&interval=1d", -1100),
        ("symbol=AAAUSDT&interval=1d&depth=5", -1104),
        ("symbol=AAAUSDT&interval=", -1105),
        ("symbol=AAAUSDT", -1102),
    ],
)
def test_hostile_number_or_text_is_refused_and_not_an_error_of_the_server(
    venue: Venue, query: str, code: int
) -> None:
    answer = venue.ask("GET", "/api/v3/klines", query)
    assert (answer.status, answer.json["code"]) == (400, code)


def test_huge_times_are_served_as_an_empty_list(venue: Venue) -> None:
    """The largest times that are legal lie beyond every candle and every trade."""
    query = f"symbol=AAAUSDT&interval=1d&startTime={9 * 10**13}&endTime={2**63 - 1}"
    assert venue.ask("GET", "/api/v3/klines", query).json == []
    found = venue.signed("GET", "/api/v3/myTrades", {"symbol": "AAAUSDT", "fromId": str(2**63 - 1)})
    assert (found.status, found.json) == (200, [])


def test_hostile_order_id_and_key_are_refused(venue: Venue) -> None:
    answer = venue.signed("GET", "/api/v3/order", {"symbol": "AAAUSDT", "orderId": "--1"})
    assert answer.json["code"] == -1100
    assert venue.ask("GET", "/api/v3/account", headers={"x-mbx-apikey": "\xff"}).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v3/nothing", 404),
        ("GET", "/api/v3/order/", 404),
        ("PUT", "/api/v3/order", 405),
        ("POST", "/api/v3/klines", 405),
    ],
)
def test_unknown_path_is_404_and_a_wrong_method_405(
    venue: Venue, method: str, path: str, status: int
) -> None:
    assert venue.ask(method, path).status == status


def test_body_that_is_no_form_carries_no_parameters(venue: Venue) -> None:
    """-1102 for what is missing then, -1104 where nothing is."""
    kind = {"content-type": "application/json"}
    assert venue.signed("POST", "/api/v3/order", {}, ORDER, headers=kind).json["code"] == -1102
    extra = {"newClientOrderId": "dropped"}
    assert venue.signed("POST", "/api/v3/order", ORDER, extra, headers=kind).json["code"] == -1104
    assert (
        venue.signed("GET", "/api/v3/account", {}, {"omitZeroBalances": "true"}).json["code"]
        == -1104
    )
    assert venue.orders == 0


def test_body_and_head_have_a_longest_size(venue: Venue) -> None:
    long = "a" * 40_000
    assert venue.ask("POST", "/api/v3/order", body=b"a" * 1_000_001, headers=FORM).status == 413
    assert venue.ask("GET", "/api/v3/time", headers={"x-long": long}).status == 431
    assert venue.ask("GET", "/api/v3/time", long).status == 431


def test_cancelling_by_two_ids_that_disagree_cancels_nothing(venue: Venue) -> None:
    """The order of the order id must have the client's id too: -2011, for a query -2039."""
    names = ["one", "two"]
    one, two = (venue.order(**LIMIT, newClientOrderId=name).json["orderId"] for name in names)
    mixed = {"symbol": "AAAUSDT", "orderId": str(one), "origClientOrderId": "two"}
    assert venue.signed("DELETE", "/api/v3/order", mixed).json["code"] == -2011
    assert venue.signed("GET", "/api/v3/order", mixed).json["code"] == -2039
    assert len(venue.signed("GET", "/api/v3/openOrders", {"symbol": "AAAUSDT"}).json) == 2
    agreed = {**mixed, "orderId": str(two)}
    assert venue.signed("DELETE", "/api/v3/order", agreed).json["orderId"] == two


def test_cancellation_keeps_its_own_id_and_its_restrictions(venue: Venue) -> None:
    venue.order(**LIMIT, newClientOrderId="resting")
    wanted = {"symbol": "AAAUSDT", "origClientOrderId": "resting", "newClientOrderId": "mine"}
    for restriction, code in (("ONLY_FILLED", -1145), ("ONLY_PARTIALLY_FILLED", -2011)):
        answer = venue.signed(
            "DELETE", "/api/v3/order", {**wanted, "cancelRestrictions": restriction}
        )
        assert answer.json["code"] == code
    answer = venue.signed("DELETE", "/api/v3/order", {**wanted, "cancelRestrictions": "ONLY_NEW"})
    ids = {name: answer.json[name] for name in ("clientOrderId", "origClientOrderId", "status")}
    assert ids == {"clientOrderId": "mine", "origClientOrderId": "resting", "status": "CANCELED"}


def test_list_of_symbols_is_read_as_binance_writes_it(venue: Venue) -> None:
    """A JSON list without blanks; a doubled, an unknown or an empty one has its code."""
    for text, code in (
        ('["AAAUSDT","AAAUSDT"]', -1151),
        ('["AAAUSDT","NOPE"]', -1121),
        ('["AAAUSDT", "NOPE"]', -1100),
        ("AAAUSDT", -1100),
        ("[]", -1105),
    ):
        answer = venue.ask("GET", "/api/v3/exchangeInfo", urlencode({"symbols": text}))
        assert answer.json["code"] == code
    query = urlencode({"symbols": '["AAAUSDT"]', "showPermissionSets": "false"})
    (entry,) = venue.ask("GET", "/api/v3/exchangeInfo", query).json["symbols"]
    assert (entry["symbol"], entry["permissionSets"]) == ("AAAUSDT", [])


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/api/v3/ping", {}, 1),
        ("/api/v3/exchangeInfo", {}, 20),
        ("/api/v3/klines", {"symbol": "AAAUSDT", "interval": "1d"}, 2),
        ("/api/v3/ticker/24hr", {}, 80),
        ("/api/v3/ticker/24hr", {"symbol": "AAAUSDT"}, 2),
        ("/api/v3/ticker/24hr", {"symbols": '["AAAUSDT"]'}, 2),
        ("/api/v3/ticker/24hr", {"symbols": str([f"A{n}" for n in range(21)])}, 40),
        ("/api/v3/ticker/price", {}, 4),
        ("/api/v3/ticker/bookTicker", {"symbol": "AAAUSDT"}, 2),
        ("/api/v3/account", {}, 20),
        ("/api/v3/myTrades", {"symbol": "AAAUSDT"}, 20),
        ("/api/v3/myTrades", {"symbol": "AAAUSDT", "orderId": "1"}, 5),
        ("/api/v3/myPreventedMatches", {"symbol": "AAAUSDT", "preventedMatchId": "1"}, 2),
        ("/api/v3/openOrders", {}, 80),
        ("/api/v3/openOrders", {"symbol": "AAAUSDT"}, 6),
        ("/api/v3/order", {"symbol": "AAAUSDT", "orderId": "1"}, 4),
        ("/api/v3/nothing", {}, 1),
    ],
)
def test_request_costs_what_binance_documents(
    venue: Venue, path: str, query: dict[str, str], weight: int
) -> None:
    """A refused request costs as much."""
    answer = venue.ask("GET", path, urlencode(query))
    assert answer.headers["x-mbx-used-weight-1m"] == str(weight)


def test_refusal_for_weight_shows_the_weight_and_when_to_come_back() -> None:
    """429 beyond the limit, and 418 for a client that goes on."""
    venue = Venue(limits=LimitSpec(weight_per_minute=2, ban_after=1))
    answers = [venue.ask("GET", "/api/v3/ping") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429, 418]
    assert answers[2].headers["x-mbx-used-weight-1m"] == "3"
    assert all("retry-after" in answer.headers for answer in answers[2:])


def test_orders_beyond_the_limit_are_refused_and_refused_ones_do_not_count() -> None:
    venue = Venue(limits=LimitSpec(orders_per_10s=2))
    assert venue.order(quantity="x").json["code"] == -1100
    assert venue.order(quantity="0.001").json["code"] == -1013
    counts = [venue.order().headers["x-mbx-order-count-10s"] for _ in range(2)]
    beyond = venue.order()
    assert (counts, beyond.status, beyond.json["code"]) == (["1", "2"], 429, -1015)
    assert 1 <= int(beyond.headers["retry-after"]) <= 11
    venue.machine.sleep(10)
    assert venue.order().headers["x-mbx-order-count-10s"] == "1"


@pytest.mark.parametrize(
    ("mode", "quantity", "code", "counted"),
    [
        ("ALLOW_FAILURE", "1", -2021, "1"),  # placed, though nothing was cancelled
        ("STOP_ON_FAILURE", "1", -2022, "1"),  # not attempted
        ("ALLOW_FAILURE", "900", -2022, None),  # tried, and beyond the funds
    ],
)
def test_replacing_order_counts_unless_it_was_tried_and_refused(
    venue: Venue, mode: str, quantity: str, code: int, counted: str | None
) -> None:
    """Binance counts a new order that it did not attempt, too."""
    terms = {"quantity": quantity, "cancelReplaceMode": mode, "cancelOrderId": "99"}
    answer = venue.signed("POST", "/api/v3/order/cancelReplace", {**ORDER, **terms})
    assert answer.json["code"] == code
    assert answer.headers.get("x-mbx-order-count-10s") == counted


@pytest.mark.parametrize("unit", ["MICROSECOND", "microsecond"])
def test_times_are_in_microseconds_where_the_header_asks_for_them(venue: Venue, unit: str) -> None:
    """So are times of parameters, by their digits. A candle ends a microsecond before the next."""
    headers, day, start = {"x-mbx-time-unit": unit}, 86_400_000_000, 1_709_251_200_000_000
    assert venue.ask("GET", "/api/v3/time", headers=headers).json == {"serverTime": start}
    query = f"symbol=AAAUSDT&interval=1d&startTime={start}&endTime={start + day}"
    (candle,) = venue.ask("GET", "/api/v3/klines", query, headers=headers).json
    assert (candle[0], candle[6]) == (start, start + day - 1)
    stamp = str(venue.now * 1000 + 123)
    placed = venue.signed(
        "POST", "/api/v3/order", {**ORDER, "timestamp": stamp}, headers=headers
    ).json
    assert (placed["transactTime"], placed["workingTime"]) == (start, start)
    wanted = {"symbol": "AAAUSDT", "startTime": str(start)}
    (trade,) = venue.signed("GET", "/api/v3/myTrades", wanted, headers=headers).json
    assert trade["time"] == start


def test_other_time_unit_is_refused(venue: Venue) -> None:
    answer = venue.ask("GET", "/api/v3/time", headers={"x-mbx-time-unit": "SECOND"})
    assert (answer.json["code"], venue.ask("GET", "/api/v3/time").status) == (-1194, 200)


@pytest.mark.parametrize("speed", [60.0, 0.5])
def test_client_may_measure_a_sped_up_clock_once(speed: float) -> None:
    """A client signs by its own clock, or by the venue's as it was shown once: that then goes on at
    the machine's speed. An age of over the window is refused by either.
    """
    venue = Venue(sped_up_clock(MIDNIGHT, speed))
    venue.machine.sleep(100)
    shown = venue.ask("GET", "/api/v3/time").json["serverTime"]
    ahead = shown - venue.now
    venue.machine.sleep(3600)

    def code(timestamp: int) -> int | None:
        stamp = {"timestamp": str(timestamp)}
        answer: dict[str, Any] = venue.signed("GET", "/api/v3/account", stamp).json
        return answer.get("code")

    assert [code(venue.now), code(venue.now - 5000), code(venue.now + 999)] == [None] * 3
    assert [code(venue.now - 5001), code(venue.now + 1000)] == [-1021, -1021]
    measured = venue.now + ahead
    assert [code(measured), code(measured - 5000), code(measured + 999)] == [None] * 3
    assert [code(measured - 5001), code(measured + 1000)] == [-1021, -1021]
    assert code(venue.ask("GET", "/api/v3/time").json["serverTime"]) is None


def test_real_clock_knows_one_time_only() -> None:
    """Where the venue's time is the machine's, asking for it widens nothing."""
    venue = Venue(ClockSpec())
    venue.ask("GET", "/api/v3/time")
    venue.machine.sleep(60)
    late = {"timestamp": str(venue.now - 5001)}
    assert venue.signed("GET", "/api/v3/account", late).json["code"] == -1021


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("earn", {"api_key": "key", "asset": "USDT", "quantity": "-5"}),
        ("accounts", {"api_key": "new", "secret": "s", "balances": {"USDT": "1", "BTC": "-5"}}),
    ],
)
def test_refused_control_call_changes_nothing(
    venue: Venue, call: str, body: Mapping[str, object]
) -> None:
    """Nothing is in an earn programme, and nobody begins with less than nothing."""
    before = len(venue.app.engine.venue.journal.entries)
    assert venue.ask("POST", f"/practice/{call}", "", json.dumps(body).encode()).status == 400
    assert len(venue.app.engine.venue.journal.entries) == before
    assert list(venue.app.engine.venue.accounts) == ["key"]
