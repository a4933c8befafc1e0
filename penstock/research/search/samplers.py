"""What a search tries next. The same settings, space and results propose the same trials.

A search is cut into batches. A batch may be proposed while the one before it is evaluated: it
knows the results of all batches before that one. How many threads evaluate, how long it takes, and
whether the search was interrupted in between, changes no proposal: whoever goes on with a search
proposes the same again and skips the evaluation of what is known.

Optuna keeps its trials in memory. This file and penstock.research.search.dashboard use it.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, prod

import numpy as np

from penstock.core.extras import extra
from penstock.core.trials import ParamValues, Trial
from penstock.research.engine.market import Matrix
from penstock.research.search.settings import SamplerName, SearchSettings
from penstock.research.search.space import Choices, NumberRange

with extra("research"):
    import optuna

Space = Mapping[str, NumberRange | Choices]


@dataclass(frozen=True)
class Batch:
    """Trials that are proposed, evaluated and kept together."""

    number: int
    """The batch's number in the study."""
    first: int
    """The number of its first trial in the study."""
    size: int
    """The number of its trials."""
    planned: bool
    """Whether its trials are known before any result."""
    needs: int
    """How many batches must have been evaluated before it is proposed."""


class Sampler:
    """Proposes the trials of one study, batch by batch, in order."""

    def __init__(self, space: Space, settings: SearchSettings, minimised: Sequence[bool]) -> None:
        """`minimised` says of each objective whether less of it is better."""
        self._space = space
        self._signs = [-1.0 if each else 1.0 for each in minimised]
        self._plan = _planned(space, settings)
        self.batches = _batches(len(self._plan), settings)
        self._distributions = {name: distribution_of(each) for name, each in space.items()}
        self._asked: dict[int, list[optuna.trial.Trial]] = {}
        self._study: optuna.Study | None = None
        if any(not batch.planned for batch in self.batches):
            self._study = optuna.create_study(
                directions=["maximize"] * len(minimised), sampler=_optuna_sampler(settings)
            )

    def propose(self, batch: Batch) -> list[ParamValues]:
        """Return the parameters of a batch. Batches are proposed in order, each once."""
        if batch.planned:
            return list(self._plan[batch.first : batch.first + batch.size])
        assert self._study is not None  # it was made, as a batch is not planned
        asked = [self._study.ask(self._distributions) for _ in range(batch.size)]
        self._asked[batch.number] = asked
        return [dict(each.params) for each in asked]

    def learn(self, batch: Batch, trials: Sequence[Trial]) -> None:
        """Take the results of a batch. Batches are learnt in order, each once."""
        if self._study is None:
            return
        if batch.planned:
            self._study.add_trials([self._finished(trial) for trial in trials])
            return
        for asked, trial in zip(self._asked.pop(batch.number), trials, strict=True):
            if _is_usable(trial):
                self._study.tell(asked, self._signed(trial))
            else:
                self._study.tell(asked, state=optuna.trial.TrialState.FAIL)

    def _finished(self, trial: Trial) -> optuna.trial.FrozenTrial:
        usable = _is_usable(trial)
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE if usable else optuna.trial.TrialState.FAIL,
            params=dict(trial.params),
            distributions=self._distributions,
            values=self._signed(trial) if usable else None,
        )

    def _signed(self, trial: Trial) -> list[float]:
        return [sign * value for sign, value in zip(self._signs, trial.values, strict=True)]


def _is_usable(trial: Trial) -> bool:
    """Return whether a sampler can learn from a trial: no objective is NaN or infinite."""
    return trial.allowed and all(isfinite(value) for value in trial.values)


def distribution_of(dimension: NumberRange | Choices) -> "optuna.distributions.BaseDistribution":
    """Return a dimension of a space as Optuna's distribution."""
    if isinstance(dimension, Choices):
        return optuna.distributions.CategoricalDistribution(dimension.values)
    if dimension.whole:
        return optuna.distributions.IntDistribution(
            int(dimension.low), int(dimension.high), step=int(dimension.step)
        )
    return optuna.distributions.FloatDistribution(
        dimension.low, dimension.high, step=dimension.step or None
    )


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log to errors for the duration: it has one line per trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _optuna_sampler(settings: SearchSettings) -> "optuna.samplers.BaseSampler":
    seed = settings.seed
    match settings.sampler:
        case SamplerName.RANDOM:
            return optuna.samplers.RandomSampler(seed=seed)
        case SamplerName.NSGA2:
            return optuna.samplers.NSGAIISampler(seed=seed)
        case SamplerName.QMC_TPE:  # what was planned is its start
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=1)
        case _:
            return optuna.samplers.TPESampler(seed=seed)


def _planned(space: Space, settings: SearchSettings) -> list[ParamValues]:
    """Return the trials that are known before any result."""
    match settings.sampler:
        case SamplerName.QMC_TPE:
            return _quasi_random(space, -(-settings.trials // 2), settings.seed)
        case SamplerName.QMC:
            return _quasi_random(space, settings.trials, settings.seed)
        case SamplerName.GRID:
            return _grid(space, settings.trials, settings.seed)
        case _:
            return []


def _batches(planned: int, settings: SearchSettings) -> tuple[Batch, ...]:
    """Cut the trials into batches of nearly equal size.

    A batch that is not planned waits for all that were planned, and else for all but the last.
    """
    grid = settings.sampler is SamplerName.GRID
    rest = 0 if grid else settings.trials - planned
    sizes = [(size, True) for size in _sizes(planned, settings.batch)]
    plans = len(sizes)
    sizes += [(size, False) for size in _sizes(rest, settings.batch)]
    batches, first = [], 0
    for number, (size, is_planned) in enumerate(sizes):
        needs = 0 if is_planned else max(plans, number - 1)
        batches.append(Batch(number, first, size, is_planned, needs))
        first += size
    return tuple(batches)


def _sizes(trials: int, most: int) -> list[int]:
    count = -(-trials // most)
    return [trials * (k + 1) // count - trials * k // count for k in range(count)]


def _quasi_random(space: Space, trials: int, seed: int) -> list[ParamValues]:
    """Return the first points of a scrambled Sobol sequence over the space.

    A longer search begins with the points of a shorter one. Source: Owen, Scrambled Sobol and
    Niederreiter-Xing points, Journal of Complexity 14(4), 1998.
    """
    with extra("research"):
        from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # any number of points will do
        points: Matrix = qmc.Sobol(len(space), scramble=True, rng=seed).random(trials)
    return [_at(space, point) for point in points]


def _grid(space: Space, trials: int, seed: int) -> list[ParamValues]:
    """Return the points of the finest grid with at most `trials` points, in random order.

    Every dimension gets the same number of levels, or all its values where it has fewer.
    """
    sizes = [_values_of(dimension) for dimension in space.values()]
    levels = 1
    while levels < trials and prod(min(levels + 1, size) for size in sizes) <= trials:
        levels += 1
    axes = [(np.arange(min(levels, size)) + 0.5) / min(levels, size) for size in sizes]
    mesh = np.stack([each.ravel() for each in np.meshgrid(*axes, indexing="ij")], axis=1)
    order = np.random.default_rng(seed).permutation(len(mesh))[:trials]
    return [_at(space, mesh[k]) for k in order]


def _values_of(dimension: NumberRange | Choices) -> int:
    if isinstance(dimension, Choices):
        return len(dimension.values)
    return dimension.steps if dimension.step else 2**31


def _at(space: Space, point: Matrix) -> ParamValues:
    """Return the parameters at a point of the unit cube."""
    return {name: space[name].at(float(u)) for name, u in zip(space, point, strict=True)}
