"""Sources of the practice exchange's candles: a folder of Parquet files, or frames in memory.

A source is a small value that can be pickled; `load` returns the bars. penstock.practice.market
decides what is known of them at an instant. Generated candles are in penstock.practice.synthetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from penstock.core.bars import BARS_SCHEMA, require_bars
from penstock.core.errors import DataError
from penstock.core.timeframes import Timeframe
from penstock.practice.series import BarArrays, BarSeries

FILE_COLUMNS = ("exchange", "symbol", "timeframe", "ts", "open", "high", "low", "close", "volume")
RAW_SUFFIX = "__raw.parquet"

#: Bars by symbol, then by timeframe.
CandleTable = Mapping[str, Mapping[Timeframe, BarSeries]]


class CandleSource(Protocol):
    """The candles to serve. It can be pickled, because the server runs in its own process."""

    def load(self) -> CandleTable:
        """Return the bars. Raises DataError where they cannot be read."""
        ...


@dataclass(frozen=True)
class GivenCandles:
    """Candles in memory."""

    bars: Mapping[Timeframe, pl.DataFrame]
    """Frames of bars (BARS_SCHEMA), by timeframe."""

    def load(self) -> CandleTable:
        table: dict[str, dict[Timeframe, BarSeries]] = {}
        for timeframe, frame in self.bars.items():
            for (symbol,), rows in require_bars(frame, f"given {timeframe} candles").group_by(
                "symbol"
            ):
                table.setdefault(str(symbol), {})[timeframe] = BarArrays.from_frame(rows, timeframe)
        return table


@dataclass(frozen=True)
class ParquetCandles:
    """Every candle file of a folder, spot symbols only.

    Files have the columns FILE_COLUMNS. A file may have several symbols and timeframes. Where
    several exchanges have the same symbol and timeframe, the one with most rows is taken. Its files
    are merged: of bars with the same time, that of the file with most rows is kept.
    """

    folder: Path
    """The folder."""
    exchange: str | None = None
    """Only this exchange's candles; None for all."""
    symbols: tuple[str, ...] | None = None
    """Only these symbols; None for all."""
    timeframes: tuple[Timeframe, ...] | None = None
    """Only these timeframes; None for all."""
    include_raw: bool = False
    """Whether to load files named `*__raw.parquet`, which keep a source's defects."""
    _wanted: frozenset[str] = field(default=frozenset(t.value for t in Timeframe), repr=False)

    def load(self) -> CandleTable:
        found: dict[tuple[str, Timeframe], list[tuple[str, pl.DataFrame]]] = {}
        for path in self._files():
            for (exchange, symbol, timeframe), rows in self._read(path).group_by(
                "exchange", "symbol", "timeframe", maintain_order=True
            ):
                found.setdefault((str(symbol), Timeframe(str(timeframe))), []).append(
                    (str(exchange), rows)
                )
        if not found:
            raise DataError(
                f"{self.folder}: no candles for {self._described()}; "
                f"a file has the columns {list(FILE_COLUMNS)}"
            )
        table: dict[str, dict[Timeframe, BarSeries]] = {}
        for (symbol, timeframe), parts in sorted(found.items()):
            table.setdefault(symbol, {})[timeframe] = BarArrays.from_frame(
                _merged(parts), timeframe
            )
        return table

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder of candles")
        paths = sorted(self.folder.glob("*.parquet"))
        return [path for path in paths if self.include_raw or not path.name.endswith(RAW_SUFFIX)]

    def _read(self, path: Path) -> pl.DataFrame:
        try:
            lazy = pl.scan_parquet(path)
            columns = lazy.collect_schema().names()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path}: not a readable Parquet file ({error})") from None
        missing = [name for name in FILE_COLUMNS if name not in columns]
        if missing:
            raise DataError(
                f"{path}: columns {missing} are missing; it has {columns}, "
                f"candles need {list(FILE_COLUMNS)}"
            )
        wanted = pl.col("timeframe").is_in(self._names()) & ~pl.col("symbol").str.contains(":")
        if self.exchange is not None:
            wanted &= pl.col("exchange") == self.exchange
        if self.symbols is not None:
            wanted &= pl.col("symbol").is_in(list(self.symbols))
        frame = lazy.filter(wanted).collect()
        return require_bars(frame, str(path)).with_columns(frame["exchange"], frame["timeframe"])

    def _names(self) -> list[str]:
        return (
            sorted(self._wanted) if self.timeframes is None else [t.value for t in self.timeframes]
        )

    def _described(self) -> str:
        symbols = "any symbol" if self.symbols is None else ", ".join(self.symbols)
        return f"{symbols} at {', '.join(self._names())} on {self.exchange or 'any exchange'}"


def _merged(parts: list[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """Return the rows of the exchange with most rows, those of its longest part last."""
    rows_by_exchange: dict[str, int] = {}
    for exchange, rows in parts:
        rows_by_exchange[exchange] = rows_by_exchange.get(exchange, 0) + rows.height
    chosen = max(rows_by_exchange, key=lambda name: rows_by_exchange[name])
    frames = [rows.select(list(BARS_SCHEMA)) for exchange, rows in parts if exchange == chosen]
    # BarArrays keeps the last row of a time
    frames.sort(key=lambda rows: rows.height)
    return pl.concat(frames)
