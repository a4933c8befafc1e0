"""What the demo reports while it runs: one type per kind of event. Interfaces show them.

The progress of ingestion and the outcomes of ingestion, search and slots are events too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penstock.core.timeframes import Timeframe
from penstock.data.ingestion import IngestProgress
from penstock.pipeline.ingest import IngestOutcome
from penstock.pipeline.research import ResearchOutcome
from penstock.pipeline.slots import SlotOutcome


@dataclass(frozen=True)
class CandlesWanted:
    """Candles of so many symbols are about to be fetched from a venue, where they are missing."""

    exchange: str
    symbols: int


@dataclass(frozen=True)
class DemoForgotten:
    """What an earlier demo left in this folder is deleted."""

    home: Path


@dataclass(frozen=True)
class StepBegan:
    """A step of the demo begins."""

    step: str
    """The step's name."""
    what: str
    """What it does, in short."""


@dataclass(frozen=True)
class StepEnded:
    """A step of the demo has ended."""

    step: str
    seconds: float


@dataclass(frozen=True)
class IngestBegan:
    """The bars of a timeframe are about to come in."""

    timeframe: Timeframe


@dataclass(frozen=True)
class SearchBegan:
    """A search of so many trials begins."""

    trials: int


@dataclass(frozen=True)
class TrialDone:
    """One trial of the search has ended."""


@dataclass(frozen=True)
class ProofEvaluated:
    """So many evaluations of the leak proof are done."""

    done: int
    total: int


@dataclass(frozen=True)
class TradingBegan:
    """So many slots are about to be traded."""

    slots: int


DemoEvent = (
    CandlesWanted
    | DemoForgotten
    | StepBegan
    | StepEnded
    | IngestBegan
    | IngestProgress
    | IngestOutcome
    | SearchBegan
    | TrialDone
    | ProofEvaluated
    | ResearchOutcome
    | TradingBegan
    | SlotOutcome
)
OnEvent = Callable[[DemoEvent], None]
