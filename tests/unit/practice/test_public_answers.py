"""What the practice exchange answers of its market: the book, trades, tickers and symbols."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.errors import ConfigError
from penstock.core.timeframes import Timeframe
from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.book import TopOfBook
from penstock.practice.candles import GivenCandles
from penstock.practice.limits import Limiter, LimitSpec
from penstock.practice.market import PracticeMarket
from penstock.practice.public_api import PublicApi
from penstock.practice.tickers import Tickers
from penstock.practice.wallet_api import WalletApi
from tests.unit.practice.conftest import MIDNIGHT, Frames, Sessions, SignedAccount, bars_frame

M1, H1 = Timeframe.M1, Timeframe.H1
MINUTES = [(10.0, 10.4, 9.8, 10.2, 8.0), (10.2, 10.3, 9.9, 10.0, 4.0), (10.0, 99.0, 1.0, 50.0, 9.0)]
#: Three minutes have opened, and two have closed.
SINCE = timedelta(minutes=2, seconds=30)


class Market:
    """The public calls on an account's engine."""

    def __init__(self, session: SignedAccount) -> None:
        books = TopOfBook(session.market, session.engine.rules)
        public = PublicApi(books, session.engine.rules, session.time, LimitSpec())
        self.routes = public.routes() | Tickers(books, session.time).routes()
        self.session = session

    def ask(self, call: str, **parameters: str) -> Any:
        route = self.routes[f"GET /api/v3/{call}"]
        return route.handler(route.read(parameters))

    def code(self, call: str, **parameters: str) -> int:
        """Return the code with which a call is refused."""
        with pytest.raises(PracticeRefusal) as refusal:
            self.ask(call, **parameters)
        return refusal.value.code


@pytest.fixture
def market(open_account: Sessions, frame: Frames) -> Market:
    """Two symbols, in the third minute."""
    both = [frame(MINUTES, M1), bars_frame(MINUTES, M1, symbol="BBB/USDT")]
    session = open_account({M1: both[0].vstack(both[1])})
    session.step(SINCE)
    return Market(session)


def test_depth_is_the_quoted_best_bid_and_ask(market: Market) -> None:
    """A client that prices by the order book and one that prices by the ticker see the same."""
    quoted = market.ask("ticker/bookTicker", symbol="AAAUSDT")
    book = market.ask("depth", symbol="AAAUSDT", limit="5000")
    assert book["bids"] == [[quoted["bidPrice"], quoted["bidQty"]]]
    assert book["asks"] == [[quoted["askPrice"], quoted["askQty"]]]
    bought = market.session.place("BUY", "1")
    assert [fill["price"] for fill in bought["fills"]] == [quoted["askPrice"]]


def test_trades_rebuild_the_closed_candles_and_show_nothing_of_the_open_one(market: Market) -> None:
    """The third minute has a high of 99, which nobody can know yet."""
    rows = market.ask("aggTrades", symbol="AAAUSDT")
    for number, (opened, high, low, close, volume) in enumerate(MINUTES[:2]):
        start = round(MIDNIGHT.timestamp() * 1000) + 60_000 * number
        found = [row for row in rows if start <= row["T"] < start + 60_000]
        prices = [float(row["p"]) for row in found]
        assert (prices[0], max(prices), min(prices), prices[-1]) == (opened, high, low, close)
        assert sum(Decimal(row["q"]) for row in found) == Decimal(str(volume))
    assert len(rows) == 8
    assert [row["m"] for row in rows] == [False, True, False, True, False, False, True, False]


def test_trades_page_by_id_and_by_time(market: Market) -> None:
    """Pages of three from the first id on are the whole list, and so are those of each minute."""
    whole = market.ask("aggTrades", symbol="AAAUSDT")
    paged: list[Any] = []
    while page := market.ask(
        "aggTrades",
        symbol="AAAUSDT",
        fromId=str(paged[-1]["a"] + 1 if paged else 0),
        limit="3",
    ):
        paged += page
    assert paged == whole
    middle = whole[3]["T"]
    before = market.ask("aggTrades", symbol="AAAUSDT", endTime=str(middle), limit="3")
    after = market.ask("aggTrades", symbol="AAAUSDT", startTime=str(middle + 1))
    assert (before, after) == (whole[1:4], whole[4:])
    assert market.code("aggTrades", symbol="AAAUSDT", fromId="1", startTime="1") == -1128
    latest = market.ask("trades", symbol="AAAUSDT", limit="2")
    assert [row["id"] for row in latest] == [row["a"] for row in whole[-2:]]


def test_average_price_is_that_of_five_minutes_by_volume(market: Market) -> None:
    """Twelve units traded: two at each price of the first minute, one at each of the second."""
    paid = 2 * (10.0 + 9.8 + 10.4 + 10.2) + (10.2 + 10.3 + 9.9 + 10.0)
    answer = market.ask("avgPrice", symbol="AAAUSDT")
    assert float(answer["price"]) == pytest.approx(paid / 12)
    market.session.step(timedelta(minutes=30))
    assert market.ask("avgPrice", symbol="AAAUSDT")["price"] == "50.00000000", "the last price"


@pytest.mark.parametrize("ticker", ["price", "24hr", "bookTicker", "tradingDay"])
def test_tickers_of_a_list_are_those_of_its_symbols(market: Market, ticker: str) -> None:
    """A list keeps its order, one symbol is no list, and both together are refused."""
    call = f"ticker/{ticker}"
    rows = market.ask(call, symbols='["BBBUSDT","AAAUSDT"]')
    assert [row["symbol"] for row in rows] == ["BBBUSDT", "AAAUSDT"]
    assert market.ask(call, symbol="BBBUSDT") == rows[0]
    assert market.code(call, symbols='["AAAUSDT"]', symbol="AAAUSDT") == -1128
    assert market.code(call, symbols='["AAAUSDT","AAAUSDT"]') == -1151
    assert market.code(call, symbols='["NOPE"]') == -1121
    assert market.code(call, symbol="AAAUSDT", symbolStatus="BREAK") == -1220


def test_window_of_a_ticker_begins_at_a_whole_minute(market: Market) -> None:
    """Of the last minute and a half the second and the open third minute are in the window."""
    row = market.ask("ticker", symbol="AAAUSDT", windowSize="1m", type="MINI")
    assert (row["openPrice"], row["highPrice"], row["volume"]) == (
        *("10.20000000", "10.30000000"),
        "4.00000000",
    )
    assert row["openTime"] % 60_000 == 0
    for ticker in ("24hr", "tradingDay"):
        day = market.ask(f"ticker/{ticker}", symbol="AAAUSDT")
        assert (day["openPrice"], day["volume"]) == ("10.00000000", "12.00000000")
    assert "weightedAvgPrice" not in row
    assert market.code("ticker", windowSize="1m") == -1102
    assert market.code("ticker", symbol="AAAUSDT", windowSize="60m") == -1130


def test_symbols_are_listed_by_name_and_by_permission(market: Market) -> None:
    """A client that asks for two symbols gets two, and one that asks for margin gets none."""

    def listed(**parameters: str) -> list[str]:
        return [row["symbol"] for row in market.ask("exchangeInfo", **parameters)["symbols"]]

    assert listed() == ["AAAUSDT", "BBBUSDT"]
    assert listed(symbols='["BBBUSDT"]') == ["BBBUSDT"]
    assert listed(permissions='["MARGIN","SPOT"]') == ["AAAUSDT", "BBBUSDT"]
    assert listed(permissions="MARGIN") == listed(symbolStatus="BREAK") == []
    assert market.code("exchangeInfo", symbol="AAAUSDT", permissions="SPOT") == -1128


def test_fees_and_counts_of_an_account(open_account: Sessions, frame: Frames) -> None:
    """Rates are fractions, as texts: Nautilus finds its instruments by them. Orders are counted."""
    session = open_account({M1: frame(MINUTES, M1)})
    limiter = Limiter(LimitSpec(), SteppedClock(MIDNIGHT))
    routes, signed = WalletApi(session.engine, limiter).routes(), {"timestamp": "0"}

    def ask(call: str, **parameters: str) -> Any:
        route = routes[f"GET {call}"]
        return route.handler(
            session.account, route.read({**parameters, **signed, "signature": "0"})
        )

    rates = {"makerCommission": "0.00100000", "takerCommission": "0.00100000"}
    assert ask("/sapi/v1/asset/tradeFee") == [{"symbol": "AAAUSDT", **rates}]
    assert ask("/sapi/v1/asset/tradeFee", symbol="AAAUSDT") == [{"symbol": "AAAUSDT", **rates}]
    commission = ask("/api/v3/account/commission", symbol="AAAUSDT")["standardCommission"]
    assert commission["taker"] == rates["takerCommission"]
    limiter.count_order("key")
    counts = ask("/api/v3/rateLimit/order")
    assert [(row["interval"], row["count"]) for row in counts] == [("SECOND", 1), ("DAY", 1)]


def test_two_symbols_of_one_name_are_refused_by_both_names() -> None:
    """AR/BUSD and ARB/USD are both ARBUSD on the wire. None of them may vanish in silence."""
    both = [bars_frame(MINUTES, M1, symbol=name) for name in ("AR/BUSD", "ARB/USD")]
    table = GivenCandles({M1: both[0].vstack(both[1])}).load()
    with pytest.raises(ConfigError, match="AR/BUSD and ARB/USD are both ARBUSD"):
        PracticeMarket.of(table)


def test_account_has_every_traded_asset_or_only_what_it_holds(market: Market) -> None:
    """Bots look for the row of a coin that they do not hold yet."""
    every, held = (
        market.session.ask("GET /api/v3/account", omitZeroBalances=omit)["balances"]
        for omit in ("false", "true")
    )
    assert [row["asset"] for row in every] == ["AAA", "BBB", "USDT"]
    assert every[1] == {"asset": "BBB", "free": "0.00000000", "locked": "0.00000000"}
    assert held == [every[0], every[2]]
    assert market.session.ask("GET /api/v3/account")["balances"] == every
