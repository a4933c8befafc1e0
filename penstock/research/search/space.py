"""Which parameters a search explores, and between which bounds: read from a strategy's Params.

A number is explored where both of its bounds are inclusive (`ge` and `le`). Its steps are
`multiple_of`, if that is set. A `Literal` and a `bool` are explored value by value. Every other
field keeps its default: `gt=0, le=1` checks a parameter without exploring it.
"""

from dataclasses import dataclass
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Le, MultipleOf
from pydantic.fields import FieldInfo

from penstock.core.errors import SearchError
from penstock.core.strategy import Strategy


@dataclass(frozen=True)
class NumberRange:
    """A number from `low` to `high`, both included."""

    low: float
    """The smallest value."""
    high: float
    """The largest value."""
    step: float
    """The distance between two values; 0.0 means any value."""
    whole: bool
    """Whether the number is an integer."""

    @property
    def steps(self) -> int:
        """The number of values; 0 where there is no step."""
        return int((self.high - self.low) / self.step + 1e-9) + 1 if self.step else 0

    def at(self, fraction: float) -> float | int:
        """Return the value at a fraction of the way, from 0 to under 1.

        >>> NumberRange(5, 10, 1, whole=True).at(0.99)
        10
        """
        if not self.step:
            return self.low + fraction * (self.high - self.low)
        value = self.low + int(fraction * self.steps) * self.step
        return int(value) if self.whole else value


@dataclass(frozen=True)
class Choices:
    """One value of several."""

    values: tuple[str | int | bool, ...]

    def at(self, fraction: float) -> str | int | bool:
        """Return the value at a fraction of the way, from 0 to under 1."""
        return self.values[int(fraction * len(self.values))]


def search_space(strategy: type[Strategy]) -> dict[str, NumberRange | Choices]:
    """Return what is explored, by parameter.

    Raises SearchError where no parameter can be explored.
    """
    found = {name: _explored(field) for name, field in strategy.Params.model_fields.items()}
    space = {name: dimension for name, dimension in found.items() if dimension is not None}
    if not space:
        raise SearchError(
            f"{strategy.name}: no parameter has both ge and le bounds, "
            "so there is nothing to search"
        )
    return space


def _explored(field: FieldInfo) -> NumberRange | Choices | None:
    if field.annotation is bool:
        return Choices((False, True))
    if get_origin(field.annotation) is Literal:
        return Choices(get_args(field.annotation))
    bounds = {type(rule): rule for rule in field.metadata}
    low, high, step = bounds.get(Ge), bounds.get(Le), bounds.get(MultipleOf)
    if field.annotation not in (int, float) or low is None or high is None:
        return None
    whole = field.annotation is int
    return NumberRange(
        float(low.ge), float(high.le), float(step.multiple_of) if step else float(whole), whole
    )
