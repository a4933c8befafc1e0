"""The bars of a universe as arrays: what a strategy decides from.

Row i of every array opens at `ts[i]`, column k is `symbols[k]`. A strategy sees the row of a bar at
its close. The arrays are read-only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.core.across_symbols import AcrossSymbols
from penstock.core.auxiliary_series import aligned
from penstock.core.bars import BARS_SCHEMA, VALUE_COLUMNS
from penstock.core.errors import DataError, StrategyError
from penstock.core.further_timeframes import FurtherPanel, resampled
from penstock.core.indicator_cache import IndicatorCache, call_key
from penstock.core.late_bars import LATE_BARS
from penstock.core.named_indicators import Indicators, Matrix, Of
from penstock.core.own_rows import OwnRows, own_rows
from penstock.core.timeframes import Timeframe

#: How much of the indicators of one panel is kept.
CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False, repr=False)
class Panel(Indicators, AcrossSymbols):
    """The bars of some symbols over some time, and cached indicators of them.

    The arrays are float64 of shape (bars, symbols), NaN where a symbol has no bar.

    >>> from penstock.core.panel_frames import panel_of_closes
    >>> panel = panel_of_closes({"A": [1.0, 2.0, 3.0], "B": [5.0, 5.0, 5.0]})
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
    given_series: Mapping[str, pl.DataFrame] = field(default_factory=dict, kw_only=True)
    """The series beside the bars, by name (SERIES_SCHEMA): `series` aligns them."""
    timeframes: Mapping[str, Timeframe] = field(default_factory=dict, kw_only=True)
    """The longer timeframes that `at` knows, by the name that a strategy gave them."""
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

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process go the bars, not what was computed from them.
        values = [getattr(self, name) for name in VALUE_COLUMNS]
        given = (self.cache_bytes, dict(self.given_series), dict(self.timeframes))
        return _unpickled, (self.timeframe, self.ts, self.symbols, values, *given)

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

        >>> from penstock.core.panel_frames import panel_of_closes
        >>> def scaled(close, times):
        ...     return close * times
        >>> panel_of_closes({"A": [1.0, 2.0]}).indicator(scaled, 3).ravel().tolist()
        [3.0, 6.0]
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
        call, source = call_key(function, *arguments), self.source_of(of)
        key = None if call is None or source is None else ("indicator", call, source, outputs)

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

    def symbol(self, name: str, *, of: Of = "close") -> Matrix:
        """Return one symbol's values in every column, such as those of a benchmark.

        NaN where that symbol has no bar. Raises StrategyError where the panel has no such symbol.
        """
        if name not in self.symbols:
            raise StrategyError(f"the panel has no symbol '{name}': it has {list(self.symbols)}")
        column = self.symbols.index(name)

        def compute() -> Matrix:
            own = self._array(of)[:, column : column + 1]
            return np.repeat(own, len(self.symbols), axis=1)

        return self.kept(("symbol", name), self.source_of(of), compute)

    def series(self, name: str) -> Matrix:
        """Return a series beside the bars: its newest value that is known at each bar's close.

        A value counts until the next one, however old it is; NaN before the first. Raises
        StrategyError where no such series was given.
        """
        if name not in self.given_series:
            raise StrategyError(
                f"no series '{name}' was given with the bars: there is {list(self.given_series)}"
            )
        closes = self.ts.to_physical().to_numpy() + self.timeframe.seconds * 1000

        def compute() -> Matrix:
            return aligned(self.given_series[name], closes, self.symbols)

        return self.kept(("series", name), "series", compute)

    def at(self, name: str) -> FurtherPanel:
        """Return the longer timeframe that the strategy declared as `name`, as these rows see it.

        Raises StrategyError where it declared none of that name.
        """
        if name not in self.timeframes:
            raise StrategyError(
                f"no timeframe '{name}' is declared: timeframes = {{'{name}': '4h'}} in the "
                "strategy's class does it"
            )
        timeframe = self.timeframes[name]
        if timeframe not in self._further:
            self._further[timeframe] = FurtherPanel(self, resampled(self, timeframe))
        return self._further[timeframe]

    def with_timeframes(self, timeframes: Mapping[str, Timeframe]) -> "Panel":
        """Return the panel with longer timeframes by name. Both share what they have computed."""
        if dict(timeframes) == dict(self.timeframes):
            return self
        _ = self.present, self.rows, self._late, self._further  # shared by both
        other = object.__new__(Panel)
        other.__dict__.update(self.__dict__, timeframes=dict(timeframes))
        return other

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
        return self._changed(self.ts[first:stop], values)

    def without(self, cells: npt.NDArray[np.bool_]) -> "Panel":
        """Return the panel without the bars of a mask of shape (bars, symbols)."""
        values = [np.where(cells, np.nan, getattr(self, name)) for name in VALUE_COLUMNS]
        return self._changed(self.ts, values)

    def _changed(self, ts: pl.Series, values: list[Matrix]) -> "Panel":
        return Panel(
            self.timeframe,
            ts,
            self.symbols,
            *values,
            cache_bytes=self.cache_bytes,
            given_series=self.given_series,
            timeframes=self.timeframes,
        )

    @cached_property
    def _further(self) -> dict[Timeframe, FurtherPanel]:
        return {}

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

    def kept(self, call: Any, source: Any, compute: Callable[[], Matrix]) -> Matrix:
        """Return what `compute` gives, kept under both keys where neither is None."""
        key = None if call is None or source is None else (call, source)
        (found,) = self._cache.get(key, lambda: (compute(),))
        return found

    def source_of(self, of: Of | tuple[Of, ...]) -> Any:
        """Return a key of what an indicator is taken of; None for an array of the caller's own."""
        if isinstance(of, tuple):
            keys = tuple(self.source_of(each) for each in of)
            return None if None in keys else keys
        if isinstance(of, str):
            return of
        for name in VALUE_COLUMNS:
            if getattr(self, name) is of:
                return name
        return self._cache.key_of(of)

    def _over(
        self, function: Callable[..., Matrix], *arguments: float, of: Of | tuple[Of, ...]
    ) -> Matrix:
        given = of if isinstance(of, tuple) else (of,)
        return self.kept(
            (function, arguments),
            self.source_of(of),
            lambda: self._spread(function(*(self._packed(each) for each in given), *arguments)),
        )

    def _array(self, of: Of) -> Matrix:
        """Return a field, or an array of the panel's shape; raise StrategyError otherwise."""
        if isinstance(of, str):
            if of not in VALUE_COLUMNS:
                raise StrategyError(
                    f"a panel has no field '{of}': it has {', '.join(VALUE_COLUMNS)}"
                )
            values: Matrix = getattr(self, of)
            return values
        values = np.asarray(of, dtype=np.float64)
        if values.shape != self.close.shape:
            raise StrategyError(
                f"an indicator of an array of shape {values.shape}: the panel's bars have "
                f"{self.close.shape}"
            )
        return values

    def _packed(self, of: Of) -> Matrix:
        values = self._array(of)
        if self.rows.complete:
            return values
        return self.kept("own rows", self.source_of(of), lambda: self.rows.packed(values))

    def _spread(self, packed: Matrix) -> Matrix:
        return packed if self.rows.complete else self.rows.spread(packed)


def _unpickled(
    timeframe: Timeframe,
    ts: pl.Series,
    symbols: tuple[str, ...],
    values: list[Matrix],
    cache_bytes: int,
    given_series: dict[str, pl.DataFrame],
    timeframes: dict[str, Timeframe],
) -> Panel:
    return Panel(
        timeframe,
        ts,
        symbols,
        *values,
        cache_bytes=cache_bytes,
        given_series=given_series,
        timeframes=timeframes,
    )


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
