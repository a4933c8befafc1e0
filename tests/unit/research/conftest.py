"""Markets to research on: synthetic random walks, and the real daily candles of twenty coins."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import TS, require_bars


def random_walk(
    symbols: int = 4, bars: int = 300, seed: int = 0, volatility: float = 0.03, drift: float = 0.0
) -> pl.DataFrame:
    """Return daily bars of a geometric random walk with gaps between close and open; symbols are
    A/USDT, B/USDT, ...
    """
    random = np.random.default_rng(seed)
    start = datetime(2021, 1, 1, tzinfo=UTC)
    tables = []
    for k in range(symbols):
        close = (10.0 + k) * np.exp(np.cumsum(random.normal(drift, volatility, bars)))
        open_ = np.concatenate([[10.0 + k], close[:-1]]) * np.exp(
            random.normal(0, volatility / 10, bars)
        )
        tables.append(
            pl.DataFrame(
                {
                    "symbol": f"{chr(65 + k)}/USDT",
                    "ts": pl.Series([start + timedelta(days=i) for i in range(bars)], dtype=TS),
                    "open": open_,
                    "high": np.maximum(open_, close) * 1.01,
                    "low": np.minimum(open_, close) * 0.99,
                    "close": close,
                    "volume": random.uniform(1e3, 1e4, bars),
                }
            )
        )
    return pl.concat(tables)


@pytest.fixture(scope="session")
def walk() -> Callable[..., pl.DataFrame]:
    """The generator of synthetic bars (symbols, bars, seed, volatility, drift)."""
    return random_walk


@pytest.fixture(scope="session")
def daily_candles(candles_dir: Path) -> pl.DataFrame:
    """Real daily bars of twenty coins, listed at different times, with the collectors' gaps."""
    paths = sorted(p for p in candles_dir.glob("*USDT__1d.parquet"))[:20]
    return require_bars(pl.concat([pl.read_parquet(p) for p in paths]), "candles").sort(
        "symbol", "ts"
    )


@pytest.fixture(scope="session")
def dense_candles(daily_candles: pl.DataFrame) -> pl.DataFrame:
    """The days on which all twenty coins have a bar: what vectorbt can simulate without losing
    orders.
    """
    complete = pl.len().over("ts") == daily_candles["symbol"].n_unique()
    return daily_candles.filter(complete)
