"""What the samplers propose, and how several objectives are weighed."""

from collections.abc import Sequence

import pytest

from penstock.core.trials import ParamValues, Trial
from penstock.research.search.objectives import measure_of
from penstock.research.search.samplers import Sampler, quiet_optuna
from penstock.research.search.settings import FrontRule, SamplerName, SearchSettings
from penstock.research.search.space import Choices, NumberRange
from penstock.research.search.trials import best_candidates, pareto_front

SPACE: dict[str, NumberRange | Choices] = {
    "n": NumberRange(5, 60, 1, whole=True),
    "x": NumberRange(0.0, 1.0, 0.0, whole=False),
    "kind": Choices(("a", "b", "c")),
}


def value_of(params: ParamValues) -> float:
    """A hill with its top at n = 40, x = 0.7, kind b."""
    top = -(((float(params["n"]) - 40) / 55) ** 2) - (float(params["x"]) - 0.7) ** 2
    return top + 0.3 * (params["kind"] == "b")


def trials_of(settings: SearchSettings) -> list[Trial]:
    sampler = Sampler(SPACE, settings, [False])
    found: list[Trial] = []
    learnt = 0
    with quiet_optuna():
        for batch in sampler.batches:
            while learnt < batch.needs:
                ready = sampler.batches[learnt]
                sampler.learn(ready, found[ready.first : ready.first + ready.size])
                learnt += 1
            proposed = sampler.propose(batch)
            found += [
                Trial(batch.first + k, "hill", params, True, (value_of(params),), {}, 0.0)
                for k, params in enumerate(proposed)
            ]
    return found


def params_of(trials: Sequence[Trial]) -> list[dict[str, object]]:
    return [dict(trial.params) for trial in trials]


@pytest.mark.parametrize("sampler", list(SamplerName))
def test_every_sampler_repeats_and_stays_within_the_space(sampler: SamplerName) -> None:
    """Each trial has all parameters, of their kinds and between their bounds."""
    settings = SearchSettings(trials=45, batch=10, seed=4, sampler=sampler)
    first = trials_of(settings)
    assert params_of(first) == params_of(trials_of(settings))
    assert [trial.number for trial in first] == list(range(len(first)))
    assert len(first) == (27 if sampler is SamplerName.GRID else 45)
    for params in params_of(first):
        assert isinstance(params["n"], int)
        assert 5 <= params["n"] <= 60
        assert isinstance(params["x"], float)
        assert 0 <= params["x"] <= 1
        assert params["kind"] in {"a", "b", "c"}
    other = trials_of(settings.model_copy(update={"seed": 5}))
    assert params_of(other) != params_of(first)


def test_first_half_covers_the_space_evenly_and_the_second_half_learns() -> None:
    """Every eighth of a dimension has its eighth of the planned points; TPE ends near the top."""
    settings = SearchSettings(trials=128, batch=20, seed=0)
    trials = trials_of(settings)
    planned = sum(
        batch.size for batch in Sampler(SPACE, settings, [False]).batches if batch.planned
    )
    assert planned == 64
    for name, low, span in (("n", 5, 56), ("x", 0, 1)):
        places = [int(8 * (float(t.params[name]) - low) / span) for t in trials[:planned]]
        assert {places.count(k) for k in range(8)} <= {7, 8, 9}
    halves = [sum(t.value for t in half) / 64 for half in (trials[:planned], trials[planned:])]
    assert halves[1] > halves[0] + 0.2


def test_longer_quasi_random_search_begins_with_the_shorter_one() -> None:
    """So a search that is given more trials repeats no other looks than those it had."""
    short, long = (
        trials_of(SearchSettings(trials=n, sampler=SamplerName.QMC, seed=9)) for n in (10, 37)
    )
    assert params_of(long)[:10] == params_of(short)


def test_batches_need_what_they_learn_from() -> None:
    """The first learning batch waits for all planned ones, a later one for all but the last."""
    batches = Sampler(SPACE, SearchSettings(trials=90, batch=20), [False]).batches
    assert [batch.size for batch in batches] == [15, 15, 15, 15, 15, 15]
    assert [batch.needs for batch in batches] == [0, 0, 0, 3, 3, 4]


def trial(number: int, *values: float) -> Trial:
    return Trial(number, "s", {"n": number}, bool(values), values, {}, 0.0)


def test_front_is_what_nobody_beats_in_all_objectives() -> None:
    """Sharpe up, drawdown down. A figure that is no number is beaten by every other."""
    objectives = [measure_of("sharpe"), measure_of("max_drawdown")]
    trials = [
        trial(0, 2.0, 0.5),
        trial(1, 1.0, 0.1),
        trial(2, 1.8, 0.2),
        trial(3, 0.9, 0.3),
        trial(4, float("nan"), 0.05),
        trial(5),
    ]
    front = [each.number for each in pareto_front(trials, objectives)]
    assert front == [0, 2, 1]
    ideal, first = (best_candidates(trials, 4, objectives, rule) for rule in FrontRule)
    assert [each.number for each in ideal] == [2, 0, 1, 3]
    assert [each.number for each in first] == [0, 2, 1, 3]
    single = best_candidates([trial(0, 0.3), trial(1, 0.1)], 2, [objectives[1]], FrontRule.IDEAL)
    assert [each.value for each in single] == [0.1, 0.3]
