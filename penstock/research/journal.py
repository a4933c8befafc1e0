"""Writes looks at bars into the research journal, for searches, backtests and the gate.

What counts is in penstock.core.looks. Where the journal is kept is for whoever opens it.
"""

import hashlib
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from penstock.core.actors import Actor
from penstock.core.clock import Clock
from penstock.core.looks import BarRange, Look, LookCount, LookKind
from penstock.core.strategy import Strategy
from penstock.ports import ResearchJournal
from penstock.research.canonical_source import configuration_of
from penstock.research.engine.market import BarMatrices, Matrix


class UncountedLookWarning(UserWarning):
    """A search or a backtest is on no journal: nothing will remember that these bars were seen."""


@dataclass(frozen=True)
class LookRecorder:
    """Who looks, and where it is written."""

    journal: ResearchJournal
    """The record."""
    by: Actor
    """Who looks."""
    venue: str
    """The venue that the bars are from."""
    clock: Clock
    """Dates the looks."""

    def begin(
        self,
        kind: LookKind,
        market: BarMatrices,
        about: str,
        dataset_hash: str = "",
        first: int = 0,
    ) -> "OpenLook":
        """Record that a look at the bars of a market begins, from row `first` on."""
        bars = BarRange(
            self.venue, market.timeframe, market.symbols, market.ts[first], market.ts[-1]
        )
        return self.begin_at(kind, bars, about, dataset_hash)

    def begin_at(
        self, kind: LookKind, bars: BarRange, about: str, dataset_hash: str = ""
    ) -> "OpenLook":
        """Record that a look at a range of bars begins."""
        before = self.journal.tried(bars)
        look = Look(kind, bars, dataset_hash, about, self.by, self.clock.now())
        return OpenLook(self.journal, self.journal.begin(look), bars, before)


@dataclass(frozen=True)
class OpenLook:
    """A look that has begun. What it tries is recorded before its figures are seen."""

    journal: ResearchJournal
    """The record."""
    number: int
    """The look's number there."""
    bars: BarRange
    """The bars that are seen."""
    before: int
    """How many configurations had been tried on overlapping bars before it."""

    def add(self, configurations: Collection[str]) -> None:
        """Record configurations that are tried."""
        if configurations:
            self.journal.add(self.number, configurations)

    def end(self, trials: int, best: Mapping[str, float]) -> LookCount:
        """Record the figures, and return what is counted now."""
        self.journal.end(self.number, trials, best)
        tried = self.journal.tried(self.bars)
        return LookCount(tried, tried - self.before)


class NoLook(Enum):
    """A backtest that is no look."""

    NO_CHOICE = "nothing is chosen by what is seen"
    """An account is compared with its own past, or a rehearsal with what the gate has opened."""


def backtest_look(
    journal: LookRecorder | NoLook | None,
    decisions: Strategy | object,
    market: BarMatrices,
    weights: Matrix,
    first: int,
) -> OpenLook | None:
    """Record a backtest of a strategy, or of given weights, from row `first` on.

    Without a journal it warns. None where nothing was recorded.
    """
    if journal is None:
        warn_uncounted("backtest", stacklevel=4)
    if not isinstance(journal, LookRecorder):
        return None
    if isinstance(decisions, Strategy):
        about, tried = decisions.name, configuration_of(decisions)
    else:
        content = np.ascontiguousarray(weights).tobytes()
        about, tried = "given weights", hashlib.sha256(content).hexdigest()[:32]
    look = journal.begin(LookKind.BACKTEST, market, about, first=first)
    look.add([tried])
    return look


def warn_uncounted(what: str, stacklevel: int = 3) -> None:
    """Warn that a look is on no journal. The warning points at the caller's caller."""
    warnings.warn(
        f"this {what} is on no research journal: it will not count against what is found; "
        "give journal=..., as Platform.look_recorder returns it",
        UncountedLookWarning,
        stacklevel=stacklevel,
    )
