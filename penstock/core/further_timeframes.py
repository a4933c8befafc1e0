"""Longer timeframes of a panel, seen from the rows of its own bars.

A row sees a longer bar once that has closed: at the close of its own bar or before.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from penstock.core.errors import StrategyError
from penstock.core.named_indicators import Field, Indicators, Matrix, Of
from penstock.core.timeframes import Timeframe

if TYPE_CHECKING:
    from penstock.core.panel import Panel


class FurtherPanel(Indicators):
    """The bars of a longer timeframe and their indicators, as the rows of the shorter one see them.

    Every array has the shape (bars, symbols) of the shorter panel: in each row stands the value of
    the symbol's newest longer bar that has closed by the row's close, NaN where there is none. An
    indicator over 20 bars counts 20 longer bars.

    What is computed in steps is computed of `full`, and aligned at the end:
    `trend.align(trend.full.std(20, of=trend.full.log_returns()))`.
    """

    def __init__(self, panel: "Panel", full: "Panel") -> None:
        self.full = full
        """The longer bars themselves, of shape (longer bars, symbols)."""
        self._panel = panel
        self._rows = _newest_closed(panel, full)
        self._known = (self._rows >= 0) & panel.present

    def align(self, values: Matrix) -> Matrix:
        """Return an array of shape (longer bars, symbols) as the rows of the shorter panel see it.

        Raises StrategyError where it has another shape.
        """
        if values.shape != self.full.close.shape:
            raise StrategyError(
                f"an array of shape {values.shape} is none of the {self.full.timeframe} bars: "
                f"they have {self.full.close.shape}"
            )
        seen = np.take_along_axis(values, np.maximum(self._rows, 0), axis=0)
        return np.where(self._known, seen, np.nan)

    def field(self, name: Field) -> Matrix:
        """Return a field of the newest closed longer bar: `field("close")`."""
        return self._over(_itself, of=name)

    def _over(
        self, function: Callable[..., Matrix], *arguments: float, of: Of | tuple[Of, ...]
    ) -> Matrix:
        return self._panel.kept(
            ("at", self.full.timeframe, function, arguments),
            self.full.source_of(of),
            lambda: self.align(self.full._over(function, *arguments, of=of)),
        )


def _itself(values: Matrix) -> Matrix:
    return values.copy()


def resampled(panel: "Panel", timeframe: Timeframe) -> "Panel":
    """Return the bars of a longer timeframe: first open, highest high, lowest low, last close,
    summed volume.

    A period that lacks some of its bars has one all the same. The period in which a symbol's bars
    begin is left out, unless they begin with it: a warm window would have another one there.

    Raises StrategyError where the timeframe is no multiple of the panel's.
    """
    from penstock.core.panel import Panel

    if timeframe.seconds <= panel.timeframe.seconds or timeframe.seconds % panel.timeframe.seconds:
        raise StrategyError(
            f"{timeframe} is no longer timeframe made of {panel.timeframe} bars: it must be a "
            "multiple of them"
        )
    times = panel.ts.to_physical().to_numpy()
    period = timeframe.seconds * 1000
    periods = times // period
    begins = np.flatnonzero(np.diff(periods, prepend=periods[:1] - 1))
    if not begins.size:
        return Panel(timeframe, panel.ts, panel.symbols, *[panel.close] * 5)
    places = np.arange(len(times))[:, None]
    first = np.minimum.reduceat(np.where(panel.present, places, len(times)), begins, axis=0)
    last = np.maximum.reduceat(np.where(panel.present, places, -1), begins, axis=0)
    listed = np.argmax(panel.present, axis=0)
    starts_late = (first == listed) & (times[listed] % period != 0)
    absent = (last < 0) | starts_late

    def at(values: Matrix, rows: npt.NDArray[np.int64]) -> Matrix:
        inside = np.clip(rows, 0, len(times) - 1)
        return np.where(absent, np.nan, np.take_along_axis(values, inside, axis=0))

    def over(reduce: np.ufunc, values: Matrix) -> Matrix:
        return np.where(absent, np.nan, reduce.reduceat(values, begins, axis=0))

    ts = (panel.ts.gather(begins).to_physical() // period * period).cast(panel.ts.dtype)
    return Panel(
        timeframe,
        ts,
        panel.symbols,
        at(panel.open, first),
        over(np.fmax, panel.high),
        over(np.fmin, panel.low),
        at(panel.close, last),
        over(np.add, np.nan_to_num(panel.volume)),
    )


def _newest_closed(panel: "Panel", full: "Panel") -> npt.NDArray[np.int64]:
    """Return the row of each symbol's newest longer bar that has closed by each row's close; -1
    where there is none.
    """
    closes = panel.ts.to_physical().to_numpy() + panel.timeframe.seconds * 1000
    ends = full.ts.to_physical().to_numpy() + full.timeframe.seconds * 1000
    newest = np.searchsorted(ends, closes, side="right") - 1
    own = np.where(full.present, np.arange(len(ends))[:, None], -1)
    if len(ends):
        own = np.maximum.accumulate(own, axis=0)
    # Row -1 is the last one of the array with a row of -1 added at its end: nothing has closed.
    rows: npt.NDArray[np.int64] = np.concatenate([own, np.full((1, own.shape[1]), -1)])[newest]
    return rows
