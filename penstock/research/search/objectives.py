"""What a search optimises: a figure of the simulation, or a function of the user's."""

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.core.errors import SearchError
from penstock.research.canonical_source import canonical_source
from penstock.research.engine.market import BarMatrices, Matrix
from penstock.research.engine.results import BacktestMetrics
from penstock.research.search.settings import Objective


@dataclass(frozen=True)
class Simulation:
    """One simulated trial, as a user's objective or metric sees it: the bars in sample only."""

    market: BarMatrices
    """The bars."""
    weights: Matrix
    """The target weights, of shape (bars, symbols); NaN is "no decision"."""
    equity: Matrix
    """The equity at each close, of shape (bars,), in quote units."""
    metrics: BacktestMetrics
    """The figures of the equity curve."""


@dataclass(frozen=True)
class Measure:
    """A number that is taken of each trial."""

    name: str
    """Its name in tables."""
    minimised: bool
    """Whether less is better, where it is an objective."""
    function: Callable[[Simulation], float] | None = None
    """What takes it; None for a figure of the equity curve."""

    def of(self, done: Simulation) -> float:
        """Return the number. Raises SearchError where a user's function returns none."""
        if self.function is None:
            return float(getattr(done.metrics, self.name))
        value = self.function(done)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise SearchError(f"{self.name} returned {value!r}: it must return a number") from None


def measure_of(name: str) -> Measure:
    """Return the measure of this name: a figure, or a function as `module:function`.

    Raises SearchError where there is no such function.

    >>> measure_of("max_drawdown").minimised
    True
    """
    if ":" not in name:
        return Measure(name, Objective(name).minimised)
    module, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise SearchError(f"the function '{name}' cannot be found: {error}") from error
    if not callable(found):
        raise SearchError(f"'{name}' is no function")
    return Measure(path, False, found)


def code_of(measures: Sequence[Measure]) -> dict[str, str]:
    """Return the canonical source of the functions among measures, by name."""
    return {each.name: canonical_source(each.function) for each in measures if each.function}


def comparable(value: float, minimised: bool) -> float:
    """Return a value of which more is better; minus infinity for what is not a number."""
    return -math.inf if math.isnan(value) else -value if minimised else value
