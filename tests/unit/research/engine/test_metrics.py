"""The figures against numpy and against published numbers, and what luck looks like to them."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy import stats

from penstock.core.timeframes import Timeframe
from penstock.research.engine.backtest import backtest
from penstock.research.engine.metrics import (
    deflated_sharpe,
    expected_best_sharpe,
    metrics_of,
    moments_of,
    probabilistic_sharpe,
)
from strategies import STRATEGIES


def test_figures_equal_their_textbook_formulas() -> None:
    """Each figure, computed a second time straight from the returns."""
    r = np.random.default_rng(3).standard_t(4, 800) * 0.02 + 0.001
    equity = 1000 * np.cumprod(np.concatenate([[1.0], 1 + r]))
    m = metrics_of(moments_of(equity, traded=5000.0, orders=7), Timeframe.D1)
    assert m.sharpe == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(365))
    assert m.annual_volatility == pytest.approx(r.std(ddof=1) * math.sqrt(365))
    assert m.annual_return == pytest.approx((equity[-1] / equity[0]) ** (365 / 800) - 1)
    assert m.sortino == pytest.approx(
        r.mean() / np.sqrt(np.mean(np.minimum(r, 0) ** 2)) * math.sqrt(365)
    )
    assert m.max_drawdown == pytest.approx(
        max(1 - equity[i:].min() / equity[i] for i in range(len(equity)))
    )
    assert m.calmar == pytest.approx(m.annual_return / m.max_drawdown)
    assert m.skewness == pytest.approx(stats.skew(r))
    assert m.kurtosis == pytest.approx(stats.kurtosis(r, fisher=False))
    assert m.turnover == pytest.approx(5000 / equity.mean() / (800 / 365))
    assert (m.orders, m.bars, m.final_equity) == (7, 801, equity[-1])


def test_kernel_sums_equal_those_of_its_equity_curve(walk: Callable[..., pl.DataFrame]) -> None:
    """The sums gathered in the pass are those of the curve it returns."""
    result = backtest(walk(symbols=4, bars=500), STRATEGIES["inverse_volatility"]())
    traded = float((result.orders["quantity"] * result.orders["price"]).sum())
    again = metrics_of(
        moments_of(result.equity["equity"].to_numpy(), traded, result.orders.height), Timeframe.D1
    )
    assert result.metrics.as_dict() == pytest.approx(again.as_dict(), rel=1e-9)


def test_flat_curve_has_no_ratio() -> None:
    """Cash has neither risk nor evidence: every ratio is zero and none is infinite."""
    m = metrics_of(moments_of(np.full(100, 1000.0)), Timeframe.H1)
    assert (m.sharpe, m.sortino, m.calmar, m.max_drawdown, m.turnover, m.probabilistic_sharpe) == (
        0,
        0,
        0,
        0,
        0,
        0,
    )
    assert all(math.isfinite(v) for v in m.as_dict().values())


def test_a_rising_line_without_a_loss_is_not_infinite() -> None:
    """No drawdown and no losing bar give zero Calmar and Sortino. So such a curve cannot win a
    search by division.
    """
    m = metrics_of(moments_of(1000 * 1.01 ** np.arange(50) * np.linspace(1, 1.2, 50)), Timeframe.D1)
    assert (m.calmar, m.sortino) == (0.0, 0.0)
    assert m.sharpe > 0


def test_published_example_of_the_deflated_sharpe_ratio() -> None:
    """Bailey and Lopez de Prado 2014. The input is 2.5 per year, 1250 days, skewness -3, kurtosis
    10, variance 1/2. The result for 100 trials is 0.9004.
    """
    sharpe, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert expected_best_sharpe(variance, 100) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(sharpe, 1250, -3, 10, variance, 100) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(sharpe, 1250, -3, 10, variance, 46) == pytest.approx(0.9505, abs=5e-5)
    assert deflated_sharpe(sharpe, 1250, 0, 3, variance, 88) == pytest.approx(0.9505, abs=5e-4)


def test_probabilistic_sharpe_is_one_half_at_its_benchmark() -> None:
    """An estimate equal to the benchmark says nothing either way, whatever the shape of the
    returns.
    """
    assert probabilistic_sharpe(0.1, 500, -1.0, 8.0, benchmark=0.1) == pytest.approx(0.5)


def test_more_trials_deflate_more() -> None:
    """The same curve is worth less the more were tried to find it; one trial takes nothing off."""
    values = [deflated_sharpe(0.1, 1000, 0, 3, 0.001, n) for n in (1, 2, 10, 100, 1000)]
    assert values == sorted(values, reverse=True)
    assert values[0] == probabilistic_sharpe(0.1, 1000, 0, 3)


def test_best_of_a_hundred_noise_curves_passes_the_plain_test_and_fails_the_deflated() -> None:
    """Selection makes noise look significant; the true number of trials takes that away, in each of
    50 repetitions.
    """
    plain, deflated = [], []
    for seed in range(50):
        r = np.random.default_rng(seed).normal(0, 0.02, (100, 750))
        sharpes = r.mean(axis=1) / r.std(axis=1, ddof=1)
        best = int(sharpes.argmax())
        shape = (float(stats.skew(r[best])), float(stats.kurtosis(r[best], fisher=False)))
        plain.append(probabilistic_sharpe(sharpes[best], 750, *shape))
        deflated.append(
            deflated_sharpe(sharpes[best], 750, *shape, float(sharpes.var(ddof=1)), 100)
        )
    assert min(plain) > 0.95
    assert max(deflated) < 0.95
