"""A candidate's way to its alias, and out of it again, with a registry and records in memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.errors import PromotionError
from penstock.core.strategy import Strategy
from penstock.pipeline.trading_costs import costs_verdict
from penstock.ports import LoadedModel
from penstock.promotion.criteria import CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence
from penstock.promotion.gate import CandidateStatus
from penstock.promotion.promote import (
    Measure,
    Promotion,
    Rehearse,
    measure_out_of_sample,
    promote,
    reproduces_evidence,
)
from penstock.promotion.rollback import not_rolled_back, rollback, strategy_hash
from penstock.research.engine.measured_costs import LiveCosts
from penstock.research.engine.results import BacktestMetrics
from penstock.testing.memory_promotions import MemoryPromotionStore
from penstock.testing.memory_registry import MemoryRegistry
from penstock.testing.memory_rollbacks import MemoryRollbackRecord
from strategies.ma_cross import MovingAverageCross

AT = datetime(2026, 1, 5, tzinfo=UTC)
NAME = "trend"
THRESHOLDS = PromotionThresholds(require_rehearsal=False)


@dataclass
class Desk:
    """A registry with its records. A version's Sharpe ratio is a tenth of its fast window."""

    make_evidence: Callable[..., Evidence]
    record: MemoryPromotionStore = field(default_factory=MemoryPromotionStore)
    rollbacks: MemoryRollbackRecord = field(default_factory=MemoryRollbackRecord)
    registry: MemoryRegistry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = MemoryRegistry(self.record)

    def evidence(self, fast_bars: int, search: str = "search-1") -> Evidence:
        return self.make_evidence(
            {"sharpe": fast_bars / 10}, params={"fast_bars": fast_bars}, search_id=search
        )

    def register(self, fast_bars: int, search: str = "search-1") -> str:
        run = self.registry.record_run(MovingAverageCross, self.evidence(fast_bars, search))
        return self.registry.register(run, NAME).version

    def measure(self, strategy: Strategy) -> BacktestMetrics:
        fast_bars = strategy.params.model_dump()["fast_bars"]
        return self.evidence(fast_bars).out_of_sample

    def promote(
        self,
        version: str,
        thresholds: PromotionThresholds = THRESHOLDS,
        rehearse: Rehearse | None = None,
        measure: Measure | None = None,
        advice: Sequence[CriterionResult] = (),
    ) -> Promotion:
        candidate = self.registry.find(NAME, version)
        assert candidate is not None
        return promote(
            self.registry,
            self.record,
            candidate,
            self.registry.evidence(NAME, version),
            measure or self.measure,
            thresholds,
            AT,
            "ana",
            rehearse,
            rollbacks=self.rollbacks,
            advice=advice,
        )

    def rollback(self) -> tuple[str, str]:
        return rollback(self.registry, self.rollbacks, NAME, AT, "ben")

    def aliases(self) -> dict[str, str]:
        return self.registry.aliases.get(NAME, {})

    def hash_of(self, version: str) -> str:
        found = self.registry.find(NAME, version)
        assert found is not None
        return strategy_hash(found)


@pytest.fixture
def desk(evidence: Callable[..., Evidence]) -> Desk:
    return Desk(evidence)


def test_first_candidate_that_passes_trades_and_its_judgement_is_on_record(desk: Desk) -> None:
    """It cannot be loaded before the gate has passed this content, and can afterwards."""
    version = desk.register(12)
    with pytest.raises(PromotionError, match="not on record as passed"):
        desk.registry.load(NAME, version)
    outcome = desk.promote(version)
    assert (outcome.champion_before, outcome.champion_after, outcome.moved) == (None, "1", True)
    assert desk.aliases() == {"challenger": "1", "champion": "1"}
    (judgement,) = desk.record.saved
    loaded = desk.registry.load(NAME, "champion")
    assert judgement.content_hash == loaded.version.tags["content_hash"]
    assert (judgement.version, judgement.at, judgement.by) == ("1", AT, "ana")
    assert judgement.gate is outcome.gate


def test_better_candidate_replaces_the_champion_and_a_worse_one_does_not(desk: Desk) -> None:
    """`previous` is the champion that was replaced. Whoever is champion already stays, and
    `previous` with it.
    """
    good, better, worse = (desk.register(fast) for fast in (12, 15, 11))
    desk.promote(good)
    outcome = desk.promote(better)
    assert (outcome.champion_before, outcome.champion_after) == (good, better)
    expected = {"challenger": better, "champion": better, "previous": good}
    assert desk.aliases() == expected
    again = desk.promote(better)
    assert (again.gate.decision, again.moved) == (CandidateStatus.CHAMPION, False)
    assert desk.aliases() == expected
    challenger = desk.promote(worse)
    assert (challenger.gate.decision, challenger.moved) == (CandidateStatus.CHALLENGER, False)
    assert desk.aliases() == {**expected, "challenger": worse}


def test_rejected_candidate_moves_nothing_and_stays_refused(desk: Desk) -> None:
    """Its registered version shows other figures than its evidence claims, and nobody rehearsed it:
    both are on record, and it cannot be loaded.
    """
    version = desk.register(12)
    claimed = desk.evidence(12).out_of_sample
    poorer = replace(claimed, final_equity=claimed.final_equity * 0.99)
    outcome = desk.promote(
        version, PromotionThresholds(require_rehearsal=True), measure=lambda _: poorer
    )
    failed = [verdict.criterion for verdict in outcome.gate.failures]
    assert failed == ["reproduces_evidence", "rehearsal"]
    assert outcome.gate.decision is CandidateStatus.REJECTED
    assert desk.aliases() == {}
    assert [each.gate for each in desk.record.saved] == [outcome.gate]
    with pytest.raises(PromotionError, match="not on record as passed"):
        desk.registry.load(NAME, version)


def test_rehearsal_gets_the_registered_version_and_its_verdict_counts(desk: Desk) -> None:
    version = desk.register(12)
    rehearsed: list[LoadedModel] = []

    def rehearse(model: LoadedModel) -> CriterionResult:
        rehearsed.append(model)
        return CriterionResult("rehearsal", False, 0.2, 0.1, "it lost a fill")

    outcome = desk.promote(version, rehearse=rehearse)
    assert [model.version.version for model in rehearsed] == [version]
    assert rehearsed[0].strategy.params.model_dump()["fast_bars"] == 12
    assert outcome.gate.reason == "rehearsal: it lost a fill"


def test_live_costs_above_the_assumed_warn_and_refuse_nobody(desk: Desk) -> None:
    """The verdict is kept with the others, and the decision names it."""
    advice = costs_verdict(LiveCosts(orders=40, paid_bps=25.0, error_bps=2.0, assumed_bps=15.0))
    outcome = desk.promote(desk.register(10), advice=[advice])
    assert outcome.champion_after == "1"
    assert "live_costs 25 (bound 15)" in outcome.gate.reason
    reasons = dict(outcome.gate.table().select("criterion", "reason").iter_rows())
    assert "MORE than the 15.0 bps" in reasons["live_costs"]
    cheap = costs_verdict(LiveCosts(40, 18.0, 2.0, 15.0))
    assert "not measurably more" in cheap.reason


@pytest.mark.parametrize("sharpe", [1.2001, math.nan])
def test_figures_that_differ_or_are_no_number_do_not_reproduce(
    evidence: Callable[..., Evidence], sharpe: float
) -> None:
    """The bound is relative; NaN is within no bound."""
    known = evidence()
    thresholds = PromotionThresholds(max_reproduction_error=1e-6)
    same = reproduces_evidence(known, known.out_of_sample, thresholds)
    assert (same.passed, same.value) == (True, 0.0)
    assert not reproduces_evidence(
        known, replace(known.out_of_sample, sharpe=sharpe), thresholds
    ).passed


def test_measure_refuses_bars_that_are_not_the_evidences(
    evidence: Callable[..., Evidence],
) -> None:
    with pytest.raises(PromotionError, match="use the snapshot"):
        measure_out_of_sample(pl.DataFrame(schema=BARS_SCHEMA), evidence())


def test_champion_that_is_replaced_at_each_comparison_leaves_all_as_it_was(desk: Desk) -> None:
    """The comparison is made again with each new champion, three times at most."""
    first, second, third = (desk.register(fast) for fast in (12, 15, 18))
    desk.promote(first)
    desk.promote(second)
    others = {first: second, second: first}
    compared: list[str] = []

    def measure(strategy: Strategy) -> BacktestMetrics:
        figures = desk.measure(strategy)
        if strategy.params.model_dump()["fast_bars"] != 18:
            champion = desk.aliases()["champion"]
            compared.append(champion)
            desk.registry.move_alias(NAME, "champion", others[champion])
        return figures

    with pytest.raises(PromotionError, match="compared with 3 champions"):
        desk.promote(third, measure=measure)
    assert compared == [second, first, second]
    assert third not in desk.aliases().values()
    assert [each.version for each in desk.record.saved] == [first, second]


def test_rollback_returns_to_the_champion_before_and_remembers_what_it_took_out(
    desk: Desk,
) -> None:
    """It is remembered by what it decides with: the same source and parameters of another search
    are refused, other parameters may compete.
    """
    first, second = desk.register(12), desk.register(15)
    desk.promote(first)
    desk.promote(second)
    assert desk.rollback() == (second, first)
    assert desk.aliases()["champion"] == first
    assert desk.aliases()["rolled_back"] == second
    assert desk.rollbacks.rolled_back(NAME) == {desk.hash_of(second): second}
    found_again = desk.register(15, search="search-2")
    for version, reason in (
        (second, f"version {second} was rolled back by an operator"),
        (found_again, f"parameters of version {second}, which was rolled back"),
    ):
        refused = desk.promote(version)
        assert refused.gate.decision is CandidateStatus.REJECTED
        (verdict,) = refused.gate.failures
        assert verdict.criterion == "not_rolled_back"
        assert reason in verdict.reason
    assert desk.aliases()["champion"] == first
    assert desk.promote(desk.register(16)).moved


def test_rollback_without_a_champion_to_return_to_moves_nothing(desk: Desk) -> None:
    """No champion, none before, one that is champion already, and one that was taken out itself."""
    first, second = desk.register(12), desk.register(15)

    def refused(match: str) -> None:
        before = dict(desk.aliases()), dict(desk.rollbacks.rolled_back(NAME))
        with pytest.raises(PromotionError, match=match):
            desk.rollback()
        assert (desk.aliases(), desk.rollbacks.rolled_back(NAME)) == before

    refused("has no champion")
    desk.promote(first)
    refused("no champion before version 1")
    desk.promote(second)
    desk.rollback()
    refused("version 1 of 'trend' is the previous champion already")
    desk.registry.move_alias(NAME, "previous", second)
    refused("version 2 of 'trend', was rolled back itself")


def test_alias_of_a_rollback_that_was_not_kept_refuses_all_the_same(desk: Desk) -> None:
    """Rollbacks from before they were kept are known by the registry's alias alone."""
    version = desk.register(12)
    candidate = desk.registry.find(NAME, version)
    assert candidate is not None
    assert not_rolled_back(desk.registry, desk.rollbacks, candidate).passed
    desk.registry.move_alias(NAME, "rolled_back", version)
    assert not not_rolled_back(desk.registry, desk.rollbacks, candidate).passed
