"""What every BarStore and BarInventory promise, held against every tier."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from penstock.adapters.stores.postgres import Database, PostgresBarStore
from penstock.core.bars import BARS_SCHEMA, TS, VALUE_COLUMNS, empty_bars
from penstock.core.errors import StoreError
from penstock.core.instruments import Instrument
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe
from penstock.ports import BarBatch, BarInventory, BarStore, BatchResult

START = datetime(2024, 1, 30, tzinfo=UTC)
SYMBOL = "BTC/USDT"
FEW, MANY = 20, 1_000  # below and above the size from which rows go by COPY

NO_QUARANTINE = pl.DataFrame(schema={**BARS_SCHEMA, "reason": pl.String()})
NO_CHECKS = pl.DataFrame(
    schema={
        "check": pl.String,
        "success": pl.Boolean,
        "observed": pl.Float64,
        "bound": pl.Float64,
        "detail": pl.String,
    }
)


def hourly(
    count: int, start: datetime = START, symbol: str = SYMBOL, seed: int = 1
) -> pl.DataFrame:
    values = np.random.default_rng(seed).uniform(90, 110, (len(VALUE_COLUMNS), count))
    ts = [start + timedelta(hours=hour) for hour in range(count)]
    columns = {name: values[i] for i, name in enumerate(VALUE_COLUMNS)}
    return pl.DataFrame({"symbol": [symbol] * count, "ts": ts, **columns}, schema=BARS_SCHEMA)


def batch(
    exchange: str,
    bars: pl.DataFrame,
    quarantined: pl.DataFrame = NO_QUARANTINE,
    checks: pl.DataFrame = NO_CHECKS,
    watermark: datetime | None = None,
    symbol: str = SYMBOL,
) -> BarBatch:
    return BarBatch(exchange, symbol, Timeframe.H1, bars, quarantined, checks, watermark)


def with_close(bars: pl.DataFrame, row: int, close: float) -> pl.DataFrame:
    return bars.with_columns(
        close=pl.when(pl.int_range(pl.len()) == row).then(close).otherwise("close")
    )


def read(store: BarStore, exchange: str, symbol: str = SYMBOL) -> pl.DataFrame:
    return store.read_bars(exchange, Timeframe.H1, [symbol])


@pytest.fixture
def store(database: Database) -> PostgresBarStore:
    return PostgresBarStore(database)


@pytest.fixture
def inventory(store: PostgresBarStore) -> BarInventory:
    return store


@pytest.mark.parametrize("count", [1, FEW, MANY])
def test_saved_bars_are_read_back_bit_for_bit(store: BarStore, name: str, count: int) -> None:
    """Whichever way the rows take into the table, every value and time comes back equal, in the
    bars' own schema.
    """
    bars = hourly(count)
    result = store.save_batch(batch(name, bars))
    assert (result.new, result.revised, result.unchanged) == (count, 0, 0)
    assert store.read_bars(name, Timeframe.H1, [SYMBOL]).equals(bars)


def test_extreme_floats_survive(store: BarStore, name: str) -> None:
    """Float64 values are not rounded by the wire or the table."""
    bars = hourly(FEW).with_columns(
        volume=pl.lit(5e-324), high=pl.lit(1.7976931348623157e308), close=pl.lit(0.1 + 0.2)
    )
    store.save_batch(batch(name, bars))
    assert store.read_bars(name, Timeframe.H1, [SYMBOL]).equals(bars)


@pytest.mark.parametrize("count", [FEW, MANY])
def test_saving_the_same_batch_again_changes_nothing(
    store: BarStore, name: str, database: Database, count: int
) -> None:
    """A repeated batch is all unchanged: no bar, revision, quarantined row or check result is
    added.
    """
    bars = hourly(count)
    checks = pl.DataFrame(
        {
            "check": ["gaps"],
            "success": [True],
            "observed": [0.0],
            "bound": [3.0],
            "detail": ["none"],
        }
    )
    bad = bars.head(2).with_columns(
        reason=pl.lit("spike"), open=pl.lit(None, pl.Float64), close=pl.lit(float("nan"))
    )
    whole = batch(name, bars, bad, checks, watermark=bars["ts"][-1])
    first = store.save_batch(whole)
    before = _row_counts(database, name)
    second = store.save_batch(whole)
    assert (first.new, first.quarantined) == (count, 2)
    assert (second.new, second.revised, second.unchanged, second.quarantined) == (0, 0, count, 0)
    assert _row_counts(database, name) == before


@pytest.mark.parametrize("count", [FEW, MANY])
def test_revision_replaces_the_bar_and_the_past_stays_readable(
    store: BarStore, name: str, count: int
) -> None:
    """After two revisions each earlier instant still reads what was known then; now reads the
    newest value.
    """
    bars = hourly(count)
    instants = [_instant()]
    for close in (None, 1.5, 2.5):
        store.save_batch(batch(name, bars if close is None else with_close(bars, 7, close)))
        instants.append(_instant())
    known = [
        store.read_bars(name, Timeframe.H1, [SYMBOL], known_at=instant) for instant in instants
    ]
    assert known[0].is_empty()
    assert known[1].equals(bars)
    assert known[2].equals(with_close(bars, 7, 1.5))
    assert known[3].equals(with_close(bars, 7, 2.5))
    assert store.read_bars(name, Timeframe.H1, [SYMBOL]).equals(known[3])


def test_later_bars_are_absent_from_an_earlier_instant(store: BarStore, name: str) -> None:
    """Bars that were stored after an instant are not part of what was known at it."""
    bars = hourly(FEW)
    store.save_batch(batch(name, bars.head(5)))
    instant = _instant()
    store.save_batch(batch(name, bars))
    assert store.read_bars(name, Timeframe.H1, [SYMBOL], known_at=instant).equals(bars.head(5))


def test_bars_of_an_earlier_coin_move_to_it_with_their_past(store: BarStore, name: str) -> None:
    """Told what a ticker stood for, the store gives each coin its own bars, revisions, refused rows
    and watermark. Told again it changes nothing.
    """
    bars, old = hourly(FEW), "BTC@2024-01-30/USDT"
    ends = bars["ts"][12]
    refused = bars[3:4].with_columns(reason=pl.lit("test"))
    store.save_batch(batch(name, bars, refused, watermark=bars["ts"][-1]))
    known_at = datetime.now(UTC)
    time.sleep(0.01)
    revised = with_close(bars, 5, 1.5)
    store.save_batch(batch(name, revised))
    lives = [
        Series(old, SYMBOL, ends=ends),
        Series(SYMBOL, starts=ends),
    ]
    for _ in range(2):
        store.save_series(name, lives)
        assert read(store, name).equals(revised[12:])
        assert read(store, name, old).equals(revised[:12].with_columns(symbol=pl.lit(old)))
        then = store.read_bars(name, Timeframe.H1, [old], known_at=known_at)
        assert then["close"].to_list() == bars["close"][:12].to_list()
        assert store.watermarks(name, Timeframe.H1) == {old: bars["ts"][11], SYMBOL: bars["ts"][-1]}
    store.save_series(name, [Series(SYMBOL)])
    assert read(store, name).equals(revised[12:])


def test_series_goes_on_with_what_it_was_in_its_own_units(store: BarStore, name: str) -> None:
    """A was B, ten for one, and B was C, two for one: one series, in units of A."""
    bars = hourly(9)
    for symbol, rows in (("C/USDT", bars[:3]), ("B/USDT", bars[3:6]), ("A/USDT", bars[6:])):
        own = rows.with_columns(symbol=pl.lit(symbol))
        store.save_batch(batch(name, own, symbol=symbol))
    first, second = bars["ts"][3], bars["ts"][6]
    store.save_series(
        name,
        [
            Series("C/USDT", ends=first),
            Series("B/USDT", starts=first, ends=second, formerly="C/USDT", units=2),
            Series("A/USDT", starts=second, formerly="B/USDT", units=10),
        ],
    )
    found = read(store, name, "A/USDT")
    factor = pl.Series([20.0] * 3 + [10.0] * 3 + [1.0] * 3)
    assert found["ts"].to_list() == bars["ts"].to_list()
    assert found["close"].to_list() == pytest.approx((bars["close"] / factor).to_list())
    assert found["volume"].to_list() == pytest.approx((bars["volume"] * factor).to_list())
    part = store.read_bars(name, Timeframe.H1, ["A/USDT"], bars["ts"][2], bars["ts"][7])
    assert part.rows() == found[2:7].rows()


def test_bar_that_was_held_back_is_in_doubt_until_it_was_first_stored(
    store: BarStore, name: str
) -> None:
    """Held back bars are no bars. Stored later, they are told with the time of that, and a revision
    does not change it.
    """
    bars = hourly(FEW)
    held = replace(batch(name, bars[:-1]), held=(bars["ts"][-1],))
    store.save_batch(held)
    assert read(store, name).equals(bars[:-1])
    assert list(store.read_doubts(name, Timeframe.H1, [SYMBOL])) == []
    before = datetime.now(UTC)
    store.save_batch(batch(name, bars))
    after = datetime.now(UTC)
    (found,) = store.read_doubts(name, Timeframe.H1, [SYMBOL])
    assert (found.symbol, found.ts) == (SYMBOL, bars["ts"][-1])
    assert before - timedelta(seconds=1) < found.known_at < after + timedelta(seconds=1)
    store.save_batch(batch(name, with_close(bars, FEW - 1, 1.5)))
    assert list(store.read_doubts(name, Timeframe.H1, [SYMBOL])) == [found]


def test_mixed_batch_counts_new_revised_and_unchanged(store: BarStore, name: str) -> None:
    """A large batch over a half-filled range is sorted into the three counts row by row."""
    bars = hourly(MANY)
    store.save_batch(batch(name, bars.head(600)))
    result = store.save_batch(batch(name, with_close(bars, 3, 1.0)))
    assert (result.new, result.revised, result.unchanged) == (400, 1, 599)
    assert store.read_bars(name, Timeframe.H1, [SYMBOL]).equals(with_close(bars, 3, 1.0))


def test_range_is_half_open_and_symbols_are_sorted(store: BarStore, name: str) -> None:
    """start is included, end is not, rows come by symbol then time, and unknown symbols add
    nothing.
    """
    for symbol in ("ETH/USDT", "ADA/USDT"):
        store.save_batch(batch(name, hourly(48, symbol=symbol), symbol=symbol))
    start, end = START + timedelta(hours=1), START + timedelta(hours=3)
    read = store.read_bars(name, Timeframe.H1, ["ETH/USDT", "ADA/USDT", "NO/USDT"], start, end)
    assert read["symbol"].to_list() == ["ADA/USDT"] * 2 + ["ETH/USDT"] * 2
    assert read["ts"].to_list() == [start, start + timedelta(hours=1)] * 2
    assert store.read_bars(name, Timeframe.D1, ["ETH/USDT"]).equals(empty_bars())
    assert store.read_bars(name, Timeframe.H1, []).schema == BARS_SCHEMA


def test_bars_of_several_years_find_their_partitions(store: BarStore, name: str) -> None:
    """Months that no bar was ever stored in, December's turn included, need no preparation."""
    ts = [
        datetime(year, month, 28, tzinfo=UTC)
        for year in (1999, 2017, 2031)
        for month in range(1, 13)
    ]
    bars = hourly(len(ts)).with_columns(ts=pl.Series(ts).cast(TS))
    store.save_batch(batch(name, bars))
    assert store.read_bars(name, Timeframe.H1, [SYMBOL]).equals(bars)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda bars: pl.concat([bars, bars.head(1)]), "occur twice"),
        (lambda bars: bars.with_columns(close=pl.lit(None, pl.Float64)), "missing values"),
        (lambda bars: bars.with_columns(symbol=pl.lit("ETH/USDT")), "one symbol at a time"),
    ],
)
def test_batch_that_breaks_a_rule_is_refused(
    store: BarStore, name: str, spoil: Callable[[pl.DataFrame], pl.DataFrame], said: str
) -> None:
    """Duplicate times, missing values and foreign symbols never reach the table; the message says
    which rule it was.
    """
    with pytest.raises(StoreError, match=said):
        store.save_batch(batch(name, spoil(hourly(FEW))))
    assert store.read_bars(name, Timeframe.H1, [SYMBOL]).is_empty()


def test_failure_late_in_a_batch_leaves_nothing_of_it(store: BarStore, name: str) -> None:
    """Quarantine comes after the bars; when the database refuses it, the bars and the watermark are
    gone too.
    """
    without_reason = hourly(1).with_columns(reason=pl.lit(None, pl.String))
    with pytest.raises(StoreError):
        store.save_batch(batch(name, hourly(MANY), without_reason, watermark=START))
    assert store.read_bars(name, Timeframe.H1, [SYMBOL]).is_empty()
    assert store.watermarks(name, Timeframe.H1) == {}


def test_watermark_moves_forward_only(store: BarStore, name: str) -> None:
    """A repair of old bars, or a batch without a watermark, does not make the next ingestion start
    over.
    """
    for watermark in (START + timedelta(hours=5), START, None):
        store.save_batch(batch(name, empty_bars(), watermark=watermark))
    assert store.watermarks(name, Timeframe.H1) == {SYMBOL: START + timedelta(hours=5)}
    assert store.watermarks(name, Timeframe.M1) == {}


def test_quarantine_keeps_values_and_reasons(
    store: BarStore, inventory: BarInventory, name: str
) -> None:
    """The same row with another reason is a second row; values are kept as they came, missing ones
    included.
    """
    row = hourly(1).with_columns(low=pl.lit(None, pl.Float64))
    for reason in ("spike", "gap", "spike"):
        store.save_batch(batch(name, empty_bars(), row.with_columns(reason=pl.lit(reason))))
    kept = inventory.read_quarantine(name, Timeframe.H1, SYMBOL)
    assert kept["reason"].to_list() == ["spike", "gap"]
    assert kept.select(list(BARS_SCHEMA)).head(1).equals(row)
    assert kept.schema["quarantined_at"] == TS
    assert inventory.read_quarantine(name, Timeframe.H1, "ETH/USDT").is_empty()


def test_newest_check_result_is_read(store: BarStore, inventory: BarInventory, name: str) -> None:
    """Of several results of one check the newest is the one that is shown."""
    for observed in (1.0, 2.0, 1.0):
        checks = pl.DataFrame(
            {
                "check": ["gaps"],
                "success": [observed < 2],
                "observed": [observed],
                "bound": [1.5],
                "detail": [""],
            }
        )
        store.save_batch(batch(name, empty_bars(), checks=checks))
    row = inventory.check_results(name, Timeframe.H1).row(0, named=True)
    assert (row["symbol"], row["check"], row["success"], row["observed"]) == (
        SYMBOL,
        "gaps",
        True,
        "1.0",
    )


def test_two_writers_of_one_series_lose_nothing(store: BarStore, name: str) -> None:
    """Overlapping batches at the same time end as if they had come one after the other."""
    bars = hourly(40_000, datetime(2020, 1, 1, tzinfo=UTC))
    parts = [bars.head(30_000), bars.tail(30_000), bars.slice(10_000, 200), bars]
    # the instrument is known, so that nobody waits for its row
    store.save_batch(batch(name, empty_bars()))
    together = threading.Barrier(len(parts))

    def save(part: pl.DataFrame) -> BatchResult:
        together.wait()
        return store.save_batch(batch(name, part))

    with ThreadPoolExecutor(len(parts)) as pool:
        results = list(pool.map(save, parts))
    assert sum(result.new for result in results) == bars.height
    assert sum(result.revised for result in results) == 0
    assert store.read_bars(name, Timeframe.H1, [SYMBOL]).equals(bars)


def test_instruments_and_snapshots_are_recorded_once(
    store: BarStore, name: str, database: Database
) -> None:
    """Saving an instrument again updates its rules; recording a snapshot again changes nothing."""
    for step in ("0.1", "0.01"):
        tick, least = Decimal("0.01"), Decimal("0.001")
        rules = Instrument(SYMBOL, "BTC", "USDT", tick, Decimal(step), least, Decimal(5))
        store.save_instruments(name, [rules])
    for uri in ("first", "second"):
        store.save_snapshot(f"hash of {name}", name, Timeframe.H1, [SYMBOL], 10, uri)
    with database.transaction() as connection:
        steps = connection.execute(
            "SELECT lot_step FROM instrument WHERE exchange = %s", [name]
        ).fetchall()
        uris = connection.execute("SELECT uri FROM snapshot WHERE exchange = %s", [name]).fetchall()
        kinds = connection.execute(
            "SELECT kind, settle, contract_size FROM instrument WHERE exchange = %s", [name]
        ).fetchall()
    assert steps == [(Decimal("0.01"),)]
    assert kinds == [("spot", "USDT", 1)]
    assert uris == [("first",)]
    store.save_batch(replace(batch(name, empty_bars()), symbol="ETH/USDT"))  # without its rules
    assert store.read_instruments(name, [SYMBOL, "ETH/USDT", "XRP/USDT"]) == {SYMBOL: rules}


def test_coverage_counts_what_is_stored(
    store: BarStore, inventory: BarInventory, name: str
) -> None:
    """Coverage names rows, first and last bar of every series of the venue."""
    store.save_batch(batch(name, hourly(48)))
    last = START + timedelta(hours=47)
    assert inventory.coverage(name).rows() == [("1h", SYMBOL, 48, START, last)]


def test_real_minutes_come_back_equal(store: BarStore, name: str, candles_dir: Path) -> None:
    """155,267 real one-minute candles survive the way in and out unchanged, revisited once."""
    source = pl.read_parquet(candles_dir / "marketlab__binance__KITE-USDT__1m.parquet")
    bars = source.select(list(BARS_SCHEMA)).with_columns(pl.col("ts").cast(TS))
    whole = BarBatch(name, bars["symbol"][0], Timeframe.M1, bars, NO_QUARANTINE, NO_CHECKS, None)
    assert store.save_batch(whole).new == bars.height
    assert store.save_batch(whole).unchanged == bars.height
    assert store.read_bars(name, Timeframe.M1, [whole.symbol]).equals(bars)


def _instant() -> datetime:
    """An instant that lies strictly between the write before and the write after it."""
    time.sleep(0.005)
    instant = datetime.now(UTC)
    time.sleep(0.005)
    return instant


def _row_counts(database: Database, exchange: str) -> list[int]:
    counts = []
    with database.transaction() as connection:
        for table in ("bar", "bar_revision", "quarantine", "check_result", "watermark"):
            statement = (
                f"SELECT count(*) FROM {table} JOIN instrument i ON i.id = instrument_id "  # noqa: S608
                "WHERE exchange = %s"
            )
            row = connection.execute(statement.encode(), [exchange]).fetchone()
            counts.append(row[0] if row else -1)
    return counts
