"""Parameter search: which parameters did best in sample, and how much of that is luck.

The search sees the in-sample bars only. The bars out of sample stay closed: only the gate opens
them. The deflated Sharpe ratio, with the true number of looks at these bars, tells how much of the
choice's Sharpe ratio is luck. penstock.promotion decides whether a result is good enough.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import polars as pl

from penstock.core.clock import MachineClock
from penstock.core.doubts import DoubtedBar
from penstock.core.errors import SearchError
from penstock.core.looks import LookKind
from penstock.core.machine import SYSTEM_CLOCK, THREADS
from penstock.core.relistings import Join
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.core.trials import StudyTerms, Trial
from penstock.ports import OpenStudy, TaskRunner, TrialStore
from penstock.research.canonical_source import configuration_of
from penstock.research.engine.backtest import run
from penstock.research.engine.benchmark import equal_weights
from penstock.research.engine.costs import Costs
from penstock.research.engine.kernel import simulate
from penstock.research.engine.market import BarMatrices, market_of
from penstock.research.engine.metrics import metrics_of
from penstock.research.engine.results import BacktestResult, Candidate, SearchResult
from penstock.research.identity import hash_bars, search_id
from penstock.research.journal import LookRecorder, OpenLook, warn_uncounted
from penstock.research.search.deflation import deflated
from penstock.research.search.objectives import Measure, Simulation, code_of, measure_of
from penstock.research.search.samplers import Sampler, quiet_optuna
from penstock.research.search.settings import SearchSettings
from penstock.research.search.space import search_space
from penstock.research.search.study import Figures, StudyRun, UnkeptStudy
from penstock.research.search.trials import (
    TRIAL_METRICS,
    OnTrial,
    best_candidates,
    pareto_front,
    trial_table,
)
from penstock.research.validation.splits import Split, split_in_two


@dataclass(frozen=True)
class _SearchPlan:
    """What a search works on: the whole market, the part that may be seen, and the settings."""

    market: BarMatrices
    seen: BarMatrices
    split: Split
    strategies: tuple[type[Strategy], ...]
    costs: Costs
    settings: SearchSettings
    objectives: tuple[Measure, ...]
    metrics: tuple[Measure, ...]
    dataset_hash: str
    id: str


@dataclass(frozen=True)
class _Workshop:
    """What a search works with."""

    store: TrialStore | None
    runner: TaskRunner
    threads: int
    clock: MachineClock
    on_trial: OnTrial | None
    look: OpenLook | None

    def study(self, terms: StudyTerms) -> AbstractContextManager[OpenStudy]:
        return nullcontext(UnkeptStudy()) if self.store is None else self.store.open_study(terms)


def search(
    bars: pl.DataFrame,
    strategies: type[Strategy] | Sequence[type[Strategy]],
    costs: Costs,
    settings: SearchSettings,
    on_trial: OnTrial | None = None,
    dataset_hash: str = "",
    timeframe: Timeframe | None = None,
    doubts: Sequence[DoubtedBar] = (),
    joins: Sequence[Join] = (),
    *,
    store: TrialStore | None = None,
    journal: LookRecorder | None = None,
    runner: TaskRunner = THREADS,
    threads: int | None = None,
    clock: MachineClock = SYSTEM_CLOCK,
) -> SearchResult:
    """Search the parameters of one or more strategies, on the part of the bars that is in sample.

    The last part of the bars stays closed. With a store, an interrupted search goes on where it
    stopped and ends with the result of an undisturbed one, a complete one is only read, and two
    processes that search the same share the work. The trials do not depend on the number of
    threads.

    Parameters
    ----------
    bars
        The bars of the whole universe (BARS_SCHEMA).
    strategies
        A strategy class, or several. Each gets `settings.trials` trials.
    costs
        What orders cost.
    settings
        Trials, seed, sampler, objectives, and the out-of-sample part.
    on_trial
        Called with each trial, in the order of their numbers, those of a store included.
    dataset_hash
        The hash of the snapshot that the bars are from. By default it is computed.
    timeframe
        The bar length. By default it is the most common step between bars.
    doubts
        Bars that were in doubt at their close (Snapshot.doubts).
    joins
        Where an operator has joined series over a move (Snapshot.joins).
    store
        Where trials are kept. By default nowhere.
    journal
        Where the look at the bars is recorded. Without one an UncountedLookWarning is given, and
        only the trials of this search count against the choice.
    runner
        Runs the trials of a batch at the same time.
    threads
        How many trials run at the same time. By default as many as the machine has processors.

    Returns
    -------
    SearchResult
        The trials, the best candidates, and the choice in sample.

    Raises
    ------
    SearchError
        No strategy was given, no trial had allowed parameters, an objective cannot be found, a part
        of the split is too short, or kept trials were proposed by another version of the sampler.
    DataError
        The bars cannot be simulated.
    StrategyError
        A strategy returned weights that break their contract.
    StoreError
        The store or the journal cannot be used.

    Examples
    --------
    >>> import math
    >>> from datetime import UTC, datetime
    >>> from strategies.ma_cross import MovingAverageCross
    >>> start, end = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    >>> days = pl.datetime_range(start, end, "1d", time_unit="ms", eager=True)
    >>> price = pl.Series([100 + 20 * math.sin(n / 20) for n in range(len(days))])
    >>> bars = pl.DataFrame({"symbol": "BTC/USDT", "ts": days}).with_columns(
    ...     open=price, high=price, low=price, close=price, volume=pl.lit(1.0)
    ... )
    >>> found = search(bars, MovingAverageCross, Costs(), SearchSettings(trials=3))
    >>> found.strategy, found.trial_count
    ('ma_cross', 3)
    """
    classes = (strategies,) if isinstance(strategies, type) else tuple(strategies)
    if not classes:
        raise SearchError("no strategy to search: name one at least")
    plan = _plan(bars, classes, costs, settings, dataset_hash, timeframe, doubts, joins)
    look = None
    if journal is None:
        warn_uncounted("search")
    else:
        names = ", ".join(each.name for each in classes)
        look = journal.begin(LookKind.SEARCH, plan.seen, names, plan.dataset_hash)
    workshop = _Workshop(store, runner, threads or os.cpu_count() or 1, clock, on_trial, look)
    trials: list[Trial] = []
    with quiet_optuna():
        for strategy in classes:
            trials += _search_one(plan, strategy, workshop, first_number=len(trials))
    return _conclude(plan, trials, look)


def evaluate(
    market: BarMatrices,
    strategy: Strategy,
    costs: Costs,
    initial_cash: float,
    objectives: Sequence[Measure],
    metrics: Sequence[Measure] = (),
) -> Figures:
    """Return the objectives of a strategy over a whole market, the TRIAL_METRICS and `metrics`."""
    weights = market.decide(strategy)
    own_functions = any(each.function for each in (*objectives, *metrics))
    done = simulate(market, weights, costs, initial_cash, record_equity=own_functions)
    figures = metrics_of(done.moments, market.elapsed)
    simulation = Simulation(market, weights, done.equity, figures)
    own = figures.as_dict()
    return (
        tuple(each.of(simulation) for each in objectives),
        {
            **{name: own[name] for name in TRIAL_METRICS},
            **{each.name: each.of(simulation) for each in metrics},
        },
    )


def _plan(
    bars: pl.DataFrame,
    classes: tuple[type[Strategy], ...],
    costs: Costs,
    settings: SearchSettings,
    dataset_hash: str,
    timeframe: Timeframe | None,
    doubts: Sequence[DoubtedBar],
    joins: Sequence[Join],
) -> _SearchPlan:
    market = market_of(bars, timeframe, doubts, joins)
    split = split_in_two(
        len(market.ts), settings.oos_fraction, settings.purge_bars, settings.split_step
    )
    first_unseen = market.ts[split.in_sample_stop]
    seen = market_of(
        market.bars.filter(pl.col("ts") < first_unseen), market.timeframe, doubts, joins
    )
    objectives = tuple(measure_of(name) for name in settings.objective)
    metrics = tuple(measure_of(name) for name in settings.metrics)
    known = tuple(each for each in doubts if each.ts < first_unseen)
    identity = search_id(
        hash_bars(seen.bars),
        classes,
        costs,
        settings,
        market.timeframe,
        doubts=known,
        joins=joins,
        functions=code_of((*objectives, *metrics)),
    )
    return _SearchPlan(
        market,
        seen,
        split,
        classes,
        costs,
        settings,
        objectives,
        metrics,
        dataset_hash or hash_bars(market.bars),
        identity,
    )


def _search_one(
    plan: _SearchPlan, strategy: type[Strategy], workshop: _Workshop, first_number: int
) -> list[Trial]:
    """Return the trials of one strategy, numbered from `first_number` on."""
    sampler = Sampler(
        search_space(strategy), plan.settings, [each.minimised for each in plan.objectives]
    )
    terms = StudyTerms(
        study_name(strategy.name, plan.id),
        strategy.name,
        tuple(each.name for each in plan.objectives),
        (*TRIAL_METRICS, *(each.name for each in plan.metrics)),
        sum(batch.size for batch in sampler.batches),
    )

    def on_batch(trials: Sequence[Trial]) -> None:
        if workshop.look is not None:
            allowed = [each for each in trials if each.allowed]
            workshop.look.add(
                {configuration_of(strategy.from_params(dict(each.params))) for each in allowed}
            )
        if workshop.on_trial is not None:
            for trial in trials:
                workshop.on_trial(_numbered(trial, first_number))

    with workshop.study(terms) as kept:
        trials = StudyRun(
            strategy,
            sampler,
            kept,
            lambda chosen: evaluate(
                plan.seen,
                chosen,
                plan.costs,
                plan.settings.initial_cash,
                plan.objectives,
                plan.metrics,
            ),
            runner=workshop.runner,
            threads=workshop.threads,
            clock=workshop.clock,
            on_batch=on_batch,
        ).run()
    return [_numbered(trial, first_number) for trial in trials]


def study_name(strategy: str, identity: str) -> str:
    """Return the name under which the trials of one strategy of a search are kept."""
    return f"{strategy}-{identity}"


def _numbered(trial: Trial, first: int) -> Trial:
    """Return a study's trial with its number in the search, where `first` trials precede it."""
    return trial if not first else replace(trial, number=first + trial.number)


def _conclude(plan: _SearchPlan, trials: list[Trial], look: OpenLook | None) -> SearchResult:
    """Simulate the choice in sample, and count the look."""
    settings, seen, market = plan.settings, plan.seen, plan.market
    candidates = best_candidates(trials, settings.top, plan.objectives, settings.choice)
    best = candidates[0]
    strategy = _built(plan, best)
    params, cash = strategy.params.model_dump(), settings.initial_cash
    in_sample = run(
        seen, seen.decide(strategy), 0, plan.costs, cash, name=best.strategy, params=params
    )
    allowed = sum(t.allowed for t in trials)
    looks = None if look is None else look.end(len(trials), _best_figures(plan, best, in_sample))
    tried = allowed if looks is None else max(allowed, looks.on_these_bars)
    return SearchResult(
        id=plan.id,
        dataset_hash=plan.dataset_hash,
        settings=settings,
        costs=plan.costs,
        timeframe=market.timeframe,
        symbols=market.symbols,
        trials=trial_table(trials, [each.name for each in plan.objectives]),
        candidates=candidates,
        front=pareto_front(trials, plan.objectives),
        strategy=best.strategy,
        best_params=params,
        best_value=best.value,
        in_sample=in_sample,
        benchmark_in_sample=equal_weights(seen, 0, plan.costs, cash),
        deflated_sharpe=deflated(in_sample.metrics, in_sample.first_ts, in_sample.last_ts, tried),
        trial_count=allowed,
        looks=looks,
        in_sample_start=seen.ts[0],
        in_sample_end=seen.ts[-1],
        out_of_sample_start=market.ts[plan.split.out_of_sample_first],
        out_of_sample_end=market.ts[-1],
        study_name=study_name(best.strategy, plan.id),
    )


def _built(plan: _SearchPlan, candidate: Candidate) -> Strategy:
    found = next(each for each in plan.strategies if each.name == candidate.strategy)
    return found.from_params(dict(candidate.params))


def _best_figures(
    plan: _SearchPlan, best: Candidate, in_sample: BacktestResult
) -> dict[str, float]:
    own = {name: in_sample.metrics.as_dict()[name] for name in TRIAL_METRICS}
    return own | {
        each.name: value for each, value in zip(plan.objectives, best.values, strict=True)
    }
