"""Redirections: what only reads is led on, an order is sent to its venue and nowhere else."""

import json
from decimal import Decimal

import pytest
import requests
from requests.adapters import HTTPAdapter

from penstock.core.errors import VenueUnavailableError
from penstock.core.orders import OrderRequest, OrderType, Side
from tests.contracts.exchanges.constructed_venue import account_at

ELSEWHERE = "https://elsewhere.example/answer"
ORDER = OrderRequest("ours", "AAA/USDT", Side.BUY, OrderType.MARKET, Decimal(1))


class Moved(HTTPAdapter):
    """Answers every request with a redirection. Elsewhere is the time, and an order."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status
        self.asked: list[tuple[str, str]] = []

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        self.asked.append((request.method, request.url.split("?")[0]))
        response = requests.Response()
        response.url, response.request = request.url, request
        if request.url == ELSEWHERE:
            response.status_code = 200
            answer = {"serverTime": 1_700_000_000_000, "orderId": 1, "status": "FILLED"}
            response._content = json.dumps(answer).encode()
        else:
            response.status_code = self.status
            response.headers["Location"] = ELSEWHERE
            response._content = b"moved"
        return response


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_order_goes_nowhere_else(status: int) -> None:
    """Whatever the kind of redirection, the order is sent once and its fate is unknown."""
    exchange, _ = account_at("binance", lambda *_: (200, {}))
    wire = Moved(status)
    exchange.session.mount("https://", wire)
    with pytest.raises(VenueUnavailableError):
        exchange.submit(ORDER)
    assert [(method, "elsewhere" in url) for method, url in wire.asked] == [("POST", False)]


@pytest.mark.parametrize("status", [302, 308])
def test_question_is_led_on(status: int) -> None:
    """A venue that moves its public address is still read."""
    exchange, _ = account_at("binance", lambda *_: (200, {}))
    wire = Moved(status)
    exchange.session.mount("https://", wire)
    assert exchange.now().timestamp() == 1_700_000_000
    assert wire.asked[-1] == ("GET", ELSEWHERE)


def test_key_goes_nowhere_else() -> None:
    """A question about the account has its key: whoever is at the other address is not told it."""
    exchange, _ = account_at("binance", lambda *_: (200, {}))
    wire = Moved(307)
    exchange.session.mount("https://", wire)
    with pytest.raises(VenueUnavailableError, match="leads to another address"):
        exchange.balances()
    assert [(method, "elsewhere" in url) for method, url in wire.asked] == [("GET", False)]
