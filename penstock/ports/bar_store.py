"""What Penstock needs of the store of bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import polars as pl

from penstock.core.doubts import DoubtedBar
from penstock.core.instruments import Instrument
from penstock.core.relistings import Join
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe


@dataclass(frozen=True)
class BarBatch:
    """What one ingestion of one symbol wants stored, all or nothing."""

    exchange: str
    """The venue's name."""
    symbol: str
    """The symbol of every bar in the batch."""
    timeframe: Timeframe
    """The length of every bar in the batch."""
    bars: pl.DataFrame
    """The bars to be stored (BARS_SCHEMA), in any order."""
    quarantined: pl.DataFrame
    """The bars that failed a check: BARS_SCHEMA plus a text column `reason`."""
    checks: pl.DataFrame
    """The results of the checks: columns check, success, observed, bound, detail."""
    watermark: datetime | None
    """The open time of the newest bar that needs no further ingestion; None where there is none."""
    held: tuple[datetime, ...] = ()
    """The open times of bars that were held back: in doubt, neither stored nor refused."""


@dataclass(frozen=True)
class BatchResult:
    """How many rows a batch has changed."""

    new: int
    """Bars that were not stored before."""
    revised: int
    """Bars that replaced others. The old values are kept as revisions."""
    unchanged: int
    """Bars that were stored already with the same values."""
    quarantined: int
    """Bars that were put into quarantine and not there before."""


class BarStore(Protocol):
    """The record of bars, their revisions and the quarantine.

    Every method raises StoreError where the database fails.
    """

    def save_instruments(self, exchange: str, instruments: Sequence[Instrument]) -> None:
        """Insert or update the instruments of a venue."""
        ...

    def read_instruments(self, exchange: str, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return the stored instruments by symbol. One without its venue's rules is absent.

        They have what `save_instruments` keeps: limits by type of order are not among it.
        """
        ...

    def save_series(self, exchange: str, series: Sequence[Series]) -> None:
        """Record which instruments tickers stood for, and keep their bars apart.

        Bars that are stored under a ticker and belong to an earlier instrument are moved to it,
        with their revisions. Doing so again changes nothing.
        """
        ...

    def save_batch(self, batch: BarBatch) -> BatchResult:
        """Store bars, quarantine, check results and watermark in one transaction.

        A batch that is stored again changes nothing. Raises StoreError, and stores nothing, where
        `bars` has another symbol, an open time twice, or missing values.
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

        `start` and `end` are open times; by default there is no bound. With `known_at` the values
        are those that the store had at that time: later bars are absent, and later revisions are
        undone. A symbol that is not stored is absent. Of a series that is recorded (`save_series`)
        there are the bars of its instrument only, and before them those of the one that it was
        formerly, in its units.
        """
        ...

    def read_doubts(
        self, exchange: str, timeframe: Timeframe, symbols: Sequence[str]
    ) -> Sequence[DoubtedBar]:
        """Return the stored bars that were once held back, sorted by symbol and ts.

        Those of a series have its name, also the ones from before it had it.
        """
        ...

    def read_joins(self, exchange: str, symbols: Sequence[str]) -> Sequence[Join]:
        """Return where series go on from what they were formerly, sorted by symbol and time."""
        ...

    def watermarks(self, exchange: str, timeframe: Timeframe) -> Mapping[str, datetime]:
        """Return by symbol the watermark: see BarBatch."""
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
        """Record a snapshot of `rows` bars that is kept at `uri`.

        A `content_hash` that is recorded already is left as it is.
        """
        ...


class BarInventory(Protocol):
    """What the store of bars has and what it refused, for reports.

    Raises StoreError where the database fails. Times are UTC, in ms.
    """

    def coverage(self, exchange: str) -> pl.DataFrame:
        """Return columns timeframe, symbol, rows, first, last.

        There is one row per timeframe and symbol of the venue that has bars. `first` and `last` are
        the open times of the oldest and the newest bar.
        """
        ...

    def check_results(self, exchange: str, timeframe: Timeframe) -> pl.DataFrame:
        """Return the newest result of every check of every symbol.

        The columns are symbol, check, success, observed, bound, detail, at. `observed` and `bound`
        are texts; `observed` is null where there was nothing to measure.
        """
        ...

    def read_quarantine(
        self, exchange: str, timeframe: Timeframe, symbol: str | None = None
    ) -> pl.DataFrame:
        """Return quarantined rows, by default of all symbols.

        The columns are those of BARS_SCHEMA, reason and quarantined_at.
        """
        ...
