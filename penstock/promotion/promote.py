"""Promotion: a candidate is loaded from the registry, measured again, judged, and given its alias.

`challenger` is the newest version that passed. `champion` is the one that trades. `previous` is the
champion before it. `rolled_back` is a champion that an operator took out. penstock.promotion.gate
decides which alias a candidate earns.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from penstock.core.errors import PromotionError
from penstock.core.strategy import Strategy
from penstock.ports import LoadedModel, ModelVersion, Registry
from penstock.promotion.criteria import CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence, backtest_out_of_sample, bars_of
from penstock.promotion.gate import CandidateStatus, GateDecision, judge
from penstock.promotion.records import CandidateRegistry, Judgement, PromotionStore
from penstock.research.engine.results import BacktestMetrics

CHAMPION, CHALLENGER, PREVIOUS, ROLLED_BACK = "champion", "challenger", "previous", "rolled_back"

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
) -> Promotion:
    """Judge a registered version, and move the aliases that it earned.

    The candidate is loaded from the registry and must reproduce its evidence. The champion is
    measured on the same bars. The judgement is recorded before any alias moves, with the hash of
    what was loaded, the time `at` and the name `by` of who asked. Only what is recorded as passed
    can be loaded to trade. A repeat ends in the same state: a candidate that is champion
    already stays champion, and `previous` stays as it is.
    """
    name = candidate.name
    champion = registry.find(name, CHAMPION)
    incumbent = champion is not None and champion.version == candidate.version
    rival = (
        None
        if champion is None or incumbent
        else measure(registry.load(name, champion.version).strategy)
    )
    loaded = registry.load_candidate(name, candidate.version)
    further = _further_verdicts(registry, loaded, evidence, measure, thresholds, rehearse)
    gate = judge(evidence, rival, thresholds, further, incumbent)
    content_hash = loaded.version.tags["content_hash"]
    record.save_judgement(Judgement(name, candidate.version, content_hash, gate, at, by))
    before = None if champion is None else champion.version
    if gate.decision is not CandidateStatus.REJECTED:
        registry.move_alias(name, CHALLENGER, candidate.version)
    if gate.decision is not CandidateStatus.CHAMPION or incumbent:
        return Promotion(candidate, gate, before, before)
    # `previous` moves first: a crash between the two leaves a champion, and a repeat completes it.
    if before is not None:
        registry.move_alias(name, PREVIOUS, before)
    registry.move_alias(name, CHAMPION, candidate.version)
    return Promotion(candidate, gate, before, candidate.version)


def rollback(registry: Registry, name: str) -> tuple[str, str]:
    """Make the previous champion the champion again; return the version numbers (from, to).

    The version that is taken out becomes `rolled_back`: the gate does not promote it again. A
    second rollback does not bring it back. Raises PromotionError where there is no champion to
    return to.
    """
    champion, previous = registry.find(name, CHAMPION), registry.find(name, PREVIOUS)
    if champion is None:
        raise PromotionError(f"rollback: '{name}' has no champion; promote a version first")
    if previous is None:
        raise PromotionError(
            f"rollback: '{name}' has had no champion before version {champion.version}; "
            "halt the account to stop it trading"
        )
    if previous.version == champion.version:
        raise PromotionError(
            f"rollback: version {champion.version} of '{name}' is the previous champion already; "
            "to go elsewhere point the alias 'champion' at a version in the registry"
        )
    registry.move_alias(name, ROLLED_BACK, champion.version)
    registry.move_alias(name, CHAMPION, previous.version)
    return champion.version, previous.version


def measure_out_of_sample(bars: pl.DataFrame, evidence: Evidence) -> Measure:
    """Return a function that backtests a strategy on the evidence's out-of-sample bars and costs.

    `bars` are those of the evidence's snapshot (BARS_SCHEMA). Raises PromotionError where they do
    not cover its period or its symbols.
    """
    known = bars_of(bars, evidence)
    return lambda strategy: backtest_out_of_sample(strategy, known, evidence, evidence.costs)


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
    registry: Registry,
    loaded: LoadedModel,
    evidence: Evidence,
    measure: Measure,
    thresholds: PromotionThresholds,
    rehearse: Rehearse | None,
) -> list[CriterionResult]:
    """Return the verdicts that need the registered version itself."""
    candidate = loaded.version
    verdicts = [
        reproduces_evidence(evidence, measure(loaded.strategy), thresholds),
        _not_rolled_back(candidate, registry.find(candidate.name, ROLLED_BACK)),
    ]
    if rehearse is not None:
        verdicts.append(rehearse(loaded))
    elif thresholds.require_rehearsal:
        reason = "not rehearsed: give a rehearsal, or set require_rehearsal to false"
        verdicts.append(CriterionResult("rehearsal", False, None, None, reason))
    return verdicts


def _not_rolled_back(candidate: ModelVersion, rolled_back: ModelVersion | None) -> CriterionResult:
    if rolled_back is None or rolled_back.version != candidate.version:
        return CriterionResult(
            "not_rolled_back", True, None, None, "no operator has rolled this version back"
        )
    reason = (
        f"version {candidate.version} was rolled back by an operator; "
        f"remove the alias '{ROLLED_BACK}' to let it compete again"
    )
    return CriterionResult("not_rolled_back", False, None, None, reason)
