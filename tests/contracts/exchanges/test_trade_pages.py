"""Trades over several pages at Kraken, Bybit, OKX and WhiteBIT, whose paging rules stand here. No
trade is lost, or the account raises.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from structlog.testing import capture_logs

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.order_lookup import order_lookup
from penstock.adapters.exchanges.trade_pages import trade_pager
from penstock.core.errors import (
    ConfigError,
    OrderNotFoundError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)
from tests.contracts.exchanges.conftest import TRADED

HOUR, WEEK = 3_600_000, 7 * 24 * 3_600_000
IDS = {"kraken": "AAAUSDT", "bybit": "AAAUSDT", "okx": "AAA-USDT", "whitebit": "AAA_USDT"}
PATHS = {
    "kraken": "/0/private/TradesHistory",
    "bybit": "/v5/execution/list",
    "okx": "/api/v5/trade/fills-history",
    "whitebit": "/api/v4/trade-account/executed-history",
}
#: OKX lists the trades of three days here as they happen. Its longer list lags behind by minutes.
OKX_RECENT = "/api/v5/trade/fills"


@dataclass(frozen=True)
class Trade:
    """A trade by its number; trades of the other symbol are in Kraken's answers too."""

    number: int
    at: int
    other: bool = False


def now() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)


def history(count: int = 230, until: int | None = None) -> list[Trade]:
    """Two trades in one millisecond, every hour and a half: 230 reach over a week back."""
    last = now() - HOUR if until is None else until
    return [Trade(n, last - (count - 1 - n) // 2 * HOUR * 3 // 2) for n in range(count)]


def kraken(trades: list[Trade], asked: Mapping[str, str]) -> object:
    """Fifty trades of all symbols, newest first, after the first `ofs`; `start` (s) is excluded."""
    rows = [trade for trade in newest_first(trades) if trade.at > int(asked["start"]) * 1000]
    page = rows[int(asked.get("ofs", 0)) :][:50]
    figures = {
        "ordertxid": "O-1",
        "type": "buy",
        "ordertype": "limit",
        "price": "2",
        "cost": "2",
        "fee": "0.01",
        "vol": "1",
    }
    found = {
        f"T-{trade.number}": {
            **figures,
            "time": trade.at / 1000,
            "pair": "BBBUSDT" if trade.other else "AAAUSDT",
        }
        for trade in page
    }
    return {"error": [], "result": {"trades": found, "count": len(rows)}}


def bybit(trades: list[Trade], asked: Mapping[str, str]) -> object:
    """At most a hundred of at most seven days from `startTime` on, and a cursor where there are
    more.
    """
    start = int(asked["startTime"])
    end, limit = int(asked.get("endTime", start + WEEK)), int(asked.get("limit", 50))
    if end - start > WEEK or not 1 <= limit <= 100:
        return {"retCode": 10001, "retMsg": "The time range or the limit is wrong", "result": {}}
    rows = [trade for trade in newest_first(trades) if start <= trade.at <= end and not trade.other]
    if "cursor" in asked:
        rows = [trade for trade in rows if trade.number < int(asked["cursor"].split(":")[0])]
    figures = {
        "symbol": "AAAUSDT",
        "orderId": "O-1",
        "side": "Buy",
        "execType": "Trade",
        "execFee": "0.01",
        "feeCoin": "USDT",
    }
    figures["orderLinkId"] = "ours"
    found = [
        {
            **figures,
            "execId": f"T-{trade.number}",
            "execPrice": "2",
            "execQty": "1",
            "execTime": str(trade.at),
        }
        for trade in rows[:limit]
    ]
    # a full page has one, also where it is the last
    cursor = f"{rows[limit - 1].number}%3A0" if len(rows) >= limit else ""
    return {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"category": "spot", "list": found, "nextPageCursor": cursor},
    }


def okx(trades: list[Trade], asked: Mapping[str, str]) -> object:
    """The newest hundred from `begin` on that are older than the bill `after`."""
    rows = [
        trade
        for trade in newest_first(trades)
        if trade.at >= int(asked["begin"]) and not trade.other
    ]
    page = [trade for trade in rows if 1000 + trade.number < int(asked.get("after", 10**9))][:100]
    figures = {
        "instId": "AAA-USDT",
        "instType": "SPOT",
        "ordId": "O-1",
        "side": "buy",
        "fillPx": "2",
        "fillSz": "1",
    }
    figures["clOrdId"] = "ours"
    found = [
        {
            **figures,
            "billId": str(1000 + each.number),
            "tradeId": f"T-{each.number}",
            "ts": str(each.at),
            "fee": "-0.01",
        }
        for each in page
    ]
    return {"code": "0", "msg": "", "data": [{**row, "feeCcy": "USDT"} for row in found]}


def whitebit(trades: list[Trade], asked: Mapping[str, str]) -> object:
    """At most a hundred of at most 31 days (in s), after the first `offset`."""
    start, limit = int(asked["startDate"]) * 1000, int(asked.get("limit", 50))
    end = int(asked["endDate"]) * 1000 if "endDate" in asked else now()
    if end - start > 31 * 24 * HOUR or start < now() - 181 * 24 * HOUR or not 1 <= limit <= 100:
        wrong = ["The window or the limit is wrong."]
        return {"code": 30, "message": "Validation failed", "errors": {"startDate": wrong}}
    rows = [trade for trade in newest_first(trades) if start <= trade.at <= end and not trade.other]
    figures = {
        "clientOrderId": "ours",
        "side": "buy",
        "role": 2,
        "amount": "1",
        "price": "2",
        "deal": "2",
        "fee": "0.01",
        "orderId": "O-1",
        "feeAsset": "USDT",
    }
    page = rows[int(asked.get("offset", 0)) :][:limit]
    return [{**figures, "id": f"T-{each.number}", "time": each.at / 1000} for each in page]


def newest_first(trades: list[Trade]) -> list[Trade]:
    return sorted(trades, key=lambda trade: (trade.at, trade.number), reverse=True)


@dataclass
class Wire:
    """A venue with its trades on the near side of the wire, and the account there. Other paths have
    the answers given.
    """

    venue: str
    trades: list[Trade] = field(default_factory=list)
    answers: dict[str, object] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    after_page: Callable[[], None] = lambda: None
    seen_as: Callable[[dict[str, str]], dict[str, str]] = lambda fields: fields

    def __post_init__(self) -> None:
        self.exchange = CcxtExchange(
            self.venue, "key", "c2VjcmV0", password="p", live=True, rate_limit_ms=0, read_attempts=1
        )
        self.exchange.session.mount("https://", Answering(self))
        steps = {
            "precision": {"amount": 0.001, "price": 0.01},
            "limits": {"amount": {}, "price": {}, "cost": {}},
        }
        kind = {
            "type": "spot",
            "spot": True,
            "swap": False,
            "future": False,
            "option": False,
            "info": {},
            **steps,
        }
        names = [(IDS[self.venue].replace("AAA", base), base) for base in ("AAA", "BBB")]
        self.exchange.client.set_markets(
            [
                {**kind, "id": name, "symbol": f"{base}/USDT", "base": base, "quote": "USDT"}
                for name, base in names
            ]
        )
        self.exchange._has_markets = True
        self.exchange._reports.client_ids["O-1"] = "ours"

    def answer(self, path: str, fields: dict[str, str]) -> object:
        listed = PATHS["okx"] if path == OKX_RECENT else path
        if listed != PATHS[self.venue] or listed in self.answers:
            return self.answers.get(listed)
        self.asked.append(fields)
        rules = {"kraken": kraken, "bybit": bybit, "okx": okx, "whitebit": whitebit}[self.venue]
        trades = list(self.trades)
        if path == OKX_RECENT:
            trades = [trade for trade in trades if trade.at > now() - 3 * 24 * HOUR]
        elif self.venue == "okx":
            trades = [trade for trade in trades if trade.at < now() - HOUR // 4]
        answer = rules(trades, self.seen_as(fields))
        self.after_page()
        return answer

    def fills_since(self, at: int) -> list[str]:
        return [
            fill.trade_id
            for fill in self.exchange.fills("AAA/USDT", datetime.fromtimestamp(at / 1000, UTC))
        ]


class Answering(HTTPAdapter):
    """Answers each request by its path and fields; a path without an answer gets a 503."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def send(self, request, **options):  # type: ignore[no-untyped-def,override]  # HTTPAdapter's own signature is untyped
        text = request.body.decode() if isinstance(request.body, bytes) else str(request.body or "")
        query = parse_qs(text if text and not text.startswith("{") else urlsplit(request.url).query)
        fields = {name: values[0] for name, values in query.items()}
        if text.startswith("{"):
            fields |= {name: str(value) for name, value in json.loads(text).items()}
        answer = self.wire.answer(urlsplit(request.url).path, fields)
        response = requests.Response()
        response.status_code, response._content = (
            503 if answer is None else 200,
            json.dumps(answer).encode(),
        )
        response.url, response.request = request.url, request
        return response


@pytest.fixture(params=PATHS)
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)


def named(trades: list[Trade]) -> list[str]:
    return [f"T-{trade.number}" for trade in trades]


def test_trades_over_several_pages_are_all_returned_once_oldest_first(wire: Wire) -> None:
    """230 trades over eight days and more pages: from the first millisecond asked for on, and none
    from before it.
    """
    wire.trades = history(232)
    expected = wire.trades[2:]
    found = wire.exchange.fills("AAA/USDT", datetime.fromtimestamp(expected[0].at / 1000, UTC))
    assert len(found) == len({fill.trade_id for fill in found}) == 230
    assert {fill.trade_id for fill in found} == set(named(expected))
    assert [fill.at for fill in found] == sorted(fill.at for fill in found)
    assert {(fill.client_order_id, fill.fee_asset) for fill in found} == {("ours", "USDT")}
    assert len(wire.asked) >= 3


@pytest.mark.parametrize("count", [0, 1, 50, 100, 200])
def test_last_page_may_be_empty_or_full(wire: Wire, count: int) -> None:
    """Where the trades just fill their pages, or there are none, paging ends without an error."""
    wire.trades = history(count)
    assert sorted(wire.fills_since(now() - 30 * 24 * HOUR)) == sorted(named(wire.trades))


def test_trades_long_ago_are_found_behind_weeks_without_any(wire: Wire) -> None:
    """Bybit shows a week at a time: nothing in the newest one is not the end."""
    wire.trades = [*history(120, until=now() - 40 * 24 * HOUR), Trade(500, now() - HOUR)]
    assert len(wire.fills_since(now() - 60 * 24 * HOUR)) == 121


def test_trades_made_while_paging_hide_no_older_one(wire: Wire) -> None:
    """A new trade follows each page. It moves the older trades on where pages are counted from the
    newest.
    """
    wire.trades = history(230)
    old = set(named(wire.trades))
    wire.after_page = lambda: wire.trades.append(Trade(1000 + len(wire.asked), now()))
    found = wire.fills_since(wire.trades[0].at)
    assert old <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("days", [1, 30])
def test_newest_trades_at_okx_are_read_where_they_show_first(days: int) -> None:
    """The list of three months may lag: trades of the last minutes are in the other one."""
    wire = Wire("okx", [*history(40), Trade(500, now() - 60_000)])
    assert "T-500" in wire.fills_since(now() - days * 24 * HOUR)


@pytest.mark.parametrize("venue", ["bybit", "okx", "whitebit"])
def test_new_process_knows_its_trades_by_the_name_in_them(venue: str) -> None:
    """A process that sent none of the orders asks nothing more: ccxt's question for one order is
    refused at Bybit.
    """
    wire = Wire(venue, history(3))
    wire.exchange._reports.client_ids.clear()
    found = wire.exchange.fills("AAA/USDT", datetime.fromtimestamp(wire.trades[0].at / 1000, UTC))
    assert [fill.client_order_id for fill in found] == ["ours"] * 3


def test_windows_of_a_long_time_leave_no_trade_between_them() -> None:
    """WhiteBIT shows 31 days at once: 50 days are asked for in two windows, and a trade in the
    second in which they meet comes once.
    """
    wire = Wire("whitebit")
    since = now() - 50 * 24 * HOUR
    meeting = [Trade(n, since + 30 * 24 * HOUR + n) for n in range(-3, 4)]
    others = [Trade(100 + n, since + n * 6 * HOUR) for n in range(200)]
    wire.trades = [*meeting, *others]
    found = wire.fills_since(since)
    assert sorted(found) == sorted(named(wire.trades))
    assert len({fields["startDate"] for fields in wire.asked}) == 2


def test_trades_of_other_symbols_are_left_out_and_counted() -> None:
    """Kraken lists all symbols together: ours are found behind pages of others."""
    wire = Wire("kraken")
    ours = history(60)
    wire.trades = [*ours, *(Trade(1000 + n, now() - n, other=True) for n in range(120))]
    assert sorted(wire.fills_since(ours[0].at)) == sorted(named(ours))


def test_venue_that_shows_its_newest_page_again_is_not_believed(wire: Wire) -> None:
    """Where the way to older trades is overlooked, the account says that they are unknown."""
    wire.trades = [Trade(n, now() - 1000 * (230 - n)) for n in range(230)]
    wire.seen_as = lambda fields: {
        name: text
        for name, text in fields.items()
        if name not in ("ofs", "cursor", "after", "offset")
    }
    with pytest.raises(VenueUnavailableError, match=r"again|same page"):
        wire.fills_since(wire.trades[0].at)


def test_answer_without_a_list_is_not_an_empty_one(wire: Wire) -> None:
    """ccxt reads an answer without the list of trades as an empty list. Fills would be lost without
    an error.
    """
    codes: dict[str, dict[str, object]] = {"okx": {"code": "0"}, "bybit": {"retCode": 0}}
    code = codes.get(wire.venue, {})
    wire.answers[PATHS[wire.venue]] = {"error": [], "result": {}, **code}
    with pytest.raises(VenueUnavailableError, match="no usable answer"):
        wire.fills_since(now() - HOUR)


def test_count_without_the_trades_is_not_the_end() -> None:
    """Kraken says how many there are: fewer listed than that is an answer that makes no sense."""
    wire = Wire("kraken")
    wire.answers[PATHS["kraken"]] = {"error": [], "result": {"trades": {}, "count": 7}}
    with pytest.raises(VenueUnavailableError, match="speaks of 7 trades and lists none after 0"):
        wire.fills_since(now() - HOUR)


def test_refused_page_is_an_error_and_not_the_end(wire: Wire) -> None:
    """A page that gets no answer after others did leaves nothing to be returned."""
    wire.trades = history(230)
    wire.after_page = lambda: wire.answers.update({PATHS[wire.venue]: None})
    with pytest.raises(VenueError):
        wire.fills_since(wire.trades[0].at)
    assert len(wire.asked) == 1


@pytest.mark.parametrize("venue", ["okx", "whitebit"])
def test_asking_beyond_what_the_venue_keeps_is_said(venue: str) -> None:
    """OKX shows three months, WhiteBIT six: these are returned, with a warning that the rest is not
    available.
    """
    wire = Wire(venue, history(3))
    with capture_logs() as logs:
        assert len(wire.fills_since(now() - 200 * 24 * HOUR)) == 3
    assert [entry["event"] for entry in logs] == ["trades_older_than_kept"]


@pytest.mark.parametrize("venue", TRADED)
def test_every_venue_that_is_traded_has_a_way_of_paging(venue: str) -> None:
    """Each venue whose orders can be found has a pager of its trades; ccxt pages for Binance."""
    assert order_lookup(venue)
    assert (trade_pager(venue) is None) == venue.startswith("binance")


def test_venue_whose_pages_are_not_known_is_refused() -> None:
    """No way of paging is guessed."""
    with pytest.raises(ConfigError, match="'bitstamp' cannot be traded"):
        trade_pager("bitstamp")


@pytest.mark.parametrize("code", [170139, 170142, 170143])
def test_cancellation_of_an_ended_order_at_bybit_is_a_denial(code: int) -> None:
    """The order was filled, was canceled or left the book. There is nothing to cancel, and no
    refusal stops the run.
    """
    wire = Wire("bybit")
    wire.answers["/v5/order/cancel"] = {"retCode": code, "retMsg": "Order has ended.", "result": {}}
    with pytest.raises(OrderNotFoundError):
        wire.exchange.cancel("0" * 32, "AAA/USDT")


def test_word_of_an_ended_order_is_no_denial_to_a_question() -> None:
    """An order that has ended did exist. Only a cancellation reads this code as "nothing left to
    cancel".
    """
    wire = Wire("bybit")
    wire.answers["/v5/order/realtime"] = {
        "retCode": 170142,
        "retMsg": "Order has been canceled.",
        "result": {},
    }
    with pytest.raises(VenueRejectedError) as refusal:
        wire.exchange.find_order("0" * 32, "AAA/USDT")
    assert type(refusal.value) is VenueRejectedError


def test_answer_without_an_order_at_okx_is_no_order() -> None:
    """ccxt makes an open order without an id of an empty list: what became of ours is unknown."""
    wire = Wire("okx", answers={"/api/v5/trade/order": {"code": "0", "msg": "", "data": []}})
    with pytest.raises(VenueUnavailableError, match="no order in it"):
        wire.exchange.find_order("0" * 32, "AAA/USDT")
