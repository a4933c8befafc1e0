"""The gate collects every verdict and gives the alias that all of them together earn."""

from collections.abc import Callable

import pytest

from penstock.promotion.criteria import CRITERIA, CriterionResult, PromotionThresholds
from penstock.promotion.evidence import Evidence
from penstock.promotion.gate import CandidateStatus, judge
from penstock.research.engine.results import BacktestMetrics

Make = Callable[..., Evidence]
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
    assert table.filter(~table["passed"])["criterion"].to_list() == ["deflated_sharpe"]
