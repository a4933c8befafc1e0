"""The gate collects every verdict and gives the alias that all of them together earn."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.demo.configuration import _THRESHOLDS
from penstock.promotion.criteria import CRITERIA, CriterionResult, PromotionThresholds
from penstock.promotion.evidence import OpenedEvidence
from penstock.promotion.gate import CandidateStatus, judge
from penstock.research.engine.results import BacktestMetrics
from penstock.settings import Process, Settings

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., OpenedEvidence]
Metrics = Callable[..., BacktestMetrics]
THRESHOLDS = PromotionThresholds()


def test_first_candidate_that_passes_is_champion(evidence: Make) -> None:
    """With no champion there is nothing to beat."""
    assert judge(evidence(), None, THRESHOLDS).decision is CandidateStatus.CHAMPION


@pytest.mark.parametrize(
    ("champion_sharpe", "decision"),
    [
        (1.1, CandidateStatus.CHAMPION),
        (1.2, CandidateStatus.CHALLENGER),
        (1.3, CandidateStatus.CHALLENGER),
    ],
)
def test_candidate_replaces_the_champion_only_where_it_is_better(
    champion_sharpe: float, decision: CandidateStatus, evidence: Make, metrics: Metrics
) -> None:
    """Better on the same bars: champion; equal or worse: challenger."""
    assert judge(evidence(), metrics(sharpe=champion_sharpe), THRESHOLDS).decision is decision


def test_margin_over_the_champion_is_asked_for(evidence: Make, metrics: Metrics) -> None:
    """min_sharpe_over_champion keeps a candidate that is only slightly better a challenger."""
    thresholds = PromotionThresholds(min_sharpe_over_champion=0.2)
    assert judge(evidence(), metrics(sharpe=1.1), thresholds).decision is CandidateStatus.CHALLENGER


def test_candidate_that_fails_is_rejected_however_weak_the_champion(
    evidence: Make, metrics: Metrics
) -> None:
    """One failed criterion rejects, and losing to nobody does not mend it."""
    gate = judge(evidence(deflated_sharpe=0.5), metrics(sharpe=-3.0), THRESHOLDS)
    assert gate.decision is CandidateStatus.REJECTED
    assert [verdict.criterion for verdict in gate.failures] == ["deflated_sharpe"]


def test_all_reasons_are_kept_when_several_criteria_fail(evidence: Make) -> None:
    """The gate does not stop at the first failure."""
    gate = judge(
        evidence(leaks=("BTC/USDT",), out={"sharpe": -1.0, "max_drawdown": 0.9}), None, THRESHOLDS
    )
    failed = {verdict.criterion for verdict in gate.failures}
    assert failed == {
        "no_lookahead",
        "out_of_sample_sharpe",
        "out_of_sample_drawdown",
        "sharpe_retention",
    }
    assert all(name in gate.reason for name in failed)
    assert len(gate.verdicts) == len(CRITERIA) + 1


def test_further_verdicts_are_as_binding_as_criteria(evidence: Make) -> None:
    """A failed rehearsal rejects a candidate whose figures are good."""
    gate = judge(
        evidence(),
        None,
        THRESHOLDS,
        [CriterionResult("rehearsal", False, None, None, "orders were refused")],
    )
    assert gate.decision is CandidateStatus.REJECTED


def test_table_has_a_row_for_each_verdict(evidence: Make) -> None:
    """The verdicts as a frame, in order, for reports and artifacts."""
    gate = judge(evidence(deflated_sharpe=0.5), None, THRESHOLDS)
    table = gate.table()
    assert table["criterion"].to_list() == [verdict.criterion for verdict in gate.verdicts]
    assert table.filter(table["verdict"] == "failed")["criterion"].to_list() == ["deflated_sharpe"]


def test_thresholds_that_refuse_nobody_are_not_called_criteria_that_passed(evidence: Make) -> None:
    """A Sharpe ratio of -6.48 is let through by the thresholds of practice minutes, and by the
    demo's. Both say that its performance was not judged, with the figure and the bound.
    """
    shipped = Settings(Process(configs=ROOT / "configs")).promotion("practice-minute")
    demo = PromotionThresholds.model_validate(_THRESHOLDS)
    losing = evidence(
        out={"sharpe": -6.48, "max_drawdown": 0.99, "turnover": 90_000.0},
        deflated_sharpe=0.0,
    )
    for thresholds, bound in ((shipped, "-1000"), (demo, "-100")):
        gate = judge(losing, None, thresholds)
        assert gate.decision is CandidateStatus.CHAMPION, gate.reason
        assert gate.status == "champion, performance not judged"
        assert f"out_of_sample_sharpe -6.48 (bound {bound})" in gate.reason
        assert gate.reason.startswith("6 of 14 criteria passed, not judged: ")
        verdicts = dict(gate.table().select("criterion", "verdict").iter_rows())
        assert [name for name, verdict in verdicts.items() if verdict == "passed"] == [
            "no_lookahead",
            "bounded_memory",
            "out_of_sample_is_unseen",
            "enough_bars",
            "out_of_sample_length",
            "out_of_sample_orders",
        ]


@pytest.mark.parametrize("study", ["daily", "minute"])
def test_shipped_thresholds_judge_performance(study: str, evidence: Make) -> None:
    """What really trades is judged by all that has a bound, and is called a champion alone."""
    thresholds = Settings(Process(configs=ROOT / "configs")).promotion(study)
    gate = judge(evidence(), None, thresholds.model_copy(update={"min_bars": 1}))
    assert {verdict.criterion for verdict in gate.not_judged} == {
        "benchmark_sharpe",
        "beats_champion",
    }
    assert gate.performance_judged


def test_candidate_that_is_refused_was_judged(evidence: Make) -> None:
    """No figure is past a bound that refuses nobody, but one that is not a number."""
    thresholds = PromotionThresholds(min_out_of_sample_sharpe=-1000)
    gate = judge(evidence(out={"sharpe": math.nan}), None, thresholds)
    assert "out_of_sample_sharpe" in {verdict.criterion for verdict in gate.failures}
    assert gate.status == "rejected"
