"""Every criterion says yes to a good candidate and no to one that lacks what the criterion is
about.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.promotion import criteria
from penstock.promotion.criteria import CRITERIA, OpenedCriterion, PromotionThresholds
from penstock.promotion.evidence import OpenedEvidence, doubled
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import BacktestMetrics

Make = Callable[..., OpenedEvidence]
THRESHOLDS = PromotionThresholds()


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda c: c.__name__)
def test_good_candidate_passes_every_criterion_with_a_reason(
    criterion: OpenedCriterion, evidence: Make
) -> None:
    """The good candidate passes, and the verdict carries its criterion's name and a reason."""
    verdict = criterion(evidence(), THRESHOLDS)
    assert verdict.passed, verdict.reason
    assert verdict.criterion == criterion.__name__
    assert verdict.reason


@pytest.mark.parametrize(
    ("criterion", "spoiled"),
    [
        (criteria.no_lookahead, {"leaks": ("BTC/USDT at bar 7",)}),
        (criteria.no_lookahead, {"leaks": None}),
        (criteria.bounded_memory, {"memory_excess": ("BTC/USDT at bar 7",)}),
        (criteria.bounded_memory, {"memory_excess": None}),
        (criteria.out_of_sample_is_unseen, {"in_sample_end": datetime(2024, 1, 1, tzinfo=UTC)}),
        (criteria.enough_bars, {"in_sample_bars": 134}),
        (criteria.out_of_sample_length, {"out_of_sample_end": datetime(2024, 3, 29, tzinfo=UTC)}),
        (criteria.out_of_sample_orders, {"out": {"orders": 19}}),
        (criteria.out_of_sample_sharpe, {"out": {"sharpe": 0.49}}),
        (criteria.out_of_sample_drawdown, {"out": {"max_drawdown": 0.36}}),
        (criteria.deflated_sharpe, {"deflated_sharpe": 0.94}),
        (criteria.turnover, {"out": {"turnover": 101.0}}),
        (criteria.sharpe_retention, {"out": {"sharpe": 0.4}}),
        (criteria.sharpe_retention, {"in_sample_sharpe": -1.0}),
        (criteria.doubled_cost_return, {"doubled_return": 0.0}),
        (criteria.doubled_cost_return, {"doubled_costs": None}),
    ],
)
def test_candidate_that_lacks_it_fails_the_criterion(
    criterion: OpenedCriterion,
    spoiled: dict[str, Any],
    evidence: Make,
    metrics: Callable[..., BacktestMetrics],
) -> None:
    """Just past its bound, or not measured at all, a criterion fails."""
    changes = dict(spoiled)
    if "in_sample_bars" in changes:
        changes["in_sample"] = metrics(bars=changes.pop("in_sample_bars"))
    if "in_sample_sharpe" in changes:
        changes["in_sample"] = metrics(sharpe=changes.pop("in_sample_sharpe"))
    if "doubled_return" in changes:
        changes["doubled_costs"] = metrics(total_return=changes.pop("doubled_return"))
    verdict = criterion(evidence(**changes), THRESHOLDS)
    assert not verdict.passed
    assert verdict.reason


def test_bounds_themselves_pass(evidence: Make) -> None:
    """A value on its bound is good enough: 90 days, 20 orders, Sharpe 0.5, drawdown 0.35."""
    candidate = evidence(
        out={"orders": 20, "sharpe": 0.5, "max_drawdown": 0.35},
        out_of_sample_end=datetime(2024, 3, 30, tzinfo=UTC),
    )
    assert candidate.out_of_sample_days == 90
    assert all(criterion(candidate, THRESHOLDS).passed for criterion in CRITERIA)


@pytest.mark.parametrize("figure", ["sharpe", "max_drawdown", "turnover"])
def test_figure_that_is_not_a_number_passes_nothing(figure: str, evidence: Make) -> None:
    """NaN compares false both ways; the gate must take that as failure."""
    verdicts = [criterion(evidence(out={figure: math.nan}), THRESHOLDS) for criterion in CRITERIA]
    assert [verdict for verdict in verdicts if not verdict.passed]


def test_benchmark_is_judged_only_where_a_bound_is_set(evidence: Make) -> None:
    """Without a bound the excess over equal weights is reported and passes; with one it decides."""
    weak = evidence(out={"sharpe": 0.5})
    assert criteria.benchmark_sharpe(weak, THRESHOLDS).passed
    strict = PromotionThresholds(min_sharpe_over_benchmark=0.0)
    assert not criteria.benchmark_sharpe(weak, strict).passed
    assert criteria.benchmark_sharpe(evidence(), strict).passed


def test_evidence_survives_json_with_figures_that_are_not_finite(evidence: Make) -> None:
    """Evidence travels as JSON: an infinite Calmar ratio and a NaN come back as they were."""
    before = evidence(out={"calmar": math.inf, "sortino": math.nan})
    after = OpenedEvidence.model_validate_json(before.model_dump_json())
    assert after.out_of_sample.calmar == math.inf
    assert math.isnan(after.out_of_sample.sortino)
    assert after.model_dump(exclude={"out_of_sample"}) == before.model_dump(
        exclude={"out_of_sample"}
    )


def test_doubled_costs_double_fee_and_slippage_and_nothing_else() -> None:
    """What doubled_cost_return is measured with."""
    assert doubled(Costs(fee_bps=7, slippage_bps=3, min_notional=5)) == Costs(
        min_slippage_ticks=1, fee_bps=14, slippage_bps=6, min_notional=5
    )
