"""One market for all exchanges: daily bars whose open rises by one per day. A test can state every
price beforehand.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import numpy as np
import polars as pl
import pytest

from penstock.adapters.exchanges.bars_market import BarsMarketData
from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import SteppedClock
from penstock.core.instruments import Instrument, spot_assets
from penstock.core.orders import OrderRequest, OrderType, Side
from penstock.core.timeframes import Timeframe
from penstock.ports import Exchange
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.simulation.paper import PaperExchange
from penstock.testing.memory_venue import MemoryVenue

#: The venues that orders can be sent to, by hand: one that leaves the tables is noticed.
TRADED = (
    *("binance", "binanceus"),
    *("okx", "okxus", "myokx"),
    *("bybit", "bybiteu", "bybitid"),
    *("kraken", "whitebit"),
)

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
START = FIRST_DAY + timedelta(days=10)
DAY = timedelta(days=1)
OPENING = {"USDT": Decimal(10_000), "AAA": Decimal(50)}
VOLUME = 300.0


def daily_bars(days: int = 900) -> pl.DataFrame:
    """Return three symbols. AAA opens at 100, 101, ... and moves four either way; BBB has half of
    that; GAP trades every other day.
    """
    opens = 100.0 + np.arange(days)
    ts = [FIRST_DAY + k * DAY for k in range(days)]
    frames = [
        pl.DataFrame(
            {
                "symbol": [symbol] * days,
                "ts": ts,
                "open": opens * scale,
                "high": (opens + 4) * scale,
                "low": (opens - 4) * scale,
                "close": (opens + 1) * scale,
                "volume": np.full(days, VOLUME),
            }
        )
        for symbol, scale in (("AAA/USDT", 1.0), ("BBB/USDT", 0.5), ("GAP/USDT", 1.0))
    ]
    frames[-1] = frames[-1].gather_every(2)
    return (
        pl.concat(frames)
        .with_columns(pl.col("ts").cast(BARS_SCHEMA["ts"]))
        .select(list(BARS_SCHEMA))
    )


@dataclass
class Venue:
    """An exchange under test with its account, and how to move its day on. It stands at a day's
    open.
    """

    exchange: Exchange
    step: Callable[[timedelta], Any]
    fresh: Callable[[], Exchange]  # the same account seen by a new process
    named: str = ""  # the venue that orders name, where there are several
    half_spread: Decimal = Decimal("0.01")  # how much dearer than the last price a buy is

    def order(
        self,
        quantity: str,
        side: Side = Side.BUY,
        price: str | None = None,
        symbol: str = "AAA/USDT",
    ) -> OrderRequest:
        """Return an order with an id of its own: market, or limit with a price."""
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        limit = None if price is None else Decimal(price)
        return OrderRequest(
            f"order-{next(_NUMBERS)}",
            symbol,
            side,
            kind,
            Decimal(quantity),
            limit,
            venue=self.named,
        )

    @property
    def ask(self) -> Decimal:
        """What a buy pays."""
        return self.price + self.half_spread

    @property
    def price(self) -> Decimal:
        return self.exchange.last_prices(["AAA/USDT"])["AAA/USDT"]


_NUMBERS = count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[PracticeServer]:
    """One practice exchange for all tests; each test opens its own account and moves the day on
    first.
    """
    source = GivenCandles({Timeframe.D1: daily_bars()})
    with PracticeServer(source, clock=stepped_clock(START), limits=UNLIMITED) as running:
        yield running


@pytest.fixture
def control(server: PracticeServer) -> Iterator[PracticeControl]:
    """The practice exchange's control calls, at a new day's open and with no fault left behind."""
    control = PracticeControl(server.url)
    control.step(seconds=DAY)
    yield control
    control.clear_faults()


@pytest.fixture
def connect(server: PracticeServer, control: PracticeControl) -> Callable[..., CcxtExchange]:
    """Return a function that connects ccxt to the practice exchange. Each call opens a new account
    unless it names one.
    """

    def connect(
        api_key: str = "",
        secret: str = "secret",
        balances: Mapping[str, Decimal] = OPENING,
        **options: Any,
    ) -> CcxtExchange:
        if not api_key:
            api_key = f"key-{next(_NUMBERS)}"
            control.create_account(api_key, secret, balances)
        settings = {"timeout_seconds": 5.0, "retry_wait_seconds": 0.01} | options
        return CcxtExchange("binance", api_key, secret, base_url=server.url, **settings)

    return connect


@pytest.fixture(scope="session")
def other_server() -> Iterator[PracticeServer]:
    """A second practice exchange with the same bars; it follows the first one's time."""
    source = GivenCandles({Timeframe.D1: daily_bars()})
    with PracticeServer(source, clock=stepped_clock(START), limits=UNLIMITED) as running:
        yield running


def several_venues(
    connect: Callable[..., CcxtExchange], control: PracticeControl, other: PracticeServer
) -> Venue:
    """Return two practice exchanges as one account: all money is at the second one, where every
    order goes.
    """
    follower = PracticeControl(other.url)
    follower.step(to=control.now())
    first = connect(balances={})
    key = f"key-{next(_NUMBERS)}"
    follower.create_account(key, "secret", OPENING)

    def fresh() -> SeveralVenues:
        second = CcxtExchange(
            "binance",
            key,
            "secret",
            base_url=other.url,
            timeout_seconds=5.0,
            retry_wait_seconds=0.01,
        )
        venues = {"first": connect(api_key=first.client.apiKey), "second": second}
        return SeveralVenues(venues, dict.fromkeys(venues, Decimal(10)))

    def step(by: timedelta) -> None:
        control.step(seconds=by)
        follower.step(seconds=by)

    return Venue(fresh(), step, fresh, named="second")


def _rules(symbol: str) -> Instrument:
    tick, lot = Decimal("0.01"), Decimal("0.001")
    return Instrument(symbol, *spot_assets(symbol), tick, lot, lot, Decimal(5))


def memory_venue() -> Venue:
    """Return the venue of penstock.testing with the opens of these bars as its prices."""
    clock = SteppedClock(START)
    exchange = MemoryVenue(clock, assets=dict(OPENING), rules=_rules)

    def quote() -> None:
        opens = daily_bars().filter(pl.col("ts") == Timeframe.D1.floor(clock.now()))
        exchange.prices = {
            symbol: Decimal(str(price)) for symbol, price in opens.select("symbol", "open").rows()
        }

    def step(by: timedelta) -> None:
        clock.sleep(by.total_seconds())
        quote()

    quote()
    return Venue(exchange, step, lambda: exchange, half_spread=Decimal(0))


#: What follows from bars that move: the venue in memory has none.
_OF_A_MARKET = {
    "test_bars_stop_at_now_and_the_open_bar_shows_its_open_only",
    "test_quotes_are_a_real_spread_at_the_last_price",
    "test_symbol_that_cannot_be_traded_now_has_no_quote",
    "test_resting_sell_fills_at_its_price_once_the_market_passes_it",
    "test_symbol_without_a_bar_does_not_trade",
}


@pytest.fixture(params=["paper", "ccxt", "several", "memory"])
def venue(request: pytest.FixtureRequest) -> Venue:
    """Every exchange that keeps the port's promises, on the same bars."""
    if request.param == "memory":
        if request.node.originalname in _OF_A_MARKET:
            pytest.skip("prices in memory stand still")
        return memory_venue()
    if request.param == "several":
        parts = (request.getfixturevalue(name) for name in ("connect", "control", "other_server"))
        return several_venues(*parts)
    if request.param == "ccxt":
        connect = request.getfixturevalue("connect")
        control: PracticeControl = request.getfixturevalue("control")
        exchange = connect()
        key = exchange.client.apiKey
        return Venue(exchange, lambda by: control.step(seconds=by), lambda: connect(api_key=key))
    state = request.getfixturevalue("tmp_path") / "paper.jsonl"
    clock = SteppedClock(START)
    market = BarsMarketData({Timeframe.D1: daily_bars()}, None, clock)

    def fresh() -> PaperExchange:
        return PaperExchange(
            market, balances=OPENING, state_file=state, trading_timeframe=Timeframe.D1
        )

    return Venue(fresh(), lambda by: clock.sleep(by.total_seconds()), fresh)
