"""How fast is a backtest? The kernel, vectorbt on the same account, and one read of the arrays as
the floor.

Run: python benchmarks/backtest_speed.py [--repeats N]. One process times all of them side by side
and shows the median of the repeats. The two engines' final equity and order counts are compared
before anything is timed. The kernel's time includes all figures of a search (return, Sharpe,
Sortino, drawdown, turnover, orders). The time of vectorbt includes the value and the number of
orders only.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import polars as pl

from penstock.core.timeframes import Timeframe
from penstock.research.engine.backtest import _portfolio
from penstock.research.engine.costs import Costs
from penstock.research.engine.kernel import simulate
from penstock.research.engine.market import BarMatrices, Matrix, market_of_prices
from penstock.research.engine.metrics import metrics_of

COSTS = Costs(fee_bps=10, slippage_bps=5)


def random_market(bars: int, symbols: int, timeframe: Timeframe, seed: int = 0) -> BarMatrices:
    """Return a geometric random walk as a market, without building a long table of it."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.002, (bars, symbols)), axis=0))
    open_ = np.vstack([close[:1], close[:-1]])
    return market_of_prices(open_, close, timeframe)


def crossing(market: BarMatrices, fast: int, slow: int) -> Matrix:
    """Return weights of a moving-average cross that change only where it turns."""
    close = pl.Series(market.close[:, 0])
    above = (close.rolling_mean(fast) > close.rolling_mean(slow)).cast(pl.Float64)
    return above.set(above == above.shift(1), None).fill_null(np.nan).to_numpy().reshape(-1, 1)


def rebalanced(market: BarMatrices, every: int) -> Matrix:
    """Return weights near equal parts that sum to 0.98, decided each `every` bars: an order for
    each symbol each time.
    """
    weights = np.random.default_rng(1).uniform(0.9, 1.1, market.close.shape)
    weights *= 0.98 / weights.sum(axis=1, keepdims=True)
    weights[np.arange(len(weights)) % every != 0] = np.nan
    return weights


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median wall time of `work`, after one call that warms caches and compilers."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def compare(name: str, market: BarMatrices, weights: Matrix, repeats: int) -> None:
    """Print one line: the three times, the kernel's cells per second, and the ratios."""

    def kernel() -> float:
        return metrics_of(
            simulate(market, weights, COSTS, 10_000.0).moments, market.elapsed
        ).final_equity

    def vectorbt() -> tuple[float, int]:
        portfolio = _portfolio(market, weights, COSTS, 10_000.0)
        return float(portfolio.value().iloc[-1]), len(portfolio.orders.values)

    def read_once() -> float:
        return float(market.open.sum() + market.close.sum() + weights.sum())

    value, orders = vectorbt()
    ours = simulate(market, weights, COSTS, 10_000.0).moments
    if orders != ours.orders or abs(value / ours.final_equity - 1) > 1e-9:
        raise SystemExit(
            f"{name}: the engines disagree: {orders} and {ours.orders} orders, "
            f"{value} and {ours.final_equity}"
        )
    k, v, r = (median_seconds(work, repeats) for work in (kernel, vectorbt, read_once))
    print(
        f"{name:<44} kernel {k * 1e3:8.2f} ms ({weights.size / k / 1e6:6.0f} M cells/s)   "
        f"vectorbt {v * 1e3:8.1f} ms   reading once {r * 1e3:6.2f} ms   kernel is {v / k:6.1f}x "
        f"vectorbt's speed, {k / r:5.1f}x the limit's time"
    )


def main() -> None:
    """Run the three workloads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    minutes = random_market(525_600, 1, Timeframe.M1)
    compare(
        "MA cross 50/200, 1 symbol x 525,600 minutes", minutes, crossing(minutes, 50, 200), repeats
    )
    hours = random_market(8_760, 20, Timeframe.H1)
    compare("20 symbols x 8,760 hours, hourly weights", hours, rebalanced(hours, 1), repeats)
    compare("20 symbols x 8,760 hours, daily weights", hours, rebalanced(hours, 24), repeats)
    days = random_market(1_095, 20, Timeframe.D1)
    compare("20 symbols x 1,095 days, daily weights", days, rebalanced(days, 1), repeats)


if __name__ == "__main__":
    main()
