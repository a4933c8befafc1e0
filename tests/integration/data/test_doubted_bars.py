"""A bar that was held back and came true: over the wire, in the store, the snapshot, research."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.stores.postgres import PostgresBarStore
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.relistings import Join
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import BoundsGate
from penstock.data.ingestion import IngestReport, ingest_symbol
from penstock.data.policy import IngestPolicy
from penstock.data.snapshots import load_snapshot, take_snapshot
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.server import PracticeServer

H1, BTC = Timeframe.H1, "BTC/USDT"


def test_bar_that_nobody_confirmed_is_on_record_until_it_came_true(
    store: PostgresBarStore, policy: IngestPolicy, walk: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    """BTC falls to a twentieth while the book still shows the old price: the bar waits. The next
    one confirms it. Its snapshot knows that it was in doubt, and a bar that was not has no doubt.
    """
    prices = ("open", "high", "low", "close")
    row = pl.int_range(pl.len())
    bars = walk(60).with_columns(
        pl.when(row >= 50).then(pl.col(p) / 20).otherwise(pl.col(p)).round(4).alias(p)
        for p in prices
    )
    bars = bars.with_columns(pl.col("volume").round(4))
    at = bars["ts"][50] + H1.duration
    with PracticeServer(GivenCandles({H1: bars}), stepped_clock(at)) as server:
        control = PracticeControl(server.url)
        control.show_book(BTC, 90, 91)
        market = CcxtMarketData("binance", base_url=server.url)

        def ingested() -> IngestReport:
            return ingest_symbol(
                market, store, "practice", BTC, H1, policy, BoundsGate(), clock=SYSTEM_CLOCK
            )

        assert (ingested().held_back, ingested().held_back) == (1, 1)
        assert store.read_doubts("practice", H1, [BTC]) == []
        plain = take_snapshot(store, "practice", H1, [BTC], None, bars["ts"][50], tmp_path)
        control.step(to=at + H1.duration)
        assert ingested().new == 2
    (doubt,) = store.read_doubts("practice", H1, [BTC])
    assert (doubt.symbol, doubt.ts) == (BTC, bars["ts"][50])
    just_before = doubt.known_at - timedelta(microseconds=1)
    before = store.read_bars("practice", H1, [BTC], known_at=just_before)
    assert before.height == 50
    taken = take_snapshot(store, "practice", H1, [BTC], None, None, tmp_path)
    loaded, found = load_snapshot(taken.path)
    assert (loaded.doubts, loaded.content_hash) == ((doubt,), taken.content_hash)
    assert found.equals(bars[:52])
    # A snapshot of bars that were never in doubt has the name that it always had.
    again = take_snapshot(store, "practice", H1, [BTC], None, bars["ts"][50], tmp_path)
    assert (again.content_hash, again.doubts) == (plain.content_hash, ())
    # Under a new name it is the same bar, and the same doubt.
    renamed = doubt.ts + timedelta(days=1)
    store.save_series(
        "practice",
        [Series(BTC, ends=renamed), Series("NEW/USDT", starts=renamed, formerly=BTC)],
    )
    assert store.read_doubts("practice", H1, ["NEW/USDT"]) == [replace(doubt, symbol="NEW/USDT")]
    assert store.read_joins("practice", ["NEW/USDT", BTC]) == [Join("NEW/USDT", renamed)]
