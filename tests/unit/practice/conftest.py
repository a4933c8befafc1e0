"""Bars, markets and engines of the practice exchange, as small as a test needs them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import SteppedClock
from penstock.core.ids import CountedIds
from penstock.core.timeframes import Timeframe
from penstock.practice.accounts import PracticeAccount
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import VenueTime, stepped_clock
from penstock.practice.filters import rules_of
from penstock.practice.market import PracticeMarket
from penstock.practice.matching import MatchingEngine
from penstock.practice.private_api import PrivateApi
from penstock.practice.venue import PracticeVenue
from penstock.simulation.fill_model import FillModel
from penstock.simulation.journal import Journal

MIDNIGHT = datetime(2024, 3, 1, tzinfo=UTC)

Row = tuple[float, float, float, float, float]
Frames = Callable[..., pl.DataFrame]


def bars_frame(
    rows: Sequence[Row | None],
    timeframe: Timeframe,
    start: datetime = MIDNIGHT,
    symbol: str = "AAA/USDT",
) -> pl.DataFrame:
    """Return bars (open, high, low, close, volume) one per timeframe from `start` on; None leaves a
    bar out.
    """
    present = [
        (start + k * timeframe.duration, *row) for k, row in enumerate(rows) if row is not None
    ]
    frame = pl.DataFrame(present, schema=list(BARS_SCHEMA)[1:], orient="row")
    frame = frame.with_columns(pl.lit(symbol).alias("symbol"), pl.col("ts").dt.cast_time_unit("ms"))
    return frame.select(list(BARS_SCHEMA)).cast(BARS_SCHEMA)


@pytest.fixture
def frame() -> Frames:
    return bars_frame


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


@pytest.fixture
def ms() -> Callable[[datetime], int]:
    return milliseconds


class SignedAccount:
    """One account on an engine, called as the signed API calls it, without HTTP."""

    def __init__(self, bars: dict[Timeframe, pl.DataFrame], journal: Journal, **terms: Any) -> None:
        self.market = PracticeMarket.of(GivenCandles(bars).load())
        self.time = VenueTime(stepped_clock(MIDNIGHT), machine_clock=SteppedClock(MIDNIGHT))
        self.venue = PracticeVenue(journal, self.time)
        rules = rules_of(self.market.table, self.market.listings, None)
        self.engine = MatchingEngine(self.market, rules, self.venue, FillModel(**terms))
        self.api = PrivateApi(self.engine, CountedIds())
        self.account: PracticeAccount = self.venue.open_account(
            "key", "secret", {"USDT": Decimal(1000), "AAA": Decimal(100)}
        )

    def ask(self, call: str, **parameters: str) -> Any:
        """Carry out a signed call, as the server does once it knows who calls."""
        route = self.api.routes()[call]
        sent = {**parameters, "timestamp": "0", "signature": "0"}
        return route.handler(self.account, route.read(sent))

    def place(
        self, side: str, quantity: str, price: str | None = None, **parameters: str
    ) -> dict[str, Any]:
        """Place a market order, or a limit order (GTC) with a price; return the venue's answer."""
        given = {"symbol": "AAAUSDT", "side": side, "quantity": quantity, "type": "MARKET"}
        if price is not None:
            given |= {"type": "LIMIT", "price": price, "timeInForce": "GTC"}
        return dict(self.ask("POST /api/v3/order", **given | parameters))

    def step(self, by: timedelta) -> None:
        self.venue.move_clock(self.time.now_ms() + round(by.total_seconds() * 1000))
        self.engine.advance()

    def order(self, order_id: int) -> dict[str, Any]:
        return dict(self.ask("GET /api/v3/order", symbol="AAAUSDT", orderId=str(order_id)))

    def held(self, asset: str) -> tuple[Decimal, Decimal]:
        """Return what is free and locked."""
        balance = self.account.balances.of(asset)
        return balance.free, balance.locked


Sessions = Callable[..., SignedAccount]


@pytest.fixture
def open_account() -> Sessions:
    """Return a function that opens an account on bars by timeframe."""

    def opened(
        bars: dict[Timeframe, pl.DataFrame], journal: Journal | None = None, **terms: Any
    ) -> SignedAccount:
        return SignedAccount(bars, journal or Journal(), **terms)

    return opened
