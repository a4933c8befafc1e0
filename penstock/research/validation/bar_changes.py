"""Bars as matrices, and what the leak proof does to them: cut, shortened, moved in time, changed.

Every function returns new bars. What is decided on them is compared in
penstock.research.validation.leakage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.bars import BARS_SCHEMA, PRICE_COLUMNS, VALUE_COLUMNS, wide_matrix
from penstock.core.late_bars import LATE_BARS

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


@dataclass(frozen=True)
class BarArrays:
    """The bars of a universe: row i of a matrix opens at `ts[i]`, column k is `symbols[k]`."""

    ts: pl.Series
    """The open times at which any symbol has a bar, sorted."""
    symbols: tuple[str, ...]
    """The symbols, sorted."""
    values: dict[str, Matrix]
    """One matrix for each of VALUE_COLUMNS, of shape (bars, symbols); NaN where there is no bar."""
    keys: pl.DataFrame
    """The symbol and ts of each bar, sorted."""
    cells: Rows
    """The place of each row of `keys` in a flattened matrix."""

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Where there is a bar."""
        found: npt.NDArray[np.bool_] = ~np.isnan(self.values["close"])
        return found

    def frame(self) -> pl.DataFrame:
        """Return the bars as a long table (BARS_SCHEMA), sorted by symbol and ts."""
        columns = {name: self.values[name].reshape(-1)[self.cells] for name in VALUE_COLUMNS}
        return self.keys.with_columns(**{k: pl.Series(k, v) for k, v in columns.items()})


def arrays_of(bars: pl.DataFrame) -> BarArrays:
    """Return long bars (BARS_SCHEMA) as matrices."""
    symbols = bars["symbol"].unique().sort().to_list()
    values = {name: wide_matrix(bars, name, symbols) for name in VALUE_COLUMNS}
    return _arrays(bars["ts"].unique().sort(), tuple(symbols), values)


def until(bars: BarArrays, last: int, first: int = 0) -> BarArrays:
    """Return the bars of the rows `first` to `last`."""
    values = {name: matrix[first : last + 1] for name, matrix in bars.values.items()}
    return _arrays(bars.ts[first : last + 1], bars.symbols, values)


def from_window(bars: BarArrays, row: int, earlier: int) -> BarArrays:
    """Return the bars without those that a window before `row` leaves out.

    Of each symbol the last `earlier + 1` bars up to `row` stay, and all after it. The rows keep
    their places: those before have no bar.
    """
    present = bars.present
    counted = np.cumsum(present[row::-1], axis=0)[::-1]  # own bars from here up to `row`
    gone = np.zeros_like(present)
    gone[: row + 1] = counted > earlier + 1
    values = {name: np.where(gone, np.nan, matrix) for name, matrix in bars.values.items()}
    return _arrays(bars.ts, bars.symbols, values)


def elsewhere(bars: BarArrays, ahead: timedelta | None, renamed: bool) -> BarArrays:
    """Return the same prices at other dates and under other names, which sort alike."""
    ts = bars.ts if ahead is None else bars.ts + ahead
    symbols = bars.symbols
    if renamed:
        symbols = tuple(other_name(place, name) for place, name in enumerate(bars.symbols))
    return _arrays(ts, symbols, bars.values)


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


def comb(bars: BarArrays, earlier: int) -> list[list[int]]:
    """Return the cuts of each evaluation, so that every row but the last is a cut of one.

    After each cut a block of BLOCK_BARS rows is changed. A cut is far enough behind the block
    before it: the last `earlier + 1` bars of every symbol are as they were. A symbol without a bar
    for LATE_BARS rows counts no more. On bars without gaps these are `earlier + 1 + BLOCK_BARS`
    evaluations.
    """
    begins = _window_begins(bars.present, earlier)
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

    def __init__(self, bars: BarArrays) -> None:
        self._bars = bars
        present = bars.present
        #: The row of each symbol's last bar up to a row; the first row where there is none.
        self._newest = np.maximum.accumulate(
            np.where(present, np.arange(len(present))[:, None], 0), axis=0
        )
        closes, volumes = bars.values["close"], bars.values["volume"]
        own = [closes[present[:, column], column] for column in range(present.shape[1])]
        self._step = np.array([_usual_step(each) for each in own])
        traded = [volumes[volumes[:, column] > 0, column] for column in range(present.shape[1])]
        self._volume = np.array([float(np.median(each)) if len(each) else 1.0 for each in traded])

    def after(self, cuts: Sequence[int], random: np.random.Generator) -> BarArrays:
        """Return the bars with the BLOCK_BARS rows after each cut changed."""
        rows, columns = self._newest.shape
        starts = np.asarray(cuts, dtype=np.int64)
        blocks = starts[:, None] + np.arange(1, BLOCK_BARS + 1)
        after = blocks[blocks < rows]
        block = np.nonzero(blocks < rows)[0]
        stretch = random.uniform(1.0, 2.0, (len(starts), columns))[block]
        push = random.uniform(0.5, 1.5, (len(after), columns))
        old = {name: self._bars.values[name][after] for name in VALUE_COLUMNS}
        close = self._known(self._bars.values["close"], starts)[block]
        close = np.where(np.isnan(close), old["open"], close)
        new = {
            name: close
            * np.exp(_turned(np.log(old[name] / close), stretch, self._step * push, 1.0))
            for name in PRICE_COLUMNS
        }
        new["high"], new["low"] = new["low"], new["high"]
        volume = self._known(self._bars.values["volume"], starts)[block]
        volume = np.where(volume > 0, volume, self._volume)
        with np.errstate(divide="ignore"):
            ratio = np.log(old["volume"] / volume)
        new["volume"] = volume * np.exp(_turned(ratio, stretch, 0.3 * push, 2.0))
        values = {name: matrix.copy() for name, matrix in self._bars.values.items()}
        for name, matrix in new.items():
            values[name][after] = matrix
        return replace(self._bars, values=values)

    def only(self, changed: BarArrays, cut: int) -> BarArrays:
        """Return the bars with the block after one cut as in `changed`, and no other."""
        block = slice(cut + 1, cut + 1 + BLOCK_BARS)
        values = {name: matrix.copy() for name, matrix in self._bars.values.items()}
        for name, matrix in values.items():
            matrix[block] = changed.values[name][block]
        return replace(self._bars, values=values)

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


def _arrays(ts: pl.Series, symbols: tuple[str, ...], values: dict[str, Matrix]) -> BarArrays:
    present = ~np.isnan(values["close"])
    columns, rows = np.nonzero(present.T)
    keys = pl.DataFrame(
        {"symbol": pl.Series(symbols, dtype=pl.String).gather(columns), "ts": ts.gather(rows)},
        schema={name: BARS_SCHEMA[name] for name in ("symbol", "ts")},
    )
    return BarArrays(ts, symbols, values, keys, rows * len(symbols) + columns)
