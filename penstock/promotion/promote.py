"""Promotion: a candidate is loaded from the registry, measured again, judged, and given its alias.

The bars out of sample are opened for a candidate that passed everything that needs no look at them,
and the look is recorded before they are.

`challenger` is the newest version that passed. `champion` is the one that trades. `previous` is the
champion before it. penstock.promotion.gate decides which alias a candidate earns, and
penstock.promotion.rollback takes a champion out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from penstock.core.errors import PromotionError
from penstock.ports import LoadedModel, ModelVersion, Registry
from penstock.promotion.criteria import CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence, OpenedEvidence
from penstock.promotion.gate import CandidateStatus, GateDecision, judge, refused_unopened
from penstock.promotion.looks import GateLooks, uncounted
from penstock.promotion.measures import Measure
from penstock.promotion.records import CandidateRegistry, Judgement, PromotionStore
from penstock.promotion.rollback import CHAMPION, PREVIOUS, RollbackRecord, not_rolled_back
from penstock.research.engine.results import BacktestMetrics

CHALLENGER = "challenger"
#: How often the champion may change while a candidate is compared with it.
_MOST_COMPARISONS = 3

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
    opened: OpenedEvidence | None = None
    """What the bars out of sample show; None where they stayed closed."""

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
    looks: GateLooks | None = None,
    advice: Sequence[CriterionResult] = (),
) -> Promotion:
    """Judge a registered version, and move the aliases that it earned.

    The candidate is loaded from the registry and must reproduce its evidence in sample. Where it
    passes what needs no look at the bars out of sample, `looks` records one, and they are opened.
    Without `looks` nothing is counted. The champion is measured on the same bars. All of it takes
    time, so the champion is read again under the lock of the aliases before anything moves: where
    it is another one, the comparison is made again. The judgement is recorded before any alias
    moves, with the hash of what was loaded, the time `at` and the name `by` of who asked. Only what
    is recorded as passed can be loaded to trade. A repeat ends in the same state: a candidate that
    is champion already stays champion, and `previous` stays as it is. Raises PromotionError where
    the champion is replaced each time.
    """
    name = candidate.name
    loaded = registry.load_candidate(name, candidate.version)
    content_hash = loaded.version.tags["content_hash"]
    known = evidence if looks is None else looks.counted(evidence)
    unopened = [
        reproduces_evidence(evidence, measure.in_sample(loaded.strategy), thresholds),
        uncounted(thresholds)
        if looks is None
        else looks.verdict(known, loaded.strategy, thresholds),
    ]
    refusal = refused_unopened(
        known, thresholds, (*unopened, *advice, not_rolled_back(registry, rollbacks, candidate))
    )
    if refusal is not None:
        with rollbacks.alias_lock(name):
            record.save_judgement(Judgement(name, candidate.version, content_hash, refusal, at, by))
            registry.show_decision(candidate, refusal)
            before = _champion(registry, name)
            return Promotion(candidate, refusal, before, before)
    look = None if looks is None else looks.spend(known, loaded.strategy, candidate.label)
    opened = measure.opened(known, loaded.strategy)
    if look is not None:
        figures = opened.out_of_sample
        look.end(1, {"sharpe": figures.sharpe, "total_return": figures.total_return})
    further = [*unopened, *_rehearsed(loaded, thresholds, rehearse), *advice]
    for _ in range(_MOST_COMPARISONS):
        before = _champion(registry, name)
        incumbent = before == candidate.version
        rival = (
            None
            if before is None or incumbent
            else measure.out_of_sample(registry.load(name, before).strategy)
        )
        with rollbacks.alias_lock(name):
            if _champion(registry, name) != before:
                continue  # a rollback, or another promotion, came while this one was measured
            verdict = not_rolled_back(registry, rollbacks, candidate)
            gate = judge(opened, rival, thresholds, (*further, verdict), incumbent)
            record.save_judgement(Judgement(name, candidate.version, content_hash, gate, at, by))
            registry.show_decision(candidate, gate, opened)
            return replace(_moved(registry, candidate, gate, before), opened=opened)
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


def reproduces_evidence(
    evidence: Evidence, again: BacktestMetrics, thresholds: PromotionThresholds
) -> CriterionResult:
    """The largest relative difference of final equity and Sharpe ratio <= max_reproduction_error.

    The evidence in sample is compared with `again`, the registered version on the same bars.
    """
    pairs = [
        (evidence.in_sample.final_equity, again.final_equity),
        (evidence.in_sample.sharpe, again.sharpe),
    ]
    errors = [abs(there - here) / max(abs(there), 1e-12) for there, here in pairs]
    error = math.nan if any(map(math.isnan, errors)) else max(errors)
    bound = thresholds.max_reproduction_error
    passed = error <= bound
    reason = (
        f"loaded from the registry it ends at {again.final_equity:.6f} on the searched bars, "
        f"its evidence says {evidence.in_sample.final_equity:.6f}: relative error {error:.2g}, "
        f"{'at most' if passed else 'over'} {bound:.2g}"
    )
    return CriterionResult("reproduces_evidence", passed, error, bound, reason)


def _rehearsed(
    loaded: LoadedModel, thresholds: PromotionThresholds, rehearse: Rehearse | None
) -> list[CriterionResult]:
    """Return the rehearsal's verdict, where there is one to give."""
    if rehearse is not None:
        return [rehearse(loaded)]
    if thresholds.require_rehearsal:
        reason = "not rehearsed: give a rehearsal, or set require_rehearsal to false"
        return [CriterionResult("rehearsal", False, None, None, reason)]
    return []
