"""The universe that strategies are tested on: real daily candles of twenty coins."""

from pathlib import Path

import polars as pl
import pytest

from penstock.core.bars import require_bars


@pytest.fixture(scope="session")
def daily_candles(candles_dir: Path) -> pl.DataFrame:
    """Real daily bars of twenty coins, listed at different times, with the collectors' gaps."""
    paths = sorted(candles_dir.glob("*USDT__1d.parquet"))[:20]
    return require_bars(pl.concat([pl.read_parquet(p) for p in paths]), "candles").sort(
        "symbol", "ts"
    )
