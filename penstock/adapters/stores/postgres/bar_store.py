"""Keeps bars on any tier of PostgreSQL: see penstock.ports.BarStore.

This module has the keys, the transactions and what is kept of the past. How rows reach the table
quickly is in bar_writer and binary_copy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from penstock.adapters.stores.postgres.bar_writer import checked_bars, write_bars
from penstock.adapters.stores.postgres.binary_copy import bars_of, read_as_numpy
from penstock.adapters.stores.postgres.connection import Database
from penstock.adapters.stores.postgres.doubted_bars import doubts_of, write_doubts
from penstock.adapters.stores.postgres.instrument_rows import read_instruments, write_instruments
from penstock.adapters.stores.postgres.partitions import Partitions
from penstock.adapters.stores.postgres.series_rows import (
    in_units,
    links_of,
    move_bars,
    read_series,
    write_series,
)
from penstock.core.bars import (
    BARS_SCHEMA,
    TS,
    VALUE_COLUMNS,
    empty_bars,
)
from penstock.core.doubts import DoubtedBar
from penstock.core.errors import StoreError
from penstock.core.instruments import Instrument, spot_assets
from penstock.core.relistings import Join
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe
from penstock.ports import BarBatch, BatchResult

_NOW = sql.SQL(
    "SELECT symbol, ts, open, high, low, close, volume FROM bar "
    "JOIN wanted ON id = instrument_id WHERE {range}"
)
_THEN = sql.SQL(
    """SELECT symbol, ts, open, high, low, close, volume FROM bar
       JOIN wanted ON id = instrument_id
       WHERE {range} AND known_at <= %(known_at)s
       UNION ALL
       SELECT symbol, ts, open, high, low, close, volume FROM bar_revision
       JOIN wanted ON id = instrument_id
       WHERE {range} AND known_from <= %(known_at)s AND %(known_at)s < known_until"""
)
_COLUMNS = sql.SQL(
    """WITH wanted AS (SELECT id, symbol FROM instrument
                       WHERE exchange = %(exchange)s AND symbol = ANY(%(symbols)s))
       SELECT symbol, array_agg(ts), array_agg(open), array_agg(high), array_agg(low),
              array_agg(close), array_agg(volume)
       FROM ({rows}) AS rows GROUP BY symbol"""
)


class PostgresBarStore:
    """BarStore on TimescaleDB or plain PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._partitions = Partitions(database)

    def save_instruments(self, exchange: str, instruments: Sequence[Instrument]) -> None:
        """Insert or update the instruments of a venue."""
        with self._database.transaction() as connection:
            write_instruments(connection, exchange, instruments)

    def read_instruments(self, exchange: str, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return the stored instruments by symbol. One without its venue's rules is absent."""
        with self._database.transaction() as connection:
            return read_instruments(connection, exchange, symbols)

    def save_series(self, exchange: str, series: Sequence[Series]) -> None:
        """Record which instruments tickers stood for, and move bars to those that ended."""
        with self._database.transaction() as connection:
            for each in sorted(series, key=lambda each: each.name):
                number = _instrument_id(connection, exchange, each.name)
                write_series(connection, each, number)
                if each.name != each.ticker and each.ends is not None:
                    source = _instrument_id(connection, exchange, each.ticker)
                    move_bars(connection, each, source, number)

    def save_batch(self, batch: BarBatch) -> BatchResult:
        """Store bars, quarantine, check results and watermark in one transaction.

        A batch that is stored again changes nothing.
        """
        bars = checked_bars(batch)
        self._partitions.ensure(bars["ts"])
        with self._database.transaction() as connection:
            instrument_id = _instrument_id(connection, batch.exchange, batch.symbol)
            at = _lock(connection, instrument_id, batch.timeframe)
            new, revised = write_bars(connection, bars, instrument_id, batch.timeframe, at)
            quarantined = _save_quarantine(connection, batch, instrument_id)
            _save_checks(connection, batch, instrument_id)
            _save_watermark(connection, batch, instrument_id)
            write_doubts(connection, batch.held, instrument_id, batch.timeframe, at)
        return BatchResult(new, revised, bars.height - new - revised, quarantined)

    def read_bars(
        self,
        exchange: str,
        timeframe: Timeframe,
        symbols: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        known_at: datetime | None = None,
    ) -> pl.DataFrame:
        """Return bars (BARS_SCHEMA, sorted by symbol, ts) with start <= ts < end.

        The values are those known at `known_at` (default: now).
        """
        with self._database.reading() as connection:
            known = read_series(connection, exchange, symbols)
        plain = [symbol for symbol in symbols if symbol not in known]
        frames = [self._read(exchange, timeframe, plain, start, end, known_at)] if plain else []
        for name in dict.fromkeys(symbol for symbol in symbols if symbol in known):
            frames += self._read_series(exchange, timeframe, known, name, start, end, known_at)
        return pl.concat(frames).sort("symbol", "ts") if frames else empty_bars()

    def _read_series(
        self,
        exchange: str,
        timeframe: Timeframe,
        known: Mapping[str, Series],
        name: str,
        start: datetime | None,
        end: datetime | None,
        known_at: datetime | None,
    ) -> list[pl.DataFrame]:
        """Return the bars of a series: its own, and before them those of what it was formerly."""
        return [
            in_units(
                self._read(exchange, timeframe, [link.symbol], link.start, link.end, known_at),
                name,
                link.units,
            )
            for link in links_of(known, name, start, end)
        ]

    def _read(
        self,
        exchange: str,
        timeframe: Timeframe,
        symbols: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        known_at: datetime | None,
    ) -> pl.DataFrame:
        conditions = [sql.SQL("timeframe = %(timeframe)s")]
        if start is not None:
            conditions.append(sql.SQL("ts >= %(start)s"))
        if end is not None:
            conditions.append(sql.SQL("ts < %(end)s"))
        rows = (_NOW if known_at is None else _THEN).format(range=sql.SQL(" AND ").join(conditions))
        arguments = {"exchange": exchange, "symbols": list(symbols), "timeframe": timeframe.seconds}
        arguments |= {"start": start, "end": end, "known_at": known_at}
        with self._database.reading() as connection, connection.cursor(binary=True) as cursor:
            read_as_numpy(cursor)
            found = cursor.execute(_COLUMNS.format(rows=rows), arguments).fetchall()
        return bars_of(found) if found else empty_bars()

    def read_doubts(
        self, exchange: str, timeframe: Timeframe, symbols: Sequence[str]
    ) -> Sequence[DoubtedBar]:
        """Return the stored bars that were once held back, sorted by symbol and ts."""
        with self._database.transaction() as connection:
            known = read_series(connection, exchange, symbols)
            links = [(name, link) for name in symbols for link in links_of(known, name)]
            stored = doubts_of(connection, exchange, timeframe, [each.symbol for _, each in links])
        return sorted(
            replace(each, symbol=name)
            for name, link in links
            for each in stored
            if each.symbol == link.symbol and link.has(each.ts)
        )

    def read_joins(self, exchange: str, symbols: Sequence[str]) -> Sequence[Join]:
        """Return where series go on from what they were formerly, sorted by symbol and time."""
        with self._database.transaction() as connection:
            known = read_series(connection, exchange, symbols)
        return sorted(
            Join(name, link.joined_at)
            for name in symbols
            for link in links_of(known, name)
            if link.joined_at is not None
        )

    def watermarks(self, exchange: str, timeframe: Timeframe) -> Mapping[str, datetime]:
        """Return the open time of the newest bar that was ingested, by symbol."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT symbol, ts FROM watermark JOIN instrument ON id = instrument_id
                   WHERE exchange = %s AND timeframe = %s ORDER BY symbol""",
                [exchange, timeframe.seconds],
            ).fetchall()
        return dict(rows)

    def read_quarantine(
        self, exchange: str, timeframe: Timeframe, symbol: str | None = None
    ) -> pl.DataFrame:
        """Return quarantined rows, oldest first: BARS_SCHEMA plus reason and quarantined_at."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT symbol, ts, open, high, low, close, volume, reason, quarantined_at
                   FROM quarantine JOIN instrument ON id = instrument_id
                   WHERE exchange = %s AND timeframe = %s AND symbol = coalesce(%s, symbol)
                   ORDER BY quarantined_at, symbol, ts""",
                [exchange, timeframe.seconds, symbol],
            ).fetchall()
        schema = {**BARS_SCHEMA, "reason": pl.String(), "quarantined_at": TS}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def save_snapshot(
        self,
        content_hash: str,
        exchange: str,
        timeframe: Timeframe,
        symbols: Sequence[str],
        rows: int,
        uri: str,
    ) -> None:
        """Record a snapshot. A hash that is recorded already is left as it is."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO snapshot (content_hash, exchange, timeframe, symbols, row_count, uri)
                   VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
                [content_hash, exchange, timeframe.seconds, list(symbols), rows, uri],
            )

    def coverage(self, exchange: str) -> pl.DataFrame:
        """Return what is stored of a venue: timeframe, symbol, rows, first, last."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT timeframe, symbol, count(*), min(ts), max(ts)
                   FROM bar JOIN instrument ON id = instrument_id
                   WHERE exchange = %s GROUP BY timeframe, symbol ORDER BY timeframe, symbol""",
                [exchange],
            ).fetchall()
        names = {timeframe.seconds: timeframe.value for timeframe in Timeframe}
        schema = {
            "timeframe": pl.String(),
            "symbol": pl.String(),
            "rows": pl.Int64(),
            "first": TS,
            "last": TS,
        }
        return pl.DataFrame(
            [(names[seconds], *rest) for seconds, *rest in rows], schema=schema, orient="row"
        )

    def check_results(self, exchange: str, timeframe: Timeframe) -> pl.DataFrame:
        """Return the newest result of every check.

        The columns are symbol, check, success, observed, bound, detail and at.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT DISTINCT ON (symbol, check_name)
                          symbol, check_name, success, observed, bound, detail, at
                   FROM check_result JOIN instrument ON instrument.id = instrument_id
                   WHERE exchange = %s AND timeframe = %s
                   ORDER BY symbol, check_name, check_result.id DESC""",
                [exchange, timeframe.seconds],
            ).fetchall()
        text = dict.fromkeys(("observed", "bound", "detail"), pl.String())
        schema = {
            "symbol": pl.String(),
            "check": pl.String(),
            "success": pl.Boolean(),
            **text,
            "at": TS,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")


def _instrument_id(connection: psycopg.Connection[Any], exchange: str, symbol: str) -> int:
    """Return the id of an instrument.

    One that is not stored yet is made from its symbol, without the venue's rules.
    """
    find = "SELECT id FROM instrument WHERE exchange = %s AND symbol = %s"
    row = connection.execute(find, [exchange, symbol]).fetchone()
    if row is None:
        base, quote = spot_assets(symbol)
        connection.execute(
            """INSERT INTO instrument (exchange, symbol, base, quote, settle)
               VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
            [exchange, symbol, base, quote, quote],
        )
        row = connection.execute(find, [exchange, symbol]).fetchone()
    if row is None:
        raise StoreError(
            f"instrument {symbol} of {exchange} could not be made: it was deleted at the same time"
        )
    return int(row[0])


def _lock(
    connection: psycopg.Connection[Any], instrument_id: int, timeframe: Timeframe
) -> datetime:
    """Make other writers of this series wait, and return the time from which the rows are known."""
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [instrument_id, timeframe.seconds])
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise StoreError("the database gave no time")
    at: datetime = row[0]
    return at


def _save_quarantine(
    connection: psycopg.Connection[Any], batch: BarBatch, instrument_id: int
) -> int:
    """Store the quarantined rows that are not stored yet, and return their number."""
    if batch.quarantined.is_empty():
        return 0
    frame = batch.quarantined.with_columns(pl.col("ts").cast(TS))
    columns = [frame[name].to_list() for name in ("ts", *VALUE_COLUMNS, "reason")]
    return connection.execute(
        """INSERT INTO quarantine
               (instrument_id, timeframe, ts, open, high, low, close, volume, reason)
           SELECT %s, %s, rows.*
           FROM unnest(%s::timestamptz[], %s::float8[], %s::float8[], %s::float8[], %s::float8[],
                       %s::float8[], %s::text[]) AS rows
           ON CONFLICT DO NOTHING""",
        [instrument_id, batch.timeframe.seconds, *columns],
    ).rowcount


def _save_checks(connection: psycopg.Connection[Any], batch: BarBatch, instrument_id: int) -> None:
    """Append the results that differ from the newest one of their check.

    So a batch that is stored again adds nothing.
    """
    if batch.checks.is_empty():
        return
    text = batch.checks.with_columns(pl.col("observed", "bound", "detail").cast(pl.String))
    columns = [text[name].to_list() for name in ("check", "success", "observed", "bound", "detail")]
    connection.execute(
        """INSERT INTO check_result
               (instrument_id, timeframe, check_name, success, observed, bound, detail)
           SELECT %(id)s, %(timeframe)s, rows.check_name, rows.success, rows.observed, rows.bound,
                  coalesce(rows.detail, '')
           FROM unnest(%(checks)s::text[], %(success)s::boolean[], %(observed)s::text[],
                       %(bound)s::text[], %(detail)s::text[])
                AS rows (check_name, success, observed, bound, detail)
           LEFT JOIN LATERAL (
               SELECT * FROM check_result WHERE instrument_id = %(id)s AND timeframe = %(timeframe)s
               AND check_result.check_name = rows.check_name
               ORDER BY check_result.id DESC LIMIT 1) AS newest ON true
           WHERE (newest.success, newest.observed, newest.bound, newest.detail)
                 IS DISTINCT FROM
                 (rows.success, rows.observed, rows.bound, coalesce(rows.detail, ''))""",
        dict(zip(("checks", "success", "observed", "bound", "detail"), columns, strict=True))
        | {"id": instrument_id, "timeframe": batch.timeframe.seconds},
    )


def _save_watermark(
    connection: psycopg.Connection[Any], batch: BarBatch, instrument_id: int
) -> None:
    """Move the watermark on.

    It never goes back, so that the next run does not start over after a repair of old bars.
    """
    if batch.watermark is None:
        return
    connection.execute(
        """INSERT INTO watermark (instrument_id, timeframe, ts) VALUES (%s, %s, %s)
           ON CONFLICT (instrument_id, timeframe) DO UPDATE
           SET ts = excluded.ts, updated_at = clock_timestamp()
           WHERE watermark.ts < excluded.ts""",
        [instrument_id, batch.timeframe.seconds, batch.watermark],
    )
