"""Backtests of a registered version on the bars of its evidence: in sample, and, opened, beyond."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import polars as pl

from penstock.core.doubts import DoubtedBar
from penstock.core.relistings import Join
from penstock.core.strategy import Strategy
from penstock.promotion.evidence import Evidence, OpenedEvidence, bars_of, doubled
from penstock.research.engine.costs import Costs
from penstock.research.engine.market import BarMatrices, market_of
from penstock.research.engine.results import BacktestMetrics


class Measure(Protocol):
    """Measures strategies on the bars of one candidate's evidence, with its costs."""

    def in_sample(self, strategy: Strategy) -> BacktestMetrics:
        """Return the figures on the bars that were searched."""
        ...

    def out_of_sample(self, strategy: Strategy) -> BacktestMetrics:
        """Return the figures on the bars that were not. This is a look at them."""
        ...

    def opened(self, evidence: Evidence, strategy: Strategy) -> OpenedEvidence:
        """Return the evidence with all that the bars out of sample show. This is a look at them."""
        ...


@dataclass(frozen=True)
class SnapshotMeasure:
    """Measures on the bars of a snapshot. Nothing is simulated before it is asked for."""

    bars: pl.DataFrame
    """The bars of the evidence (BARS_SCHEMA)."""
    evidence: Evidence
    """What the search knew."""
    doubts: tuple[DoubtedBar, ...]
    """Those of the snapshot."""
    joins: tuple[Join, ...]
    """Those of the snapshot."""

    def in_sample(self, strategy: Strategy) -> BacktestMetrics:
        """Return the figures on the bars that were searched."""
        searched = self.bars.filter(pl.col("ts") <= self.evidence.in_sample_end)
        return self._figures(self._market_of(searched), strategy, 0, self.evidence.costs)

    def out_of_sample(self, strategy: Strategy) -> BacktestMetrics:
        """Return the figures on the bars that were not. Earlier bars only warm it up."""
        return self._figures(self._market, strategy, self._first, self.evidence.costs)

    def opened(self, evidence: Evidence, strategy: Strategy) -> OpenedEvidence:
        """Return the evidence with the figures out of sample, also with doubled costs."""
        from penstock.research.engine.benchmark import equal_weights

        costs, first = evidence.costs, self._first
        measured = {
            "out_of_sample": self._figures(self._market, strategy, first, costs),
            "benchmark_out_of_sample": equal_weights(
                self._market, first, costs, evidence.initial_cash
            ).metrics,
            "doubled_costs": self._figures(self._market, strategy, first, doubled(costs)),
        }
        return OpenedEvidence(**{**dict(evidence), **measured})

    @cached_property
    def _market(self) -> BarMatrices:
        return self._market_of(self.bars)

    @property
    def _first(self) -> int:
        return self._market.since(self.evidence.out_of_sample_start)

    def _market_of(self, bars: pl.DataFrame) -> BarMatrices:
        return market_of(bars, self.evidence.timeframe, self.doubts, self.joins)

    def _figures(
        self, market: BarMatrices, strategy: Strategy, first: int, costs: Costs
    ) -> BacktestMetrics:
        from penstock.research.engine.backtest import run

        weights = market.decide(strategy)
        return run(market, weights, first, costs, self.evidence.initial_cash).metrics


def measure_on(
    bars: pl.DataFrame,
    evidence: Evidence,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
) -> Measure:
    """Return what measures strategies on the evidence's bars.

    `bars` (BARS_SCHEMA), `doubts` and `joins` are those of the evidence's snapshot. Raises
    PromotionError where they do not cover its period or its symbols.
    """
    return SnapshotMeasure(bars_of(bars, evidence), evidence, tuple(doubts), tuple(joins))
