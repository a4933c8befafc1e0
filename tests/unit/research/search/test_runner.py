"""Searches: what they may see, that they repeat, and what they do with bad cases."""

from collections.abc import Callable
from typing import Literal

import polars as pl
import pytest
from pydantic import Field, model_validator

from penstock.core.errors import SearchError
from penstock.core.strategy import FrameStrategy, StrategyParams
from penstock.core.trials import Trial
from penstock.research.engine.backtest import backtest
from penstock.research.engine.costs import Costs
from penstock.research.engine.results import SearchResult, SearchSettings
from penstock.research.identity import hash_bars
from penstock.research.search.runner import search
from penstock.research.search.settings import Objective
from penstock.research.search.space import Choices, NumberRange, search_space
from strategies import STRATEGIES

COSTS = Costs()
QUICK = SearchSettings(trials=8, seed=1)
MA, MOMENTUM = STRATEGIES["ma_cross"], STRATEGIES["momentum"]


class Ordered(FrameStrategy):
    """Parameters with a rule between two of them, a choice, a step and a field that is not
    explored.
    """

    name = "ordered"

    class Params(StrategyParams):
        fast: int = Field(2, ge=1, le=10)
        slow: int = Field(20, ge=1, le=10)
        step: float = Field(0.5, ge=0.0, le=1.0, multiple_of=0.25)
        kind: Literal["a", "b"] = "a"
        flag: bool = False
        kept: float = Field(0.9, gt=0, le=1)

        @model_validator(mode="after")
        def _fast_under_slow(self) -> "Ordered.Params":
            if self.fast >= self.slow:
                raise ValueError("fast must be under slow")
            return self

    params: Params

    @property
    def warmup_bars(self) -> int:
        return 0

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        return bars.select("symbol", "ts", weight=pl.lit(self.params.fast / 100))


class Impossible(Ordered):
    """No parameters are allowed at all."""

    name = "impossible"

    class Params(Ordered.Params):
        fast: int = Field(2, ge=5, le=10)
        slow: int = Field(20, ge=1, le=4)


class Unbounded(Ordered):
    """Nothing to explore."""

    name = "unbounded"

    class Params(StrategyParams):
        fast: int = 3


def same_trials(one: SearchResult, other: SearchResult) -> bool:
    return one.trials.drop("took_ms").equals(other.trials.drop("took_ms"))


def test_space_is_read_from_the_bounds() -> None:
    """Inclusive bounds are explored, steps and choices kept; a field with an open bound keeps its
    default.
    """
    assert search_space(Ordered) == {
        "fast": NumberRange(1, 10, 1, whole=True),
        "slow": NumberRange(1, 10, 1, whole=True),
        "step": NumberRange(0, 1, 0.25, whole=False),
        "kind": Choices(("a", "b")),
        "flag": Choices((False, True)),
    }


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_corner_of_the_space_is_allowed(name: str) -> None:
    """Our strategies are parameterised so that no trial is wasted on a forbidden combination."""
    space = search_space(STRATEGIES[name])
    for side in ("low", "high"):
        ends = {
            key: (d, getattr(d, side)) for key, d in space.items() if isinstance(d, NumberRange)
        }
        corner = {key: int(end) if d.whole else end for key, (d, end) in ends.items()}
        assert STRATEGIES[name].from_params(corner).warmup_bars > 0


def test_same_settings_on_the_same_bars_give_the_same_search(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """Trials, choice and identity repeat; another seed, cost or bar makes another search."""
    bars = walk()
    first, again = (search(bars, MA, COSTS, QUICK) for _ in range(2))
    assert same_trials(first, again)
    assert (first.id, first.best_params, first.dataset_hash) == (
        again.id,
        again.best_params,
        hash_bars(bars),
    )
    others = [
        search(bars, MA, COSTS, QUICK.model_copy(update={"seed": 2})),
        search(bars, MA, Costs(fee_bps=11), QUICK),
        search(walk(seed=1), MA, COSTS, QUICK),
    ]
    assert len({first.id, *(other.id for other in others)}) == 4


def test_search_never_sees_the_out_of_sample_part(walk: Callable[..., pl.DataFrame]) -> None:
    """Other prices after the in-sample part change no trial, no choice and no in-sample figure."""
    bars = walk()
    first = search(bars, [MA, MOMENTUM], COSTS, QUICK)
    later = pl.col("ts") > first.in_sample_end
    changed = bars.with_columns(
        pl.when(later).then(pl.col(c) * 3).otherwise(pl.col(c)) for c in ("open", "close")
    )
    other = search(changed, [MA, MOMENTUM], COSTS, QUICK)
    assert same_trials(first, other)
    assert first.in_sample.equity.equals(other.in_sample.equity)
    assert first.deflated_sharpe == other.deflated_sharpe
    assert first.best_params == other.best_params
    assert first.in_sample.last_ts == first.in_sample_end
    assert (first.out_of_sample_start - first.in_sample_end).days == 1 + QUICK.purge_bars


def test_result_is_the_backtest_of_the_choice(walk: Callable[..., pl.DataFrame]) -> None:
    """The value is what a plain backtest of the chosen parameters gives."""
    bars = walk()
    result = search(bars, [MA, MOMENTUM], COSTS, QUICK)
    chosen = STRATEGIES[result.strategy].from_params(dict(result.best_params))
    inside = backtest(bars.filter(pl.col("ts") <= result.in_sample_end), chosen, COSTS)
    assert result.best_value == pytest.approx(inside.metrics.sharpe)
    assert result.best_value == result.trials["value"].max()
    assert result.candidates[0].value == result.best_value


@pytest.mark.parametrize("objective", list(Objective))
def test_objective_decides_what_is_best(
    objective: Objective, walk: Callable[..., pl.DataFrame]
) -> None:
    """The best value is that figure of the in-sample run."""
    result = search(walk(), MA, COSTS, SearchSettings(trials=8, seed=1, objective=objective))
    assert result.best_value == pytest.approx(result.in_sample.metrics.as_dict()[objective.value])
    best = result.trials["value"].min() if objective.minimised else result.trials["value"].max()
    assert result.best_value == best


def test_every_trial_of_every_strategy_counts_against_the_choice(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """The number of trials that deflates is the number that was tried, over all strategies."""
    seen: list[Trial] = []
    result = search(walk(seed=3), [MA, MOMENTUM], COSTS, QUICK, on_trial=seen.append)
    assert result.trial_count == len(seen) == result.trials.height == 16
    assert [trial.number for trial in seen] == list(range(16))
    assert result.deflated_sharpe < result.in_sample.metrics.probabilistic_sharpe


def test_search_of_pure_noise_is_not_believed(walk: Callable[..., pl.DataFrame]) -> None:
    """The best of many trials on a random walk without drift does not pass 0.95."""
    settings = SearchSettings(trials=40, seed=0)
    results = [
        search(walk(symbols=5, bars=500, seed=s), list(STRATEGIES.values()), COSTS, settings)
        for s in range(3)
    ]
    assert max(result.deflated_sharpe for result in results) < 0.95


def test_narrow_search_of_pure_noise_is_not_believed(walk: Callable[..., pl.DataFrame]) -> None:
    """Forty nearly equal trials spread little; that must not make the best of them look like an
    edge.
    """
    settings = SearchSettings(trials=40)
    results = [
        search(
            walk(symbols=5, bars=800, seed=s),
            STRATEGIES["inverse_volatility"],
            COSTS,
            settings.model_copy(update={"seed": s}),
        )
        for s in range(12)
    ]
    assert max(result.deflated_sharpe for result in results) < 0.95


def test_forbidden_parameters_are_pruned_and_do_not_count(
    walk: Callable[..., pl.DataFrame],
) -> None:
    """A rule between parameters costs trials, breaks nothing, and the choice obeys it."""
    result = search(walk(), Ordered, COSTS, SearchSettings(trials=30, seed=0))
    pruned = result.trials.filter(pl.col("state") == "pruned")
    assert 0 < pruned.height < 30
    assert (pruned["param_fast"] >= pruned["param_slow"]).all()
    assert pruned["value"].null_count() == pruned.height
    assert result.trial_count == 30 - pruned.height
    assert int(result.best_params["fast"]) < int(result.best_params["slow"])
    assert result.best_params["kept"] == 0.9


def test_search_without_one_allowed_trial_is_an_error(walk: Callable[..., pl.DataFrame]) -> None:
    """No candidate is an error with a remedy, not an empty result."""
    with pytest.raises(SearchError, match="widen the bounds"):
        search(walk(), Impossible, COSTS, QUICK)


def test_strategy_with_nothing_to_explore_is_refused(walk: Callable[..., pl.DataFrame]) -> None:
    """A search of one point would be a backtest with a flattering name."""
    with pytest.raises(SearchError, match="nothing to search"):
        search(walk(), Unbounded, COSTS, QUICK)
