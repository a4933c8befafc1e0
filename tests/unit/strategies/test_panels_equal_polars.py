"""The shipped strategies decide what their Polars forms did, to the last digit."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA, require_bars
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.indicators.compiled import begin_compiling
from strategies import STRATEGIES

from .polars_reference import REFERENCE
from .test_contract import EXTREMES

begin_compiling()  # tests/unit/indicators compares the interpreter with the compiler
CORNERS = [(name, values) for name in REFERENCE for values in ({}, *EXTREMES[name])]


def _differences(strategy: Strategy, bars: pl.DataFrame, timeframe: Timeframe) -> int:
    """Return how many weights are not the same number, or not undecided alike."""
    decided = strategy.decide(bars, timeframe)
    wanted = REFERENCE[strategy.name](strategy, bars).sort("symbol", "ts")
    assert decided.select("symbol", "ts").equals(wanted.select("symbol", "ts"))
    assert (decided["weight"] > 0).any()
    return int(decided["weight"].ne_missing(wanted["weight"]).sum())


def _walks(symbols: int, rows: int, tick: float = 0.0, holes: float = 0.0) -> pl.DataFrame:
    """Return hourly random walks, on ticks, or with outages, listings, delistings and late bars."""
    random = np.random.default_rng(symbols * 7 + rows)
    first = pl.lit(datetime(2024, 1, 1, tzinfo=UTC))
    ts = pl.select(
        ts=pl.datetime_range(first, first + pl.duration(hours=rows - 1), "1h", time_unit="ms")
    )
    frames = []
    for k in range(symbols):
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, rows)))
        prices = pl.Series(np.round(close / tick) * tick if tick else close)
        frame = ts.select(
            pl.lit(f"S{k:02d}/USDT").alias("symbol"),
            "ts",
            *(prices.alias(name) for name in ("open", "high", "low", "close")),
            volume=pl.lit(1.0),
        )
        kept = random.random(rows) >= holes
        if holes:
            outage = random.integers(0, rows)
            kept[outage : outage + 40] = False
            kept[: (k % 3 == 0) * rows // 3] = False
            kept[rows - (k % 4 == 1) * rows // 4 :] = False
            kept[rows - (k % 5) * 2 :] = False
        frames.append(frame.filter(pl.Series(kept)))
    return pl.concat(frames).select(list(BARS_SCHEMA))


MARKETS = {
    "whole": _walks(6, 700),
    "one symbol": _walks(1, 700),
    "ties on ticks": _walks(6, 701, tick=1.0),
    "many symbols": _walks(24, 600),
    "gaps": _walks(11, 900, holes=0.05),
    "gaps and ties": _walks(12, 900, tick=1.0, holes=0.1),
}


@pytest.mark.parametrize(("name", "values"), CORNERS, ids=[f"{n}-{v}" for n, v in CORNERS])
@pytest.mark.parametrize("market", MARKETS)
def test_weights_on_made_up_bars_are_those_of_polars(
    market: str, name: str, values: dict[str, Any]
) -> None:
    """No weight differs in any digit, with late bars, listings, delistings, outages and ties."""
    strategy = STRATEGIES[name].from_params(values)
    assert _differences(strategy, MARKETS[market], Timeframe.H1) == 0


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("timeframe", [Timeframe.H1, Timeframe.D1])
def test_weights_on_real_candles_are_those_of_polars(
    name: str, timeframe: Timeframe, candles_dir: Path
) -> None:
    """No weight differs in any digit on real bars of coins that were listed one after another."""
    frames = [
        pl.read_parquet(path) for path in sorted(candles_dir.glob(f"*USDT__{timeframe}.parquet"))
    ]
    table = require_bars(pl.concat(frames[:20]), "candles").unique(["symbol", "ts"], keep="first")
    symbols = table["symbol"].value_counts().sort("count", descending=True)["symbol"].head(12)
    bars = table.filter(pl.col("symbol").is_in(symbols.implode())).sort("symbol", "ts")
    assert _differences(STRATEGIES[name](), bars, timeframe) == 0
