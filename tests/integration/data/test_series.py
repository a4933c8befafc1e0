"""A ticker is no instrument: relisted, renamed, redenominated and ended coins, from the practice
exchange's wire to the store.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.stores.postgres import PostgresBarStore
from penstock.core.errors import UnknownSymbolError
from penstock.core.machine import SYSTEM_CLOCK, THREADS
from penstock.core.relistings import Join
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import VERDICT_SCHEMA, BoundsGate
from penstock.data.checks import QUARANTINE_SCHEMA
from penstock.data.ingestion import IngestReport, ingest_universe
from penstock.data.policy import IngestPolicy
from penstock.data.snapshots import load_snapshot, take_snapshot
from penstock.data.warm_bars import read_warm_bars
from penstock.ports import BarBatch
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.server import PracticeServer
from penstock.research.engine.backtest import backtest
from penstock.settings.universe import Universe

H1 = Timeframe.H1
LUNA = "LUNA/USDT"
PRICES = ("open", "high", "low", "close")
Walk = Callable[..., pl.DataFrame]


def last_of(bars: pl.DataFrame) -> datetime:
    """Return the newest open time of any symbol."""
    newest: datetime = bars["ts"].sort()[-1]
    return newest


def universe(*symbols: object, start: date = date(2024, 1, 1)) -> Universe:
    return Universe.model_validate(
        {
            "quote": "USDT",
            "symbols": list(symbols),
            "timeframes": {"1h": {"start": start}},
        }
    )


def ingest(
    url: str, store: PostgresBarStore, policy: IngestPolicy, kept: Universe
) -> Mapping[str, IngestReport]:
    """Ingest all that the universe keeps, and return the reports by name."""
    reports = ingest_universe(
        CcxtMarketData("binance", base_url=url),
        store,
        "practice",
        kept.ingested(H1),
        H1,
        policy,
        BoundsGate(),
        series=kept.series,
        clock=SYSTEM_CLOCK,
        runner=THREADS,
    )
    return {report.symbol: report for report in reports}


def relisted(walk: Walk, times: float, symbol: str = LUNA) -> pl.DataFrame:
    """Return 200 hours of a coin, 18 days without a bar, and 300 hours at `times` the price."""
    bars = walk(200 + 18 * 24 + 300, symbol=symbol)
    row = pl.int_range(pl.len())
    later = row >= 200 + 18 * 24
    return (
        bars.with_columns(pl.when(later).then(pl.col(p) * times).otherwise(p) for p in PRICES)
        .filter(later | (row < 200))
        .with_columns(pl.col(*PRICES, "volume").round(4))
    )


def test_relisted_ticker_closes_the_series_until_the_operator_says_that_it_is_a_new_coin(
    store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """LUNA comes back after 18 days at 180,000 times the price. Its bars from there on are not
    stored, run after run, and the message says what to write. With that, both coins have their bars
    under names of their own.
    """
    bars = relisted(walk, 180_000)
    first, after = bars[:200], bars[200:]
    with PracticeServer(
        GivenCandles({H1: bars}), stepped_clock(bars["ts"][-1] + H1.duration)
    ) as server:
        for _ in range(2):
            closed = ingest(server.url, store, policy, universe(LUNA))[LUNA]
            assert "LUNA/USDT moved 162,551 times over the gap" in closed.failure
            assert "{symbol: LUNA/USDT, until: 2024-01-09}" in closed.failure
            assert store.read_bars("practice", H1, [LUNA]).equals(first)
        told = universe(
            {"symbol": LUNA, "until": "2024-01-09"}, {"symbol": LUNA, "from": "2024-01-27"}
        )
        old = "LUNA@2024-01-09/USDT"
        assert told.symbols == (old, LUNA)
        for new in (300, 0):
            reports = ingest(server.url, store, policy, told)
            assert [report.failure for report in reports.values()] == ["", ""]
            assert [reports[old].new, reports[LUNA].new] == [0, new]
    assert store.read_bars("practice", H1, [LUNA]).equals(after)
    assert store.read_bars("practice", H1, [old]).equals(first.with_columns(symbol=pl.lit(old)))
    assert store.watermarks("practice", H1) == {old: first["ts"][-1], LUNA: after["ts"][-1]}


def test_redenominated_coin_goes_on_in_its_new_units(
    store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """One unit becomes a thousand under the same ticker. The series is one coin whose earlier
    prices are in the new units, and what was known then is, too.
    """
    bars = relisted(walk, 0.001)
    with PracticeServer(
        GivenCandles({H1: bars}), stepped_clock(bars["ts"][-1] + H1.duration)
    ) as server:
        assert ingest(server.url, store, policy, universe(LUNA))[LUNA].failure
        known_at = datetime.now(UTC)
        told = universe({"symbol": LUNA, "from": "2024-01-27", "formerly": LUNA, "units": 1000})
        assert told.symbols_of(H1) == (LUNA,)
        reports = ingest(server.url, store, policy, told)
    assert {name: report.failure for name, report in reports.items()} == {
        LUNA: "",
        "LUNA@2024-01-26/USDT": "",
    }
    found = store.read_bars("practice", H1, [LUNA])
    early = bars[:200].with_columns(
        *(pl.col(p) / 1000 for p in PRICES), volume=pl.col("volume") * 1000
    )
    assert_frame_equal(found, pl.concat([early, bars[200:]]), rel_tol=1e-15)
    assert store.read_bars("practice", H1, [LUNA], known_at=known_at).equals(found[:200])
    later = bars["ts"][210]
    assert store.read_bars("practice", H1, [LUNA], later).equals(bars[210:])
    assert store.read_bars("practice", H1, [LUNA], None, bars["ts"][5]).equals(found[:5])


def test_renamed_coin_has_the_bars_of_both_tickers(
    store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """MATIC becomes POL. MATIC is listed no more, and its candles are still served."""
    matic = walk(240, symbol="MATIC/USDT").with_columns(pl.col(*PRICES, "volume").round(4))
    pol = walk(500, symbol="POL/USDT")[260:].with_columns(pl.col(*PRICES, "volume").round(4))
    bars = pl.concat([matic, pol])
    with PracticeServer(
        GivenCandles({H1: bars}), stepped_clock(last_of(bars) + H1.duration)
    ) as server:
        PracticeControl(server.url).delist("MATIC/USDT", candles=True)
        told = universe({"symbol": "POL/USDT", "from": "2024-01-11", "formerly": "MATIC/USDT"})
        assert told.symbols_of(H1) == ("POL/USDT",)
        reports = ingest(server.url, store, policy, told)
    assert {name: (r.new, r.failure) for name, r in reports.items()} == {
        "POL/USDT": (240, ""),
        "MATIC/USDT": (240, ""),
    }
    joined = pl.concat([matic.with_columns(symbol=pl.lit("POL/USDT")), pol])
    assert store.read_bars("practice", H1, ["POL/USDT"]).equals(joined)


def test_symbol_that_is_listed_no_more_is_ingested_where_the_operator_says_that_it_ended(
    store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Without `until` it is unknown. With it, its candles come in, and are asked for once. Nothing
    else can be done with it.
    """
    bars = pl.concat([walk(300, symbol="FTT/USDT"), walk(300)])
    bars = bars.with_columns(pl.col(*PRICES, "volume").round(4))
    with PracticeServer(
        GivenCandles({H1: bars}), stepped_clock(last_of(bars) + H1.duration)
    ) as server:
        control = PracticeControl(server.url)
        control.delist("FTT/USDT", candles=True)
        unknown = ingest(server.url, store, policy, universe("FTT/USDT", "BTC/USDT"))
        assert "does not list the symbol 'FTT/USDT'" in unknown["FTT/USDT"].failure
        told = universe({"symbol": "FTT/USDT", "until": "2024-01-13"}, "BTC/USDT")
        assert ingest(server.url, store, policy, told)["FTT/USDT"].new == 300
        asked = control.stats()["requests"]["GET /api/v3/klines"]
        ingest(server.url, store, policy, told)
        assert control.stats()["requests"]["GET /api/v3/klines"] == asked + 1
        market = CcxtMarketData("binance", base_url=server.url)
        market.fetch_ended_bars("FTT/USDT", H1, bars["ts"][0], 5)
        for call in (market.quotes, market.last_prices):
            with pytest.raises(UnknownSymbolError):
                call(["FTT/USDT"])
        with pytest.raises(UnknownSymbolError):
            market.fetch_ended_bars("NEVER/USDT", H1, bars["ts"][0], 5)
    assert store.read_bars("practice", H1, ["FTT/USDT"]).height == 300


def test_universe_is_that_of_the_time() -> None:
    """Of a ticker that two coins had, each is a member in its own days. One that went on under
    another name is a member throughout. One that ended before the history of a timeframe has no
    bars in it, and no snapshot waits for them.
    """
    entries = (
        "BTC/USDT",
        {"symbol": LUNA, "until": "2022-05-13"},
        {"symbol": LUNA, "from": "2022-05-31"},
        {"symbol": "POL/USDT", "from": "2024-09-13", "formerly": "MATIC/USDT"},
    )
    kept = universe(*entries, start=date(2021, 1, 1))
    later = universe(*entries)
    assert later.symbols_of(H1) == ("BTC/USDT", LUNA, "POL/USDT")
    assert later.ingested(H1) == ("BTC/USDT", LUNA, "POL/USDT", "MATIC/USDT")
    old = "LUNA@2022-05-13/USDT"

    def at(day: datetime) -> tuple[str, ...]:
        return kept.symbols_of(H1, day)

    assert kept.symbols_of(H1) == ("BTC/USDT", old, LUNA, "POL/USDT")
    assert at(datetime(2022, 5, 13, 23, tzinfo=UTC)) == ("BTC/USDT", old, "POL/USDT")
    assert at(datetime(2022, 5, 20, tzinfo=UTC)) == ("BTC/USDT", "POL/USDT")
    assert at(datetime(2024, 9, 14, tzinfo=UTC)) == ("BTC/USDT", LUNA, "POL/USDT")
    assert kept.listed == ("BTC/USDT", LUNA, "POL/USDT")
    assert kept.series["MATIC/USDT"] == Series("MATIC/USDT", ends=datetime(2024, 9, 13, tzinfo=UTC))


@pytest.mark.parametrize("matic", ["MATIC/USDT", {"symbol": "MATIC/USDT", "until": "2024-09-13"}])
def test_coin_that_goes_on_under_another_name_is_not_listed_twice(matic: object) -> None:
    """Research would have its bars twice. Two that go on from each other would never end."""
    pol = {"symbol": "POL/USDT", "from": "2024-09-13", "formerly": "MATIC/USDT"}
    back = {"symbol": "MATIC/USDT", "from": "2024-12-01", "formerly": "POL/USDT"}
    for other in (matic, back):
        with pytest.raises(ValueError, match="goes on from MATIC/USDT on 2024-09-13"):
            universe(pol, other)


def test_move_that_an_operator_has_joined_is_in_the_snapshot(
    store: PostgresBarStore, walk: Walk, tmp_path: Path
) -> None:
    """A coin comes back after 18 days at eight times the price, and it is the same coin: research
    has all of its bars, and its snapshot says so. A join without such a move changes no name.
    """
    bars = relisted(walk, 8)
    refused, checks = pl.DataFrame(schema=QUARANTINE_SCHEMA), pl.DataFrame(schema=VERDICT_SCHEMA)
    store.save_batch(BarBatch("practice", LUNA, H1, bars, refused, checks, bars["ts"][-1]))
    told = universe({"symbol": LUNA, "from": "2024-01-27", "formerly": LUNA})
    calm = take_snapshot(store, "practice", H1, [LUNA], None, bars["ts"][200], tmp_path)
    assert take_snapshot(store, "practice", H1, [LUNA], None, None, tmp_path).rows == 200
    store.save_series("practice", list(told.series.values()))
    taken, found = load_snapshot(
        take_snapshot(store, "practice", H1, [LUNA], None, None, tmp_path).path
    )
    join = Join(LUNA, datetime(2024, 1, 27, tzinfo=UTC))
    assert (found.height, taken.joins) == (500, (join,))
    held = found.select("symbol", "ts", weight=pl.lit(0.5))
    assert backtest(found, held, joins=taken.joins).equity.height == 500
    assert backtest(found, held).equity.height == 200
    again = take_snapshot(store, "practice", H1, [LUNA], None, bars["ts"][200], tmp_path)
    assert (again.content_hash, again.joins) == (calm.content_hash, ())
    # A decision counts bars, not time: its window goes back over the gap as far as it has to.
    until, oldest = bars["ts"][203], bars["ts"][0]
    warm = read_warm_bars(store, "practice", H1, [LUNA], 50, until, oldest)
    assert warm.tail(50).equals(bars[153:203])
    assert read_warm_bars(store, "practice", H1, [LUNA], 400, until, oldest).equals(bars[:203])
    ended = until + 300 * 24 * H1.duration
    assert (
        read_warm_bars(store, "practice", H1, [LUNA], 50, ended, oldest).tail(50).equals(bars[450:])
    )
