"""Snapshots of what a real database holds."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from penstock.adapters.stores.postgres import PostgresBarStore
from penstock.core.errors import DataError
from penstock.core.machine import SYSTEM_CLOCK, THREADS
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import BoundsGate
from penstock.data.ingestion import ingest_universe
from penstock.data.policy import IngestPolicy
from penstock.data.snapshots import load_snapshot, take_snapshot
from tests.integration.data.conftest import FrameVenue

H1 = Timeframe.H1
NAMES = ["BTC/USDT", "ETH/USDT"]


def test_a_snapshot_freezes_the_range_and_is_recorded_once(
    venue: type[FrameVenue],
    store: PostgresBarStore,
    policy: IngestPolicy,
    walk: Callable[..., pl.DataFrame],
    start: datetime,
    tmp_path: Path,
) -> None:
    """The same stored bars give the same snapshot; later bars outside the range change nothing."""
    bars = pl.concat([walk(200), walk(200, symbol="ETH/USDT", seed=4)])
    end = start + 100 * H1.duration
    for count in (150, 200):
        market = venue(bars, start + count * H1.duration)
        ingest_universe(
            market,
            store,
            "test",
            NAMES,
            H1,
            policy,
            BoundsGate(),
            clock=SYSTEM_CLOCK,
            runner=THREADS,
        )
        snapshot = take_snapshot(store, "test", H1, NAMES, start, end, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert snapshot.rows == 200
    assert load_snapshot(snapshot.path)[1].equals(
        bars.filter(pl.col("ts") < end).sort("symbol", "ts")
    )
    with pytest.raises(DataError, match=r"no 1h bars of DOGE/USDT on test between"):
        take_snapshot(
            store, "test", H1, [*NAMES, "DOGE/USDT"], start, end + timedelta(days=1), tmp_path
        )
