"""What every exchange promises of its market data."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from urllib.parse import unquote

import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.bars import BARS_SCHEMA
from penstock.core.errors import ConfigError, UnknownSymbolError, VenueUnavailableError
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.practice.control import PracticeControl
from penstock.practice.faults import FaultKind
from tests.contracts.exchanges.conftest import Venue

DAY = timedelta(days=1)
_TICKERS = ("/api/v3/ticker/bookTicker", "/api/v3/ticker/24hr", "/api/v3/ticker/price")


def test_now_is_the_venues_time(venue: Venue) -> None:
    """Stepping the venue by a day moves `now` by a day."""
    before = venue.exchange.now()
    venue.step(DAY)
    assert venue.exchange.now() == before + DAY


def test_instruments_carry_exact_decimal_rules(venue: Venue) -> None:
    """Ticks, steps and minimums are the venue's own, as exact Decimals."""
    instrument = venue.exchange.instruments()["AAA/USDT"]
    assert (instrument.base, instrument.quote) == ("AAA", "USDT")
    assert (instrument.price_tick, instrument.lot_step) == (Decimal("0.01"), Decimal("0.001"))
    assert (instrument.min_quantity, instrument.min_notional) == (Decimal("0.001"), Decimal(5))


def test_bars_stop_at_now_and_the_open_bar_shows_its_open_only(venue: Venue) -> None:
    """The bar that is still open shows what is known of it. It never shows its future high, low,
    close or volume.
    """
    now, price = venue.exchange.now(), float(venue.price)
    bars = venue.exchange.fetch_bars("AAA/USDT", Timeframe.D1, now - 3 * DAY, 100)
    assert bars.schema == BARS_SCHEMA
    assert bars["ts"].to_list() == [now - 3 * DAY, now - 2 * DAY, now - DAY, now]
    assert bars.row(-1)[2:] == (price, price, price, price, 0.0)
    assert bars.row(-2)[2:] == (price - 1, price + 3, price - 5, price, 300.0)


def test_bars_are_limited_from_since_on(venue: Venue) -> None:
    """`limit` keeps the oldest bars from `since` on, so that paging forward misses none."""
    now = venue.exchange.now()
    bars = venue.exchange.fetch_bars("AAA/USDT", Timeframe.D1, now - 5 * DAY, 2)
    assert bars["ts"].to_list() == [now - 5 * DAY, now - 4 * DAY]


def test_bars_after_now_are_none(venue: Venue) -> None:
    """Asking for the future gives an empty frame with the right columns."""
    bars = venue.exchange.fetch_bars("AAA/USDT", Timeframe.D1, venue.exchange.now() + DAY, 10)
    assert bars.height == 0
    assert bars.schema == BARS_SCHEMA


def test_last_prices_are_the_open_of_the_current_bar(venue: Venue) -> None:
    """At a bar's open the last price is that open, for every symbol asked for."""
    prices = venue.exchange.last_prices(["AAA/USDT", "BBB/USDT"])
    day = (venue.exchange.now() - venue.exchange.now().replace(year=2024, month=1, day=1)).days
    assert prices == {"AAA/USDT": Decimal(100 + day), "BBB/USDT": Decimal(100 + day) / 2}


def test_quotes_are_a_real_spread_around_the_last_price(venue: Venue) -> None:
    """The bid is below the ask, each one tick from the last price. Each side offers the volume of
    the last closed bar.
    """
    price, tick = venue.price, Decimal("0.01")
    quotes = venue.exchange.quotes(["AAA/USDT", "BBB/USDT"])
    assert set(quotes) == {"AAA/USDT", "BBB/USDT"}
    assert quotes["AAA/USDT"] == Quote(price - tick, price + tick, Decimal(300), Decimal(300))
    assert quotes["AAA/USDT"].mid == price
    assert quotes["BBB/USDT"].mid == price / 2


def test_symbol_that_cannot_be_traded_now_has_no_quote(venue: Venue) -> None:
    """GAP trades every other day: on the days between it has a last price and nobody who bids or
    asks.
    """
    found = []
    for _ in range(2):
        found.append(set(venue.exchange.quotes(["AAA/USDT", "GAP/USDT"])))
        assert set(venue.exchange.last_prices(["AAA/USDT", "GAP/USDT"])) == {"AAA/USDT", "GAP/USDT"}
        venue.step(DAY)
    assert sorted(found, key=len) == [{"AAA/USDT"}, {"AAA/USDT", "GAP/USDT"}]


def test_quotes_of_nothing_are_nothing(venue: Venue) -> None:
    """No symbols are asked for, none are answered: a venue would send its whole list."""
    assert venue.exchange.quotes([]) == {}


@pytest.mark.parametrize("missing", [("fetchBidsAsks",), ("fetchBidsAsks", "fetchTickers")])
def test_quotes_are_read_from_tickers_where_the_venue_has_no_call_for_them(
    connect: Callable[..., CcxtExchange], missing: tuple[str, ...]
) -> None:
    """ccxt reads the two sides from one call for all tickers, or from one call per symbol. The
    quotes are the same.
    """
    exchange = connect()
    expected = exchange.quotes(["AAA/USDT", "BBB/USDT"])
    exchange.client.has = exchange.client.has | dict.fromkeys(missing, False)
    assert exchange.quotes(["AAA/USDT", "BBB/USDT"]) == expected
    assert len(expected) == 2


def test_quotes_of_many_symbols_are_one_request(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """The minute path asks once for everything that it is about to trade."""
    exchange = connect()
    exchange.quotes(["AAA/USDT"])  # loads the markets
    before = sum(control.stats()["requests"].get(f"GET {path}", 0) for path in _TICKERS)
    exchange.quotes(["AAA/USDT", "BBB/USDT", "GAP/USDT"])
    assert sum(control.stats()["requests"].get(f"GET {path}", 0) for path in _TICKERS) == before + 1


def test_venue_is_asked_for_the_prices_and_quotes_that_are_wanted_alone(
    connect: Callable[..., CcxtExchange],
) -> None:
    """Binance lists some three thousand markets, and a slot reads prices five times."""
    exchange, asked = connect(), []
    exchange.quotes(["AAA/USDT"])  # loads the markets
    exchange.session.watch(lambda _method, url, _body, _answer: asked.append(unquote(url)))
    assert set(exchange.last_prices(["BBB/USDT", "AAA/USDT"])) == {"AAA/USDT", "BBB/USDT"}
    assert set(exchange.quotes(["AAA/USDT"])) == {"AAA/USDT"}
    assert [url.partition("symbols=")[2] for url in asked] == [
        '["BBBUSDT","AAAUSDT"]',
        '["AAAUSDT"]',
    ]


def test_symbol_that_is_listed_no_more_leaves_the_others_their_prices(
    connect: Callable[..., CcxtExchange],
) -> None:
    """The venue refuses the whole list for one symbol that it does not know."""
    exchange = connect()
    expected = exchange.last_prices(["AAA/USDT"]), exchange.quotes(["AAA/USDT"])
    markets = exchange.client.markets
    markets["GONE/USDT"] = markets["AAA/USDT"] | {"symbol": "GONE/USDT", "id": "GONEUSDT"}
    asked = ["AAA/USDT", "GONE/USDT"]
    assert (exchange.last_prices(asked), exchange.quotes(asked)) == expected
    assert expected[0]


def test_quotes_that_cannot_be_read_are_an_error_and_never_an_empty_answer(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """An absent symbol means that the venue quotes no two sides. A missing answer is
    VenueUnavailableError.
    """
    exchange = connect(read_attempts=1)
    exchange.quotes(["AAA/USDT"])
    control.arm_next(FaultKind.ERROR_BEFORE, path="/api/v3/ticker/bookTicker")
    with pytest.raises(VenueUnavailableError):
        exchange.quotes(["AAA/USDT"])


def test_practice_exchange_shows_a_book_that_a_test_puts_up(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """A wild quote can be shown beside an ordinary last price, and is gone when cleared."""
    exchange = connect()
    last = exchange.last_prices(["AAA/USDT"])["AAA/USDT"]
    control.show_book("AAA/USDT", last * 2, last * 2 + 1)
    assert exchange.quotes(["AAA/USDT"])["AAA/USDT"].bid == last * 2
    assert exchange.last_prices(["AAA/USDT"])["AAA/USDT"] == last
    with pytest.raises(ConfigError, match="no quote"):
        control.show_book("AAA/USDT", 2, 1)
    control.clear_books()
    assert exchange.quotes(["AAA/USDT"])["AAA/USDT"].mid == last


def test_unknown_symbol_is_named(venue: Venue) -> None:
    """A symbol that the venue does not list is an UnknownSymbolError wherever it is used."""
    calls = (
        lambda: venue.exchange.fetch_bars("NOPE/USDT", Timeframe.D1, venue.exchange.now(), 1),
        lambda: venue.exchange.last_prices(["AAA/USDT", "NOPE/USDT"]),
        lambda: venue.exchange.quotes(["AAA/USDT", "NOPE/USDT"]),
        lambda: venue.exchange.submit(venue.order("1", symbol="NOPE/USDT")),
        lambda: venue.exchange.fills("NOPE/USDT", venue.exchange.now()),
    )
    for call in calls:
        with pytest.raises(UnknownSymbolError, match="NOPE/USDT"):
            call()


def test_threads_fetch_bars_at_the_same_time(venue: Venue) -> None:
    """Several threads may ask at once, and each gets its own symbol's bars."""
    since = venue.exchange.now() - 5 * DAY
    symbols = ["AAA/USDT", "BBB/USDT"] * 20
    with ThreadPoolExecutor(8) as pool:
        frames = list(
            pool.map(
                lambda symbol: venue.exchange.fetch_bars(symbol, Timeframe.D1, since, 10), symbols
            )
        )
    assert [set(frame["symbol"]) for frame in frames] == [{symbol} for symbol in symbols]
    assert {frame.height for frame in frames} == {6}
