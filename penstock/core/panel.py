"""The bars of a universe as arrays: what a strategy decides from.

Row i of every array opens at `ts[i]`, column k is `symbols[k]`. A strategy sees the row of a bar at
its close. The arrays are read-only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.bars import BARS_SCHEMA, VALUE_COLUMNS, given_bars, infer_timeframe
from penstock.core.errors import DataError, StrategyError
from penstock.core.indicator_cache import IndicatorCache, call_key
from penstock.core.late_bars import LATE_BARS
from penstock.core.named_indicators import Field, Matrix, NamedIndicators, Of
from penstock.core.own_rows import OwnRows, own_rows
from penstock.core.timeframes import Timeframe

#: How much of the indicators of one panel is kept.
CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False, repr=False)
class Panel(NamedIndicators):
    """The bars of some symbols over some time, and cached indicators of them.

    The arrays are float64 of shape (bars, symbols), NaN where a symbol has no bar.

    >>> from datetime import UTC, datetime, timedelta
    >>> start = datetime(2026, 1, 1, tzinfo=UTC)
    >>> rows = [
    ...     (symbol, start + timedelta(days=n), close, close, close, close, 1.0)
    ...     for symbol, closes in {"A": [1.0, 2.0, 3.0], "B": [5.0, 5.0, 5.0]}.items()
    ...     for n, close in enumerate(closes)
    ... ]
    >>> panel = panel_of(pl.DataFrame(rows, BARS_SCHEMA, orient="row"))
    >>> panel.symbols, panel.close.shape
    (('A', 'B'), (3, 2))
    >>> panel.sma(2).tolist()
    [[nan, nan], [1.5, 5.0], [2.5, 5.0]]
    """

    timeframe: Timeframe
    """The bar length."""
    ts: pl.Series
    """The open times at which any symbol has a bar (Datetime, ms, UTC), sorted."""
    symbols: tuple[str, ...]
    """The symbols, sorted."""
    open: Matrix
    """The open prices, in quote units."""
    high: Matrix
    """The highest prices, in quote units."""
    low: Matrix
    """The lowest prices, in quote units."""
    close: Matrix
    """The close prices, in quote units. A bar without one counts as none."""
    volume: Matrix
    """The volumes, in base units."""
    cache_bytes: int = field(default=CACHE_BYTES, kw_only=True)
    """How much of the indicators is kept. The oldest use goes first."""
    _cache: IndicatorCache = field(init=False)

    def __post_init__(self) -> None:
        shape = (len(self.ts), len(self.symbols))
        for name in VALUE_COLUMNS:
            given = getattr(self, name)
            if given.shape != shape:
                raise DataError(f"{name} of a panel has shape {given.shape}, its bars {shape}")
            view = np.ascontiguousarray(given, dtype=np.float64).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)
        object.__setattr__(self, "_cache", IndicatorCache(self.cache_bytes))

    def __repr__(self) -> str:
        return f"Panel({len(self.ts)} {self.timeframe} bars of {len(self.symbols)} symbols)"

    if not TYPE_CHECKING:  # it would make every name an attribute

        def __getattr__(self, name: str) -> object:
            if hasattr(pl.DataFrame, name):
                raise AttributeError(
                    f"a panel has no '{name}': it has arrays of shape (bars, symbols), such as "
                    "panel.close. A strategy that works on a long Polars frame derives from "
                    "FrameStrategy (penstock.core.strategy)"
                )
            raise AttributeError(f"a panel has no '{name}'")

    @cached_property
    def present(self) -> npt.NDArray[np.bool_]:
        """Where a symbol has a bar, of shape (bars, symbols)."""
        mask: npt.NDArray[np.bool_] = ~np.isnan(self.close)
        mask.setflags(write=False)
        return mask

    @cached_property
    def rows(self) -> OwnRows:
        """Where the bars of each symbol are."""
        return own_rows(self.present)

    @cached_property
    def cells(self) -> npt.NDArray[np.int64]:
        """The place of each row of `bars` in a flattened array."""
        columns, rows = np.nonzero(self.present.T)
        return (rows * len(self.symbols) + columns).astype(np.int64)

    @cached_property
    def bars(self) -> pl.DataFrame:
        """The bars as a long frame (BARS_SCHEMA), sorted by symbol and ts."""
        columns, rows = np.nonzero(self.present.T)
        values = {
            name: pl.Series(getattr(self, name).reshape(-1)[self.cells]).fill_nan(None)
            for name in VALUE_COLUMNS
        }
        names = pl.Series("symbol", self.symbols, dtype=pl.String)
        return pl.DataFrame(
            {"symbol": names.gather(columns), "ts": self.ts.gather(rows), **values},
            schema=BARS_SCHEMA,
        )

    def indicator(
        self, function: Callable[..., Any], *arguments: Any, of: Of | tuple[Of, ...] = "close"
    ) -> Matrix:
        """Return any function of a symbol's bars, as an array of shape (bars, symbols).

        Parameters
        ----------
        function
            It takes one float64 array for each field of `of`: the values of one symbol's own bars,
            oldest first, without NaN in between. Then it takes `arguments`. It returns as many
            numbers: an array, or a Series of Polars or pandas.
        arguments
            What it takes besides.
        of
            A field of the bars, an array of shape (bars, symbols), or several.

        The result is kept, and computed once, where `function` is a plain function with a name and
        the arguments are constants. A lambda is computed at each call.

        Raises StrategyError where the function returns another number of values.

        >>> from penstock.core.bars import empty_bars
        >>> def doubled(close, times):
        ...     return close * times
        >>> panel_of(empty_bars(), Timeframe.D1).indicator(doubled, 2).shape
        (0, 0)
        """
        (found,) = self.indicators(function, *arguments, of=of, outputs=1)
        return found

    def indicators(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        outputs: int,
        of: Of | tuple[Of, ...] = "close",
    ) -> tuple[Matrix, ...]:
        """Return a function of a symbol's bars that returns several arrays, as `indicator` does.

        `outputs` is their number.
        """
        given = of if isinstance(of, tuple) else (of,)
        keys = tuple(self._key(each) for each in given)
        call = call_key(function, *arguments)
        key = None if call is None or None in keys else ("indicator", call, keys, outputs)

        def compute() -> tuple[Matrix, ...]:
            packed = [self._packed(each) for each in given]
            made = [np.full(self.close.shape, np.nan) for _ in range(outputs)]
            for column, count in enumerate(self.present.sum(axis=0).tolist()):
                if not count:
                    continue
                values = [np.ascontiguousarray(each[:count, column]) for each in packed]
                answer = function(*(value.copy() for value in values), *arguments)
                parts = _series_of(answer, outputs, count, function)
                for out, part in zip(made, parts, strict=True):
                    out[:count, column] = part
            return tuple(self._spread(each) for each in made)

        return self._cache.get(key, compute)

    def counted(self, scores: Matrix) -> Matrix:
        """Return the scores, and where a symbol's bar is late its last score.

        A bar is late for LATE_BARS bars after the last one. A late bar is not a vanished coin: the
        equity that it stands for is not shared out among the others.
        """
        late, last = self._late
        if not late.size:
            return scores
        out = scores.copy()
        out.reshape(-1)[late] = scores.reshape(-1)[last]
        return out

    def decided(self, weights: Matrix) -> Matrix:
        """Return the weights with NaN where a symbol has no bar."""
        return weights if self.rows.complete else np.where(self.present, weights, np.nan)

    def part(self, first: int, stop: int | None = None) -> "Panel":
        """Return the panel of the rows [first, stop), of the same symbols, with a new cache."""
        values = [getattr(self, name)[first:stop] for name in VALUE_COLUMNS]
        return Panel(self.timeframe, self.ts[first:stop], self.symbols, *values)

    def without(self, cells: npt.NDArray[np.bool_]) -> "Panel":
        """Return the panel without the bars of a mask of shape (bars, symbols)."""
        values = [np.where(cells, np.nan, getattr(self, name)) for name in VALUE_COLUMNS]
        return Panel(self.timeframe, self.ts, self.symbols, *values)

    @cached_property
    def _late(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The cells where a bar is late, and the cells of the symbols' last bars."""
        nothing = np.empty(0, dtype=np.int64)
        if self.rows.complete:
            return nothing, nothing
        rows, columns = self.close.shape
        places = np.arange(rows)[:, None]
        last = np.maximum.accumulate(np.where(self.present, places, -1), axis=0)
        times = self.ts.to_physical().to_numpy()
        bar = self.timeframe.seconds * 1000
        behind = times[:, None] - times[last]
        is_late = ~self.present & (last >= 0) & (behind <= LATE_BARS * bar) & (behind % bar == 0)
        late = np.flatnonzero(is_late)
        return late, last.reshape(-1)[late] * columns + late % columns

    def _over(self, function: Callable[..., Matrix], *arguments: float, of: Of) -> Matrix:
        source = self._key(of)
        key = None if source is None else (function, arguments, source)
        (found,) = self._cache.get(
            key, lambda: (self._spread(function(self._packed(of), *arguments)),)
        )
        return found

    def _key(self, of: Of) -> Any:
        if isinstance(of, str):
            self._field(of)
            return of
        for name in VALUE_COLUMNS:
            if getattr(self, name) is of:
                return name
        return self._cache.key_of(of)

    def _field(self, name: Field) -> Matrix:
        if name not in VALUE_COLUMNS:
            raise StrategyError(f"a panel has no field '{name}': it has {', '.join(VALUE_COLUMNS)}")
        values: Matrix = getattr(self, name)
        return values

    def _packed(self, of: Of) -> Matrix:
        values = self._field(of) if isinstance(of, str) else np.asarray(of, dtype=np.float64)
        if values.shape != self.close.shape:
            raise StrategyError(
                f"an indicator of an array of shape {values.shape}: the panel's bars have "
                f"{self.close.shape}"
            )
        if self.rows.complete:
            return values
        source = self._key(of)
        key = None if source is None else ("own rows", source)
        (packed,) = self._cache.get(key, lambda: (self.rows.packed(values),))
        return packed

    def _spread(self, packed: Matrix) -> Matrix:
        return packed if self.rows.complete else self.rows.spread(packed)


def _series_of(answer: Any, outputs: int, count: int, function: Callable[..., Any]) -> list[Matrix]:
    """Return what a function gave for one symbol as arrays of `count` numbers."""
    parts = answer if isinstance(answer, tuple) else (answer,)
    name = getattr(function, "__name__", type(function).__name__)
    if len(parts) != outputs:
        raise StrategyError(
            f"the indicator {name} returns {len(parts)} arrays and not {outputs}: "
            f"call panel.indicators(..., outputs={len(parts)})"
        )
    made = []
    for part in parts:
        values = part.to_numpy() if isinstance(part, pl.Series) else np.asarray(part)
        if values.shape != (count,):
            raise StrategyError(
                f"the indicator {name} returns shape {values.shape} for a symbol of {count} bars: "
                f"it must return one number for each"
            )
        made.append(values.astype(np.float64))
    return made


def panel_of(bars: pl.DataFrame, timeframe: Timeframe | None = None) -> Panel:
    """Return bars (BARS_SCHEMA, in any order) as a panel. Without a timeframe it is inferred.

    Raises DataError where they are no bars table, where a symbol has two bars of one time, and
    where the timeframe cannot be inferred.
    """
    table = given_bars(bars, "bars of a panel")
    ts = table["ts"].unique().sort()
    symbols = tuple(table["symbol"].unique().sort().to_list())
    cells = cells_of(table, ts, symbols)
    if (np.diff(cells) == 0).any():
        raise DataError("a symbol has two bars with the same open time: check the data")
    values = []
    for name in VALUE_COLUMNS:
        matrix = np.full((len(ts), len(symbols)), np.nan)
        matrix.reshape(-1)[cells] = table[name].fill_null(np.nan).to_numpy()
        values.append(matrix)
    return Panel(timeframe or infer_timeframe(ts), ts, symbols, *values)


def cells_of(bars: pl.DataFrame, ts: pl.Series, symbols: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the place of each row of `bars` in a flattened array of shape (ts, symbols)."""
    rows = ts.search_sorted(bars["ts"]).to_numpy().astype(np.int64)
    columns = pl.Series(symbols, dtype=pl.String).search_sorted(bars["symbol"]).to_numpy()
    cells: npt.NDArray[np.int64] = rows * len(symbols) + columns.astype(np.int64)
    return cells
