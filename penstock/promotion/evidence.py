"""The evidence on which the gate judges a candidate: one frozen value, kept with it as JSON.

A search knows the bars in sample only. The gate measures the rest, once it has opened the bars out
of sample. penstock.promotion.criteria decides whether the figures are good enough.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl
from pydantic import BaseModel, ConfigDict

from penstock.core.doubts import DoubtedBar
from penstock.core.errors import PromotionError
from penstock.core.relistings import Join
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import BacktestMetrics, SearchResult


class Evidence(BaseModel):
    """What a search knows of its choice, with everything that is needed to measure it again."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    strategy: str
    """The strategy's name."""
    params: dict[str, float | int | str | bool]
    """The strategy's parameters."""
    search_id: str
    """The search that chose it."""
    dataset_hash: str
    """The hash of the searched snapshot."""
    timeframe: Timeframe
    """The bar length."""
    symbols: tuple[str, ...]
    """The symbols of the snapshot."""
    costs: Costs
    """What orders cost."""
    initial_cash: float
    """The cash at the start, in quote units."""
    trial_count: int
    """The true number of trials of the search, of all strategies together."""
    tried: int | None = None
    """The distinct configurations that were ever tried on these bars, by the journal; None where
    the search is on no journal.
    """
    deflated_sharpe: float
    """The deflated Sharpe probability, for the larger of the two numbers."""
    in_sample: BacktestMetrics
    """The figures on the bars that were searched."""
    benchmark_in_sample: BacktestMetrics | None = None
    """The figures of equal weights on the same bars; None in evidence of before 0.4."""
    out_of_sample: BacktestMetrics | None = None
    """The figures on the bars that were not searched; None until the gate has measured them."""
    benchmark_out_of_sample: BacktestMetrics | None = None
    """The figures of equal weights on the same bars; None until the gate has measured them."""
    in_sample_start: datetime | None = None
    """The open time of the first bar that was searched; None in evidence of before 0.4."""
    in_sample_end: datetime
    """The open time of the last bar that was searched."""
    out_of_sample_start: datetime
    """The open time of the first bar out of sample."""
    out_of_sample_end: datetime
    """The open time of the last bar out of sample."""
    doubled_costs: BacktestMetrics | None = None
    """The out-of-sample figures with doubled fees and slippage; None where nobody measured them."""
    leaks: tuple[str, ...] | None = None
    """Where the leak proof saw that it knows later bars; None where it was not made."""
    memory_excess: tuple[str, ...] | None = None
    """What it remembers longer than its warm-up; None where that was not measured."""

    @property
    def out_of_sample_days(self) -> float:
        """The days from the first out-of-sample bar's open to the last one's close."""
        span = self.out_of_sample_end - self.out_of_sample_start + self.timeframe.duration
        return span.total_seconds() / 86400

    @property
    def out_of_sample_bars(self) -> int:
        """The number of bars out of sample, where none is missing."""
        return round(self.out_of_sample_days * 86400 / self.timeframe.seconds)

    @property
    def looks(self) -> int:
        """The number of looks that deflates."""
        return max(self.trial_count, self.tried or 0)


class OpenedEvidence(Evidence):
    """The evidence after the gate has opened the bars out of sample."""

    out_of_sample: BacktestMetrics
    """The figures of the registered version on the bars that were not searched."""
    benchmark_out_of_sample: BacktestMetrics
    """The figures of equal weights on the same bars."""


def evidence_of(
    search: SearchResult,
    leaks: tuple[str, ...] | None = None,
    memory_excess: tuple[str, ...] | None = None,
) -> Evidence:
    """Return the evidence for a search's choice."""
    return Evidence(
        strategy=search.strategy,
        params=dict(search.best_params),
        search_id=search.id,
        dataset_hash=search.dataset_hash,
        timeframe=search.timeframe,
        symbols=search.symbols,
        costs=search.costs,
        initial_cash=search.settings.initial_cash,
        trial_count=search.trial_count,
        tried=None if search.looks is None else search.looks.on_these_bars,
        deflated_sharpe=search.deflated_sharpe,
        in_sample=search.in_sample.metrics,
        benchmark_in_sample=search.benchmark_in_sample.metrics,
        in_sample_start=search.in_sample_start,
        in_sample_end=search.in_sample_end,
        out_of_sample_start=search.out_of_sample_start,
        out_of_sample_end=search.out_of_sample_end,
        leaks=leaks,
        memory_excess=memory_excess,
    )


def gather_evidence(
    search: SearchResult,
    strategy_class: type[Strategy],
    bars: pl.DataFrame,
    on_evaluation: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
) -> Evidence:
    """Return the evidence for a search's choice, with the leak proof.

    `bars` (BARS_SCHEMA), `doubts` and `joins` are those of the searched snapshot. `on_evaluation`
    is called after each evaluation of the proof, with the number done and the number of all.
    """
    from penstock.research.validation.leakage import leak_proof

    bare = evidence_of(search)
    strategy = strategy_class.from_params(dict(search.best_params))
    known = bars_of(bars, bare)
    proof = leak_proof(
        strategy,
        known,
        timeframe=bare.timeframe,
        doubts=doubts,
        joins=joins,
        on_evaluation=on_evaluation,
    )
    return evidence_of(
        search,
        leaks=tuple(leak.sentence() for leak in proof.leaks),
        memory_excess=() if proof.memory is None else (proof.memory.sentence(),),
    )


def doubled(costs: Costs) -> Costs:
    """Return the costs with twice the fee and twice the slippage."""
    return costs.times(fees=2, slippage=2)


def bars_of(bars: pl.DataFrame, evidence: Evidence) -> pl.DataFrame:
    """Return the bars that the evidence was measured on.

    Raises PromotionError where `bars` do not cover its period or its symbols.
    """
    known = bars.filter(
        pl.col("symbol").is_in(evidence.symbols), pl.col("ts") <= evidence.out_of_sample_end
    )
    absent = sorted(set(evidence.symbols) - set(known["symbol"].unique().to_list()))
    if absent or known["ts"].max() != evidence.out_of_sample_end:
        raise PromotionError(
            f"the bars given end at {known['ts'].max()!s} and lack {absent or 'no symbol'}: "
            f"the evidence was measured up to {evidence.out_of_sample_end}; "
            f"use the snapshot {evidence.dataset_hash}"
        )
    return known
