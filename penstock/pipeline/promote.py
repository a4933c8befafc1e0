"""Register the best candidate of a search and let the gate decide; roll back. The rules are
penstock.promotion's.
"""

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from penstock.adapters.exchanges.bars_market import BarsMarketData
from penstock.adapters.exchanges.paper import PaperExchange
from penstock.core.clock import SteppedClock
from penstock.core.errors import PromotionError
from penstock.data.snapshots import load_snapshot
from penstock.ports import Exchange, LoadedModel, ModelVersion
from penstock.promotion.criteria import CriterionResult
from penstock.promotion.evidence import Evidence
from penstock.promotion.promote import CHAMPION, Promotion, measure_out_of_sample, promote, rollback
from penstock.promotion.rehearsal import rehearse
from penstock.wiring import Platform


@dataclass(frozen=True)
class PromotionOutcome:
    """What the gate said of a version."""

    promotion: Promotion

    @property
    def version(self) -> ModelVersion:
        return self.promotion.version

    def table(self) -> pl.DataFrame:
        """Return the verdicts: criterion, passed, value, bound, reason."""
        return self.promotion.gate.table()

    def summary(self) -> str:
        """Return the decision in one sentence."""
        gate = self.promotion.gate
        tail = ""
        if self.promotion.moved:
            tail = f"; champion was {self.promotion.champion_before or 'nobody'}, is version {self.promotion.champion_after}"
        return f"{self.version.label}: {gate.decision}: {gate.reason}{tail}"


def promote_candidate(
    platform: Platform, study_name: str, run_id: str | None = None
) -> PromotionOutcome:
    """Register the candidate of a tracked search (default: the study's newest) and judge it.

    Raises PromotionError where there is no such search, or its snapshot is gone.
    """
    study = platform.settings.study(study_name)
    tracker = platform.tracker(study_name)
    chosen = tracker.read_search(run_id) if run_id else tracker.newest_search()
    if chosen is None:
        raise PromotionError(
            f"study '{study_name}' has no tracked search yet: run 'penstock research --study {study_name}'"
        )
    candidate = platform.registry.register(chosen.run_id, study.register_as)
    evidence = platform.registry.evidence(study.register_as, candidate.version)
    _, bars = load_snapshot(chosen.snapshot_path)
    measure = measure_out_of_sample(bars, evidence)
    policy = platform.settings.portfolio(study_name).rebalancing

    def rehearsal(model: LoadedModel) -> CriterionResult:
        done = rehearse(
            model,
            bars,
            evidence,
            policy,
            lambda rows, clock, cash: _paper(platform, evidence, rows, clock, cash),
        )
        return done.verdict(platform.settings.promotion(study_name))

    promotion = promote(
        platform.registry,
        platform.promotions,
        candidate,
        evidence,
        measure,
        platform.settings.promotion(study_name),
        platform.machine_clock.now(),
        rehearsal,
    )
    outcome = PromotionOutcome(promotion)
    if promotion.moved:
        platform.notifier.notify(f"{candidate.name}: new champion", outcome.summary())
    return outcome


def _paper(
    platform: Platform, evidence: Evidence, bars: pl.DataFrame, clock: SteppedClock, cash: Decimal
) -> Exchange:
    """Return a paper exchange over the bars, with the costs that the evidence was measured with."""
    market = BarsMarketData({evidence.timeframe: bars}, None, clock)
    costs = evidence.costs
    return PaperExchange(
        market,
        str(costs.fee_bps),
        str(costs.slippage_bps),
        {platform.settings.universe.quote: cash},
    )


def roll_back(platform: Platform, name: str) -> tuple[str, str]:
    """Give the champion alias back to the version before; return the version numbers (from, to)."""
    was, now = rollback(platform.registry, name)
    platform.notifier.notify(
        f"{name}: rolled back", f"{CHAMPION} was version {was}, is version {now} again"
    )
    return was, now
