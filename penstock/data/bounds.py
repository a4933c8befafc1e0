"""How much of each defect a batch of bars may have, and the verdicts on it.

One table of bounds serves every gate. `BoundsGate` compares directly, for the minute path, where
the import of Great Expectations would cost seconds. The adapter in penstock.adapters.expectations
turns the same table into a suite for the flows. penstock.data.checks decides what is measured, and
which rows are bad.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator

from penstock.core.relistings import RELISTING_RATIO
from penstock.core.timeframes import Timeframe

#: The columns of BarBatch.checks: one row per verdict.
VERDICT_SCHEMA = pl.Schema(
    {
        "check": pl.String(),
        "success": pl.Boolean(),
        "observed": pl.Float64(),
        "bound": pl.Float64(),
        "detail": pl.String(),
    }
)


class Severity(StrEnum):
    """What a broken bound leads to."""

    WARN = "warn"
    """The verdict is recorded and reported; the bars are stored."""
    ERROR = "error"
    """The batch is refused, and the symbol's ingestion stops."""


class TimeframeBounds(BaseModel):
    """The bounds that depend on the bar length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_missing_share: float = Field(
        ge=0, le=1, description="share of the expected bars that the venue does not have (warn)"
    )
    max_zero_volume_share: float = Field(
        ge=0, le=1, description="share of the bars in which nothing traded (warn)"
    )
    max_stale_bars: int = Field(
        ge=0, description="closed bars since the newest good one (warn: trading has its own rule)"
    )
    min_jump: float = Field(gt=0, description="absolute log return up to which nothing is a jump")


_BY_TIMEFRAME = {
    Timeframe.M1: TimeframeBounds(
        max_missing_share=0.05, max_zero_volume_share=0.25, max_stale_bars=5, min_jump=0.05
    ),
    Timeframe.M5: TimeframeBounds(
        max_missing_share=0.02, max_zero_volume_share=0.10, max_stale_bars=3, min_jump=0.08
    ),
    Timeframe.M15: TimeframeBounds(
        max_missing_share=0.02, max_zero_volume_share=0.05, max_stale_bars=2, min_jump=0.12
    ),
    Timeframe.M30: TimeframeBounds(
        max_missing_share=0.02, max_zero_volume_share=0.05, max_stale_bars=2, min_jump=0.15
    ),
    Timeframe.H1: TimeframeBounds(
        max_missing_share=0.01, max_zero_volume_share=0.02, max_stale_bars=2, min_jump=0.20
    ),
    Timeframe.H4: TimeframeBounds(
        max_missing_share=0.01, max_zero_volume_share=0.02, max_stale_bars=1, min_jump=0.30
    ),
    Timeframe.D1: TimeframeBounds(
        max_missing_share=0.01, max_zero_volume_share=0.01, max_stale_bars=1, min_jump=0.50
    ),
}


@dataclass(frozen=True)
class Bound:
    """One bound of one metric."""

    check: str
    """The name of the check."""
    metric: str
    """The column of the metrics frame that is compared."""
    maximum: float
    """The largest value that passes."""
    severity: Severity
    """What a larger value leads to."""
    meaning: str
    """What the metric counts, for messages."""


class CheckBounds(BaseModel):
    """Every bound of the checks.

    The defaults pass liquid crypto spot markets with their real outages and crashes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_quarantined_share: float = Field(
        0.01, ge=0, le=1, description="quarantined rows that are not duplicates (error)"
    )
    max_null_share: float = Field(
        0.01, ge=0, le=1, description="rows with a null or non-finite value (error)"
    )
    max_ohlc_share: float = Field(
        0.01, ge=0, le=1, description="rows whose high or low contradicts open and close (error)"
    )
    max_absent_share: float = Field(
        0.9, ge=0, le=1, description="missing bars that make a range unusable (error)"
    )
    max_duplicate_share: float = Field(
        0.0, ge=0, le=1, description="rows whose time appeared again later (warn)"
    )
    max_not_increasing: int = Field(
        0, ge=0, description="rows that arrived before an earlier one (warn: they are sorted)"
    )
    max_jump_share: float = Field(
        0.01, ge=0, le=1, description="jumps (warn: crypto's jumps are real)"
    )
    max_held_back: int = Field(
        0, ge=0, description="newest prints that the next bar must confirm (warn)"
    )
    min_share_rows: int = Field(
        1000,
        ge=1,
        description="a share is taken of at least so many rows: one bad bar stops no minute's run",
    )
    jump_window: int = Field(96, ge=8, description="bars of the trailing median absolute deviation")
    jump_mads: float = Field(
        20.0, gt=0, description="deviations from which a return counts as a jump"
    )
    absurd_ratio: float = Field(
        10.0,
        gt=1,
        description="ratio to both neighbouring closes from which a print is quarantined",
    )
    relisting_ratio: float = Field(
        RELISTING_RATIO,
        gt=1,
        description="ratio to the last close before a gap from which a series is closed: the "
        "ticker may stand for another coin",
    )
    timeframes: Mapping[Timeframe, TimeframeBounds] = Field(
        default_factory=lambda: dict(_BY_TIMEFRAME),
        description="bounds by bar length; a timeframe that is not given keeps its default",
    )

    @field_validator("timeframes")
    @classmethod
    def _with_defaults(
        cls, given: Mapping[Timeframe, TimeframeBounds]
    ) -> Mapping[Timeframe, TimeframeBounds]:
        return {**_BY_TIMEFRAME, **given}

    def table(self, timeframe: Timeframe) -> tuple[Bound, ...]:
        """Return the bounds in force for a timeframe. Every gate judges by this table."""
        own = self.timeframes[timeframe]
        warn, error = Severity.WARN, Severity.ERROR
        return (
            Bound("nulls", "null_share", self.max_null_share, error, "share of rows with a null"),
            Bound(
                "finite",
                "non_finite_share",
                self.max_null_share,
                error,
                "share of rows with NaN or infinity",
            ),
            Bound(
                "ohlc",
                "ohlc_share",
                self.max_ohlc_share,
                error,
                "share of rows with high or low contradicting open/close",
            ),
            Bound(
                "quarantined",
                "quarantined_share",
                self.max_quarantined_share,
                error,
                "share of rows refused, duplicates apart",
            ),
            Bound(
                "usable",
                "missing_share",
                self.max_absent_share,
                error,
                "share of the range that is missing",
            ),
            Bound(
                "gaps",
                "missing_share",
                own.max_missing_share,
                warn,
                "share of the range that is missing",
            ),
            Bound(
                "unique",
                "duplicate_share",
                self.max_duplicate_share,
                warn,
                "share of rows whose time appeared again",
            ),
            Bound(
                "increasing",
                "not_increasing",
                self.max_not_increasing,
                warn,
                "rows that arrived out of order",
            ),
            Bound(
                "jumps", "jump_share", self.max_jump_share, warn, "share of returns that are jumps"
            ),
            Bound(
                "held_back",
                "held_back",
                self.max_held_back,
                warn,
                "newest prints waiting for confirmation",
            ),
            Bound(
                "traded",
                "zero_volume_share",
                own.max_zero_volume_share,
                warn,
                "share of bars without a trade",
            ),
            Bound(
                "fresh",
                "stale_bars",
                own.max_stale_bars,
                warn,
                "closed bars since the newest good one",
            ),
        )


@dataclass(frozen=True)
class CheckVerdict:
    """What a gate decided on one symbol and one bound."""

    symbol: str
    """The symbol."""
    check: str
    """The name of the check."""
    success: bool
    """Whether the observed value is within the bound."""
    observed: float | None
    """The value seen; None where there was nothing to measure."""
    bound: float
    """The largest value that passes."""
    severity: Severity
    """What a failure leads to."""
    meaning: str
    """What the value counts, for messages."""

    @property
    def stops(self) -> bool:
        """Whether the batch must not be stored."""
        return not self.success and self.severity is Severity.ERROR

    def __str__(self) -> str:
        sign = "<=" if self.success else ">"
        seen = (
            "nothing to measure"
            if self.observed is None
            else f"{self.observed:g} {sign} {self.bound:g}"
        )
        return f"{self.severity}: {self.check}: {self.meaning}: {seen}"


class CheckGate(Protocol):
    """Judges metrics frames (penstock.data.bar_metrics.METRICS_SCHEMA). Thread-safe."""

    def judge(self, metrics: pl.DataFrame) -> list[CheckVerdict]:
        """Return one verdict per symbol and bound.

        Symbols come in the frame's order, bounds in the table's. A metric that is null passes:
        there was nothing to measure.
        """
        ...


class DocumentingGate(CheckGate, Protocol):
    """A gate that can show what it judged."""

    def build_docs(self, folder: Path, timeframe: Timeframe) -> Path | None:
        """Write pages of what was judged of a timeframe since the last call for it. Return the
        index page, or None where nothing was judged.

        `folder` belongs to the pages: those of an earlier call are replaced.
        """
        ...


@dataclass(frozen=True)
class BoundsGate:
    """The gate of the minute path: it compares the bounds directly."""

    bounds: CheckBounds = field(default_factory=CheckBounds)

    def judge(self, metrics: pl.DataFrame) -> list[CheckVerdict]:
        return [
            verdict_on(str(row["symbol"]), bound, row[bound.metric])
            for row in metrics.iter_rows(named=True)
            for bound in self.bounds.table(Timeframe(row["timeframe"]))
        ]


def verdict_on(
    symbol: str, bound: Bound, observed: float | None, success: bool | None = None
) -> CheckVerdict:
    """Return the verdict on one observation. `success` is given where it was judged already."""
    if success is None:
        success = observed is None or observed <= bound.maximum
    value = None if observed is None else float(observed)
    return CheckVerdict(
        symbol, bound.check, success, value, bound.maximum, bound.severity, bound.meaning
    )


def verdict_frame(verdicts: Sequence[CheckVerdict]) -> pl.DataFrame:
    """Return verdicts as a frame with VERDICT_SCHEMA."""
    rows = [
        (v.check, v.success, v.observed, v.bound, f"{v.severity}: {v.meaning}") for v in verdicts
    ]
    return pl.DataFrame(rows, schema=VERDICT_SCHEMA, orient="row")
