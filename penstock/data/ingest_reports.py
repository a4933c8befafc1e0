"""What an ingestion did, symbol by symbol. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from penstock.core.timeframes import Timeframe
from penstock.data.bounds import CheckVerdict


@dataclass(frozen=True)
class IngestProgress:
    """How far the ingestion of one symbol is."""

    symbol: str
    """The symbol."""
    done: int
    """The number of bars of its range that were read."""
    total: int
    """The number of bars of its range, fixed at the start."""


@dataclass(frozen=True)
class IngestReport:
    """What one ingestion of one symbol did, over all its chunks."""

    exchange: str
    """The name under which the bars are stored."""
    symbol: str
    """The symbol."""
    timeframe: Timeframe
    """The bar length."""
    new: int = 0
    """The number of bars that were stored for the first time."""
    revised: int = 0
    """The number of bars that replaced a stored bar with other values."""
    unchanged: int = 0
    """The number of bars that were stored already, with the same values."""
    quarantined: int = 0
    """The number of rows that were refused."""
    held_back: int = 0
    """The number of prints that the next ingestion reads again."""
    gaps: int = 0
    """The number of gaps that the venue has."""
    missing: int = 0
    """The number of bars in those gaps."""
    seconds: float = 0.0
    """How long it took."""
    watermark: datetime | None = None
    """The open time of the newest stored bar."""
    warnings: tuple[CheckVerdict, ...] = field(default=())
    """The verdicts that failed without stopping the symbol."""
    failure: str = ""
    """Why the symbol stopped; "" where it did not."""

    @property
    def ok(self) -> bool:
        """Whether the symbol did not stop."""
        return not self.failure


def report_frame(reports: Sequence[IngestReport]) -> pl.DataFrame:
    """Return reports as a table with one row per symbol."""
    return pl.DataFrame(
        {
            "symbol": [r.symbol for r in reports],
            "new": [r.new for r in reports],
            "revised": [r.revised for r in reports],
            "unchanged": [r.unchanged for r in reports],
            "quarantined": [r.quarantined for r in reports],
            "gaps": [r.gaps for r in reports],
            "missing": [r.missing for r in reports],
            "seconds": [round(r.seconds, 2) for r in reports],
            "warnings": ["; ".join(str(w) for w in r.warnings) for r in reports],
            "failure": [r.failure for r in reports],
        }
    )
