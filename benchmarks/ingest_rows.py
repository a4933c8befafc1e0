"""How fast do bars enter the database? Our way, a row-wise upsert and the server's own limit, in
one run.

Prints rows per second and the ratio to the server-side COPY of a ready binary file. No client can
beat that COPY.
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from penstock.adapters.stores.embedded import TIMESCALE_SETTINGS, EmbeddedPostgres
from penstock.adapters.stores.postgres import (
    Database,
    PostgresBarStore,
    connect,
    create_database,
    migrate,
)
from penstock.adapters.stores.postgres.partitions import Partitions
from penstock.core.bars import BARS_SCHEMA, VALUE_COLUMNS
from penstock.core.timeframes import Timeframe
from penstock.ports import BarBatch

_UPSERT = """
    INSERT INTO bar VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now())
    ON CONFLICT (instrument_id, timeframe, ts) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume
"""
_EMPTY = pl.DataFrame(schema={**BARS_SCHEMA, "reason": pl.String()})
_NO_CHECKS = pl.DataFrame(
    schema={
        "check": pl.String,
        "success": pl.Boolean,
        "observed": pl.Float64,
        "bound": pl.Float64,
        "detail": pl.String,
    }
)
_START = datetime(2024, 1, 1, tzinfo=UTC)


def random_minutes(rows: int) -> pl.DataFrame:
    """Return synthetic one-minute bars of one symbol."""
    ts = pl.datetime_range(
        _START, _START + timedelta(minutes=rows - 1), "1m", time_unit="ms", eager=True
    )
    values = np.random.default_rng(1).uniform(1, 2, (len(VALUE_COLUMNS), rows))
    columns = {name: values[i] for i, name in enumerate(VALUE_COLUMNS)}
    return pl.DataFrame({"symbol": "SYN/USDT", "ts": ts, **columns}, schema=BARS_SCHEMA)


def rows_per_second(rows: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return rows / (time.perf_counter() - start)


def our_way(store: PostgresBarStore, venue: str, bars: pl.DataFrame) -> Callable[[], object]:
    """Return the store's own path for one symbol, bookkeeping included."""
    batch = BarBatch(venue, "SYN/USDT", Timeframe.M1, bars, _EMPTY, _NO_CHECKS, bars["ts"][-1])
    return lambda: store.save_batch(batch)


def row_wise(database: Database, bars: pl.DataFrame) -> Callable[[], object]:
    """Return the usual client's path: executemany of an upsert."""
    rows = [(999_001, 60, *row[1:]) for row in bars.iter_rows()]

    def work() -> None:
        with database.transaction() as connection:
            connection.cursor().executemany(_UPSERT, rows)

    return work


def server_limit(database: Database, ready_file: Path) -> Callable[[], object]:
    """Return the server reading a binary file from its own disk into the table."""

    def work() -> None:
        with database.transaction() as connection:
            connection.execute(f"COPY bar FROM '{ready_file}' (FORMAT binary)".encode())

    return work


def write_ready_file(database: Database, ready_file: Path) -> None:
    """Let the server write the stored bars, as another instrument's, to a binary file."""
    with database.transaction() as connection:
        query = "SELECT 999002, timeframe, ts, open, high, low, close, volume, known_at FROM bar"
        connection.execute(f"COPY ({query}) TO '{ready_file}' (FORMAT binary)".encode())


def compare(url: str, rows: int) -> None:
    """Run every way against one fresh database and print them side by side."""
    bars = random_minutes(rows)
    few = bars.head(max(1, rows // 10))
    with connect(url) as database:
        migrate(database)
        Partitions(database).ensure(bars["ts"])
        store = PostgresBarStore(database)
        ready_file = Path(_data_directory(database)) / "ready.bin"
        figures = {"ours, empty range": rows_per_second(rows, our_way(store, "bench", bars))}
        write_ready_file(database, ready_file)
        figures["server-side COPY (limit)"] = rows_per_second(
            rows, server_limit(database, ready_file)
        )
        figures["ours, all rows there already"] = rows_per_second(
            rows, our_way(store, "bench", bars)
        )
        changed = bars.with_columns(close=pl.col("close") + (pl.int_range(pl.len()) % 100 == 0))
        figures["ours, 1% of the rows revised"] = rows_per_second(
            rows, our_way(store, "bench", changed)
        )
        figures["executemany upsert"] = rows_per_second(few.height, row_wise(database, few))
        figures["executemany upsert, again"] = rows_per_second(few.height, row_wise(database, few))
        reading = rows_per_second(
            rows, lambda: store.read_bars("bench", Timeframe.M1, ["SYN/USDT"])
        )
        print(f"tier {database.tier}, {rows:,} rows")
    limit = figures["server-side COPY (limit)"]
    for name, figure in figures.items():
        print(f"  {name:<30} {figure:>10,.0f} rows/s  {figure / limit:>6.2f} of the limit")
    print(
        "  ours / executemany: "
        f"{figures['ours, empty range'] / figures['executemany upsert']:.1f} times, empty range"
    )
    print(f"  read_bars to Polars            {reading:>10,.0f} rows/s")


def _data_directory(database: Database) -> Any:
    with database.transaction() as connection:
        row = connection.execute("SELECT current_setting('data_directory')").fetchone()
    return row[0] if row else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=262_800, help="one-minute bars to write (default: half a year)"
    )
    parser.add_argument(
        "--url", help="a server to measure besides, where the user may read and write server files"
    )
    rows, url = parser.parse_args().rows, parser.parse_args().url
    timescale = Path(".timescaledb/bin")
    with TemporaryDirectory(prefix="penstock-bench-") as folder:
        servers = [EmbeddedPostgres(Path(folder) / "plain")]
        if (timescale / "postgres").is_file():
            servers.append(
                EmbeddedPostgres(Path(folder) / "timescale", timescale, TIMESCALE_SETTINGS)
            )
        for server in servers:
            try:
                compare(server.start(), rows)
            finally:
                server.destroy()
    if url:
        compare(create_database(url, "penstock_bench"), rows)


if __name__ == "__main__":
    main()
