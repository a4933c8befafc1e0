"""Bars for the tests of the data path: a seeded random walk on the timeframe's grid."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.timeframes import Timeframe

START = datetime(2024, 1, 1, tzinfo=UTC)


def _walk(
    bars: int, timeframe: Timeframe = Timeframe.H1, symbol: str = "BTC/USDT", seed: int = 0
) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.01, bars)))
    opens = np.concatenate([[100.0], close])[:-1]
    high = np.maximum(opens, close) * (1 + random.uniform(0, 0.005, bars))
    low = np.minimum(opens, close) * (1 - random.uniform(0, 0.005, bars))
    values = {
        "open": opens,
        "high": high,
        "low": low,
        "close": close,
        "volume": random.uniform(1, 50, bars),
    }
    ts = [START + number * timeframe.duration for number in range(bars)]
    return pl.DataFrame({"symbol": [symbol] * bars, "ts": ts, **values}, schema=BARS_SCHEMA)


@pytest.fixture(scope="session")
def walk() -> Callable[..., pl.DataFrame]:
    """Return a factory: walk(bars, timeframe, symbol, seed) gives good bars from 2024-01-01 on."""
    return _walk


@pytest.fixture(scope="session")
def start() -> datetime:
    return START
