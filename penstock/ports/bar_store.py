"""What Penstock needs of the store of bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import polars as pl

from penstock.core.instruments import Instrument
from penstock.core.timeframes import Timeframe


@dataclass(frozen=True)
class BarBatch:
    """What one ingestion of one symbol wants stored, all or nothing.

    `quarantined` has BARS_SCHEMA plus a text column `reason`. `checks` has columns check, success,
    observed, bound, detail. `watermark` is the open time from which the next ingestion resumes
    minus one bar: the newest bar that is done.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    bars: pl.DataFrame
    quarantined: pl.DataFrame
    checks: pl.DataFrame
    watermark: datetime | None


@dataclass(frozen=True)
class BatchResult:
    """Rows written: not seen before, replaced (the old values are kept as revisions), and identical
    already.
    """

    new: int
    revised: int
    unchanged: int
    quarantined: int


class BarStore(Protocol):
    """The record of bars, their revisions, and what was refused. Raises StoreError when the
    database fails.
    """

    def save_instruments(self, exchange: str, instruments: Sequence[Instrument]) -> None:
        """Insert or update the instruments of a venue."""
        ...

    def save_batch(self, batch: BarBatch) -> BatchResult:
        """Store bars, quarantine, check results and watermark in one transaction. Storing it again
        changes nothing.
        """
        ...

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

        With `known_at`, values are those the store held at that instant: later bars are absent,
        later revisions undone.
        """
        ...

    def watermarks(self, exchange: str, timeframe: Timeframe) -> Mapping[str, datetime]:
        """Return, per symbol, the open time of the newest bar that is done with."""
        ...

    def save_snapshot(
        self,
        content_hash: str,
        exchange: str,
        timeframe: Timeframe,
        symbols: Sequence[str],
        rows: int,
        uri: str,
    ) -> None:
        """Record a snapshot; recording the same hash again changes nothing."""
        ...


class BarInventory(Protocol):
    """What the store of bars has and what it refused, for reports. Raises StoreError when the
    database fails. Times are UTC, in ms.
    """

    def coverage(self, exchange: str) -> pl.DataFrame:
        """Return columns timeframe, symbol, rows, first, last: one row per timeframe and symbol of
        the venue that has bars.

        `first` and `last` are the open times of the oldest and the newest bar.
        """
        ...

    def check_results(self, exchange: str, timeframe: Timeframe) -> pl.DataFrame:
        """Return columns symbol, check, success, observed, bound, detail, at: the newest result of
        every check of every symbol.

        `observed` and `bound` are texts; `observed` is null where there was nothing to measure.
        """
        ...

    def read_quarantine(
        self, exchange: str, timeframe: Timeframe, symbol: str | None = None
    ) -> pl.DataFrame:
        """Return quarantined rows, of all symbols by default: BARS_SCHEMA plus reason and
        quarantined_at.
        """
        ...
