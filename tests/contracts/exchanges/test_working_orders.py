"""Working orders of all pages: Bybit shows 50 of them at once, OKX a hundred. The kill switch
cancels what is listed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.errors import VenueUnavailableError
from penstock.execution.orders.cancel import cancel_working
from penstock.testing.world import make_world
from tests.contracts.exchanges.constructed_venue import ConstructedVenue, Said, account_at

LISTS = {"bybit": "/v5/order/realtime", "okx": "/api/v5/trade/orders-pending"}
CANCELS = {"bybit": "/v5/order/cancel", "okx": "/api/v5/trade/cancel-order"}
ORDER = {"bybit": "/v5/order/realtime", "okx": "/api/v5/trade/order"}


def name(number: int) -> str:
    return f"{number:032x}"


def bybit_row(number: int, status: str = "New") -> dict[str, str]:
    return {
        "symbol": "AAAUSDT",
        "orderId": str(number),
        "orderLinkId": name(number),
        "orderStatus": status,
        "orderType": "Limit",
        "side": "Buy",
        "price": "2",
        "qty": "1",
        "cumExecQty": "0",
    }


def okx_row(number: int, state: str = "live") -> dict[str, str]:
    return {
        "instId": "AAA-USDT",
        "instType": "SPOT",
        "ordId": str(number),
        "clOrdId": name(number),
        "state": state,
        "ordType": "limit",
        "side": "buy",
        "px": "2",
        "sz": "1",
        "accFillSz": "0",
    }


@dataclass
class Resting:
    """A venue at which orders rest, with its page limits: newest first."""

    venue: str
    count: int
    ended: set[int] = field(default_factory=set)
    endless: bool = False
    exchange: CcxtExchange = field(init=False)
    wire: ConstructedVenue = field(init=False)

    def __post_init__(self) -> None:
        self.exchange, self.wire = account_at(self.venue, self.answer)

    def rows(self) -> list[int]:
        return [n for n in range(self.count, 0, -1) if n not in self.ended]

    def answer(self, method: str, path: str, fields: Mapping[str, Any]) -> Said:
        if path == CANCELS[self.venue]:
            self.ended.add(int(fields["orderLinkId" if self.venue == "bybit" else "clOrdId"], 16))
            row = {"ordId": "1", "sCode": "0"}
            return 200, {"retCode": 0, "result": {"orderId": "1"}, "code": "0", "data": [row]}
        return 200, self.bybit(fields) if self.venue == "bybit" else self.okx(path, fields)

    def bybit(self, fields: Mapping[str, Any]) -> object:
        if "orderLinkId" in fields:
            number = int(fields["orderLinkId"], 16)
            rows = [bybit_row(number, "Cancelled" if number in self.ended else "New")]
            return {"retCode": 0, "result": {"list": rows, "nextPageCursor": ""}}
        start = self.count + 1 if self.endless else int(fields.get("cursor", self.count + 1))
        size = min(int(fields.get("limit", 20)), 50)
        shown = [n for n in self.rows() if n < start][:size]
        more = bool(shown) and any(n < shown[-1] for n in self.rows())
        cursor = str(shown[-1]) if more else ""
        rows = [bybit_row(number) for number in shown]
        return {"retCode": 0, "result": {"list": rows, "nextPageCursor": cursor}}

    def okx(self, path: str, fields: Mapping[str, Any]) -> object:
        if path == ORDER["okx"]:
            number = int(fields["clOrdId"], 16)
            row = okx_row(number, "canceled" if number in self.ended else "live")
            return {"code": "0", "data": [row]}
        start = self.count + 1 if self.endless else int(fields.get("after", self.count + 1))
        shown = [n for n in self.rows() if n < start][: min(int(fields.get("limit", 100)), 100)]
        return {"code": "0", "data": [okx_row(number) for number in shown]}


@pytest.mark.parametrize("venue", LISTS)
@pytest.mark.parametrize("count", [0, 1, 50, 60, 100, 101, 230])
def test_working_orders_of_all_pages_are_listed(venue: str, count: int) -> None:
    """Every working order is listed once, however many pages there are."""
    resting = Resting(venue, count)
    found = resting.exchange.open_orders()
    assert sorted(int(report.client_order_id, 16) for report in found) == list(range(1, count + 1))
    assert {report.symbol for report in found} <= {"AAA/USDT"}


@pytest.mark.parametrize("venue", LISTS)
@pytest.mark.parametrize("count", [60, 130])
def test_all_resting_orders_are_cancelled_by_a_halt(venue: str, count: int) -> None:
    """Of 60 resting orders 60 are cancelled, and none works on."""
    resting = Resting(venue, count)
    done = cancel_working(replace(make_world().session, exchange=resting.exchange))
    assert (len(done.cancelled), done.left) == (count, ())
    assert resting.ended == set(range(1, count + 1))
    assert not resting.exchange.open_orders()


@pytest.mark.parametrize("venue", LISTS)
def test_venue_that_leads_to_the_same_page_is_not_believed(venue: str) -> None:
    """Where the way to the other orders is overlooked, what works is unknown."""
    resting = Resting(venue, 230, endless=True)
    with pytest.raises(VenueUnavailableError, match="the same open orders again"):
        resting.exchange.open_orders()


@pytest.mark.parametrize("venue", LISTS)
@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        {"retCode": 0, "result": {}, "code": "0"},
        {"retCode": 0, "result": {"list": None, "nextPageCursor": ""}, "code": "0", "data": None},
        {"retCode": 0, "result": {"list": [{}], "nextPageCursor": ""}, "code": "0", "data": [{}]},
        {"retCode": 0, "result": {"list": []}, "code": "0", "data": {}},
    ],
)
def test_answer_without_a_list_is_not_an_empty_list(venue: str, body: object) -> None:
    """What works is unknown, and never nothing."""
    exchange, _ = account_at(venue, lambda *_: (200, body))
    with pytest.raises(VenueUnavailableError):
        exchange.open_orders()


@pytest.mark.parametrize("venue", ["binance", "bybit", "kraken", "okx", "whitebit"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        None,
        {"retCode": 0, "error": [], "result": {}, "code": "0"},
        {"retCode": 0, "error": [], "result": None, "code": "0", "data": None},
        {"retCode": 0, "error": [], "result": {"list": {}}, "code": "0", "data": {}},
        {"retCode": 0, "error": [], "result": {"list": []}, "code": "0", "data": [{}]},
        {"balances": None, "retCode": 0, "error": [], "result": [], "code": "0", "data": [[]]},
    ],
)
def test_answer_without_balances_or_lists_is_not_an_empty_account(venue: str, body: object) -> None:
    """What ccxt reads as nothing is unknown: no balance, working order or trade is taken for
    missing. An object without assets is WhiteBIT's answer for an empty account, and `result: {}` is
    Kraken's.
    """
    exchange, _ = account_at(venue, lambda *_: (200, body))
    since = datetime(2026, 1, 1, tzinfo=UTC)
    reads: list[Callable[[], object]] = [
        exchange.open_orders,
        lambda: exchange.fills("AAA/USDT", since),
    ]
    of_kraken = isinstance(body, dict) and isinstance(body.get("result"), dict)
    if not (venue == "whitebit" or (venue == "kraken" and of_kraken)):
        reads.append(exchange.balances)
    for read in reads:
        with pytest.raises(VenueUnavailableError):
            read()


@pytest.mark.parametrize("free", [None, "", "NaN", "many", {}, []])
def test_balance_that_is_no_number_is_unknown(free: object) -> None:
    """One asset's balance is missing: it is not left out as if there were none."""
    rows = [
        {"asset": "USDT", "free": "100", "locked": "0"},
        {"asset": "BTC", "free": free, "locked": "0"},
    ]
    exchange, _ = account_at("binance", lambda *_: (200, {"balances": rows}))
    with pytest.raises(VenueUnavailableError):
        exchange.balances()
