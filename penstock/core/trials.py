"""The trials of a parameter search, as they are kept.

How they are proposed and evaluated is for penstock.research.search.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

#: A strategy's parameters as plain values, the way `Strategy.from_params` takes them.
ParamValues = Mapping[str, float | int | str | bool]


@dataclass(frozen=True)
class Trial:
    """One finished trial."""

    number: int
    """The trial's number: in the search, or in the study where it is kept."""
    strategy: str
    """The strategy's name."""
    params: ParamValues
    """The parameters that were tried."""
    allowed: bool
    """Whether the strategy allows these parameters."""
    values: tuple[float, ...]
    """The objectives, in sample; empty where the parameters are not allowed."""
    metrics: Mapping[str, float]
    """Further figures by name; empty where the parameters are not allowed."""
    took_ms: float
    """How long the trial took, in milliseconds."""

    @property
    def value(self) -> float:
        """The first objective; NaN where the parameters are not allowed."""
        return self.values[0] if self.values else nan


@dataclass(frozen=True)
class StudyTerms:
    """What makes a study: the search of one strategy's parameters, by one program on one dataset.

    Two processes with the same terms share the study.
    """

    name: str
    """The study's name. Other bars, code, costs or settings have another one."""
    strategy: str
    """The strategy's name."""
    objectives: tuple[str, ...]
    """The names of the objectives."""
    metrics: tuple[str, ...]
    """The names of the further figures of a trial."""
    trials: int
    """The number of its trials."""
