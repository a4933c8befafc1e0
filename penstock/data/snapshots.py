"""Datasets that cannot change unnoticed: bars as Parquet, named by a hash of their content.

The hash is of the data, not of the file: keys, column names, types, and the bytes of each column.
Another version of the Parquet writer, or another compression, gives the same name. The caller
chooses the folder.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from penstock.core.bars import VALUE_COLUMNS, require_bars
from penstock.core.doubts import DoubtedBar
from penstock.core.errors import DataError, NoSnapshotError
from penstock.core.relistings import Join, closed_series, joins_over_moves
from penstock.core.timeframes import Timeframe
from penstock.ports import BarStore

_FORMAT = "penstock-bars-1"
_META = "penstock"
#: How the hash names the columns and their types. A library's own names of types may change.
_COLUMNS = [
    ["symbol", "utf8"],
    ["ts", "int64 ms utc"],
    *([name, "float64"] for name in VALUE_COLUMNS),
]


@dataclass(frozen=True)
class Snapshot:
    """Bars that are frozen in a file."""

    content_hash: str
    """The SHA-256 of the bars, as hexadecimal digits."""
    path: Path
    """The file."""
    exchange: str
    """The name under which the bars are stored."""
    timeframe: Timeframe
    """The bar length."""
    symbols: tuple[str, ...]
    """The symbols, sorted."""
    rows: int
    """The number of bars of all symbols."""
    first: datetime
    """The open time of the oldest bar of any symbol."""
    last: datetime
    """The open time of the newest bar of any symbol."""
    doubts: tuple[DoubtedBar, ...] = ()
    """The bars that were in doubt at their close."""
    joins: tuple[Join, ...] = ()
    """Where an operator has joined series over a move that would close them."""

    def bars(self) -> pl.DataFrame:
        """Return the bars (BARS_SCHEMA, sorted by symbol, ts), verified against the hash."""
        return load_snapshot(self.path)[1]


def take_snapshot(
    store: BarStore,
    exchange: str,
    timeframe: Timeframe,
    symbols: Sequence[str],
    start: datetime | None,
    end: datetime | None,
    folder: Path,
) -> Snapshot:
    """Freeze the stored bars with start <= ts < end into `folder` and record them in the store.

    The same bars give the same file. Raises DataError where a symbol has no bars in the range.
    """
    stored = store.read_bars(exchange, timeframe, symbols, start, end)
    joins = joins_over_moves(stored, timeframe, store.read_joins(exchange, symbols))
    bars = closed_series(stored, timeframe, joins=joins)
    absent = sorted(set(symbols) - set(bars["symbol"].unique()))
    if absent or not symbols:
        span = f"{start or 'the beginning'} and {end or 'now'}"
        what = (
            f"no {timeframe.value} bars of {', '.join(absent)}"
            if absent
            else "no symbols were asked for"
        )
        raise DataError(
            f"no snapshot: {what} on {exchange} between {span}; "
            "ingest them first, or leave them out"
        )
    doubts = store.read_doubts(exchange, timeframe, symbols)
    snapshot = write_snapshot(bars, exchange, timeframe, folder, doubts, joins)
    store.save_snapshot(
        snapshot.content_hash,
        exchange,
        timeframe,
        snapshot.symbols,
        snapshot.rows,
        snapshot.path.as_uri(),
    )
    return snapshot


def write_snapshot(
    bars: pl.DataFrame,
    exchange: str,
    timeframe: Timeframe,
    folder: Path,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
) -> Snapshot:
    """Write `bars` as <hash>.parquet into `folder`, whole or not at all.

    `doubts` are those of the bars that were in doubt, and `joins` those without which the bars
    would be closed: others are left out. A file that is there
    already is verified and kept. Raises DataError where there are no bars.
    """
    if bars.is_empty():
        raise DataError(f"no snapshot: there are no {timeframe.value} bars of {exchange} to freeze")
    bars = require_bars(bars, "bars of a snapshot").sort("symbol", "ts")
    keys = bars.select("symbol", "ts")
    kept, joined = _doubts_of(keys, doubts), joins_over_moves(bars, timeframe, joins)
    snapshot = _describe(bars, exchange, timeframe, folder, doubts=kept, joins=joined)
    if snapshot.path.exists():
        load_snapshot(snapshot.path)
        return snapshot
    folder.mkdir(parents=True, exist_ok=True)
    meta = json.dumps(
        {
            "format": _FORMAT,
            "hash": snapshot.content_hash,
            "exchange": exchange,
            "timeframe": timeframe.value,
            **_notes(kept, joined),
        }
    )
    handle, name = tempfile.mkstemp(prefix=".snapshot-", suffix=".parquet", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            bars.write_parquet(file, compression="zstd", metadata={_META: meta})
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(snapshot.path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return snapshot


def load_snapshot(path: Path) -> tuple[Snapshot, pl.DataFrame]:
    """Return a snapshot and its bars (BARS_SCHEMA).

    Raises DataError where the file is no snapshot, or its content has changed.
    """
    try:
        meta = json.loads(pl.read_parquet_metadata(path)[_META])
        bars = require_bars(pl.read_parquet(path), str(path))
        recorded, exchange, timeframe = (
            str(meta["hash"]),
            str(meta["exchange"]),
            Timeframe(meta["timeframe"]),
        )
        doubts = tuple(_doubted(*row) for row in meta.get("doubts", ()))
        joins = tuple(
            Join(symbol, datetime.fromisoformat(at)) for symbol, at in meta.get("joins", ())
        )
    except FileNotFoundError:
        raise NoSnapshotError(
            f"snapshot {path} is gone: search again, which takes a new one, or restore the file"
        ) from None
    except (pl.exceptions.PolarsError, KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is not a snapshot of bars, or is damaged ({type(error).__name__}: {error})"
        ) from None
    found = content_hash(bars, exchange, timeframe, doubts, joins)
    if found != recorded:
        raise DataError(
            f"snapshot {path} holds other data than its name says: "
            f"content {found[:12]}, recorded {recorded[:12]}"
        )
    return _describe(bars, exchange, timeframe, path.parent, path, found, doubts, joins), bars


def content_hash(
    bars: pl.DataFrame,
    exchange: str,
    timeframe: Timeframe,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
) -> str:
    """Return the SHA-256 of bars, of which were in doubt and where they were joined, as hexadecimal
    digits.

    The order of rows does not matter. -0.0 and 0.0 count as one value, and so do all kinds of NaN.
    Raises DataError where a column has a null.
    """
    ordered = require_bars(bars, "bars of a snapshot").sort("symbol", "ts")
    runs = ordered.group_by("symbol", maintain_order=True).len().rows()
    head = {
        "format": _FORMAT,
        "exchange": exchange,
        "timeframe": timeframe.value,
        "columns": _COLUMNS,
        "symbols": runs,
        **_notes(doubts, joins),
    }
    digest = hashlib.sha256(json.dumps(head, separators=(",", ":")).encode())
    digest.update(ordered["ts"].dt.epoch("ms").to_numpy().astype("<i8").tobytes())
    for name in VALUE_COLUMNS:
        column = ordered[name]
        if column.null_count():
            raise DataError(
                f"bars of a snapshot: column '{name}' has {column.null_count()} nulls; "
                "stored bars have none"
            )
        digest.update((column.fill_nan(float("nan")).to_numpy() + 0.0).astype("<f8").tobytes())
    return digest.hexdigest()


def _describe(
    bars: pl.DataFrame,
    exchange: str,
    timeframe: Timeframe,
    folder: Path,
    path: Path | None = None,
    known: str | None = None,
    doubts: tuple[DoubtedBar, ...] = (),
    joins: tuple[Join, ...] = (),
) -> Snapshot:
    name = known if known is not None else content_hash(bars, exchange, timeframe, doubts, joins)
    first, last = bars.select(pl.col("ts").min(), pl.col("ts").max().alias("last")).row(0)
    symbols = tuple(bars["symbol"].unique().sort().to_list())
    return Snapshot(
        name,
        path or folder / f"{name}.parquet",
        exchange,
        timeframe,
        symbols,
        bars.height,
        first,
        last,
        doubts,
        joins,
    )


def _doubts_of(keys: pl.DataFrame, doubts: Sequence[DoubtedBar]) -> tuple[DoubtedBar, ...]:
    """Return the doubts about bars with these keys, sorted."""
    if not doubts:
        return ()
    present = set(keys.rows())
    return tuple(sorted(each for each in doubts if (each.symbol, each.ts) in present))


def _notes(doubts: Sequence[DoubtedBar], joins: Sequence[Join]) -> dict[str, list[list[str]]]:
    """Return what is known of bars beyond their values, as plain texts."""
    notes = {
        "doubts": [
            [each.symbol, each.ts.isoformat(), each.known_at.isoformat()] for each in doubts
        ],
        "joins": [[each.symbol, each.at.isoformat()] for each in joins],
    }
    return {name: rows for name, rows in notes.items() if rows}


def _doubted(symbol: str, ts: str, known_at: str) -> DoubtedBar:
    return DoubtedBar(symbol, datetime.fromisoformat(ts), datetime.fromisoformat(known_at))
