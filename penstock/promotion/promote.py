"""Promotion: a candidate is loaded from the registry, measured again, judged, and given its alias.

`challenger` is the newest version that passed. `champion` is the one that trades. `previous` is the
champion before it. penstock.promotion.gate decides which alias a candidate earns, and
penstock.promotion.rollback takes a champion out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from penstock.core.doubts import DoubtedBar
from penstock.core.errors import PromotionError
from penstock.core.relistings import Join
from penstock.core.strategy import Strategy
from penstock.ports import LoadedModel, ModelVersion, Registry
from penstock.promotion.criteria import CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence, backtest_out_of_sample, bars_of
from penstock.promotion.gate import CandidateStatus, GateDecision, judge
from penstock.promotion.records import CandidateRegistry, Judgement, PromotionStore
from penstock.promotion.rollback import CHAMPION, PREVIOUS, RollbackRecord, not_rolled_back
from penstock.research.engine.results import BacktestMetrics

CHALLENGER = "challenger"
#: How often the champion may change while a candidate is compared with it.
_MOST_COMPARISONS = 3

#: Returns a strategy's figures on the candidate's out-of-sample bars, with the candidate's costs.
Measure = Callable[[Strategy], BacktestMetrics]

#: Trades a candidate through planning and a venue, and returns a verdict on it.
Rehearse = Callable[[LoadedModel], CriterionResult]


@dataclass(frozen=True)
class Promotion:
    """What became of a candidate."""

    version: ModelVersion
    """The registered version that was judged."""
    gate: GateDecision
    """The gate's decision, with every verdict."""
    champion_before: str | None
    """The champion's version number before; None where there was none."""
    champion_after: str | None
    """The champion's version number afterwards; None where there is none."""

    @property
    def moved(self) -> bool:
        """Whether another version trades now."""
        return self.champion_before != self.champion_after


def promote(
    registry: CandidateRegistry,
    record: PromotionStore,
    candidate: ModelVersion,
    evidence: Evidence,
    measure: Measure,
    thresholds: PromotionThresholds,
    at: datetime,
    by: str,
    rehearse: Rehearse | None = None,
    *,
    rollbacks: RollbackRecord,
    advice: Sequence[CriterionResult] = (),
) -> Promotion:
    """Judge a registered version, and move the aliases that it earned.

    The candidate is loaded from the registry and must reproduce its evidence. The champion is
    measured on the same bars. Both take time, so the champion is read again under the lock of the
    aliases before anything moves: where it is another one, the comparison is made again. The
    judgement is recorded before any alias moves, with the hash of what was loaded, the time `at`
    and the name `by` of who asked. Only what is recorded as passed can be loaded to trade. A repeat
    ends in the same state: a candidate that is champion already stays champion, and `previous`
    stays as it is. Raises PromotionError where the champion is replaced each time.
    """
    name = candidate.name
    loaded = registry.load_candidate(name, candidate.version)
    content_hash = loaded.version.tags["content_hash"]
    further = [*_further_verdicts(loaded, evidence, measure, thresholds, rehearse), *advice]
    for _ in range(_MOST_COMPARISONS):
        before = _champion(registry, name)
        incumbent = before == candidate.version
        rival = (
            None if before is None or incumbent else measure(registry.load(name, before).strategy)
        )
        with rollbacks.alias_lock(name):
            if _champion(registry, name) != before:
                continue  # a rollback, or another promotion, came while this one was measured
            verdict = not_rolled_back(registry, rollbacks, candidate)
            gate = judge(evidence, rival, thresholds, (*further, verdict), incumbent)
            record.save_judgement(Judgement(name, candidate.version, content_hash, gate, at, by))
            registry.show_decision(candidate, gate)
            return _moved(registry, candidate, gate, before)
    raise PromotionError(
        f"{candidate.label} was compared with {_MOST_COMPARISONS} champions, and each was replaced "
        "meanwhile: nothing was moved; promote it again"
    )


def _champion(registry: Registry, name: str) -> str | None:
    """Return the champion's version number, or None."""
    found = registry.find(name, CHAMPION)
    return None if found is None else found.version


def _moved(
    registry: Registry, candidate: ModelVersion, gate: GateDecision, before: str | None
) -> Promotion:
    """Move the aliases that the candidate earned. `before` is the champion now."""
    name, incumbent = candidate.name, before == candidate.version
    if gate.decision is not CandidateStatus.REJECTED:
        registry.move_alias(name, CHALLENGER, candidate.version)
    if gate.decision is not CandidateStatus.CHAMPION or incumbent:
        return Promotion(candidate, gate, before, before)
    # `previous` moves first: a crash between the two leaves a champion, and a repeat completes it.
    if before is not None:
        registry.move_alias(name, PREVIOUS, before)
    registry.move_alias(name, CHAMPION, candidate.version)
    return Promotion(candidate, gate, before, candidate.version)


def measure_out_of_sample(
    bars: pl.DataFrame,
    evidence: Evidence,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
) -> Measure:
    """Return a function that backtests a strategy on the evidence's out-of-sample bars and costs.

    `bars` (BARS_SCHEMA), `doubts` and `joins` are those of the evidence's snapshot. Raises
    PromotionError where they do not cover its period or its symbols.
    """
    known = bars_of(bars, evidence)
    return lambda strategy: backtest_out_of_sample(
        strategy, known, evidence, evidence.costs, doubts, joins
    )


def reproduces_evidence(
    evidence: Evidence, again: BacktestMetrics, thresholds: PromotionThresholds
) -> CriterionResult:
    """The largest relative difference of final equity and Sharpe ratio <= max_reproduction_error.

    The evidence is compared with the registered version.
    """
    pairs = [
        (evidence.out_of_sample.final_equity, again.final_equity),
        (evidence.out_of_sample.sharpe, again.sharpe),
    ]
    errors = [abs(there - here) / max(abs(there), 1e-12) for there, here in pairs]
    error = math.nan if any(map(math.isnan, errors)) else max(errors)
    bound = thresholds.max_reproduction_error
    passed = error <= bound
    reason = (
        f"loaded from the registry it ends at {again.final_equity:.6f} on the same bars, "
        f"its evidence says {evidence.out_of_sample.final_equity:.6f}: relative error {error:.2g}, "
        f"{'at most' if passed else 'over'} {bound:.2g}"
    )
    return CriterionResult("reproduces_evidence", passed, error, bound, reason)


def _further_verdicts(
    loaded: LoadedModel,
    evidence: Evidence,
    measure: Measure,
    thresholds: PromotionThresholds,
    rehearse: Rehearse | None,
) -> list[CriterionResult]:
    """Return the verdicts that need the registered version itself."""
    verdicts = [reproduces_evidence(evidence, measure(loaded.strategy), thresholds)]
    if rehearse is not None:
        verdicts.append(rehearse(loaded))
    elif thresholds.require_rehearsal:
        reason = "not rehearsed: give a rehearsal, or set require_rehearsal to false"
        verdicts.append(CriterionResult("rehearsal", False, None, None, reason))
    return verdicts
