"""A candidate's way to its alias, and out of it again, with a registry and records in memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import polars as pl
import pytest

from penstock.core.actors import Actor, Channel
from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import SteppedClock
from penstock.core.errors import PromotionError
from penstock.core.looks import BarRange, Look, LookKind
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.pipeline.trading_costs import costs_verdict
from penstock.ports import LoadedModel
from penstock.promotion.criteria import CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence, OpenedEvidence
from penstock.promotion.gate import CandidateStatus
from penstock.promotion.looks import GateLooks
from penstock.promotion.measures import Measure, measure_on
from penstock.promotion.promote import Promotion, Rehearse, promote, reproduces_evidence
from penstock.promotion.rollback import not_rolled_back, rollback, strategy_hash
from penstock.research.engine.measured_costs import LiveCosts
from penstock.research.engine.results import BacktestMetrics
from penstock.research.journal import LookRecorder
from penstock.testing.memory_journal import MemoryResearchJournal
from penstock.testing.memory_promotions import MemoryPromotionStore
from penstock.testing.memory_registry import MemoryRegistry
from penstock.testing.memory_rollbacks import MemoryRollbackRecord
from strategies.ma_cross import MovingAverageCross

AT = datetime(2026, 1, 5, tzinfo=UTC)
NAME = "trend"
THRESHOLDS = PromotionThresholds(require_rehearsal=False)
#: What the candidate passes also where the journal deflates its Sharpe ratio.
COUNTED = THRESHOLDS.model_copy(update={"min_deflated_sharpe": 0.2})


@dataclass
class FoundFigures:
    """Measures a strategy: its figures out of sample are those of `found`."""

    evidence: Callable[[int], OpenedEvidence]
    searched: list[Strategy] = field(default_factory=list)
    seen: list[Strategy] = field(default_factory=list)

    def in_sample(self, strategy: Strategy) -> BacktestMetrics:
        self.searched.append(strategy)
        return self._found(strategy).in_sample

    def out_of_sample(self, strategy: Strategy) -> BacktestMetrics:
        self.seen.append(strategy)
        return self._found(strategy).out_of_sample

    def opened(self, evidence: Evidence, strategy: Strategy) -> OpenedEvidence:
        self.seen.append(strategy)
        return OpenedEvidence(
            **{**dict(self._found(strategy)), "deflated_sharpe": evidence.deflated_sharpe}
        )

    def _found(self, strategy: Strategy) -> OpenedEvidence:
        return self.evidence(strategy.params.model_dump()["fast_bars"])


@dataclass
class Desk:
    """A registry with its records. A version's Sharpe ratio is a tenth of its fast window."""

    make_evidence: Callable[..., OpenedEvidence]
    record: MemoryPromotionStore = field(default_factory=MemoryPromotionStore)
    rollbacks: MemoryRollbackRecord = field(default_factory=MemoryRollbackRecord)
    registry: MemoryRegistry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = MemoryRegistry(self.record)

    def evidence(self, fast_bars: int, search: str = "search-1") -> OpenedEvidence:
        return self.make_evidence(
            {"sharpe": fast_bars / 10}, params={"fast_bars": fast_bars}, search_id=search
        )

    def register(self, fast_bars: int, search: str = "search-1") -> str:
        run = self.registry.record_run(MovingAverageCross, self.evidence(fast_bars, search))
        return self.registry.register(run, NAME).version

    def promote(
        self,
        version: str,
        thresholds: PromotionThresholds = THRESHOLDS,
        rehearse: Rehearse | None = None,
        measure: Measure | None = None,
        looks: GateLooks | None = None,
        advice: Sequence[CriterionResult] = (),
    ) -> Promotion:
        candidate = self.registry.find(NAME, version)
        assert candidate is not None
        return promote(
            self.registry,
            self.record,
            candidate,
            self.registry.evidence(NAME, version),
            measure or FoundFigures(self.evidence),
            thresholds,
            AT,
            "ana",
            rehearse,
            rollbacks=self.rollbacks,
            looks=looks,
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
def desk(evidence: Callable[..., OpenedEvidence]) -> Desk:
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
    """Nobody rehearsed it. That is on record, and it cannot be loaded."""
    version = desk.register(12)
    outcome = desk.promote(version, PromotionThresholds(require_rehearsal=True))
    failed = [verdict.criterion for verdict in outcome.gate.failures]
    assert failed == ["rehearsal"]
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


@pytest.mark.parametrize("sharpe", [1.5001, math.nan])
def test_figures_that_differ_or_are_no_number_do_not_reproduce(
    evidence: Callable[..., OpenedEvidence], sharpe: float
) -> None:
    """The bound is relative; NaN is within no bound."""
    known = evidence()
    thresholds = PromotionThresholds(max_reproduction_error=1e-6)
    same = reproduces_evidence(known, known.in_sample, thresholds)
    assert (same.passed, same.value) == (True, 0.0)
    assert not reproduces_evidence(
        known, replace(known.in_sample, sharpe=sharpe), thresholds
    ).passed


def test_measure_refuses_bars_that_are_not_the_evidences(
    evidence: Callable[..., OpenedEvidence],
) -> None:
    with pytest.raises(PromotionError, match="use the snapshot"):
        measure_on(pl.DataFrame(schema=BARS_SCHEMA), evidence())


def test_champion_that_is_replaced_at_each_comparison_leaves_all_as_it_was(desk: Desk) -> None:
    """The comparison is made again with each new champion, three times at most."""
    first, second, third = (desk.register(fast) for fast in (12, 15, 18))
    desk.promote(first)
    desk.promote(second)
    others = {first: second, second: first}
    compared: list[str] = []

    class Interrupted(FoundFigures):
        def out_of_sample(self, strategy: Strategy) -> BacktestMetrics:
            champion = desk.aliases()["champion"]
            compared.append(champion)
            desk.registry.move_alias(NAME, "champion", others[champion])
            return super().out_of_sample(strategy)

    with pytest.raises(PromotionError, match="compared with 3 champions"):
        desk.promote(third, measure=Interrupted(desk.evidence))
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


def recorder(journal: MemoryResearchJournal) -> LookRecorder:
    return LookRecorder(journal, Actor("ana", Channel.CLI), "practice", SteppedClock(AT))


def tried_before(journal: MemoryResearchJournal, first: datetime, last: datetime, n: int) -> None:
    """Record a look of `n` configurations at bars from one day to another."""
    bars = BarRange("practice", Timeframe.D1, ("BTC/USDT",), first, last)
    look = Look(LookKind.SEARCH, bars, "", "trend", Actor("ben", Channel.NOTEBOOK), AT)
    journal.add(journal.begin(look), {f"tried-{k}" for k in range(n)})


def test_bars_out_of_sample_stay_closed_for_what_fails_before(desk: Desk) -> None:
    """A leak, a registered version that is not what was searched, a strategy that was rolled back:
    nothing is opened, nothing is spent, and what was not judged says so.
    """
    journal = MemoryResearchJournal()
    looks = GateLooks(recorder(journal))
    version = desk.register(12)
    other = FoundFigures(lambda fast: desk.make_evidence(in_sample=desk.evidence(1).out_of_sample))
    outcome = desk.promote(version, COUNTED, measure=other, looks=looks)
    assert [verdict.criterion for verdict in outcome.gate.failures] == ["reproduces_evidence"]
    assert other.seen == []
    assert outcome.opened is None
    assert journal.newest(9) == []
    closed = {verdict.criterion: verdict.reason for verdict in outcome.gate.not_judged}
    assert "stay closed" in closed["out_of_sample_sharpe"]
    assert [each.gate for each in desk.record.saved] == [outcome.gate]
    with pytest.raises(PromotionError, match="not on record as passed"):
        desk.registry.load(NAME, version)


def test_look_is_on_record_before_the_bars_are_opened(desk: Desk) -> None:
    """Whatever happens while they are open, the look has happened. Its figures come afterwards."""
    journal = MemoryResearchJournal()
    looks = GateLooks(recorder(journal))

    class Broken(FoundFigures):
        def opened(self, evidence: Evidence, strategy: Strategy) -> OpenedEvidence:
            (begun,) = journal.newest(9)
            assert (begun.look.kind, begun.configurations) == (LookKind.GATE, 1)
            raise ZeroDivisionError

    version = desk.register(12)
    with pytest.raises(ZeroDivisionError):
        desk.promote(version, COUNTED, measure=Broken(desk.evidence), looks=looks)
    assert journal.newest(1)[0].trials is None
    outcome = desk.promote(version, COUNTED, looks=looks)
    assert outcome.moved
    (ended, _) = journal.newest(9)
    assert (ended.look.by.name, ended.trials, ended.best["sharpe"]) == ("ana", 1, 1.2)
    (verdict,) = [each for each in outcome.gate.verdicts if each.criterion == "out_of_sample_looks"]
    assert (verdict.value, verdict.bound) == (1, 10)  # its own earlier look counts once


def test_deflation_counts_every_look_at_the_searched_bars(desk: Desk) -> None:
    """Others have tried much on them since the search: what passed then does not pass now."""
    journal = MemoryResearchJournal()
    version, looks = desk.register(12), GateLooks(recorder(journal))
    assert desk.promote(version, COUNTED, looks=looks).moved
    tried_before(journal, datetime(2020, 1, 1, tzinfo=UTC), datetime(2022, 6, 1, tzinfo=UTC), 5000)
    outcome = desk.promote(version, COUNTED, looks=looks)
    (failure,) = outcome.gate.failures
    assert failure.criterion == "deflated_sharpe"
    assert "after 5000 looks at these bars, 50 of them trials of its search" in failure.reason


def test_looks_at_the_bars_out_of_sample_are_spent_and_restored_by_time(desk: Desk) -> None:
    """Ten may look: nine others leave one. Of bars that were seen in half, twice as many may."""
    window = desk.evidence(12)
    start, end = window.out_of_sample_start, window.out_of_sample_end
    for until, others, passes in (
        (end, 9, True),
        (end, 10, False),
        (start + (end - start) / 2, 17, True),
        (start + (end - start) / 2, 19, False),
    ):
        journal = MemoryResearchJournal()
        tried_before(journal, start, until, others)
        figures = FoundFigures(desk.evidence)
        outcome = desk.promote(
            desk.register(12), COUNTED, measure=figures, looks=GateLooks(recorder(journal))
        )
        assert (not outcome.gate.failures) is passes, (others, outcome.gate.reason)
        assert bool(figures.seen) is passes
        if not passes:
            (failure,) = outcome.gate.failures
            assert failure.criterion == "out_of_sample_looks"
            assert "wait for new bars" in failure.reason
