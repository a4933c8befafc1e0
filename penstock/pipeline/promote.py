"""Register the best candidate of a search and let the gate decide; roll back. The rules are
penstock.promotion's.
"""

from dataclasses import dataclass

from penstock.core.actors import Actor
from penstock.core.errors import NoSearchError, PromotionError
from penstock.data.snapshots import load_snapshot
from penstock.pipeline.trading_costs import live_costs_verdict
from penstock.pipeline.use_case import use_case
from penstock.ports import LoadedModel, ModelVersion
from penstock.promotion.criteria import CriterionResult
from penstock.promotion.looks import GateLooks
from penstock.promotion.measures import measure_on
from penstock.promotion.promote import Promotion, promote
from penstock.promotion.rehearsal import rehearse
from penstock.promotion.rollback import CHAMPION, rollback
from penstock.wiring import Platform


@dataclass(frozen=True)
class PromotionOutcome:
    """What the gate decided about a version."""

    promotion: Promotion

    @property
    def version(self) -> ModelVersion:
        return self.promotion.version

    def summary(self) -> str:
        """Return the decision in one sentence."""
        tail = "" if self.promotion.opened else "; the bars out of sample stay closed"
        if self.promotion.moved:
            before, after = self.promotion.champion_before, self.promotion.champion_after
            tail = f"; champion was {before or 'none'}, is version {after}"
        return f"{self.version.label}: {self.promotion.gate.sentence()}{tail}"


@use_case
def promote_candidate(
    platform: Platform, actor: Actor, study_name: str, run_id: str | None = None
) -> PromotionOutcome:
    """Register the candidate of a tracked search (default: the study's newest) and judge it.

    The bars out of sample are opened where it passes all that needs no look at them.

    Raises NoSearchError where the study has none, PromotionError where it is not on
    record in this database, or its snapshot is gone or was replaced.
    """
    study = platform.settings.study(study_name)
    tracker = platform.tracker(study_name)
    chosen = tracker.read_search(run_id) if run_id else tracker.newest_search()
    if chosen is None:
        raise NoSearchError(study_name)
    candidate = platform.registry.register(chosen.run_id, study.register_as)
    evidence = platform.registry.evidence(study.register_as, candidate.version)
    snapshot, bars = load_snapshot(chosen.snapshot_path)
    if snapshot.content_hash != evidence.dataset_hash:
        raise PromotionError(
            f"{snapshot.path} is not the snapshot that was searched: its content is "
            f"{snapshot.content_hash[:12]}, searched was {evidence.dataset_hash[:12]}; restore it, "
            "or search again, which takes a new one"
        )
    measure = measure_on(bars, evidence, snapshot.doubts, snapshot.joins)
    policy = platform.settings.portfolio(study_name).rebalancing

    def rehearsal(model: LoadedModel) -> CriterionResult:
        done = rehearse(
            model,
            bars,
            evidence,
            policy,
            lambda rows, clock, cash: platform.rehearsal_account(
                rows, evidence.timeframe, evidence.costs, clock, cash
            ),
            doubts=snapshot.doubts,
            joins=snapshot.joins,
        )
        return done.verdict(platform.settings.promotion(study_name))

    costs = live_costs_verdict(platform, study_name, evidence.costs)
    promotion = promote(
        platform.registry,
        platform.promotions,
        candidate,
        evidence,
        measure,
        platform.settings.promotion(study_name),
        platform.machine_clock.now(),
        actor.name,
        rehearsal,
        rollbacks=platform.rollbacks,
        looks=GateLooks(platform.look_recorder(actor)),
        advice=[] if costs is None else [costs],
    )
    outcome = PromotionOutcome(promotion)
    if promotion.moved:
        title = f"{candidate.name}: new {promotion.gate.status}"
        platform.notifier.notify(title, outcome.summary())
    return outcome


@dataclass(frozen=True)
class RollbackOutcome:
    """A champion that was taken out."""

    model: str
    """The model's name."""
    was: str
    """The version number before."""
    now: str
    """The version number after."""


@use_case
def roll_back(platform: Platform, actor: Actor, model: str) -> RollbackOutcome:
    """Give the champion alias of a registered model back to the version that held it before.

    Raises PromotionError where there is none to go back to.
    """
    was, now = rollback(
        platform.registry, platform.rollbacks, model, platform.machine_clock.now(), actor.name
    )
    platform.notifier.notify(
        f"{model}: rolled back",
        f"{CHAMPION} was version {was}, is version {now} again (by {actor.name})",
    )
    return RollbackOutcome(model, was, now)
