"""The whole way on real components: ccxt, the practice exchange's wire, the checks, the database,
the gate.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.expectations import ExpectationsGate
from penstock.adapters.stores.postgres import PostgresBarStore
from penstock.core.bars import require_bars
from penstock.core.machine import SYSTEM_CLOCK, THREADS
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import BoundsGate, CheckGate
from penstock.data.ingestion import IngestReport, ingest_symbol, ingest_universe
from penstock.data.policy import IngestPolicy
from penstock.practice.candle_pages import CandlePage, CandlePages
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


@pytest.mark.parametrize("page", [CandlePage.WINDOW, CandlePage.LAST])
def test_coin_that_was_listed_later_gets_all_its_bars_where_pages_are_short(
    page: CandlePage,
    store: PostgresBarStore,
    policy: IngestPolicy,
    walk: Callable[..., pl.DataFrame],
) -> None:
    """A venue shows 100 bars of the window that it is asked for. Months without any end no history,
    and nothing counts as missing.
    """
    bars = pl.concat([walk(700), walk(700, symbol="ETH/USDT", seed=5)])
    bars = bars.with_columns(pl.col("open", "high", "low", "close", "volume").round(2))
    early = policy.model_copy(
        update={"start": bars["ts"][0] - timedelta(days=190), "page_bars": 500}
    )
    clock = stepped_clock(bars["ts"][-1] + Timeframe.H1.duration)
    with PracticeServer(GivenCandles({Timeframe.H1: bars}), clock) as server:
        PracticeControl(server.url).page_candles(CandlePages(page, most=100))
        market = CcxtMarketData("binance", base_url=server.url)
        reports = ingested(market, store, early, BoundsGate())
    assert [(r.new, r.gaps, r.failure) for r in reports] == [(700, 0, "")] * 2
    assert store.read_bars("practice", Timeframe.H1, NAMES).equals(bars.sort("symbol", "ts"))


def test_bars_that_a_venue_serves_no_more_count_as_missing(
    store: PostgresBarStore, policy: IngestPolicy, walk: Callable[..., pl.DataFrame]
) -> None:
    """A venue serves its newest 720 bars. After 1,441 hours without the service 721 are gone, and
    the report and a warning have the number. So they have from the start of history on.
    """
    bars = pl.concat([walk(2000), walk(2000, symbol="ETH/USDT", seed=5)])
    bars = bars.with_columns(pl.col("open", "high", "low", "close", "volume").round(2))
    at = bars["ts"][0] + 500 * Timeframe.H1.duration
    with PracticeServer(GivenCandles({Timeframe.H1: bars}), stepped_clock(at)) as server:
        control = PracticeControl(server.url)
        control.page_candles(CandlePages(newest=721))  # the open one is among them
        market = CcxtMarketData("binance", base_url=server.url)
        first = ingested(market, store, policy, BoundsGate())
        control.step(to=at + 1441 * Timeframe.H1.duration)
        paused = ingested(market, store, policy, BoundsGate())[0]
        fresh = ingest_symbol(
            market,
            store,
            "elsewhere",
            NAMES[0],
            Timeframe.H1,
            policy,
            BoundsGate(),
            clock=SYSTEM_CLOCK,
        )
    assert [(r.new, r.gaps) for r in first] == [(500, 0)] * 2
    assert (paused.new, paused.gaps, paused.missing) == (720, 1, 721)
    assert [(w.check, w.observed) for w in paused.warnings if w.check == "history"] == [
        ("history", 721)
    ]
    # Daily bars show that the coin traded before, so it was not merely listed later.
    assert (fresh.new, fresh.gaps, fresh.missing) == (720, 1, 1221)


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
