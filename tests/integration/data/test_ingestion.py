"""From a venue to a real database: what comes in, what is refused, and what a second run does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from penstock.adapters.expectations import ExpectationsGate
from penstock.adapters.stores.postgres import PostgresBarStore
from penstock.core.errors import (
    DataError,
    RateLimitedError,
    StoreError,
    UnknownSymbolError,
    VenueUnavailableError,
)
from penstock.core.machine import SYSTEM_CLOCK, THREADS
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import BoundsGate
from penstock.data.ingestion import (
    IngestProgress,
    IngestReport,
    ingest_symbol,
    ingest_universe,
    report_frame,
)
from penstock.data.policy import IngestPolicy
from tests.integration.data.conftest import FrameVenue

H1, BTC = Timeframe.H1, "BTC/USDT"
Walk = Callable[..., pl.DataFrame]
GATE = BoundsGate()


def ingest(
    venue: FrameVenue, store: PostgresBarStore, policy: IngestPolicy, **options: Any
) -> IngestReport:
    return ingest_symbol(venue, store, "test", BTC, H1, policy, GATE, clock=SYSTEM_CLOCK, **options)


def stored(store: PostgresBarStore, symbol: str = BTC) -> pl.DataFrame:
    return store.read_bars("test", H1, [symbol])


def test_a_backfill_stores_every_closed_bar_once(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Over pages and chunks the store ends with the venue's closed bars, and the forming one is
    left out.
    """
    bars = walk(730)
    seen: list[IngestProgress] = []
    report = ingest(
        venue(bars, bars["ts"][-1] + timedelta(minutes=30)), store, policy, on_progress=seen.append
    )
    assert stored(store).equals(bars[:-1])
    assert (report.new, report.revised, report.quarantined, report.gaps, report.failure) == (
        729,
        0,
        0,
        0,
        "",
    )
    assert report.watermark == store.watermarks("test", H1)[BTC] == bars["ts"][-2]
    assert (seen[-1].done, seen[-1].total) == (729, 729)
    assert [p.done for p in seen] == sorted(p.done for p in seen)


def test_a_second_run_with_nothing_new_writes_nothing(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Only the overlap is read again, and found unchanged."""
    bars = walk(300)
    market = venue(bars, bars["ts"][-1] + H1.duration)
    ingest(market, store, policy)
    market.requests.clear()
    again = ingest(market, store, policy)
    assert (again.new, again.revised, again.unchanged) == (0, 0, policy.overlap_bars)
    assert market.requests == [(BTC, bars["ts"][-3], 3)]


def test_incremental_runs_end_with_the_same_store_as_one_backfill(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Bar by bar or at once: the same bars."""
    bars = walk(40)
    for count in (10, 11, 12, 25, 40):
        ingest(venue(bars, bars["ts"][count - 1] + H1.duration), store, policy)
        assert stored(store).equals(bars[:count])


def test_a_late_revision_inside_the_overlap_replaces_the_bar(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """The venue's later bar counts, and `reread` finds revisions of any age."""
    bars = walk(100)
    now = bars["ts"][-1] + H1.duration
    ingest(venue(bars, now), store, policy)
    late = (pl.col("ts") == bars["ts"][98]) | (pl.col("ts") == bars["ts"][5])
    revised = bars.with_columns(
        pl.when(late).then(pl.col("volume") + 1).otherwise(pl.col("volume")).alias("volume")
    )
    assert ingest(venue(revised, now), store, policy).revised == 1
    assert (
        ingest(venue(revised, now), store, policy.model_copy(update={"reread": True})).revised == 1
    )
    assert stored(store).equals(revised)


def test_bars_missing_from_the_first_answer_are_asked_for_once_more(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """What the venue has after all is filled in; nothing is reported missing."""
    bars = walk(150)
    market = venue(
        bars,
        bars["ts"][-1] + H1.duration,
        hidden={*bars["ts"][20:23], bars["ts"][60], bars["ts"][61]},
    )
    report = ingest(market, store, policy)
    assert stored(store).equals(bars)
    assert (report.gaps, report.missing, report.new) == (0, 0, 150)


def test_a_gap_that_the_venue_has_is_reported_and_not_invented(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """The gap stays a gap, is counted once, and is no news for the next run."""
    whole = walk(500)
    holes = [*range(30, 34), 100, 204, 498]  # 204 and 498 lie in the overlap that is read twice
    bars = whole.filter(~pl.int_range(pl.len()).is_in(holes))
    market = venue(bars, bars["ts"][-1] + H1.duration)
    report = ingest(market, store, policy)
    assert stored(store).equals(bars)
    assert (report.gaps, report.missing) == (4, 7)
    assert [w.check for w in report.warnings] == []
    again = ingest(market, store, policy)
    assert (again.gaps, again.new) == (0, 0)


def test_bad_rows_go_to_quarantine_and_the_rest_goes_on(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Each refused row is kept with its reason; a second run refuses it again without counting it
    again.
    """
    bars = walk(120)
    hit = pl.int_range(pl.len()) == 50
    spoiled = bars.with_columns(
        pl.when(hit).then(pl.lit(-1.0)).otherwise(pl.col("low")).alias("low")
    )
    market = venue(spoiled, bars["ts"][-1] + H1.duration)
    report = ingest(market, store, policy)
    assert (report.new, report.quarantined, report.missing) == (119, 1, 1)
    kept = store.read_quarantine("test", H1, BTC)
    assert (kept["ts"].item(), kept["reason"].item()) == (bars["ts"][50], "non_positive_price")
    assert ingest(market, store, policy.model_copy(update={"reread": True})).quarantined == 0


def test_a_batch_beyond_the_bounds_stops_with_nothing_stored_but_the_evidence(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """The symbol stops with the rule and the value; bars and watermark stay as they were."""
    half = pl.int_range(pl.len()) < 75
    bars = walk(150).with_columns(
        low=pl.when(half).then(pl.col("high") * 1.01).otherwise(pl.col("low"))
    )
    with pytest.raises(
        DataError, match=r"BTC/USDT 1h on test stopped: error: ohlc: .*0\.075 > 0\.01"
    ):
        ingest(venue(bars, bars["ts"][-1] + H1.duration), store, policy)
    assert stored(store).is_empty()
    assert store.watermarks("test", H1) == {}
    assert store.read_quarantine("test", H1, BTC).height == 75
    verdicts = store.check_results("test", H1)
    assert not verdicts.filter(pl.col("check") == "ohlc")["success"].item()


def test_an_absurd_newest_print_waits_until_the_next_bar_tells(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Held back at first; refused once the next bar is back at the old level."""
    bars = walk(60)
    prices = ("open", "high", "low", "close")
    odd = bars.with_columns(
        pl.when(pl.int_range(pl.len()) == 50).then(pl.col(p) * 40).otherwise(pl.col(p)).alias(p)
        for p in prices
    )
    first = ingest(venue(odd, bars["ts"][50] + H1.duration), store, policy)
    assert (first.new, first.quarantined, first.held_back) == (50, 0, 1)
    assert [w.check for w in first.warnings] == ["held_back"]
    second = ingest(venue(odd, bars["ts"][51] + H1.duration), store, policy)
    assert (second.new, second.quarantined, second.held_back) == (1, 1, 0)
    # the print passes through the overlap, up to its oldest place, without coming in
    for last in (
        52,
        53,
        59,
    ):
        ingest(venue(odd, bars["ts"][last] + H1.duration), store, policy)
    assert stored(store).equals(bars.filter(pl.int_range(pl.len()) != 50))


def test_crash_that_the_venue_quotes_is_stored_at_once(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Live sees the crash when the backtest does, not a bar later. A bid and an ask that are far
    apart confirm nothing.
    """
    prices = ("open", "high", "low", "close")
    bars = walk(60).with_columns(
        pl.when(pl.int_range(pl.len()) >= 50).then(pl.col(p) / 40).otherwise(pl.col(p)).alias(p)
        for p in prices
    )
    market = venue(bars, bars["ts"][50] + H1.duration)
    market.quoted, market.half_spread = bars["close"][50] * 1.05, 0.9
    assert ingest(market, store, policy).held_back == 1
    market.half_spread = 0.01
    report = ingest(market, store, policy)
    assert (report.new, report.quarantined, report.held_back) == (1, 0, 0)
    assert report.watermark == bars["ts"][50]
    assert stored(store).equals(bars[:51])


def test_an_outage_is_retried_and_the_venue_s_own_wait_is_kept(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Time-outs and rate limits pass; the bars are complete."""
    bars = walk(60)
    faults: list[Exception] = [
        VenueUnavailableError("time-out"),
        RateLimitedError("slow down", 0.2),
        VenueUnavailableError("reset"),
    ]
    report = ingest(venue(bars, bars["ts"][-1] + H1.duration, faults=faults), store, policy)
    assert report.new == 60
    assert report.seconds >= 0.2


def test_a_ban_longer_than_the_policy_waits_ends_the_symbol_at_once(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Waiting hours inside a run helps nobody: the error goes to the caller after one request."""
    market = venue(
        walk(60), datetime(2024, 2, 1, tzinfo=UTC), faults=[RateLimitedError("banned", 3600)]
    )
    with pytest.raises(RateLimitedError, match="banned"):
        ingest(market, store, policy)
    assert len(market.requests) == 1


def test_an_unknown_symbol_is_never_retried(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Asking again cannot help."""
    market = venue(walk(60), datetime(2024, 2, 1, tzinfo=UTC))
    with pytest.raises(UnknownSymbolError):
        ingest_symbol(market, store, "test", "NO/NE", H1, policy, GATE, clock=SYSTEM_CLOCK)
    assert len(market.requests) == 1


def test_history_starts_where_the_venue_s_does(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """A start before the listing costs no gap, and a start off the grid begins at the next bar."""
    bars = walk(60)
    early = policy.model_copy(update={"start": bars["ts"][0] - timedelta(days=400)})
    assert ingest(venue(bars, bars["ts"][-1] + H1.duration), store, early).gaps == 0
    assert (
        early.model_copy(update={"start": bars["ts"][0] + timedelta(seconds=1)}).first_open(
            H1, None
        )
        == bars["ts"][1]
    )


def test_a_venue_that_repeats_old_bars_ends_the_run(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """A page without progress stops: no endless loop, and what came before is kept."""

    class Stuck(FrameVenue):
        def fetch_bars(
            self, symbol: str, timeframe: Timeframe, since: datetime, limit: int
        ) -> pl.DataFrame:
            self.requests.append((symbol, since, limit))
            return self.bars.head(50)

    bars = walk(200)
    market = Stuck(bars, bars["ts"][-1] + H1.duration)
    report = ingest(market, store, policy)
    assert report.new == 50
    assert len(market.requests) == 2
    assert [w.check for w in report.warnings] == ["fresh"]


def test_newest_first_pages_come_out_right(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """The order inside a page is repaired, and a warning says so."""
    bars = walk(170)
    report = ingest(venue(bars, bars["ts"][-1] + H1.duration, reverse=True), store, policy)
    assert stored(store).equals(bars)
    assert [w.check for w in report.warnings] == ["increasing"]


def test_a_universe_goes_on_when_one_symbol_fails(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """Each symbol has its report, in the order asked; failures name their cause; the venue's rules
    are saved.
    """
    good, also = walk(100), walk(100, symbol="ETH/USDT", seed=1)
    bad = walk(100, symbol="BAD/USDT", seed=2).with_columns(close=pl.lit(None, dtype=pl.Float64))
    market = venue(pl.concat([good, also, bad]), good["ts"][-1] + H1.duration)
    names = ["ETH/USDT", "BAD/USDT", "BTC/USD", BTC]
    reports = ingest_universe(
        market,
        store,
        "test",
        names,
        H1,
        policy,
        ExpectationsGate(),
        clock=SYSTEM_CLOCK,
        runner=THREADS,
    )
    assert [r.symbol for r in reports] == names
    assert [r.ok for r in reports] == [True, False, False, True]
    assert "error: nulls" in reports[1].failure
    assert reports[2].failure.startswith(
        "test does not list the symbol 'BTC/USD': did you mean BTC/USDT?"
    )
    assert stored(store).equals(good)
    assert stored(store, "ETH/USDT").equals(also)
    assert report_frame(reports)["new"].to_list() == [100, 0, 0, 100]


def test_a_database_that_fails_ends_the_run(
    venue: type[FrameVenue], store: PostgresBarStore, policy: IngestPolicy, walk: Walk
) -> None:
    """No symbol's data is bad, so the run raises and blames no symbol."""
    store._database.close()  # the database goes away under the store
    with pytest.raises(StoreError):
        ingest_universe(
            venue(walk(50), datetime(2024, 2, 1, tzinfo=UTC)),
            store,
            "test",
            [BTC],
            H1,
            policy,
            GATE,
            clock=SYSTEM_CLOCK,
            runner=THREADS,
        )
