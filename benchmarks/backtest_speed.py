"""How fast is a backtest? The kernel and vectorbt on the same account, in pairs.

Run: python benchmarks/backtest_speed.py [--repeats N]. One process times a vectorbt portfolio and
then the kernel, again and again, so that both see the same machine. Each is timed after a call that
warms the caches, in processor time, which others on the machine do not take. Shown are medians, and
the range of the pairs' ratios. The two engines' equity and order counts are compared before
anything is timed. The kernel's time includes all figures of a search (return, Sharpe, Sortino,
drawdown, turnover, orders). The time of vectorbt includes the value and the number of orders only.
"sparse" is the kernel given the rows of decisions alone, "as live" is the kernel with a no-trade
band and lots, which vectorbt has not. The last lines show how time and peak memory grow with bars
and symbols.
"""

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import polars as pl

from penstock.core.timeframes import Timeframe
from penstock.research.engine.backtest import _portfolio
from penstock.research.engine.costs import Costs, InstrumentRules
from penstock.research.engine.kernel import Decisions, simulate
from penstock.research.engine.market import BarMatrices, Matrix, market_of_prices
from penstock.research.engine.metrics import metrics_of
from penstock.research.engine.results import BacktestMetrics

COSTS = Costs(fee_bps=10, slippage_bps=5)
CASH = 10_000.0
#: As a live account trades: the band and reserve of a portfolio, and a least order.
LIVE = COSTS.model_copy(
    update={"no_trade_band": 0.002, "buy_reserve_bps": 20.0, "min_notional": 5.0}
)


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


def seconds(work: Callable[[], object], calls: int = 1) -> float:
    """Return the processor time of one call, as the mean of several after one that is not timed."""
    work()
    started = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - started) / calls


def kernel_run(
    market: BarMatrices, weights: Matrix | Decisions, costs: Costs = COSTS
) -> BacktestMetrics:
    """Simulate as a search does, and return the figures."""
    moments = simulate(market, weights, costs, CASH, record_equity=False).moments
    return metrics_of(moments, market.elapsed)


def vectorbt_run(market: BarMatrices, weights: Matrix) -> tuple[Matrix, int]:
    """Return vectorbt's equity at each close and its number of orders."""
    portfolio = _portfolio(market, weights, COSTS, CASH)
    return np.asarray(portfolio.value()), len(portfolio.orders.values)


def compare(name: str, market: BarMatrices, weights: Matrix, repeats: int) -> None:
    """Print one line: the times, the kernel's cells per second, and the ratio."""
    equity, orders = vectorbt_run(market, weights)
    ours = simulate(market, weights, COSTS, CASH)
    difference = float(np.abs(ours.equity / equity - 1).max())
    if orders != ours.moments.orders or difference > 1e-9:
        raise SystemExit(
            f"{name}: the engines disagree: {orders} and {ours.moments.orders} orders, equity "
            f"differs by {difference:.1e}"
        )
    rows = np.flatnonzero(~np.isnan(weights).all(axis=1))
    sparse = Decisions(rows, weights[rows])
    lots = [InstrumentRules(symbol=s, lot_step=1e-5, price_tick=0.01) for s in market.symbols]
    live_costs = LIVE.model_copy(update={"instruments": tuple(lots)})
    pairs = [
        (
            seconds(lambda: vectorbt_run(market, weights)),
            seconds(lambda: kernel_run(market, weights), calls=5),
            seconds(lambda: kernel_run(market, sparse), calls=5),
            seconds(lambda: kernel_run(market, weights, live_costs), calls=5),
        )
        for _ in range(repeats)
    ]
    v, k, given, live = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = sorted(vectorbt / kernel for vectorbt, kernel, *_ in pairs)
    print(
        f"{name:<44} vectorbt {v * 1e3:7.1f} ms   kernel {k * 1e3:7.3f} ms "
        f"({weights.size / k / 1e6:5.0f} M cells/s)   {statistics.median(ratios):5.0f} times "
        f"(pairs {ratios[0]:.0f} to {ratios[-1]:.0f})   sparse {given * 1e3:7.3f} ms   "
        f"as live {live * 1e3:7.3f} ms   "
        f"{orders} orders, equity within {difference:.0e}"
    )


def grow(name: str, market: BarMatrices, weights: Matrix, repeats: int) -> None:
    """Print the kernel's time and the peak of what it allocates."""
    kernel_run(market, weights)
    took = statistics.median(seconds(lambda: kernel_run(market, weights)) for _ in range(repeats))
    tracemalloc.start()
    kernel_run(market, weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{name:<44} kernel {took * 1e3:7.3f} ms   peak {peak / 1024:7.0f} KiB beside its input")


def main() -> None:
    """Run the workloads, and then the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    minutes = random_market(525_600, 1, Timeframe.M1)
    compare(
        "MA cross 50/200, 1 symbol x 525,600 minutes", minutes, crossing(minutes, 50, 200), repeats
    )
    hours = random_market(8_760, 20, Timeframe.H1)
    compare("20 symbols x 8,760 hours, hourly weights", hours, rebalanced(hours, 1), repeats)
    compare("20 symbols x 8,760 hours, daily weights", hours, rebalanced(hours, 24), repeats)
    days = random_market(1_095, 20, Timeframe.D1)
    compare("20 symbols x 1,095 days, daily weights", days, rebalanced(days, 1), repeats)
    for bars, symbols in ((8_760, 20), (17_520, 20), (8_760, 40), (8_760, 80)):
        larger = random_market(bars, symbols, Timeframe.H1)
        for every, name in ((1, "hourly"), (24, "daily")):
            weights = rebalanced(larger, every)
            grow(
                f"{symbols} symbols x {bars:,} hours, {name} weights", larger, weights, 9 * repeats
            )
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
