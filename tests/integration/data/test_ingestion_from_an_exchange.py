"""The whole way on real components: ccxt, the practice exchange's wire, the checks, the database,
the gate.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.expectations import ExpectationsGate
from penstock.adapters.stores.postgres import PostgresBarStore
from penstock.core.bars import require_bars
from penstock.core.machine import SYSTEM_CLOCK, THREADS
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import BoundsGate, CheckGate
from penstock.data.ingestion import IngestReport, ingest_universe
from penstock.data.policy import IngestPolicy
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.server import PracticeServer

NAMES = ["BTC/USDT", "ETH/USDT"]


def ingested(
    market: CcxtMarketData, store: PostgresBarStore, policy: IngestPolicy, gate: CheckGate
) -> list[IngestReport]:
    """Ingest what is closed of both symbols, and return the report of each."""
    return ingest_universe(
        market,
        store,
        "practice",
        NAMES,
        Timeframe.H1,
        policy,
        gate,
        clock=SYSTEM_CLOCK,
        runner=THREADS,
    )


def test_bars_come_over_the_wire_as_they_were(
    store: PostgresBarStore, policy: IngestPolicy, walk: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    """Backfill, a stepped clock, incremental: the database ends with the exchange's closed bars, to
    the last digit.
    """
    bars = pl.concat([walk(300), walk(300, symbol="ETH/USDT", seed=5)])
    bars = bars.with_columns(pl.col("open", "high", "low", "close", "volume").round(2))
    last = bars["ts"][299]
    gate = ExpectationsGate()
    clock = stepped_clock(last - 49 * Timeframe.H1.duration)
    with PracticeServer(GivenCandles({Timeframe.H1: bars}), clock) as server:
        market = CcxtMarketData("binance", base_url=server.url)
        first = ingested(market, store, policy, gate)
        PracticeControl(server.url).step(to=last + Timeframe.H1.duration)
        second = ingested(market, store, policy, gate)
    assert [(r.new, r.failure) for r in first] == [(250, ""), (250, "")]
    assert [(r.new, r.revised, r.unchanged) for r in second] == [(50, 0, 3), (50, 0, 3)]
    assert store.read_bars("practice", Timeframe.H1, NAMES).equals(bars.sort("symbol", "ts"))
    index = gate.build_docs(tmp_path / "docs", Timeframe.H1)
    assert index is not None
    assert index.is_file()


def test_crash_day_is_seen_at_once_and_a_wrong_print_is_not_believed(
    store: PostgresBarStore, policy: IngestPolicy, walk: Callable[..., pl.DataFrame]
) -> None:
    """BTC falls to a twentieth and stays there: its bar is stored at its close, as the venue's bid
    and ask confirm it. ETH shows the same close, but is quoted where it was: its bar waits, and is
    refused once the next one is back.
    """
    prices = ("open", "high", "low", "close")
    row = pl.int_range(pl.len())
    crash = walk(60).with_columns(
        pl.when(row >= 50).then(pl.col(p) / 20).otherwise(pl.col(p)).alias(p) for p in prices
    )
    wrong = walk(60, symbol="ETH/USDT", seed=5).with_columns(
        pl.when(row == 50).then(pl.col(p) / 20).otherwise(pl.col(p)).alias(p) for p in prices
    )
    bars = pl.concat([crash, wrong]).with_columns(pl.col(*prices, "volume").round(4))
    at = bars["ts"][50] + Timeframe.H1.duration
    with PracticeServer(GivenCandles({Timeframe.H1: bars}), stepped_clock(at)) as server:
        market = CcxtMarketData("binance", base_url=server.url)

        def counts() -> list[tuple[int, int, int]]:
            reports = ingested(market, store, policy, BoundsGate())
            return [(each.new, each.quarantined, each.held_back) for each in reports]

        assert counts() == [(51, 0, 0), (50, 0, 1)]
        PracticeControl(server.url).step(to=at + Timeframe.H1.duration)
        assert counts() == [(1, 0, 0), (1, 1, 0)]
    kept = store.read_bars("practice", Timeframe.H1, NAMES, bars["ts"][50])
    assert kept.group_by("symbol").len().sort("symbol").rows() == [("BTC/USDT", 2), ("ETH/USDT", 1)]


def test_real_candles_come_in_with_their_real_gaps(
    candles_dir: Path, store: PostgresBarStore, policy: IngestPolicy
) -> None:
    """Five years of hours of a real market: 45,345 bars, and the 27 outages that the venue itself
    had.
    """
    file = require_bars(
        pl.read_parquet(candles_dir / "justin__binance__ETH-USDT__1h.parquet"), "candles"
    )
    with PracticeServer(
        GivenCandles({Timeframe.H1: file}), stepped_clock(file["ts"][-1] + Timeframe.H1.duration)
    ) as server:
        market = CcxtMarketData("binance", base_url=server.url)
        fast = policy.model_copy(
            update={"start": file["ts"][0], "page_bars": 1000, "chunk_rows": 20_000}
        )
        report = ingest_universe(
            market,
            store,
            "practice",
            ["ETH/USDT"],
            Timeframe.H1,
            fast,
            ExpectationsGate(),
            clock=SYSTEM_CLOCK,
            runner=THREADS,
        )[0]
    assert (report.new, report.gaps, report.missing, report.quarantined, report.failure) == (
        45345,
        27,
        127,
        0,
        "",
    )
    assert store.read_bars("practice", Timeframe.H1, ["ETH/USDT"]).equals(file)
