"""What does a trial of a search cost, and where does the time go?

Run: python benchmarks/search_overhead.py [--trials N]. One process times three searches on 20
synthetic symbols over three years of days. They are the search as it is, as many trials with
vectorbt, and Optuna without any work: TPE alone, which proposes half of a search's trials. Then it
times the parts of one trial: indicators and weights, the checked matrix, the simulation with its
figures.
"""

import argparse
import gc
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import optuna
import polars as pl

from penstock.core.bars import TS
from penstock.research.engine.backtest import run
from penstock.research.engine.costs import Costs
from penstock.research.engine.kernel import simulate
from penstock.research.engine.market import market_of
from penstock.research.engine.metrics import metrics_of
from penstock.research.engine.results import SearchSettings
from penstock.research.search.runner import search
from strategies import STRATEGIES

COSTS = Costs()


def random_bars(symbols: int, bars: int) -> pl.DataFrame:
    """Return daily bars of a geometric random walk, in the long layout."""
    random = np.random.default_rng(0)
    start = datetime(2022, 1, 1, tzinfo=UTC)
    ts = (
        pl.datetime_range(start, start + timedelta(days=bars - 1), "1d", eager=True)
        .cast(TS)
        .alias("ts")
    )
    tables = []
    for k in range(symbols):
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.03, bars)))
        open_ = np.concatenate([[100.0], close[:-1]])
        prices = {
            "open": open_,
            "high": np.maximum(open_, close),
            "low": np.minimum(open_, close),
            "close": close,
        }
        table = pl.DataFrame({"ts": ts, **prices, "volume": np.ones(bars)})
        tables.append(table.select(pl.lit(f"S{k:02d}/USDT").alias("symbol"), pl.all()))
    return pl.concat(tables)


def optuna_alone(trials: int) -> float:
    """Return the ms per trial of Optuna alone, with TPE for all trials and a space of that size."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    space = {
        "fast_bars": optuna.distributions.IntDistribution(5, 60),
        "slow_ratio": optuna.distributions.FloatDistribution(1.5, 8.0),
    }
    started = time.perf_counter()
    for _ in range(trials):
        trial = study.ask(space)
        study.tell(trial, trial.params["slow_ratio"] - trial.params["fast_bars"] / 60)
    return (time.perf_counter() - started) * 1e3 / trials


def with_kernel(bars: pl.DataFrame, trials: int) -> float:
    """Return the ms per trial of a whole search, with its preparation and final evaluation."""
    started = time.perf_counter()
    search(bars, STRATEGIES["ma_cross"], COSTS, SearchSettings(trials=trials))
    return (time.perf_counter() - started) * 1e3 / trials


def with_vectorbt(bars: pl.DataFrame, trials: int) -> float:
    """Return the ms per trial of the same loop with vectorbt as engine."""
    market = market_of(bars)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    space = {
        "fast_bars": optuna.distributions.IntDistribution(5, 60),
        "slow_ratio": optuna.distributions.FloatDistribution(1.5, 8.0),
    }
    started = time.perf_counter()
    for number in range(trials):
        trial = study.ask(space)
        weights = market.decide(STRATEGIES["ma_cross"].from_params(dict(trial.params)))
        study.tell(
            trial, run(market, weights, 0, COSTS, 10_000.0, engine="vectorbt").metrics.sharpe
        )
        if number % 10 == 9:
            gc.collect()
    return (time.perf_counter() - started) * 1e3 / trials


def parts(bars: pl.DataFrame, repeats: int = 50) -> list[tuple[str, float]]:
    """Return the ms of each part of one trial."""
    market, strategy = market_of(bars), STRATEGIES["ma_cross"]()
    matrix = market.decide(strategy)
    works = {
        "indicators and weights": lambda: market.decide(strategy),
        "simulation and figures": lambda: metrics_of(
            simulate(market, matrix, COSTS, 10_000.0).moments, market.elapsed
        ),
    }
    timed = []
    for name, work in works.items():
        work()
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        timed.append((name, (time.perf_counter() - started) * 1e3 / repeats))
    return timed


def main() -> None:
    """Print the ms per trial and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    trials = parser.parse_args().trials
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bars = random_bars(20, 1_095)
    with_kernel(bars, 5), with_vectorbt(bars, 3), optuna_alone(5)
    kernel, vectorbt, floor = (
        with_kernel(bars, trials),
        with_vectorbt(bars, max(trials // 4, 10)),
        optuna_alone(trials),
    )
    print(f"search with the kernel  {kernel:7.2f} ms per trial")
    print(
        f"search with vectorbt    {vectorbt:7.2f} ms per trial   "
        f"{vectorbt / kernel:5.1f}x the kernel's"
    )
    print(
        f"Optuna alone            {floor:7.2f} ms per trial   {floor / kernel:5.1%} of the kernel's"
    )
    for name, ms in parts(bars):
        print(f"  of which {name:<24} {ms:6.2f} ms")


if __name__ == "__main__":
    main()
