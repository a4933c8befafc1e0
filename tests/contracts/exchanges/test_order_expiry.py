"""How requests tell the venues the age limit of an order, in the requests that ccxt makes. Nothing
leaves the machine.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import ccxt
import pytest
import requests
from requests.adapters import HTTPAdapter
from structlog.testing import capture_logs

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.exchanges.order_expiry import RequestAge, age_limit, visibility_delay
from penstock.adapters.exchanges.venue_session import Throttle
from penstock.core.clock import SteppedClock
from penstock.core.errors import ConfigError, DuplicateOrderError, NotSentError
from penstock.core.orders import OrderRequest, OrderType, Side
from penstock.execution.session import ExecutionPolicy
from tests.contracts.exchanges.conftest import TRADED

NAME = "0123456789abcdef0123456789abcdef"
ANSWERS = {
    "bybit": {
        "retCode": 0,
        "result": {"orderId": "1", "orderLinkId": NAME, "uta": "1", "unified": "1"},
    },
    "okx": {"code": "0", "data": [{"ordId": "1", "clOrdId": NAME, "sCode": "0"}]},
    "kraken": {
        "error": [],
        "result": {"txid": ["O1"], "descr": {"order": "buy 1.0 AAAUSDT @ market"}},
    },
    "whitebit": {
        "orderId": 1,
        "clientOrderId": NAME,
        "market": "AAAUSDT",
        "side": "buy",
        "type": "limit",
        "timestamp": 1595792396.165973,
        "dealMoney": "0",
        "dealStock": "0",
        "amount": "1",
        "left": "1",
        "dealFee": "0",
        "price": "2",
        "status": "NEW",
    },
}


class Answering(HTTPAdapter):
    """A venue on the near side of the wire: it keeps every request and gives one answer to all."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer
        self.requests: list[requests.PreparedRequest] = []

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        self.requests.append(request)
        response = requests.Response()
        response.status_code, response._content = 200, json.dumps(self.answer).encode()
        response.url, response.request = request.url, request
        return response


def listed(market_id: str) -> dict[str, object]:
    """A spot market as ccxt keeps it."""
    kind = {
        "type": "spot",
        "spot": True,
        "margin": False,
        "swap": False,
        "future": False,
        "option": False,
        "contract": False,
    }
    steps = {
        "precision": {"amount": 0.001, "price": 0.01},
        "limits": {"amount": {}, "price": {}, "cost": {}},
        "active": True,
    }
    return {
        "id": market_id,
        "symbol": "AAA/USDT",
        "base": "AAA",
        "quote": "USDT",
        "info": {},
        **kind,
        **steps,
    }


def wired(venue: str, answer: object, ahead: int = 0) -> tuple[CcxtExchange, Answering]:
    """Return an account at the venue that asks nobody but us."""
    exchange = CcxtExchange(venue, "key", "c2VjcmV0", password="phrase", live=True, rate_limit_ms=0)
    wire = Answering(answer)
    exchange.session.mount("https://", wire)
    exchange.client.set_markets([listed("AAAUSDT")])
    exchange._has_markets = True
    exchange.client.options["timeDifference"] = ahead
    return exchange, wire


def sent_order(venue: str, asked_at: datetime | None, ahead: int = 0) -> requests.PreparedRequest:
    """Return the request by which the venue would be given an order that was asked for at
    `asked_at`.
    """
    exchange, wire = wired(venue, ANSWERS[venue], ahead)
    exchange.submit(order_of(OrderType.LIMIT, asked_at))
    (order,) = [request for request in wire.requests if request.method == "POST"]
    return order


def order_of(kind: OrderType, asked_at: datetime | None = None) -> OrderRequest:
    return OrderRequest(
        NAME,
        "AAA/USDT",
        Side.BUY,
        kind,
        Decimal(1),
        None if kind is OrderType.MARKET else Decimal(2),
        asked_at=asked_at,
    )


def slept() -> datetime:
    return datetime.now(UTC).replace(microsecond=123_000) - timedelta(minutes=5)


def test_bybit_order_is_stamped_with_the_time_it_was_asked_for() -> None:
    """A sender that slept for five minutes signs what it was to send then: Bybit refuses that
    (recv_window, 5 s).
    """
    asked_at = slept()
    order = sent_order("bybit", asked_at)
    assert int(order.headers["X-BAPI-TIMESTAMP"]) == round(asked_at.timestamp() * 1000)
    assert order.headers["X-BAPI-RECV-WINDOW"] == "5000"
    assert json.loads(order.body or "")["orderLinkId"] == NAME


def test_okx_order_is_stamped_with_the_time_it_was_asked_for() -> None:
    """OKX refuses a request whose timestamp is more than 30 seconds old."""
    asked_at = slept()
    order = sent_order("okx", asked_at)
    assert order.headers["OK-ACCESS-TIMESTAMP"] == asked_at.isoformat(
        timespec="milliseconds"
    ).replace("+00:00", "Z")
    assert NAME in order.body.decode()


def test_kraken_order_has_a_deadline_ten_seconds_after_it_was_asked_for() -> None:
    """Kraken's matching engine refuses an order after its deadline, by its own clock; the nonce
    stays Kraken's own, which must always rise.
    """
    asked_at = slept()
    fields = parse_qs(sent_order("kraken", asked_at).body.decode())
    assert datetime.fromisoformat(fields["deadline"][0]) == asked_at + timedelta(seconds=10)
    assert fields["deadline"][0].endswith(".123Z")
    assert fields["cl_ord_id"] == [NAME]
    assert int(fields["nonce"][0]) > asked_at.timestamp() * 1000 + 200_000
    behind = parse_qs(sent_order("kraken", asked_at, ahead=-15_000).body.decode())
    assert datetime.fromisoformat(behind["deadline"][0]) == asked_at + timedelta(seconds=25)


def test_whitebit_order_has_the_time_it_was_asked_for_as_nonce() -> None:
    """WhiteBIT takes a nonce within five seconds of its clock where `nonceWindow` is set. Without
    that it only wants each to be higher than the one before.
    """
    asked_at = slept()
    fields = json.loads(sent_order("whitebit", asked_at).body or "")
    assert int(fields["nonce"]) == round(asked_at.timestamp() * 1000)
    assert (fields["nonceWindow"], fields["clientOrderId"]) == (True, NAME)
    assert int(json.loads(sent_order("whitebit", asked_at, 2_000).body or "")["nonce"]) == (
        round(asked_at.timestamp() * 1000) - 2_000
    )


def test_no_two_whitebit_requests_have_one_nonce_and_none_looks_newer_than_it_is() -> None:
    """WhiteBIT takes a nonce once. Two orders of one millisecond, and a read of the same, differ by
    a millisecond each; a read in between makes no old order look new.
    """
    asked_at = slept()
    exchange, wire = wired("whitebit", ANSWERS["whitebit"])
    own = exchange.client.incrementing_nonce
    reads = [own(), own()]
    for _ in range(3):
        exchange.submit(order_of(OrderType.LIMIT, asked_at))
    nonces = [int(json.loads(request.body or "")["nonce"]) for request in wire.requests]
    first = round(asked_at.timestamp() * 1000)
    assert nonces == [first, first + 1, first + 2]
    assert len({*nonces, *reads}) == 5
    exchange.submit(order_of(OrderType.LIMIT, datetime.fromtimestamp(reads[0] / 1000, UTC)))
    assert int(json.loads(wire.requests[-1].body or "")["nonce"]) not in reads


@pytest.mark.parametrize("venue", ["bybit", "okx"])
def test_clock_that_is_ahead_of_the_venues_is_corrected(venue: str) -> None:
    """What ccxt measured at the opening is taken off, as it is for its own stamps."""
    asked_at = slept()
    order = sent_order(venue, asked_at, ahead=2_000)
    stamp = order.headers.get("X-BAPI-TIMESTAMP") or order.headers["OK-ACCESS-TIMESTAMP"]
    at = (
        datetime.fromtimestamp(int(stamp) / 1000, UTC)
        if stamp.isdigit()
        else datetime.fromisoformat(stamp)
    )
    assert at == asked_at - timedelta(seconds=2)


@pytest.mark.parametrize("venue", ["bybit", "okx"])
def test_what_is_not_an_order_is_stamped_with_now(venue: str) -> None:
    """Only orders carry the time of the lease; an order without one is signed as ccxt signs
    everything.
    """
    order = sent_order(venue, None)
    stamp = order.headers.get("X-BAPI-TIMESTAMP") or order.headers["OK-ACCESS-TIMESTAMP"]
    at = (
        datetime.fromtimestamp(int(stamp) / 1000, UTC)
        if stamp.isdigit()
        else datetime.fromisoformat(stamp)
    )
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=30)


def test_venue_without_an_age_limit_is_logged() -> None:
    """A client of a venue that takes old orders logs so, and the venue has no age limit."""
    with capture_logs() as log:
        RequestAge("bitstamp", CcxtMarketData("bitstamp").client)
    assert [line["event"] for line in log] == ["old_orders_are_taken"]
    assert age_limit("bitstamp") is None
    assert "30 s" in str(age_limit("okx"))


def test_order_that_costs_nothing_does_not_wait_for_the_turns_of_reads() -> None:
    """Kraken counts reads by the second and counts orders apart. An order that waited behind a read
    would rest on an old reading of the kill switch. A read waits for its turn.
    """
    clock = SteppedClock(datetime(2025, 6, 1, tzinfo=UTC))
    throttle = Throttle(3.0, clock=clock)
    throttle(2)
    assert clock.elapsed_seconds() == 0
    throttle(ccxt.kraken().api["private"]["post"]["AddOrder"]["cost"])
    assert clock.elapsed_seconds() == 0
    throttle(1)
    assert clock.elapsed_seconds() == 6
    throttle()
    assert clock.elapsed_seconds() == 9


@pytest.mark.parametrize(
    ("venues", "seconds"),
    [
        (["binance"], 75),  # taken for 10 s, out of sight for 60, and 5 for the clocks
        (["binanceus"], 75),
        (["bybit"], 70),
        (["bybiteu"], 70),
        (["okx"], 95),
        (["myokx"], 95),
        (["kraken"], 75),
        (["whitebit"], 70),
        (["bybit", "okx", "kraken"], 95),
        (["coinbase"], 95),  # nothing is sent there: it is the prices of trading on paper
    ],
)
def test_delay_covers_every_old_request_that_can_still_arrive(
    venues: list[str], seconds: int
) -> None:
    """The longest delay of an account's venues counts. A longer one may be set; a shorter one is
    refused with the figures that say why.
    """
    assert visibility_delay(venues) == seconds
    assert visibility_delay(venues, seconds + 30) == seconds + 30
    with pytest.raises(ConfigError, match=f"needs {seconds} at least"):
        visibility_delay(venues, seconds - 1)


def test_every_venue_that_can_be_traded_refuses_old_orders() -> None:
    """The delay is derived from the age limit. So every venue that takes orders must have an age
    limit.
    """
    assert all(age_limit(venue) for venue in TRADED)


def test_default_delay_covers_every_venue() -> None:
    """A session that is built without a delay waits as long as the slowest venue needs."""
    assert ExecutionPolicy().visibility_delay_seconds >= visibility_delay(TRADED)


@pytest.mark.parametrize("kind", list(OrderType))
def test_bybit_market_order_says_that_its_quantity_is_in_base_units(kind: OrderType) -> None:
    """Without the parameter Bybit reads a market buy's quantity as quote units. A limit order is
    always in base units.
    """
    exchange, wire = wired("bybit", ANSWERS["bybit"])
    exchange.submit(order_of(kind))
    (order,) = [request for request in wire.requests if request.method == "POST"]
    body = json.loads(order.body or "")
    assert Decimal(body["qty"]) == 1
    assert body.get("marketUnit") == ("baseCoin" if kind is OrderType.MARKET else None)


@pytest.mark.parametrize("uta", ["0", None])
@pytest.mark.parametrize("kind", list(OrderType))
def test_order_of_a_bybit_account_that_is_not_unified_is_refused_and_nothing_leaves(
    kind: OrderType, uta: str | None
) -> None:
    """A classic account has no such parameter. Its market buys would have the wrong size, so it
    cannot trade.
    """
    exchange, wire = wired(
        "bybit", {"retCode": 0, "result": {"unified": "0", **({} if uta is None else {"uta": uta})}}
    )
    with pytest.raises(NotSentError, match=r"classic account.*nothing was sent"):
        exchange.submit(order_of(kind))
    assert {request.method for request in wire.requests} == {"GET"}


def test_okx_market_order_says_that_its_quantity_is_in_base_units() -> None:
    """OKX also reads a spot market buy's size as quote units unless a parameter says otherwise."""
    exchange, wire = wired("okx", ANSWERS["okx"])
    exchange.submit(OrderRequest(NAME, "AAA/USDT", Side.BUY, OrderType.MARKET, Decimal(1)))
    (order,) = [request for request in wire.requests if request.method == "POST"]
    found = json.loads(order.body or "")
    sent = found[0] if isinstance(found, list) else found
    assert (Decimal(sent["sz"]), sent["tgtCcy"]) == (1, "base_ccy")


@pytest.mark.parametrize("kind", list(OrderType))
def test_whitebit_market_order_goes_where_its_quantity_is_in_base_units(kind: OrderType) -> None:
    """WhiteBIT has a path of its own for market orders in base units: the other one reads a buy's
    amount in the quote asset.
    """
    exchange, wire = wired("whitebit", ANSWERS["whitebit"])
    exchange.submit(order_of(kind))
    (order,) = wire.requests
    path = "/api/v4/order/stock_market" if kind is OrderType.MARKET else "/api/v4/order/new"
    assert (urlsplit(str(order.url)).path, Decimal(json.loads(order.body or "")["amount"])) == (
        path,
        1,
    )


def test_whitebit_name_that_is_taken_is_a_duplicate() -> None:
    """The order that has the name may be ours, from a request without an answer: it is asked for
    before anything else.
    """
    taken = ["This client order id is already used by the current account."]
    answer = {"code": 36, "message": "Validation failed", "errors": {"clientOrderId": taken}}
    exchange, _ = wired("whitebit", answer)
    with pytest.raises(DuplicateOrderError):
        exchange.submit(order_of(OrderType.LIMIT))


def test_okx_order_carries_the_passphrase_of_its_key() -> None:
    """Without it OKX refuses every signed request."""
    assert sent_order("okx", slept()).headers["OK-ACCESS-PASSPHRASE"] == "phrase"
    with pytest.raises(ConfigError, match="password_env"):
        CcxtExchange("okx", "key", "secret", live=True)
