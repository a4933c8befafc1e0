"""The gate: it collects every criterion's verdict and decides which alias a candidate earns.

penstock.promotion.promote measures the figures and moves the aliases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from penstock.promotion.criteria import CRITERIA, CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence
from penstock.research.engine.results import BacktestMetrics

#: One row per verdict.
VERDICTS_SCHEMA = pl.Schema(
    {
        "criterion": pl.String(),
        "passed": pl.Boolean(),
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
    def reason(self) -> str:
        """What failed, or that all criteria passed."""
        if not self.failures:
            return f"all {len(self.verdicts)} criteria passed"
        return "; ".join(f"{verdict.criterion}: {verdict.reason}" for verdict in self.failures)

    def table(self) -> pl.DataFrame:
        """Return the verdicts as a frame (VERDICTS_SCHEMA), in the order of judgement."""
        rows = [(v.criterion, v.passed, v.value, v.bound, v.reason) for v in self.verdicts]
        return pl.DataFrame(rows, schema=VERDICTS_SCHEMA, orient="row")


_INCUMBENT = CriterionResult(
    "beats_champion", True, None, None, "this version is the champion already"
)


def judge(
    candidate: Evidence,
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
    candidate: Evidence, champion: BacktestMetrics | None, thresholds: PromotionThresholds
) -> CriterionResult:
    """Candidate's Sharpe - champion's Sharpe > min_sharpe_over_champion, on the same bars.

    Where both are equal the champion stays. Where the champion was fitted on some of these bars,
    the comparison favours it.
    """
    name, bound = "beats_champion", thresholds.min_sharpe_over_champion
    if champion is None:
        return CriterionResult(name, True, None, bound, "there is no champion yet")
    excess = candidate.out_of_sample.sharpe - champion.sharpe
    passed = excess > bound
    reason = (
        f"Sharpe ratio {candidate.out_of_sample.sharpe:.4g} against the champion's "
        f"{champion.sharpe:.4g} on the same out-of-sample bars: {excess:+.4g}, "
        f"{'more' if passed else 'not more'} than {bound:.4g}"
    )
    return CriterionResult(name, passed, excess, bound, reason)
