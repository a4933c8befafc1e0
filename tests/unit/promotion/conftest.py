"""A candidate that passes every criterion; each test spoils what it is about."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.core.timeframes import Timeframe
from penstock.promotion.evidence import OpenedEvidence
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import BacktestMetrics

METRICS = BacktestMetrics(
    total_return=0.4,
    annual_return=0.4,
    annual_volatility=0.3,
    sharpe=1.2,
    sortino=1.6,
    max_drawdown=0.2,
    calmar=2.0,
    turnover=30.0,
    orders=200,
    bars=365,
    final_equity=14_000.0,
    skewness=0.0,
    kurtosis=4.0,
    probabilistic_sharpe=0.97,
)


@pytest.fixture
def metrics() -> Callable[..., BacktestMetrics]:
    """Make the figures of a good run, some of them changed."""
    return lambda **changes: replace(METRICS, **changes)


@pytest.fixture
def evidence(metrics: Callable[..., BacktestMetrics]) -> Callable[..., OpenedEvidence]:
    """Make the evidence of a candidate that passes, some of it changed. `out` changes its
    out-of-sample figures.
    """

    def make(out: dict[str, Any] | None = None, **changes: Any) -> OpenedEvidence:
        values: dict[str, Any] = {
            "strategy": "ma_cross",
            "params": {"fast_bars": 10},
            "search_id": "search-1",
            "dataset_hash": "d" * 64,
            "timeframe": Timeframe.D1,
            "symbols": ("BTC/USDT",),
            "costs": Costs(),
            "initial_cash": 10_000.0,
            "trial_count": 50,
            "deflated_sharpe": 0.97,
            "in_sample": metrics(sharpe=1.5, bars=800),
            "out_of_sample": metrics(**(out or {})),
            "benchmark_out_of_sample": metrics(sharpe=0.6),
            "in_sample_start": datetime(2021, 10, 22, tzinfo=UTC),
            "in_sample_end": datetime(2023, 12, 30, tzinfo=UTC),
            "out_of_sample_start": datetime(2024, 1, 1, tzinfo=UTC),
            "out_of_sample_end": datetime(2024, 12, 30, tzinfo=UTC),
            "doubled_costs": metrics(total_return=0.3),
            "leaks": (),
            "memory_excess": (),
        }
        return OpenedEvidence(**{**values, **changes})

    return make
