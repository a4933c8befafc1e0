"""Parameter search: which parameters did best in sample, and how much of that is luck.

The search sees the in-sample bars only. The out-of-sample part is simulated once, for the choice,
after all trials. The deflated Sharpe ratio, with the true number of trials, tells how much of the
choice's Sharpe ratio is luck. This is the only file that uses Optuna. penstock.promotion decides
whether a result is good enough.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl
from sqlalchemy.exc import SQLAlchemyError

from penstock.core.clock import MachineClock
from penstock.core.doubts import DoubtedBar
from penstock.core.errors import SearchError, StrategyError
from penstock.core.extras import extra
from penstock.core.late_bars import weights_across
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.relistings import Join
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.research.engine.backtest import run
from penstock.research.engine.costs import Costs
from penstock.research.engine.kernel import simulate
from penstock.research.engine.market import BarMatrices, market_of
from penstock.research.engine.metrics import deflated_sharpe, metrics_of
from penstock.research.engine.results import (
    BacktestResult,
    SearchResult,
    SearchSettings,
)
from penstock.research.identity import hash_bars, search_id
from penstock.research.search.space import Choices, NumberRange, search_space
from penstock.research.search.trials import (
    TRIAL_METRICS,
    OnTrial,
    Trial,
    best_candidates,
    trial_table,
)
from penstock.research.validation.splits import Split, split_in_two

with extra("research"):
    import optuna
    from optuna.storages.journal import JournalFileBackend


@dataclass(frozen=True)
class _SearchPlan:
    """What a search works on: the whole market, the part that may be seen, and the settings."""

    market: BarMatrices
    seen: BarMatrices
    split: Split
    strategies: tuple[type[Strategy], ...]
    costs: Costs
    settings: SearchSettings
    dataset_hash: str
    id: str
    clock: MachineClock


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
    clock: MachineClock = SYSTEM_CLOCK,
) -> SearchResult:
    """Search the parameters of one or more strategies.

    The last part of the bars is kept out of sample: it is simulated once, with the choice. With a
    storage, an interrupted search goes on where it stopped, and a complete one is only read.

    Parameters
    ----------
    bars
        The bars of the whole universe (BARS_SCHEMA).
    strategies
        A strategy class, or several. Each gets `settings.trials` trials.
    costs
        What orders cost.
    settings
        Trials, seed, objective, and the out-of-sample part.
    on_trial
        Called after each trial of this call.
    dataset_hash
        The hash of the snapshot that the bars are from. By default it is computed.
    timeframe
        The bar length. By default it is the most common step between bars.
    doubts
        Bars that were in doubt at their close (Snapshot.doubts).
    joins
        Where an operator has joined series over a move (Snapshot.joins).

    Returns
    -------
    SearchResult
        The trials, the best candidates, and the choice in sample and out of sample.

    Raises
    ------
    SearchError
        No strategy was given, no trial had allowed parameters, a part of the split is too short, or
        the storage cannot be used.
    DataError
        The bars cannot be simulated.
    StrategyError
        A strategy returned weights that break their contract.

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
    market = market_of(bars, timeframe, doubts, joins)
    split = split_in_two(len(market.ts), settings.oos_fraction, settings.purge_bars)
    seen = market_of(
        market.bars.filter(pl.col("ts") < market.ts[split.in_sample_stop]),
        market.timeframe,
        doubts,
        joins,
    )
    data = dataset_hash or hash_bars(market.bars)
    identity = search_id(data, classes, costs, settings, market.timeframe)
    plan = _SearchPlan(market, seen, split, classes, costs, settings, data, identity, clock)
    trials: list[Trial] = []
    with _quiet_optuna():
        for strategy in classes:
            trials += _search_one(plan, strategy, on_trial, first_number=len(trials))
    return _conclude(plan, trials)


def evaluate(
    market: BarMatrices, strategy: Strategy, costs: Costs, settings: SearchSettings
) -> tuple[float, dict[str, float]]:
    """Return the objective and the TRIAL_METRICS of a strategy over a whole market."""
    weights, cash = market.decide(strategy), settings.initial_cash
    moments = simulate(market, weights, costs, cash, record_equity=False).moments
    figures = metrics_of(moments, market.elapsed).as_dict()
    return figures[settings.objective.value], {name: figures[name] for name in TRIAL_METRICS}


def _search_one(
    plan: _SearchPlan, strategy: type[Strategy], on_trial: OnTrial | None, first_number: int
) -> list[Trial]:
    """Return the trials of one strategy: those that its study has, and the rest, run now."""
    study = _study(plan.settings, f"{strategy.name}-{plan.id}")
    space = {name: _distribution(dimension) for name, dimension in search_space(strategy).items()}
    done = [
        _read(t, strategy.name, first_number + i)
        for i, t in enumerate(t for t in study.trials if t.state.is_finished())
    ]
    known: dict[str, tuple[float, dict[str, float]]] = {}
    for number in range(first_number + len(done), first_number + plan.settings.trials):
        trial = _run_trial(plan, strategy, study, study.ask(space), known, number)
        done.append(trial)
        if on_trial is not None:
            on_trial(trial)
    return done


def _run_trial(
    plan: _SearchPlan,
    strategy: type[Strategy],
    study: optuna.Study,
    asked: optuna.trial.Trial,
    known: dict[str, tuple[float, dict[str, float]]],
    number: int,
) -> Trial:
    started, params = plan.clock.elapsed_seconds(), dict(asked.params)
    try:
        chosen = strategy.from_params(params)
    except StrategyError:
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        return Trial(number, strategy.name, params, False, math.nan, {}, 0.0)
    # The sampler returns to the same whole numbers: what is known is not simulated again.
    key = json.dumps(params, sort_keys=True)
    if key not in known:
        known[key] = evaluate(plan.seen, chosen, plan.costs, plan.settings)
    value, figures = known[key]
    took_ms = (plan.clock.elapsed_seconds() - started) * 1e3
    asked.set_user_attr("trial", {"metrics": figures, "took_ms": took_ms})
    study.tell(asked, value)
    return Trial(number, strategy.name, params, True, value, figures, took_ms)


def _distribution(dimension: NumberRange | Choices) -> optuna.distributions.BaseDistribution:
    if isinstance(dimension, Choices):
        return optuna.distributions.CategoricalDistribution(dimension.values)
    if dimension.whole:
        return optuna.distributions.IntDistribution(
            int(dimension.low), int(dimension.high), step=int(dimension.step)
        )
    return optuna.distributions.FloatDistribution(
        dimension.low, dimension.high, step=dimension.step or None
    )


def _study(settings: SearchSettings, name: str) -> optuna.Study:
    storage: Any = settings.storage_url
    try:
        if storage is not None and storage.startswith("journal:"):
            backend = JournalFileBackend(storage.removeprefix("journal:"))
            storage = optuna.storages.JournalStorage(backend)
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
    except (optuna.exceptions.OptunaError, SQLAlchemyError, OSError, ImportError) as error:
        # The rest of the address may hold a password.
        kind = str(settings.storage_url).split(":", 1)[0]
        raise SearchError(f"the search storage ({kind}) cannot be used: {error}") from error
    # A study that goes on must not draw again what it drew at its start.
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.trials))
    return study


def _read(trial: optuna.trial.FrozenTrial, strategy: str, number: int) -> Trial:
    kept = trial.user_attrs.get("trial", {"metrics": {}, "took_ms": 0.0})
    allowed = trial.state is optuna.trial.TrialState.COMPLETE
    value = float(trial.value) if allowed and trial.value is not None else math.nan
    return Trial(
        number,
        strategy,
        dict(trial.params),
        allowed,
        value,
        kept["metrics"],
        float(kept["took_ms"]),
    )


def _conclude(plan: _SearchPlan, trials: list[Trial]) -> SearchResult:
    """Simulate the choice in sample and out of sample."""
    candidates = best_candidates(trials, plan.settings.top)
    best, market = candidates[0], plan.market
    strategy = next(s for s in plan.strategies if s.name == best.strategy).from_params(
        dict(best.params)
    )
    params, cash, unseen = (
        strategy.params.model_dump(),
        plan.settings.initial_cash,
        plan.split.out_of_sample_first,
    )
    in_sample = run(
        plan.seen,
        plan.seen.decide(strategy),
        0,
        plan.costs,
        cash,
        name=best.strategy,
        params=params,
    )
    return SearchResult(
        id=plan.id,
        dataset_hash=plan.dataset_hash,
        settings=plan.settings,
        costs=plan.costs,
        timeframe=market.timeframe,
        symbols=market.symbols,
        trials=trial_table(trials),
        candidates=candidates,
        strategy=best.strategy,
        best_params=params,
        best_value=best.value,
        in_sample=in_sample,
        out_of_sample=run(
            market,
            market.decide(strategy),
            unseen,
            plan.costs,
            cash,
            name=best.strategy,
            params=params,
        ),
        benchmark_out_of_sample=equal_weights(market, unseen, plan.costs, cash),
        deflated_sharpe=_deflated(in_sample, trials),
        trial_count=sum(t.allowed for t in trials),
        in_sample_end=plan.seen.ts[-1],
        out_of_sample_start=market.ts[unseen],
        study_name=f"{best.strategy}-{plan.id}",
    )


def equal_weights(
    market: BarMatrices, first: int, costs: Costs, initial_cash: float
) -> BacktestResult:
    """Return the naive benchmark: equal parts, 98% in all, of the symbols that have a bar.

    A symbol whose bar is late counts as well. It is rebalanced at each bar, from row `first` on.
    """
    bars = market.bars.select("symbol", "ts", score=pl.lit(1.0))
    weights = market.matrix(weights_across(bars, 0.98 / pl.len().over("ts")), "equal_weights")
    return run(market, weights, first, costs, initial_cash, name="equal_weights")


def _deflated(chosen: BacktestResult, trials: list[Trial]) -> float:
    """Deflate the choice by what the best of as many worthless trials would show.

    The ratio of a worthless trial has the variance 1 / (returns - 1). Source: Lo, The statistics of
    Sharpe ratios, Financial Analysts Journal 58(4), 2002, equation 5 at zero. The paper on the
    deflated ratio takes the variance of the trials instead. That grows where strategies truly
    differ, and shrinks where the sampler has converged. It would punish a real edge and flatter a
    narrow search. Repeats count as trials, which errs on the strict side.
    """
    m, returns = chosen.metrics, chosen.metrics.bars - 1
    per_bar = math.sqrt(returns * timedelta(days=365) / (chosen.last_ts - chosen.first_ts))
    tried = sum(1 for trial in trials if trial.allowed)
    return deflated_sharpe(
        m.sharpe / per_bar, returns, m.skewness, m.kurtosis, 1 / max(returns - 1, 1), tried
    )


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log to warnings for the duration: it has one line per trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
