"""The criteria of the promotion gate, one function each: evidence in, verdict out.

Thresholds come from the configuration. Every criterion sees all the evidence and is independent of
the others. The gate decides which alias follows from the verdicts. A figure that is not a number
passes no criterion. A bound that refuses nobody judges nothing, and its verdict says so.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from penstock.promotion.evidence import Evidence, OpenedEvidence


class PromotionThresholds(BaseModel):
    """The bounds of the gate. The defaults are for daily and hourly long-only crypto strategies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_bars: int = Field(500, ge=1)
    """The number of bars, in and out of sample. Figures of fewer bars are noise."""

    min_out_of_sample_days: float = Field(90, ge=0)
    """The length of the out-of-sample part. The default is a quarter of a year."""

    min_out_of_sample_orders: int = Field(20, ge=0)
    """The number of orders out of sample. A strategy that hardly trades has not been tested."""

    min_out_of_sample_sharpe: float = 0.5
    """The Sharpe ratio per year out of sample, after costs."""

    max_out_of_sample_drawdown: float = Field(0.35, gt=0, le=1)
    """The largest fall from a peak out of sample, as a fraction.

    The default is about half of the market's largest fall.
    """

    min_deflated_sharpe: float = Field(0.95, ge=0, le=1)
    """The probability that the Sharpe ratio is real, given the number of trials.

    Pure noise practically never reaches 0.95.
    """

    max_out_of_sample_looks: float | None = Field(10, ge=1)
    """How many looks the bars out of sample may have had, with the gate's own; None for no bound.

    Each configuration that anybody has tried on some of these bars counts by the share that it has
    seen. Before one more look would be too many, the bars stay closed.
    """

    max_turnover: float = Field(100, gt=0)
    """The notional traded per year over the mean equity. At 15 bps, 100 costs 15% per year."""

    min_sharpe_retention: float | None = 0.3
    """The out-of-sample Sharpe ratio over the in-sample one; None for no bound.

    A lower ratio suggests that the search was fitted to noise.
    """

    min_doubled_cost_return: float = 0.0
    """The total return out of sample with doubled fees and slippage must be above this."""

    require_doubled_costs: bool = True
    """Whether a candidate that was not measured with doubled costs fails."""

    min_sharpe_over_benchmark: float | None = None
    """The out-of-sample Sharpe ratio less that of equal weights; None for no bound."""

    min_sharpe_over_champion: float = 0.0
    """A candidate's Sharpe ratio must exceed the champion's by more than this, on the same bars."""

    max_reproduction_error: float = Field(1e-6, ge=0)
    """The largest relative difference between the evidence and the registered version's backtest.
    """

    require_rehearsal: bool = False
    """Whether a candidate that was not rehearsed (planning and paper fills) fails."""

    max_rehearsal_difference: float = Field(0.02, ge=0)
    """The largest difference of the rehearsal's equity to the backtest's, as a fraction.

    Lots, fees and the no-trade band explain less.
    """


class Verdict(StrEnum):
    """A criterion's verdict, as it is shown."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_JUDGED = "not judged"
    """It was let through: there is no bound, a bound that refuses nobody, or nothing to compare."""


@dataclass(frozen=True)
class CriterionResult:
    """What one criterion decided."""

    criterion: str
    """The criterion's name."""
    passed: bool
    """Whether the candidate may go on."""
    value: float | None
    """The value that was compared; None where nothing was measured."""
    bound: float | None
    """The bound that it was compared with; None where nothing was compared."""
    reason: str
    """Why, in one sentence."""
    judged: bool = True
    """Whether the criterion could have refused a candidate."""

    @property
    def verdict(self) -> Verdict:
        """The verdict. What is refused was judged."""
        if not self.passed:
            return Verdict.FAILED
        return Verdict.PASSED if self.judged else Verdict.NOT_JUDGED


#: The criteria that say whether a strategy earns. Without them the others say only that the
#: candidate is what it claims to be.
PERFORMANCE_CRITERIA = frozenset(
    {
        "out_of_sample_sharpe",
        "out_of_sample_drawdown",
        "deflated_sharpe",
        "sharpe_retention",
        "doubled_cost_return",
        "benchmark_sharpe",
    }
)

#: A Sharpe ratio of -10 per year is a loss in every month.
LEAST_SHARPE_THAT_REFUSES_NOBODY = -10.0
#: A least value that is not above this refuses nobody.
_LEAST_THAT_REFUSES_NOBODY: Mapping[str, float] = {
    "out_of_sample_length": 0,
    "out_of_sample_orders": 0,
    "out_of_sample_sharpe": LEAST_SHARPE_THAT_REFUSES_NOBODY,
    "deflated_sharpe": 0,
    "sharpe_retention": LEAST_SHARPE_THAT_REFUSES_NOBODY,
    "doubled_cost_return": -1,
    "benchmark_sharpe": LEAST_SHARPE_THAT_REFUSES_NOBODY,
}
#: A largest value that is not under this refuses nobody. All can be lost, and a turnover of 10,000
#: costs fifteen times the equity per year, at 15 bps.
_MOST_THAT_REFUSES_NOBODY: Mapping[str, float] = {
    "out_of_sample_drawdown": 1,
    "turnover": 10_000,
}


#: Takes the search's evidence and the thresholds, and decides on one of them.
Criterion = Callable[[Evidence, PromotionThresholds], CriterionResult]
#: The same, where the bars out of sample have been opened.
OpenedCriterion = Callable[[OpenedEvidence, PromotionThresholds], CriterionResult]


def at_least(criterion: str, value: float, bound: float, what: str) -> CriterionResult:
    """Return a verdict that passes where value >= bound (never for NaN)."""
    passed = value >= bound
    judged = not bound <= _LEAST_THAT_REFUSES_NOBODY.get(criterion, -math.inf)
    reason = f"{what} is {value:.4g}, {'at least' if passed else 'under'} {bound:.4g}"
    return CriterionResult(criterion, passed, value, bound, with_remark(reason, judged), judged)


def at_most(criterion: str, value: float, bound: float, what: str) -> CriterionResult:
    """Return a verdict that passes where value <= bound (never for NaN)."""
    passed = value <= bound
    judged = not bound >= _MOST_THAT_REFUSES_NOBODY.get(criterion, math.inf)
    reason = f"{what} is {value:.4g}, {'at most' if passed else 'over'} {bound:.4g}"
    return CriterionResult(criterion, passed, value, bound, with_remark(reason, judged), judged)


def with_remark(reason: str, judged: bool) -> str:
    """Return the reason, with a remark where the bound refuses nobody."""
    return reason if judged else f"{reason}, which refuses nobody: not judged"


def enough_bars(evidence: Evidence, thresholds: PromotionThresholds) -> CriterionResult:
    """Bars in sample plus bars out of sample >= min_bars."""
    bars = evidence.in_sample.bars + evidence.out_of_sample_bars
    return at_least(
        "enough_bars", bars, thresholds.min_bars, "the number of bars, in and out of sample,"
    )


def out_of_sample_length(evidence: Evidence, thresholds: PromotionThresholds) -> CriterionResult:
    """Days out of sample >= min_out_of_sample_days."""
    days = evidence.out_of_sample_days
    return at_least(
        "out_of_sample_length",
        days,
        thresholds.min_out_of_sample_days,
        "the out-of-sample period in days",
    )


def out_of_sample_is_unseen(evidence: Evidence, _: PromotionThresholds) -> CriterionResult:
    """The out-of-sample period begins after the in-sample period's last bar."""
    passed = evidence.out_of_sample_start > evidence.in_sample_end
    order = "after" if passed else "not after"
    start, end = evidence.out_of_sample_start, evidence.in_sample_end
    reason = (
        f"out of sample starts at {start:%Y-%m-%d %H:%M}, "
        f"{order} the search's last bar {end:%Y-%m-%d %H:%M}"
    )
    return CriterionResult("out_of_sample_is_unseen", passed, None, None, reason)


def out_of_sample_orders(
    evidence: OpenedEvidence, thresholds: PromotionThresholds
) -> CriterionResult:
    """Orders out of sample >= min_out_of_sample_orders."""
    orders = evidence.out_of_sample.orders
    return at_least(
        "out_of_sample_orders",
        orders,
        thresholds.min_out_of_sample_orders,
        "the number of out-of-sample orders",
    )


def out_of_sample_sharpe(
    evidence: OpenedEvidence, thresholds: PromotionThresholds
) -> CriterionResult:
    """Annualised out-of-sample Sharpe ratio >= min_out_of_sample_sharpe."""
    sharpe = evidence.out_of_sample.sharpe
    return at_least(
        "out_of_sample_sharpe",
        sharpe,
        thresholds.min_out_of_sample_sharpe,
        "the out-of-sample Sharpe ratio",
    )


def out_of_sample_drawdown(
    evidence: OpenedEvidence, thresholds: PromotionThresholds
) -> CriterionResult:
    """Largest out-of-sample drawdown <= max_out_of_sample_drawdown."""
    fall = evidence.out_of_sample.max_drawdown
    return at_most(
        "out_of_sample_drawdown",
        fall,
        thresholds.max_out_of_sample_drawdown,
        "the out-of-sample drawdown",
    )


def deflated_sharpe(evidence: Evidence, thresholds: PromotionThresholds) -> CriterionResult:
    """Deflated Sharpe probability >= min_deflated_sharpe, for all looks at the searched bars.

    Source: Bailey and Lopez de Prado 2014, see penstock.research.engine.metrics.
    """
    counted = (
        f"{evidence.trial_count} trials (no journal counts earlier looks)"
        if evidence.tried is None
        else f"{evidence.looks} looks at these bars, {evidence.trial_count} of them trials of its "
        "search,"
    )
    what = f"the deflated Sharpe probability after {counted}"
    return at_least(
        "deflated_sharpe", evidence.deflated_sharpe, thresholds.min_deflated_sharpe, what
    )


def turnover(evidence: OpenedEvidence, thresholds: PromotionThresholds) -> CriterionResult:
    """Out-of-sample notional traded per year over mean equity <= max_turnover."""
    return at_most(
        "turnover",
        evidence.out_of_sample.turnover,
        thresholds.max_turnover,
        "the yearly out-of-sample turnover",
    )


def sharpe_retention(evidence: OpenedEvidence, thresholds: PromotionThresholds) -> CriterionResult:
    """Out-of-sample Sharpe / in-sample Sharpe >= min_sharpe_retention.

    It fails where the in-sample Sharpe ratio is not positive.
    """
    before, after = evidence.in_sample.sharpe, evidence.out_of_sample.sharpe
    if thresholds.min_sharpe_retention is None:
        reason = "no bound is set: not judged"
        return CriterionResult("sharpe_retention", True, None, None, reason, judged=False)
    if not before > 0:
        reason = f"the in-sample Sharpe ratio is {before:.4g}: there is nothing to retain"
        return CriterionResult(
            "sharpe_retention", False, None, thresholds.min_sharpe_retention, reason
        )
    what = (
        f"the share of the in-sample Sharpe ratio ({before:.3g}) "
        f"that is left out of sample ({after:.3g})"
    )
    return at_least("sharpe_retention", after / before, thresholds.min_sharpe_retention, what)


def doubled_cost_return(
    evidence: OpenedEvidence, thresholds: PromotionThresholds
) -> CriterionResult:
    """Out-of-sample total return with doubled fees and slippage > min_doubled_cost_return."""
    name, bound = "doubled_cost_return", thresholds.min_doubled_cost_return
    if evidence.doubled_costs is None:
        reason = (
            "not measured: run the out-of-sample backtest with doubled costs, "
            "or set require_doubled_costs to false"
        )
        allowed = not thresholds.require_doubled_costs
        return CriterionResult(name, allowed, None, bound, reason, judged=False)
    value = evidence.doubled_costs.total_return
    passed = value > bound
    judged = bound > _LEAST_THAT_REFUSES_NOBODY[name]
    reason = (
        f"the out-of-sample return with doubled costs is {value:.4g}, "
        f"{'over' if passed else 'not over'} {bound:.4g}"
    )
    return CriterionResult(name, passed, value, bound, with_remark(reason, judged), judged)


def no_lookahead(evidence: Evidence, _: PromotionThresholds) -> CriterionResult:
    """The leak proof was made, and the strategy sees no later bars."""
    return _nothing_found(
        "no_lookahead", evidence.leaks, "sees later bars", "no later bar changed an earlier weight"
    )


def bounded_memory(evidence: Evidence, _: PromotionThresholds) -> CriterionResult:
    """The leak proof was made, and no decision depends on bars before the strategy's warm-up."""
    return _nothing_found(
        "bounded_memory",
        evidence.memory_excess,
        "remembers longer than its warm-up",
        "bars before the warm-up changed no weight",
    )


def _nothing_found(
    criterion: str, found: tuple[str, ...] | None, fault: str, passed: str
) -> CriterionResult:
    if found is None:
        reason = (
            "not checked: run penstock.research.validation.leakage on the candidate "
            "before it is judged"
        )
        return CriterionResult(criterion, False, None, None, reason)
    reason = f"{fault}: {found[0]}" if found else passed
    return CriterionResult(criterion, not found, len(found), 0, reason)


def benchmark_sharpe(evidence: OpenedEvidence, thresholds: PromotionThresholds) -> CriterionResult:
    """Out-of-sample Sharpe - that of equal weights >= min_sharpe_over_benchmark, where set."""
    excess = evidence.out_of_sample.sharpe - evidence.benchmark_out_of_sample.sharpe
    if thresholds.min_sharpe_over_benchmark is None:
        reason = (
            f"the out-of-sample Sharpe ratio is {excess:+.3g} over equal weights; "
            "no bound is set: not judged"
        )
        return CriterionResult("benchmark_sharpe", True, excess, None, reason, judged=False)
    what = "the out-of-sample Sharpe ratio over equal weights"
    return at_least("benchmark_sharpe", excess, thresholds.min_sharpe_over_benchmark, what)


#: The criteria that need no look at the bars out of sample, in the order in which they are shown.
#: The gate opens these bars for a candidate that passes all of them.
CLOSED_CRITERIA: tuple[Criterion, ...] = (
    no_lookahead,
    bounded_memory,
    out_of_sample_is_unseen,
    enough_bars,
    out_of_sample_length,
    deflated_sharpe,
)
#: The criteria of what the bars out of sample show, in the order in which they are shown.
OPENED_CRITERIA: tuple[OpenedCriterion, ...] = (
    out_of_sample_orders,
    out_of_sample_sharpe,
    out_of_sample_drawdown,
    turnover,
    sharpe_retention,
    doubled_cost_return,
    benchmark_sharpe,
)
#: Every criterion that a candidate must pass.
CRITERIA: tuple[OpenedCriterion, ...] = (*CLOSED_CRITERIA, *OPENED_CRITERIA)
