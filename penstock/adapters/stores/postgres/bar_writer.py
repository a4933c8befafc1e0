"""The three ways in which bars enter the table, and the choice among them.

Few rows are sent as arrays in one statement. Many rows are sent by COPY: into the table itself
where their range is empty, else into a staging table. Arrays and staging table are merged. The old
values of a replaced row are kept, and a row that is equal is not touched.
"""

from datetime import datetime
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from penstock.adapters.stores.postgres.binary_copy import copy_chunks
from penstock.core.bars import VALUE_COLUMNS, require_bars
from penstock.core.errors import StoreError
from penstock.core.timeframes import Timeframe
from penstock.ports import BarBatch

_FEW_ROWS = 256

_COPY_BARS = sql.SQL("COPY bar FROM STDIN (FORMAT binary)")
_COPY_STAGE = sql.SQL("COPY bar_stage FROM STDIN (FORMAT binary)")
_MAKE_STAGE = sql.SQL(
    "CREATE TEMPORARY TABLE IF NOT EXISTS bar_stage (LIKE bar) ON COMMIT DELETE ROWS"
)
_IS_EMPTY = sql.SQL(
    "SELECT NOT EXISTS (SELECT FROM bar WHERE instrument_id = %(id)s AND timeframe = %(timeframe)s"
    " AND ts BETWEEN %(first)s AND %(last)s)"
)
_FROM_STAGE = sql.SQL("SELECT ts, open, high, low, close, volume FROM bar_stage")
_FROM_ARRAYS = sql.SQL(
    "SELECT * FROM unnest(%(ts)s::timestamptz[], %(open)s::float8[], %(high)s::float8[],"
    " %(low)s::float8[], %(close)s::float8[], %(volume)s::float8[])"
    " AS rows (ts, open, high, low, close, volume)"
)
#: Every part of one statement sees the table as it was before the statement. So `kept` copies the
#: values that `written` replaces.
_MERGE = """
    WITH incoming AS MATERIALIZED ({source}),
    kept AS (
        INSERT INTO bar_revision (instrument_id, timeframe, ts, open, high, low, close, volume,
                                  known_from, known_until)
        SELECT bar.instrument_id, bar.timeframe, bar.ts, bar.open, bar.high, bar.low, bar.close,
               bar.volume, bar.known_at, %(at)s
        FROM bar JOIN incoming USING (ts)
        WHERE bar.instrument_id = %(id)s AND bar.timeframe = %(timeframe)s
          AND bar.ts BETWEEN %(first)s AND %(last)s
          AND (bar.open, bar.high, bar.low, bar.close, bar.volume)
              IS DISTINCT FROM (incoming.open, incoming.high, incoming.low, incoming.close,
                                incoming.volume)
        RETURNING 1
    ),
    written AS (
        INSERT INTO bar (instrument_id, timeframe, ts, open, high, low, close, volume, known_at)
        SELECT %(id)s, %(timeframe)s, ts, open, high, low, close, volume, %(at)s FROM incoming
        ON CONFLICT (instrument_id, timeframe, ts) DO UPDATE
        SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
            volume = excluded.volume, known_at = excluded.known_at
        WHERE (bar.open, bar.high, bar.low, bar.close, bar.volume)
              IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close,
                                excluded.volume)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM kept)
"""
_MERGE_STAGE = sql.SQL(_MERGE).format(source=_FROM_STAGE)
_MERGE_ARRAYS = sql.SQL(_MERGE).format(source=_FROM_ARRAYS)


def checked_bars(batch: BarBatch) -> pl.DataFrame:
    """Return the batch's bars by time.

    Raises StoreError for another symbol's bars, an open time that occurs twice and missing values.
    """
    bars = require_bars(batch.bars, f"bars of {batch.symbol}").sort("ts")
    where = f"bars of {batch.exchange} {batch.symbol} {batch.timeframe}"
    strangers = bars.filter(pl.col("symbol").ne_missing(batch.symbol))["symbol"].unique().to_list()
    if strangers:
        raise StoreError(f"{where}: the batch also holds {strangers}; save one symbol at a time")
    if bars["ts"].n_unique() != bars.height:
        raise StoreError(
            f"{where}: {bars.height - bars['ts'].n_unique()} open times occur twice; "
            "drop or quarantine them first"
        )
    nulls = [name for name in ("ts", *VALUE_COLUMNS) if bars[name].null_count()]
    if nulls:
        raise StoreError(
            f"{where}: columns {nulls} have missing values; quarantine those rows first"
        )
    return bars


def write_bars(
    connection: psycopg.Connection[Any],
    bars: pl.DataFrame,
    instrument_id: int,
    timeframe: Timeframe,
    at: datetime,
) -> tuple[int, int]:
    """Write the bars of one instrument (unique ts, no nulls).

    Returns how many were new and how many were revised. The caller holds the lock of instrument
    and timeframe, so that nothing changes between the probe and the write.
    """
    if bars.is_empty():
        return 0, 0
    arguments: dict[str, object] = {"id": instrument_id, "timeframe": timeframe.seconds, "at": at}
    arguments |= {"first": bars["ts"].min(), "last": bars["ts"].max()}
    if bars.height <= _FEW_ROWS:
        columns = {name: bars[name].to_list() for name in ("ts", *VALUE_COLUMNS)}
        return _merge(connection, _MERGE_ARRAYS, arguments | columns)
    if _probe(connection, arguments):
        _copy(connection, _COPY_BARS, bars, instrument_id, timeframe, at)
        return bars.height, 0
    connection.execute(_MAKE_STAGE)
    _copy(connection, _COPY_STAGE, bars, instrument_id, timeframe, at)
    return _merge(connection, _MERGE_STAGE, arguments)


def _probe(connection: psycopg.Connection[Any], arguments: dict[str, object]) -> bool:
    row = connection.execute(_IS_EMPTY, arguments).fetchone()
    return bool(row and row[0])


def _copy(
    connection: psycopg.Connection[Any],
    statement: sql.SQL,
    bars: pl.DataFrame,
    instrument_id: int,
    timeframe: Timeframe,
    at: datetime,
) -> None:
    with connection.cursor().copy(statement) as copy:
        for chunk in copy_chunks(bars, instrument_id, timeframe, at):
            copy.write(chunk)


def _merge(
    connection: psycopg.Connection[Any], statement: sql.Composed, arguments: dict[str, object]
) -> tuple[int, int]:
    row = connection.execute(statement, arguments).fetchone()
    written, revised = row if row else (0, 0)
    return written - revised, revised
