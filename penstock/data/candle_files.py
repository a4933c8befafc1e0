"""Parquet candle files of other collections, read into bars. What is wrong with the candles themselves is for the checks.

A file has the columns exchange, symbol, timeframe, ts (bar open, milliseconds, UTC), open, high, low, close, volume, and holds
one exchange, symbol and timeframe.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from penstock.core.bars import BARS_SCHEMA, require_bars
from penstock.core.errors import DataError
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import CheckBounds, CheckGate, CheckVerdict, verdict_frame
from penstock.data.checks import check_symbol
from penstock.ports import BarBatch, BarStore, BatchResult

_KEYS = ("exchange", "symbol", "timeframe")


@dataclass(frozen=True)
class CandleFile:
    """One file's candles, as the file has them: defects, order and duplicates included."""

    path: Path
    exchange: str
    symbol: str
    timeframe: Timeframe
    bars: pl.DataFrame


def read_candle_file(path: Path) -> CandleFile:
    """Return the candles of a file; raise DataError naming the file and what is wrong with its columns."""
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({type(error).__name__})") from None
    wanted = [*_KEYS, *(name for name in BARS_SCHEMA if name not in _KEYS)]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise DataError(f"{path}: columns {missing} are missing; it has {frame.columns}, a candle file has {wanted}")
    keys = frame.select(_KEYS).unique()
    if keys.height != 1:
        raise DataError(f"{path}: holds {keys.height} combinations of {', '.join(_KEYS)}; a candle file holds exactly one")
    exchange, symbol, timeframe = (str(value) for value in keys.row(0))
    if frame["ts"].dtype.is_integer():
        frame = frame.with_columns(pl.from_epoch("ts", time_unit="ms").dt.replace_time_zone("UTC"))
    elif not isinstance(frame["ts"].dtype, pl.Datetime):
        raise DataError(f"{path}: column ts is {frame['ts'].dtype}; it must be bar open times, or milliseconds since 1970, UTC")
    return CandleFile(path, exchange, symbol, Timeframe.parse(timeframe), require_bars(frame, str(path)))


def read_candle_folder(folder: Path, timeframe: Timeframe | None = None) -> Iterator[CandleFile]:
    """Yield the candle files of a folder in the order of their names, of one timeframe or of all."""
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise DataError(f"{folder}: there are no .parquet candle files in this folder")
    for path in paths:
        candles = read_candle_file(path)
        if timeframe is None or candles.timeframe is timeframe:
            yield candles


def import_candles(
    candles: CandleFile, store: BarStore, exchange: str, gate: CheckGate, now: datetime, bounds: CheckBounds | None = None
) -> tuple[BatchResult, list[CheckVerdict]]:
    """Check a file's candles like a venue's and store them under `exchange`, all or nothing.

    The watermark is set, so that ingestion goes on where the file ends. Raises DataError where a verdict stops the batch;
    nothing is stored then.
    """
    checked = check_symbol(candles.bars, candles.symbol, candles.timeframe, now, bounds)
    verdicts = gate.judge(checked.metrics)
    stops = [str(verdict) for verdict in verdicts if verdict.stops]
    if stops:
        raise DataError(f"{candles.path}: not imported: " + "; ".join(stops))
    newest: datetime | None = checked.good["ts"][-1] if checked.good.height else None
    record = verdict_frame(verdicts)
    batch = BarBatch(exchange, candles.symbol, candles.timeframe, checked.good, checked.quarantined, record, newest)
    return store.save_batch(batch), verdicts
