"""A real database and a venue that answers from a frame, with faults in the order they are asked
for.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from penstock.adapters.stores.postgres import PostgresBarStore
from penstock.core.bars import BARS_SCHEMA
from penstock.core.errors import UnknownSymbolError
from penstock.core.instruments import Instrument
from penstock.core.quotes import Quote
from penstock.core.timeframes import Timeframe
from penstock.data.policy import IngestPolicy
from tests.servers import DatabaseServers

START = datetime(2024, 1, 1, tzinfo=UTC)


def _walk(
    bars: int, timeframe: Timeframe = Timeframe.H1, symbol: str = "BTC/USDT", seed: int = 0
) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.005, bars)))
    opens = np.concatenate([[100.0], close])[:-1]
    values = {
        "open": opens,
        "high": np.maximum(opens, close),
        "low": np.minimum(opens, close),
        "close": close,
    }
    ts = [START + number * timeframe.duration for number in range(bars)]
    return pl.DataFrame(
        {"symbol": [symbol] * bars, "ts": ts, **values, "volume": random.uniform(1, 50, bars)},
        schema=BARS_SCHEMA,
    )


@dataclass
class FrameVenue:
    """MarketData over a frame of bars of one timeframe: a venue whose history, clock and faults the
    test sets.
    """

    bars: pl.DataFrame
    at: datetime
    faults: list[Exception] = field(default_factory=list)
    hidden: set[datetime] = field(default_factory=set)  # absent from the first answer about them
    requests: list[tuple[str, datetime, int]] = field(default_factory=list)
    reverse: bool = False
    quoted: float | None = None
    half_spread: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> datetime:
        return self.at

    def instruments(self) -> Mapping[str, Instrument]:
        step = Decimal("0.01")
        names = self.bars["symbol"].unique(maintain_order=True)
        return {
            name: Instrument(name, name.split("/")[0], "USDT", step, step, step, Decimal(5))
            for name in names
        }

    def fetch_bars(
        self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
    ) -> pl.DataFrame:
        with self._lock:
            self.requests.append((symbol, since, limit))
            if self.faults:
                raise self.faults.pop(0)
            own = self.bars.filter(pl.col("symbol") == symbol)
            if own.is_empty():
                raise UnknownSymbolError(f"no {symbol} here")
            page = own.filter(pl.col("ts").is_between(since, self.at) | pl.col("ts").is_null())
            page = page.head(limit)
            answer = page.filter(~pl.col("ts").is_in(list(self.hidden)))
            self.hidden -= set(page["ts"])
            return answer.reverse() if self.reverse else answer

    def last_prices(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        return {}

    def quotes(self, symbols: Sequence[str]) -> Mapping[str, Quote]:
        if self.quoted is None:
            return {}
        bid, ask = (Decimal(str(self.quoted * (1 + sign * self.half_spread))) for sign in (-1, 1))
        return {symbol: Quote(bid, ask) for symbol in symbols}


@pytest.fixture(scope="session")
def walk() -> Callable[..., pl.DataFrame]:
    return _walk


@pytest.fixture(scope="session")
def venue() -> type[FrameVenue]:
    return FrameVenue


@pytest.fixture(scope="session")
def start() -> datetime:
    return START


@pytest.fixture
def policy() -> IngestPolicy:
    """Small pages and chunks, so that a few hundred bars exercise them, and no waiting."""
    return IngestPolicy(
        start=START, page_bars=50, chunk_rows=200, backoff_seconds=0.001, max_wait_seconds=0.5
    )


@pytest.fixture
def store(servers: DatabaseServers) -> Iterator[PostgresBarStore]:
    """A bar store on an empty database of its own."""
    with servers.opened() as (_, database):
        yield PostgresBarStore(database)
