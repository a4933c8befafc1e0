"""What the leak proof finds: a peek at later bars, and a memory that is longer than declared."""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

#: Weights that differ by less are equal: moving sums round differently on other bars.
TOLERANCE = 1e-12


class Change(StrEnum):
    """What was done to the bars before the weights were decided again."""

    NOTHING = "nothing changed"
    REMOVED = "later bars removed"
    CHANGED = "later bars changed"
    DATES = "all bars moved to other dates"
    NAMES = "the symbols renamed"
    ELSEWHERE = "all bars moved to other dates and the symbols renamed"


@dataclass(frozen=True)
class Leak:
    """A weight that changed although the bars up to it did not. None is "no decision"."""

    change: Change
    """What was done to the bars."""
    symbol: str
    """The symbol."""
    ts: datetime
    """The open time of the bar whose weight changed."""
    before: float | None
    """The weight on the bars as they are."""
    after: float | None
    """The weight on the changed bars."""
    cut: datetime | None = None
    """The open time of the last bar that was left as it was; None where no cut was made."""
    count: int = 1
    """How many weights differed in the same evaluation."""
    error: str = ""
    """The error that the strategy raised instead of deciding."""

    def sentence(self) -> str:
        """Return the leak in one sentence."""
        before, after = _texts(self.before, self.after)
        became = f"fails ({self.error})" if self.error else f"becomes {after}"
        cut = "" if self.cut is None else f" after {self.cut:%Y-%m-%d %H:%M}"
        more = f"; {self.count:,} weights differ" if self.count > 1 else ""
        return (
            f"{self.symbol} at {self.ts:%Y-%m-%d %H:%M}: weight {before} {became} with "
            f"{self.change}{cut}{more}"
        )


@dataclass(frozen=True)
class LongMemory:
    """A weight that depends on bars before the strategy's warm-up."""

    symbol: str
    """The symbol."""
    ts: datetime
    """The open time of the bar whose weight changed."""
    warmup_bars: int
    """What the strategy declares (Strategy.warmup)."""
    before: float | None
    """The weight with the whole history."""
    after: float | None
    """The weight with the last bars only."""
    kept_bars: int
    """The number of earlier bars with which it is `after`."""
    sufficient_bars: int | None
    """The smallest warm-up with which the decisions agreed; None where none did."""
    tried_bars: int
    """The longest warm-up that was tried."""
    is_changed: bool = False
    """Whether the bars before the last ones were other ones; if not, they were taken away."""

    def sentence(self) -> str:
        """Return what is remembered too long in one sentence."""
        would_do = (
            f"none up to {self.tried_bars:,} would do"
            if self.sufficient_bars is None
            else f"{self.sufficient_bars:,} would do"
        )
        before, after = _texts(self.before, self.after)
        where = "with others before" if self.is_changed else "with"
        return (
            f"{self.symbol} at {self.ts:%Y-%m-%d %H:%M}: weight {before} with all earlier bars, "
            f"{after} {where} the last {self.kept_bars:,}; its warm-up is {self.warmup_bars:,}, "
            f"{would_do}"
        )


@dataclass(frozen=True)
class LeakProof:
    """What the proof found."""

    strategy: str
    """The strategy's name."""
    leaks: tuple[Leak, ...]
    """The first leak of each evaluation of the first part that found any. Empty: it sees no later
    bars.
    """
    memory: LongMemory | None
    """What it remembers too long; None where it decides alike from its warm-up. It
    is not looked for where weights differ on the same bars.
    """
    evaluations: int
    """How often the strategy decided."""
    cuts: int
    """The number of rows after which later bars were changed by the comb."""
    is_reloaded: bool
    """Whether its module was run again for each evaluation. What a class of a notebook or a script
    keeps outside of its instance is found only where it depends on dates or names.
    """

    @property
    def passed(self) -> bool:
        """Whether it sees no later bars, and remembers no longer than it says."""
        return not self.leaks and self.memory is None


def differs(one: Matrix, other: Matrix) -> npt.NDArray[np.bool_]:
    """Return where weights differ. NaN, "no decision", equals NaN only."""
    apart: npt.NDArray[np.bool_] = np.abs(one - other) > TOLERANCE
    apart |= np.isnan(one) != np.isnan(other)
    return apart


def weight_at(weights: Matrix, row: int, column: int) -> float | None:
    """Return one weight; None for NaN."""
    value = float(weights[row, column])
    return None if math.isnan(value) else value


def _texts(before: float | None, after: float | None) -> tuple[str, str]:
    """Return two weights with as many digits as tell them apart."""
    for digits in (6, 17):
        one, other = ("none" if w is None else f"{w:.{digits}g}" for w in (before, after))
        if one != other:
            break
    return one, other
