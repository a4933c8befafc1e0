"""The named indicators of a panel: what each means, and where its formula is from.

The arithmetic is in penstock.indicators. All look back along a symbol's own bars: 20 bars are 20
bars of the symbol, and a bar that is missing is not counted. Before there are enough, and where a
symbol has no bar, the answer is NaN. A window over a NaN is NaN.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock.core.errors import StrategyError
from penstock.indicators import across, changes, oscillators, windows

Matrix = npt.NDArray[np.float64]
Field = Literal["open", "high", "low", "close", "volume"]
#: What an indicator is taken of: a field of the bars, or an array of shape (bars, symbols).
Of = Field | Matrix


class NamedIndicators(ABC):
    """Indicators as methods. All return float64 arrays of shape (bars, symbols), read-only.

    `n` is a number of bars, at least 1. StrategyError is raised where it is not.
    """

    @abstractmethod
    def _over(self, function: Callable[..., Matrix], *arguments: float, of: Of) -> Matrix:
        """Return `function(values, *arguments)` of own rows, through the cache."""

    @abstractmethod
    def counted(self, scores: Matrix) -> Matrix:
        """Return the scores with those of symbols whose bar is late."""

    def shift(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the value of `n` bars before; n may be 0."""
        return self._over(windows.shifted, _bars(n, 0), of=of)

    def sma(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the simple moving average: the mean of the last `n` bars."""
        return self._over(windows.mean, _bars(n), of=of)

    def sum(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the sum over the last `n` bars."""
        return self._over(windows.total, _bars(n), of=of)

    def std(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the sample standard deviation (divided by n - 1) of the last `n` bars, n >= 2."""
        return self._over(windows.deviation, _bars(n, 2), of=of)

    def max(self, n: int, *, of: Of = "high") -> Matrix:
        """Return the highest of the last `n` bars."""
        return self._over(windows.highest, _bars(n), of=of)

    def min(self, n: int, *, of: Of = "low") -> Matrix:
        """Return the lowest of the last `n` bars."""
        return self._over(windows.lowest, _bars(n), of=of)

    def returns(self, n: int = 1, *, of: Of = "close") -> Matrix:
        """Return the return over `n` bars: value / value n bars before - 1."""
        return self._over(changes.growth, _bars(n), of=of)

    def log_returns(self, n: int = 1, *, of: Of = "close") -> Matrix:
        """Return the log return over `n` bars: log(value) - log(value n bars before)."""
        return self._over(changes.log_growth, _bars(n), of=of)

    def momentum(self, n: int, *, skip: int = 0, of: Of = "close") -> Matrix:
        """Return the return over `n` bars that ended `skip` bars before.

        value[t - skip] / value[t - skip - n] - 1. Source: Jegadeesh and Titman, Journal of Finance
        48, 1993.
        """
        return self._over(changes.growth, _bars(n), _bars(skip, 0), of=of)

    def rsi(self, n: int = 14, *, of: Of = "close") -> Matrix:
        """Return Cutler's relative strength index, 0 to 100: 100 * gains / (gains + losses).

        Gains and losses are simple means over the last `n` changes. 50 where nothing moved. It
        depends on n + 1 bars; Wilder's depends on all of them.
        """
        return self._over(oscillators.cutler_rsi, _bars(n), of=of)

    def rank(self, scores: Matrix) -> Matrix:
        """Return the rank of each symbol's score, 1 for the highest; equal ones by symbol.

        A symbol whose bar is late takes part with its last score.
        """
        return across.rank(self.counted(scores))

    def count(self, scores: Matrix) -> Matrix:
        """Return how many symbols have a score, of shape (bars, 1); NaN where none has.

        A symbol whose bar is late is counted with its last score.
        """
        number = across.count(self.counted(scores))
        return np.where(number == 0, np.nan, number)

    def total(self, scores: Matrix) -> Matrix:
        """Return the sum of the scores of all symbols, of shape (bars, 1); NaN where none has one.

        A symbol whose bar is late is counted with its last score.
        """
        given = self.counted(scores)
        return np.where(across.count(given) == 0, np.nan, across.total(given))


def signal(condition: npt.NDArray[np.bool_], *inputs: Matrix) -> Matrix:
    """Return 1 where the condition holds, 0 where it does not, NaN where an input is NaN.

    A comparison with NaN is False, and False would be a decision: to hold nothing.

    >>> import numpy as np
    >>> trend = np.array([[np.nan], [-0.1], [0.2]])
    >>> signal(trend > 0, trend).ravel().tolist()
    [nan, 0.0, 1.0]
    """
    out = across.flagged(condition, inputs[0])
    for each in inputs[1:]:
        np.copyto(out, np.nan, where=np.isnan(each))
    return out


def _bars(n: int, least: int = 1) -> int:
    """Return a number of bars, or raise StrategyError."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < least:
        raise StrategyError(f"an indicator over {n!r} bars: it takes a whole number from {least}")
    return int(n)
