"""Bars to and from PostgreSQL's binary wire format, whole columns at a time.

Conversion row by row would make ingestion and reading slow: numpy lays out all rows at once. The
formats are described at https://www.postgresql.org/docs/current/sql-copy.html (binary) and in
array_recv of PostgreSQL's source.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import psycopg
from psycopg.adapt import Loader
from psycopg.pq import Format

from penstock.core.bars import TS, VALUE_COLUMNS
from penstock.core.timeframes import Timeframe

#: Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
_POSTGRES_EPOCH_US = 946_684_800_000_000
_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_CHUNK_ROWS = 65_536
_ARRAY_HEADER_BYTES = 20

_FIELDS = [
    ("instrument_id", ">i4"),
    ("timeframe", ">i4"),
    ("ts", ">i8"),
    *((name, ">f8") for name in VALUE_COLUMNS),
    ("known_at", ">i8"),
]
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        *(part for name, kind in _FIELDS for part in ((f"{name}_length", ">i4"), (name, kind))),
    ]
)


def copy_chunks(
    bars: pl.DataFrame, instrument_id: int, timeframe: Timeframe, known_at: datetime
) -> Iterator[bytes]:
    """Yield the bars of one instrument as a stream for COPY ... (FORMAT binary).

    Its columns are those of _FIELDS, in that order.
    """
    template = np.zeros(1, dtype=_ROW)
    template["fields"] = len(_FIELDS)
    for name, kind in _FIELDS:
        template[f"{name}_length"] = np.dtype(kind).itemsize
    template["instrument_id"] = instrument_id
    template["timeframe"] = timeframe.seconds
    template["known_at"] = round(known_at.timestamp() * 1_000_000) - _POSTGRES_EPOCH_US
    yield _SIGNATURE
    for part in bars.iter_slices(_CHUNK_ROWS):
        rows = np.repeat(template, part.height)
        rows["ts"] = part["ts"].dt.epoch("us").to_numpy() - _POSTGRES_EPOCH_US
        for name in VALUE_COLUMNS:
            rows[name] = part[name].to_numpy()
        yield rows.tobytes()
    yield _TRAILER


class _ArrayLoader(Loader):
    """Reads a one-dimensional binary array without nulls as a numpy array of `element`s."""

    format = Format.BINARY
    element: str

    def load(self, data: Any) -> np.ndarray:
        body = np.frombuffer(
            data, dtype=[("length", ">i4"), ("value", self.element)], offset=_ARRAY_HEADER_BYTES
        )
        return body["value"].astype(self.element.replace(">", "="))


class _DoubleArrayLoader(_ArrayLoader):
    element = ">f8"


class _TimestampArrayLoader(_ArrayLoader):
    element = ">i8"


def read_as_numpy(cursor: "psycopg.Cursor[Any]") -> None:
    """Make this cursor, which must be binary, return arrays as numpy arrays.

    That holds for float8[] and timestamptz[] (microseconds since 2000).
    """
    types = cursor.adapters.types
    cursor.adapters.register_loader(types["float8"].array_oid, _DoubleArrayLoader)
    cursor.adapters.register_loader(types["timestamptz"].array_oid, _TimestampArrayLoader)


def bars_of(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Return one bars frame of all symbols.

    Each row is a symbol and its columns as `read_as_numpy` gives them. There is one row at least.
    """
    symbols, times, *columns = zip(*rows, strict=True)
    lengths = [len(each) for each in times]
    unix_ms = (np.concatenate(times) + _POSTGRES_EPOCH_US) // 1000
    values = {
        name: pl.Series(np.concatenate(column))
        for name, column in zip(VALUE_COLUMNS, columns, strict=True)
    }
    names = pl.Series(symbols, dtype=pl.String()).gather(np.repeat(np.arange(len(rows)), lengths))
    return pl.DataFrame({"symbol": names, "ts": pl.Series(unix_ms).cast(TS), **values})
