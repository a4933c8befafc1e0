"""The figures against numpy and against published numbers, and what luck looks like to them."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.research.engine.backtest import backtest, vectorbt_portfolio
from penstock.research.engine.costs import Costs
from penstock.research.engine.metrics import (
    deflated_sharpe,
    expected_best_sharpe,
    metrics_of,
    moments_of,
    probabilistic_sharpe,
)
from penstock.research.engine.results import _shown
from strategies import STRATEGIES


def test_figures_equal_their_textbook_formulas() -> None:
    """Each figure, computed a second time straight from the returns."""
    from scipy import stats

    r = np.random.default_rng(3).standard_t(4, 800) * 0.02 + 0.001
    equity = 1000 * np.cumprod(np.concatenate([[1.0], 1 + r]))
    m = metrics_of(moments_of(equity, traded=5000.0, orders=7), timedelta(days=800))
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
    costs = Costs(max_volume_share=None)
    result = backtest(walk(symbols=4, bars=500), STRATEGIES["inverse_volatility"](), costs)
    traded = float((result.orders["quantity"] * result.orders["price"]).sum())
    again = metrics_of(
        moments_of(result.equity["equity"].to_numpy(), traded, result.orders.height, unfilled=0.0),
        timedelta(days=499),
    )
    assert result.metrics.as_dict() == pytest.approx(again.as_dict(), rel=1e-9)


def test_flat_curve_has_no_ratio() -> None:
    """Cash has neither risk nor evidence: every ratio is zero and none is infinite."""
    m = metrics_of(moments_of(np.full(100, 1000.0)), timedelta(hours=99))
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
    curve = 1000 * 1.01 ** np.arange(50) * np.linspace(1, 1.2, 50)
    m = metrics_of(moments_of(curve), timedelta(days=49))
    assert (m.calmar, m.sortino) == (0.0, 0.0)
    assert m.sharpe > 0


@pytest.mark.parametrize("rate", [1e-9, 1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("bars", [500, 8760, 525_600])
def test_riskless_growth_has_no_ratio(rate: float, bars: int) -> None:
    """Every bar earns the same: the deviation is rounding, whatever the scale of the returns."""
    n = min(bars, round(600 / math.log1p(rate)))  # an equity beyond 1e300 is no number
    curve = 10_000 * np.cumprod(np.full(n, 1 + rate))
    m = metrics_of(moments_of(curve), timedelta(hours=n - 1))
    ratios = (m.sharpe, m.sortino, m.calmar, m.probabilistic_sharpe, m.annual_volatility)
    assert ratios == (0.0,) * 5


def test_small_and_smooth_is_not_riskless() -> None:
    """An account that uses a millionth of its money has the Sharpe ratio of its trades."""
    r = np.random.default_rng(1).normal(2e-4, 1e-3, 2000)
    whole, part = (
        metrics_of(
            moments_of(np.asarray(10_000 * np.cumprod(1 + scale * r), dtype=np.float64)),
            timedelta(days=1999),
        )
        for scale in (1, 1e-6)
    )
    assert part.sharpe == pytest.approx(whole.sharpe, rel=1e-3)
    assert part.sortino == pytest.approx(whole.sortino, rel=1e-2)


def hourly(hours: int = 8760) -> pl.DataFrame:
    """Return hourly bars of one coin that rises, each bar opening at the close before."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(2e-4, 4e-3, hours)))
    open_ = np.concatenate([[100.0], close[:-1]])
    start = datetime(2024, 1, 1, tzinfo=UTC)
    frame = {
        "symbol": ["A/USDT"] * hours,
        "ts": [start + timedelta(hours=hour) for hour in range(hours)],
        "open": open_,
        "high": np.maximum(open_, close),
        "low": np.minimum(open_, close),
        "close": close,
        "volume": [1e9] * hours,
    }
    return pl.DataFrame(frame, schema_overrides=dict(BARS_SCHEMA))


def held_from_the_start(bars: pl.DataFrame) -> pl.DataFrame:
    first = pl.int_range(pl.len()) == 0
    return bars.select("symbol", "ts", weight=pl.when(first).then(0.9))


def test_absent_bars_do_not_change_figures_per_year() -> None:
    """With half of the hourly bars absent the same holding has the same return per year, and the
    same Sharpe ratio but for the noise of the draw. By the number of bars the year would be half
    as long: a ratio 1.41 times as high.
    """
    bars = hourly()
    kept = pl.Series(np.random.default_rng(5).random(bars.height) < 0.5)
    kept[0] = kept[1] = kept[2] = kept[-1] = True
    whole, half = (backtest(each, held_from_the_start(each)) for each in (bars, bars.filter(kept)))
    assert half.metrics.bars == pytest.approx(whole.metrics.bars / 2, rel=0.05)
    assert half.metrics.total_return == pytest.approx(whole.metrics.total_return)
    assert half.metrics.annual_return == pytest.approx(whole.metrics.annual_return)
    assert half.metrics.turnover == pytest.approx(whole.metrics.turnover, rel=0.02)
    for figure in ("sharpe", "sortino", "annual_volatility"):
        one, other = getattr(half.metrics, figure), getattr(whole.metrics, figure)
        assert one == pytest.approx(other, rel=0.05)


def test_hole_common_to_all_symbols_does_not_shorten_the_year() -> None:
    """Half a year without any bar is half a year in which the account earned what it earned."""
    bars = hourly()
    hole = pl.col("ts").is_between(
        datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 9, 1, tzinfo=UTC)
    )
    whole, holed = (
        backtest(each, held_from_the_start(each)).metrics for each in (bars, bars.filter(~hole))
    )
    assert holed.total_return == pytest.approx(whole.total_return)
    assert holed.annual_return == pytest.approx(whole.annual_return)


def test_an_hour_of_minutes_has_an_annual_return_that_a_float_holds() -> None:
    """15% in an hour is more per year than any number: the figure is large, and nothing fails."""
    hour = np.linspace(10_000, 11_500, 60)
    found = metrics_of(moments_of(hour), timedelta(minutes=59))
    assert 1e40 < found.annual_return < 1e50
    assert math.isfinite(found.sharpe)


def test_vectorbts_own_figures_use_elapsed_time_too() -> None:
    """The portfolio that notebooks get has years of elapsed time, though bars are absent."""
    bars = hourly(2000).filter(pl.col("ts").dt.hour() % 3 != 1)
    costs = Costs(fee_bps=0, slippage_bps=0)
    ours = backtest(bars, held_from_the_start(bars), costs).metrics
    theirs = vectorbt_portfolio(bars, held_from_the_start(bars), costs)
    assert float(theirs.annualized_volatility()) == pytest.approx(ours.annual_volatility, rel=2e-3)
    assert float(theirs.sharpe_ratio()) == pytest.approx(ours.sharpe, rel=2e-3)


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
    from scipy import stats

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


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("orders", 16680.0, "16,680"),
        ("annual_return", 0.2037, "+20.37%"),
        ("max_drawdown", 0.3, "30.00%"),
        ("final_equity", 114439.267, "114,439.27"),
        ("sharpe", -0.001, "0.00"),
        ("unfilled_share", -1.0, "not measured"),
    ],
)
def test_figures_are_written_as_people_read_them(metric: str, value: float, text: str) -> None:
    """Counts whole, fractions as percentages, returns with their sign."""
    assert _shown(metric, value) == text
