"""What the leak proof does to a panel: it is cut, shortened, moved in time, or changed in places.

Every function returns a new panel. What is decided on them is compared in
penstock.research.validation.leakage.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.bars import PRICE_COLUMNS, VALUE_COLUMNS
from penstock.core.late_bars import LATE_BARS
from penstock.core.panel import Panel

Matrix = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

#: The length of a block of changed bars. A peek at one bar that is further ahead is found by the
#: prefixes only, so at a peek that is there at every bar.
BLOCK_BARS = 20
#: Weekdays, ends of months and leap years repeat after 28 years.
CALENDAR_CYCLE = timedelta(days=10_227)
#: They repeat after 400 years too. Ten times as many are a multiple of 2, 3, 5, 7 and 10 days, for
#: cycles that are counted from a fixed day.
LONG_CYCLE = timedelta(days=1_460_970)


def until(panel: Panel, last: int, first: int = 0) -> Panel:
    """Return the bars of the rows `first` to `last`, and of the series what was known by then."""
    close = panel.ts[last] + panel.timeframe.duration
    known = {
        name: series.filter(pl.col("ts") <= close) for name, series in panel.given_series.items()
    }
    return replace(panel.part(first, last + 1), given_series=known)


def from_window(panel: Panel, row: int, earlier: int) -> Panel:
    """Return the panel without the bars that a window before `row` leaves out.

    Of each symbol the last `earlier + 1` bars up to `row` stay, and all after it.
    """
    counted = np.cumsum(panel.present[row::-1], axis=0)[::-1]  # own bars from here up to `row`
    gone = np.zeros_like(panel.present)
    gone[: row + 1] = counted > earlier + 1
    return panel.without(gone)


def compact(panel: Panel) -> tuple[Panel, Rows, Rows]:
    """Return the panel without rows and symbols that have no bar, and which ones stay."""
    rows = np.flatnonzero(panel.present.any(axis=1))
    columns = np.flatnonzero(panel.present.any(axis=0))
    if len(rows) == len(panel.ts) and len(columns) == len(panel.symbols):
        return panel, rows, columns
    values = {name: getattr(panel, name)[np.ix_(rows, columns)] for name in VALUE_COLUMNS}
    symbols = tuple(panel.symbols[column] for column in columns)
    return replace(panel, ts=panel.ts.gather(rows), symbols=symbols, **values), rows, columns


def elsewhere(panel: Panel, ahead: timedelta | None, renamed: bool) -> Panel:
    """Return the same prices at other dates and under other names, which sort alike."""
    names = {
        name: other_name(place, name) if renamed else name
        for place, name in enumerate(panel.symbols)
    }
    later = ahead or timedelta(0)
    series = {
        name: table.with_columns(pl.col("symbol").replace(names), pl.col("ts") + later)
        for name, table in panel.given_series.items()
    }
    return replace(panel, ts=panel.ts + later, symbols=tuple(names.values()), given_series=series)


def other_name(place: int, symbol: str) -> str:
    """Return another name for the symbol at `place` of the sorted ones. The quote asset stays.

    >>> other_name(3, "BTC/USDT")
    'Q00003/USDT'
    """
    _, slash, quote = symbol.partition("/")
    return f"Q{place:05d}{slash}{quote}"


def renamed_values(values: dict[str, Any], symbols: Sequence[str]) -> dict[str, Any]:
    """Return parameters in which the names of symbols are replaced as in `elsewhere`."""
    names = {name: other_name(place, name) for place, name in enumerate(symbols)}

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return names.get(value, value)
        if isinstance(value, list | tuple):
            return type(value)(map(renamed, value))
        return value

    return {name: renamed(value) for name, value in values.items()}


def comb(panel: Panel, earlier: int) -> list[list[int]]:
    """Return the cuts of each evaluation, so that every row but the last is a cut of one.

    After each cut a block of BLOCK_BARS rows is changed. A cut is far enough behind the block
    before it: the last `earlier + 1` bars of every symbol are as they were. A symbol without a bar
    for LATE_BARS rows counts no more. On bars without gaps these are `earlier + 1 + BLOCK_BARS`
    evaluations.
    """
    begins = _window_begins(panel.present, earlier)
    rows = len(begins) - 1
    is_left = np.ones(rows, dtype=bool)
    evaluations: list[list[int]] = []
    first = 0
    while first < rows:
        cuts = [first]
        is_left[first] = False
        row = first + BLOCK_BARS + 1 + earlier
        while row < rows:
            if is_left[row] and begins[row] > cuts[-1] + BLOCK_BARS:
                cuts.append(row)
                is_left[row] = False
                row += BLOCK_BARS + earlier
            row += 1
        evaluations.append(cuts)
        while first < rows and not is_left[first]:
            first += 1
    return evaluations


def _window_begins(present: npt.NDArray[np.bool_], earlier: int) -> Rows:
    """Return, for each row, the first row that any symbol's last `earlier + 1` bars reach."""
    rows, columns = present.shape
    begins = np.full(rows, rows, dtype=np.int64)
    every = np.arange(rows)
    for column in range(columns):
        own = np.flatnonzero(present[:, column])
        if not len(own):
            continue
        seen = np.searchsorted(own, every, side="right")
        newest = own[np.maximum(seen - 1, 0)]
        alive = (seen > 0) & (every - newest <= LATE_BARS)
        begin = own[np.maximum(seen - 1 - earlier, 0)]
        begins = np.where(alive, np.minimum(begins, begin), begins)
    return begins


class BlockChanges:
    """Turns blocks of bars upside down.

    A price that rises from the cut's close falls, about as far as before or up to twice as far, and
    the other way round. So every sign of a later return changes, and every rank. The same is done
    to volumes. Which bars exist does not change.
    """

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        present = panel.present
        #: The row of each symbol's last bar up to a row; the first row where there is none.
        self._newest = np.maximum.accumulate(
            np.where(present, np.arange(len(present))[:, None], 0), axis=0
        )
        columns = range(present.shape[1])
        own = [panel.close[present[:, column], column] for column in columns]
        self._step = np.array([_usual_step(each) for each in own])
        traded = [panel.volume[panel.volume[:, column] > 0, column] for column in columns]
        self._volume = np.array([float(np.median(each)) if len(each) else 1.0 for each in traded])

    def after(self, cuts: Sequence[int], random: np.random.Generator) -> Panel:
        """Return the bars with the BLOCK_BARS rows after each cut changed."""
        rows, columns = self._newest.shape
        starts = np.asarray(cuts, dtype=np.int64)
        blocks = starts[:, None] + np.arange(1, BLOCK_BARS + 1)
        after = blocks[blocks < rows]
        block = np.nonzero(blocks < rows)[0]
        stretch = random.uniform(1.0, 2.0, (len(starts), columns))[block]
        push = random.uniform(0.5, 1.5, (len(after), columns))
        old = {name: getattr(self._panel, name)[after] for name in VALUE_COLUMNS}
        close = self._known(self._panel.close, starts)[block]
        close = np.where(np.isnan(close), old["open"], close)
        new = {
            name: close
            * np.exp(_turned(np.log(old[name] / close), stretch, self._step * push, 1.0))
            for name in PRICE_COLUMNS
        }
        new["high"], new["low"] = new["low"], new["high"]
        volume = self._known(self._panel.volume, starts)[block]
        volume = np.where(volume > 0, volume, self._volume)
        with np.errstate(divide="ignore"):
            ratio = np.log(old["volume"] / volume)
        new["volume"] = volume * np.exp(_turned(ratio, stretch, 0.3 * push, 2.0))
        panel = self._with(after, new)
        return (
            panel if not panel.given_series else replace(panel, given_series=self._series(starts))
        )

    def _series(self, cuts: Rows) -> dict[str, pl.DataFrame]:
        """Return the series beside the bars, other than they are in the blocks after the cuts.

        A value keeps its sign: what is counted is never below zero.
        """
        panel, rows = self._panel, len(self._newest)
        closes = panel.ts + panel.timeframe.duration
        ends = closes.gather(np.minimum(cuts + BLOCK_BARS, rows - 1))
        blocks = pl.DataFrame({"after": closes.gather(cuts), "end": ends})
        return {
            name: table.sort("ts")
            .join_asof(blocks, left_on="ts", right_on="after", allow_exact_matches=False)
            .with_columns(
                pl.when(pl.col("ts") <= pl.col("end"))
                .then(2 * pl.col("value") + 1e-9)
                .otherwise(pl.col("value"))
                .alias("value")
            )
            .select(table.columns)
            .sort("symbol", "ts")
            for name, table in panel.given_series.items()
        }

    def only(self, changed: Panel, cut: int) -> Panel:
        """Return the bars with the block after one cut as in `changed`, and no other."""
        block = np.arange(cut + 1, min(cut + 1 + BLOCK_BARS, len(self._newest)))
        return self._with(block, {name: getattr(changed, name)[block] for name in VALUE_COLUMNS})

    def _with(self, rows: Rows, new: dict[str, Matrix]) -> Panel:
        values = {name: getattr(self._panel, name).copy() for name in VALUE_COLUMNS}
        for name, matrix in values.items():
            matrix[rows] = new[name]
        return replace(self._panel, **values)

    def _known(self, matrix: Matrix, rows: Rows) -> Matrix:
        """Return each symbol's last value up to `rows`; NaN before its first."""
        return np.take_along_axis(matrix, self._newest[rows], axis=0)


def _turned(move: Matrix, stretch: Matrix, step: Matrix, limit: float) -> Matrix:
    """Return log moves with the other sign. It falls where `move` rises, so their order turns."""
    size = np.minimum(np.abs(move) * stretch, limit) + step
    turned: Matrix = np.where(move > 0, -size, size)
    return turned


def _usual_step(close: Matrix) -> float:
    """Return the median log move from bar to bar, 1e-4 at least."""
    return max(1e-4, float(np.median(np.abs(np.diff(np.log(close)))))) if len(close) > 1 else 1e-4
