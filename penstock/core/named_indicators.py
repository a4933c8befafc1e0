"""The named indicators of a panel: what each means, and where its formula is from.

The arithmetic is in penstock.indicators. All look back along a symbol's own bars: 20 bars are 20
bars of the symbol, and a bar that is missing is not counted. Before there are enough, and where a
symbol has no bar, the answer is NaN. A window over a NaN is NaN.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.core.errors import StrategyError
from penstock.indicators import across, changes, comoments, oscillators, smoothing, windows

Matrix = npt.NDArray[np.float64]
Field = Literal["open", "high", "low", "close", "volume"]
#: What an indicator is taken of: a field of the bars, or an array of shape (bars, symbols).
Of = Field | Matrix
_RANGE: tuple[Of, ...] = ("high", "low", "close")


class Bands(NamedTuple):
    """A band of prices, each of shape (bars, symbols)."""

    lower: Matrix
    """The lower edge."""
    middle: Matrix
    """The middle."""
    upper: Matrix
    """The upper edge."""


class Indicators(ABC):
    """Indicators along time. All return read-only float64 arrays of shape (bars, symbols).

    `n` is a number of bars. `of` is what the indicator is taken of: a field, or an array such as
    `panel.log_returns()`. Where an indicator says so, its memory is longer than `n`.

    Raises StrategyError where `n` is no whole number of at least 1 (or what the indicator needs).

    >>> import numpy as np
    >>> from penstock.core.panel_frames import panel_of_closes
    >>> panel = panel_of_closes({"BTC/USDT": [1.0, 2.0, 4.0, 8.0]})
    >>> panel.sma(2).ravel().tolist()
    [nan, 1.5, 3.0, 6.0]
    >>> panel.returns(2).ravel().tolist()
    [nan, nan, 3.0, 3.0]
    """

    @abstractmethod
    def _over(
        self, function: Callable[..., Matrix], *arguments: float, of: Of | tuple[Of, ...]
    ) -> Matrix:
        """Return `function(*values, *arguments)` of own rows, through the cache."""

    def shift(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the value of `n` bars before; n may be 0.

        >>> from penstock.core.panel_frames import panel_of_closes
        >>> panel_of_closes({"BTC/USDT": [1.0, 2.0, 4.0]}).shift(1).ravel().tolist()
        [nan, 1.0, 2.0]
        """
        return self._over(windows.shifted, bar_count(n, 0), of=of)

    def returns(self, n: int = 1, *, of: Of = "close") -> Matrix:
        """Return the simple return over `n` bars: value[t] / value[t - n] - 1."""
        return self._over(changes.growth, bar_count(n), of=of)

    def log_returns(self, n: int = 1, *, of: Of = "close") -> Matrix:
        """Return the log return over `n` bars: log(value[t]) - log(value[t - n])."""
        return self._over(changes.log_growth, bar_count(n), of=of)

    def momentum(self, n: int, *, skip: int = 0, of: Of = "close") -> Matrix:
        """Return the return over `n` bars, without the newest `skip`.

        value[t - skip] / value[t - skip - n] - 1. Source: Jegadeesh and Titman, Journal of Finance
        48, 1993.

        >>> from penstock.core.panel_frames import panel_of_closes
        >>> panel_of_closes({"BTC/USDT": [1.0, 2.0, 9.0]}).momentum(1, skip=1).ravel().tolist()
        [nan, nan, 1.0]
        """
        return self._over(changes.growth, bar_count(n), bar_count(skip, 0), of=of)

    def sum(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the sum over the last `n` bars."""
        return self._over(windows.total, bar_count(n), of=of)

    def sma(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the simple moving average: the mean of the last `n` bars."""
        return self._over(windows.mean, bar_count(n), of=of)

    def wma(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the mean of the last `n` bars with weights n (the newest), n - 1 ... 1.

        >>> from penstock.core.panel_frames import panel_of_closes
        >>> panel_of_closes({"BTC/USDT": [3.0, 6.0]}).wma(2).ravel().tolist()
        [nan, 5.0]
        """
        return self._over(smoothing.weighted, bar_count(n), of=of)

    def ema(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the exponential moving average with span `n`: the weight of a bar that is i bars
        old is proportional to (1 - 2 / (n + 1))^i.

        Its memory is longer than n: after 14 n bars, what came before weighs less than 1e-12.
        A strategy that uses it declares that many bars in `warmup_bars`.

        >>> from penstock.core.panel_frames import panel_of_closes
        >>> panel_of_closes({"BTC/USDT": [1.0, 5.0]}).ema(2).ravel().round(9).tolist()
        [nan, 4.0]
        """
        return self._over(smoothing.exponential, bar_count(n), of=of)

    def std(self, n: int, *, of: Of = "close") -> Matrix:
        """Return the sample standard deviation (divided by n - 1) of the last `n` bars, n >= 2."""
        return self._over(windows.deviation, bar_count(n, 2), of=of)

    def zscore(self, n: int, *, of: Of = "close") -> Matrix:
        """Return (value - mean) / standard deviation of the last `n` bars, n >= 2.

        0 where nothing moved.
        """
        return self._over(oscillators.zscore, bar_count(n, 2), of=of)

    def max(self, n: int, *, of: Of = "high") -> Matrix:
        """Return the highest of the last `n` bars, this one included."""
        return self._over(windows.highest, bar_count(n), of=of)

    def min(self, n: int, *, of: Of = "low") -> Matrix:
        """Return the lowest of the last `n` bars, this one included."""
        return self._over(windows.lowest, bar_count(n), of=of)

    def correlation(self, n: int, one: Of, other: Of) -> Matrix:
        """Return Pearson's correlation of two fields or arrays over the last `n` bars, n >= 2.

        With a benchmark: `panel.correlation(60, returns, panel.symbol("BTC/USDT", of=returns))`.
        NaN where one of them did not move.
        """
        return self._over(comoments.correlation, bar_count(n, 2), of=(one, other))

    def beta(self, n: int, of: Of, on: Of) -> Matrix:
        """Return the slope of `of` on `on` over the last `n` bars: covariance / variance, n >= 2.

        With a benchmark: `panel.beta(60, returns, on=panel.symbol("BTC/USDT", of=returns))`. NaN
        where `on` did not move.
        """
        return self._over(comoments.beta, bar_count(n, 2), of=(of, on))

    def bollinger(self, n: int = 20, width: float = 2.0, *, of: Of = "close") -> Bands:
        """Return Bollinger's bands: the mean of the last `n` bars, and `width` sample standard
        deviations to both sides.

        Source: Bollinger, Bollinger on Bollinger Bands, 2001. He divides by n, this by n - 1.
        """
        middle, deviation = self.sma(n, of=of), self.std(n, of=of)
        return Bands(middle - width * deviation, middle, middle + width * deviation)

    def donchian(self, n: int = 20, *, skip: int = 0) -> Bands:
        """Return Donchian's channel: the lowest low and the highest high of `n` bars, without the
        newest `skip`, and the middle between them.

        A close is never above the channel that its own bar belongs to: a breakout needs skip=1.
        """
        lower = self._over(windows.earlier_lowest, bar_count(n), bar_count(skip, 0), of="low")
        upper = self._over(windows.earlier_highest, bar_count(n), bar_count(skip, 0), of="high")
        return Bands(lower, (lower + upper) / 2, upper)

    def rsi(
        self, n: int = 14, *, of: Of = "close", mean: Literal["simple", "wilder"] = "simple"
    ) -> Matrix:
        """Return the relative strength index: 100 * gains / (gains + losses), 50 where none moved.

        Gains and losses are means of the last n changes: simple ones (Cutler's index, which depends
        on n + 1 bars), or Wilder's (New Concepts in Technical Trading Systems, 1978), which
        remember all bars: after 28 n bars, what came before weighs less than 1e-12.

        >>> from penstock.core.panel_frames import panel_of_closes
        >>> panel_of_closes({"BTC/USDT": [1.0, 4.0, 3.0]}).rsi(2).ravel().tolist()
        [nan, nan, 75.0]
        """
        function = oscillators.wilder_rsi if mean == "wilder" else oscillators.cutler_rsi
        return self._over(function, bar_count(n), of=of)

    def stochastic(self, n: int = 14) -> Matrix:
        """Return Lane's %K: 100 * (close - lowest low) / (highest high - lowest low) of `n` bars.

        50 where nothing moved.
        """
        return self._over(oscillators.stochastic, bar_count(n), of=_RANGE)

    def true_range(self) -> Matrix:
        """Return the largest of high - low, |high - close before| and |low - close before|.

        Source: Wilder, New Concepts in Technical Trading Systems, 1978.
        """
        return self._over(smoothing.true_range, of=_RANGE)

    def atr(self, n: int = 14, *, mean: Literal["simple", "wilder"] = "simple") -> Matrix:
        """Return the average true range over `n` bars, in quote units.

        The mean is a simple one, which depends on n + 1 bars, or Wilder's, which remembers all: see
        `rsi`.
        """
        function = smoothing.wilder_range if mean == "wilder" else smoothing.average_range
        return self._over(function, bar_count(n), of=_RANGE)

    def vwap(self, n: int) -> Matrix:
        """Return the mean of (high + low + close) / 3 over `n` bars, weighted by volume.

        NaN where nothing was traded.
        """
        fields: tuple[Of, ...] = ("high", "low", "close", "volume")
        return self._over(oscillators.volume_price, bar_count(n), of=fields)


def signal(condition: npt.NDArray[np.bool_], *inputs: Matrix) -> Matrix:
    """Return 1 where the condition holds, 0 where it does not, NaN where an input is NaN.

    A comparison with NaN is False, and False would be a decision: to hold nothing.

    >>> import numpy as np
    >>> trend = np.array([[np.nan], [-0.1], [0.2]])
    >>> signal(trend > 0, trend).ravel().tolist()
    [nan, 0.0, 1.0]
    """
    if not inputs:
        return condition.astype(np.float64)
    out = across.flagged(condition, inputs[0])
    for each in inputs[1:]:
        np.copyto(out, np.nan, where=np.isnan(each))
    return out


def bar_count(n: int, least: int = 1) -> int:
    """Return a number of bars, or raise StrategyError."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < least:
        raise StrategyError(f"an indicator over {n!r} bars: it takes a whole number from {least}")
    return int(n)
