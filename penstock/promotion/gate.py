"""The gate: it collects every criterion's verdict and decides which alias a candidate earns.

penstock.promotion.promote measures the figures and moves the aliases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from penstock.promotion.criteria import (
    CLOSED_CRITERIA,
    CRITERIA,
    LEAST_SHARPE_THAT_REFUSES_NOBODY,
    OPENED_CRITERIA,
    PERFORMANCE_CRITERIA,
    CriterionResult,
    PromotionThresholds,
    Verdict,
    with_remark,
)
from penstock.promotion.evidence import Evidence, OpenedEvidence
from penstock.research.engine.results import BacktestMetrics

#: One row per verdict.
VERDICTS_SCHEMA = pl.Schema(
    {
        "criterion": pl.String(),
        "verdict": pl.String(),
        "value": pl.Float64(),
        "bound": pl.Float64(),
        "reason": pl.String(),
    }
)


class CandidateStatus(StrEnum):
    """What a candidate earns."""

    REJECTED = "rejected"
    CHALLENGER = "challenger"
    CHAMPION = "champion"


@dataclass(frozen=True)
class GateDecision:
    """A decision, and the verdicts that led to it."""

    decision: CandidateStatus
    """What the candidate earns."""
    verdicts: tuple[CriterionResult, ...]
    """Every verdict, in the order in which they were given."""

    @property
    def failures(self) -> tuple[CriterionResult, ...]:
        """The verdicts that did not pass."""
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)

    @property
    def not_judged(self) -> tuple[CriterionResult, ...]:
        """The verdicts that could not have refused a candidate."""
        return tuple(v for v in self.verdicts if v.verdict is Verdict.NOT_JUDGED)

    @property
    def performance_judged(self) -> bool:
        """Whether any criterion could have refused a candidate for what it earns."""
        left_out = {verdict.criterion for verdict in self.not_judged}
        return any(
            verdict.criterion in PERFORMANCE_CRITERIA - left_out for verdict in self.verdicts
        )

    @property
    def status(self) -> str:
        """What the candidate earns, in a few words. One that nobody judged by what it earns is not
        called a champion without saying so.
        """
        if self.decision is CandidateStatus.REJECTED or self.performance_judged:
            return str(self.decision)
        return f"{self.decision}, performance not judged"

    @property
    def reason(self) -> str:
        """What failed; else how many criteria passed, and what was not judged."""
        if self.failures:
            return "; ".join(f"{verdict.criterion}: {verdict.reason}" for verdict in self.failures)
        left_out, count = self.not_judged, len(self.verdicts)
        if not left_out:
            return f"all {count} criteria passed"
        passed = f"{count - len(left_out)} of {count} criteria passed"
        return f"{passed}, not judged: {', '.join(map(_with_value, left_out))}"

    def sentence(self) -> str:
        """Return what the candidate earns and why, as one sentence."""
        return f"{self.status}: {self.reason}"

    def table(self) -> pl.DataFrame:
        """Return the verdicts as a frame (VERDICTS_SCHEMA), in the order of judgement."""
        rows = [(v.criterion, v.verdict, v.value, v.bound, v.reason) for v in self.verdicts]
        return pl.DataFrame(rows, schema=VERDICTS_SCHEMA, orient="row")


def _with_value(result: CriterionResult) -> str:
    """Return a criterion's name with the value that was measured, where one was."""
    value = "" if result.value is None else f" {result.value:.4g}"
    bound = "" if result.value is None or result.bound is None else f" (bound {result.bound:.4g})"
    return f"{result.criterion}{value}{bound}"


_INCUMBENT = CriterionResult(
    "beats_champion", True, None, None, "this version is the champion already", judged=False
)


def refused_unopened(
    candidate: Evidence, thresholds: PromotionThresholds, further: Sequence[CriterionResult] = ()
) -> GateDecision | None:
    """Return the rejection of a candidate that needs no look at the bars out of sample.

    `further` are verdicts that need no such look either, such as the number of looks that are left.
    All of these criteria are judged. The others are not, and the bars stay closed. None where the
    candidate passes so far.
    """
    judged = (*(criterion(candidate, thresholds) for criterion in CLOSED_CRITERIA), *further)
    if all(verdict.passed for verdict in judged):
        return None
    reason = "the bars out of sample stay closed: not judged"
    closed = (
        CriterionResult(name, True, None, None, reason, judged=False)
        for name in (*(each.__name__ for each in OPENED_CRITERIA), "beats_champion")
    )
    return GateDecision(CandidateStatus.REJECTED, (*judged, *closed))


def judge(
    candidate: OpenedEvidence,
    champion: BacktestMetrics | None,
    thresholds: PromotionThresholds,
    further: Sequence[CriterionResult] = (),
    incumbent: bool = False,
) -> GateDecision:
    """Return the gate's decision on `candidate`, with every verdict, failed ones included.

    `champion` are the present champion's figures on the candidate's own out-of-sample bars; None
    where there is no champion. `further` are verdicts that need more than figures, such as the
    rehearsal's: all of them must pass too. `incumbent` is whether the candidate is the champion.

    A candidate that fails any criterion is rejected. One that passes all becomes challenger, and
    champion where it beats the present one, or where there is none.
    """
    required = (*(criterion(candidate, thresholds) for criterion in CRITERIA), *further)
    contest = _INCUMBENT if incumbent else beats_champion(candidate, champion, thresholds)
    if not all(verdict.passed for verdict in required):
        decision = CandidateStatus.REJECTED
    else:
        decision = CandidateStatus.CHAMPION if contest.passed else CandidateStatus.CHALLENGER
    return GateDecision(decision, (*required, contest))


def beats_champion(
    candidate: OpenedEvidence, champion: BacktestMetrics | None, thresholds: PromotionThresholds
) -> CriterionResult:
    """Candidate's Sharpe - champion's Sharpe > min_sharpe_over_champion, on the same bars.

    Where both are equal the champion stays. Where the champion was fitted on some of these bars,
    the comparison favours it.
    """
    name, bound = "beats_champion", thresholds.min_sharpe_over_champion
    if champion is None:
        reason = "there is no champion yet: not judged"
        return CriterionResult(name, True, None, bound, reason, judged=False)
    excess = candidate.out_of_sample.sharpe - champion.sharpe
    passed = excess > bound
    reason = (
        f"Sharpe ratio {candidate.out_of_sample.sharpe:.4g} against the champion's "
        f"{champion.sharpe:.4g} on the same out-of-sample bars: {excess:+.4g}, "
        f"{'more' if passed else 'not more'} than {bound:.4g}"
    )
    judged = bound > LEAST_SHARPE_THAT_REFUSES_NOBODY
    return CriterionResult(name, passed, excess, bound, with_remark(reason, judged), judged)
