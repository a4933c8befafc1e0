"""The universe that strategies are tested on: real daily candles, or made-up ones without them."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from penstock.core.bars import VALUE_COLUMNS, require_bars
from penstock.core.timeframes import Timeframe
from penstock.practice.synthetic import SyntheticCandles

#: Each made-up symbol is listed this many days after the one before it.
_LISTED_APART = 40
#: About one day in so many is missing.
_GAP_EVERY = 97
_END_OF_TIME = 2**62


@pytest.fixture(scope="session")
def daily_candles(request: pytest.FixtureRequest) -> pl.DataFrame:
    """Daily bars of coins that were listed at different times: real ones where they are."""
    try:
        folder: Path = request.getfixturevalue("candles_dir")
    except pytest.skip.Exception:
        return made_up_candles()
    paths = sorted(folder.glob("*USDT__1d.parquet"))[:20]
    return require_bars(pl.concat([pl.read_parquet(p) for p in paths]), "candles").sort(
        "symbol", "ts"
    )


def made_up_candles() -> pl.DataFrame:
    """Four years of made-up daily bars; symbols are listed one by one and lack some days."""
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    table = SyntheticCandles(start=start, end=end, minutes=False).load()
    frames = []
    for number, symbol in enumerate(sorted(table)):
        days = table[symbol][Timeframe.H1].window(0, _END_OF_TIME).resampled(Timeframe.D1)
        frame = pl.DataFrame(days.values, schema=list(VALUE_COLUMNS)).with_columns(
            symbol=pl.lit(symbol),
            ts=pl.from_epoch(pl.Series(days.ts), "ms").dt.replace_time_zone("UTC"),
        )
        is_kept = pl.int_range(pl.len()) % (_GAP_EVERY + number) != 0
        frames.append(frame[number * _LISTED_APART :].filter(is_kept))
    return require_bars(pl.concat(frames), "made-up candles").sort("symbol", "ts")
