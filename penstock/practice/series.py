"""Bars of one symbol and timeframe, found by time.

Times are milliseconds since the epoch. A bar's time is its open time.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.timeframes import Timeframe

#: A gap of at most this length is an outage. After a longer gap a new part of the history begins.
OUTAGE_MS = 7 * 86_400_000

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


class PracticeBar(NamedTuple):
    """One bar: open time in ms, prices in quote units, volume in base units."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class BarSeries(Protocol):
    """The bars of one symbol and timeframe, wherever they come from."""

    def window(self, start: int, end: int) -> "BarArrays":
        """Return the bars with start <= open time < end."""
        ...

    def page(self, start: int, end: int, limit: int) -> "BarArrays":
        """Return the first `limit` bars with start <= open time < end."""
        ...

    def last(self, end: int, limit: int) -> "BarArrays":
        """Return the last `limit` bars with open time < end."""
        ...

    def covers(self, at: int) -> bool:
        """Return whether `at` is inside a part of this history. An outage is inside."""
        ...


@dataclass(frozen=True)
class BarArrays:
    """Bars as arrays, sorted and unique in `ts`."""

    timeframe: Timeframe
    """The bars' length."""
    ts: Times
    """Their open times (ms)."""
    values: Floats
    """An array of shape (bars, 5): open, high, low, close, volume."""

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, timeframe: Timeframe) -> "BarArrays":
        """Return the bars of a frame of one symbol. Of bars with the same time the last is kept."""
        clean = frame.unique("ts", keep="last", maintain_order=True).sort("ts")
        values = (
            clean.select("open", "high", "low", "close", "volume").to_numpy().astype(np.float64)
        )
        return cls(
            timeframe,
            clean["ts"].cast(pl.Datetime("ms", "UTC")).to_physical().to_numpy().astype(np.int64),
            values,
        )

    @cached_property
    def step(self) -> int:
        return self.timeframe.seconds * 1000

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, index: int) -> PracticeBar:
        return PracticeBar(int(self.ts[index]), *(float(value) for value in self.values[index]))

    def cut(self, first: int, end: int) -> "BarArrays":
        """Return the bars at positions first..end-1."""
        return BarArrays(self.timeframe, self.ts[first:end], self.values[first:end])

    def position(self, at: int) -> int:
        """Return the position of the first bar that opens at or after `at`."""
        return int(np.searchsorted(self.ts, at))

    def window(self, start: int, end: int) -> "BarArrays":
        return self.cut(self.position(start), self.position(end))

    def page(self, start: int, end: int, limit: int) -> "BarArrays":
        first = self.position(start)
        return self.cut(first, min(self.position(end), first + limit))

    def last(self, end: int, limit: int) -> "BarArrays":
        stop = self.position(end)
        return self.cut(max(0, stop - limit), stop)

    def covers(self, at: int) -> bool:
        following = self.position(at + 1)
        if following == 0:
            return False
        closed = int(self.ts[following - 1]) + self.step
        if at < closed:
            return True
        return following < len(self.ts) and int(self.ts[following]) - closed <= OUTAGE_MS

    def resampled(self, timeframe: Timeframe) -> "BarArrays":
        """Return bars of a longer timeframe built from these."""
        step = timeframe.seconds * 1000
        return BarArrays(timeframe, *grouped(self.ts // step * step, self.values))


def grouped(buckets: Times, values: Floats) -> tuple[Times, Floats]:
    """Return one bar for each run of bars with the same bucket: the buckets, and the bars."""
    times, first = np.unique(buckets, return_index=True)
    if len(times) == 0:
        return times, np.empty((0, 5))
    last = np.append(first[1:], len(buckets)) - 1
    columns = (
        values[first, 0],
        np.maximum.reduceat(values[:, 1], first),
        np.minimum.reduceat(values[:, 2], first),
        values[last, 3],
        np.add.reduceat(values[:, 4], first),
    )
    return times, np.column_stack(columns)
