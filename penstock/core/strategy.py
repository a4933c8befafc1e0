"""What a strategy is: frozen parameters, and a pure function from bars to target weights.

The same function serves search, backtest and live trading.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.core.bars import given_bars
from penstock.core.errors import StrategyError
from penstock.core.named_indicators import Matrix, signal
from penstock.core.panel import Panel
from penstock.core.panel_frames import panel_and_cells
from penstock.core.timeframes import Timeframe
from penstock.core.weights import WEIGHTS_SCHEMA, require_matrix, require_weights

__all__ = ["FrameStrategy", "Matrix", "Panel", "Strategy", "StrategyParams", "signal"]


class StrategyParams(BaseModel):
    """Base of every strategy's parameters.

    A search explores the inclusive bounds of a field: `Field(20, ge=5, le=100)` from 5 to 100. A
    field with an open bound (`gt`, `lt`), or without bounds, keeps its value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Strategy(ABC):
    """Base of every strategy: a panel of bars in, target weights out, decided at each bar's close.

    A subclass sets `name` and `Params`, and writes `warmup_bars` and `target_weights`.
    `target_weights` is a pure function. It sees nothing after the bar at whose close it decides:
    changing later bars must not change an earlier weight.
    `penstock.research.validation.leakage.check_no_lookahead` tests that.

    >>> from datetime import UTC, datetime
    >>> import polars as pl
    >>> from penstock.core.bars import BARS_SCHEMA
    >>> class Half(Strategy):
    ...     name = "half"
    ...     class Params(StrategyParams):
    ...         weight: float = 0.5
    ...     @property
    ...     def warmup_bars(self) -> int:
    ...         return 0
    ...     def target_weights(self, panel: Panel) -> Matrix:
    ...         return np.full(panel.close.shape, self.params.weight)
    >>> row = ("BTC/USDT", datetime(2026, 1, 1, tzinfo=UTC), 1.0, 1.0, 1.0, 1.0, 5.0)
    >>> bars = pl.DataFrame([row], BARS_SCHEMA, orient="row")
    >>> Half().decide(bars, Timeframe.D1)["weight"].to_list()
    [0.5]
    """

    name: ClassVar[str]
    """The name in configs, searches and the model registry."""

    Params: ClassVar[type[StrategyParams]]
    """The class of its parameters. Every parameter has a default."""

    timeframes: ClassVar[Mapping[str, str]] = {}
    """Longer timeframes by name, such as {"trend": "4h"}: `panel.at("trend")`."""

    series: ClassVar[tuple[str, ...]] = ()
    """The series beside the bars that it needs, by name: `panel.series("funding")`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = vars(cls).get("target_weights")
        hints = getattr(own, "__annotations__", {})
        if any(str(hint).endswith(("DataFrame", "DataFrame'>")) for hint in hints.values()):
            raise StrategyError(
                f"{cls.__name__}.target_weights takes a frame of bars: it takes a Panel. A "
                "strategy that works on a long Polars frame derives from FrameStrategy "
                "(penstock.core.strategy) and writes frame_weights"
            )

    def __init__(self, params: StrategyParams | None = None) -> None:
        self.params = params if params is not None else self.Params()

    @classmethod
    def from_params(cls, values: dict[str, Any]) -> "Strategy":
        """Return the strategy with `values` as parameters, by name.

        Raises StrategyError, which names the first value that is not allowed.
        """
        try:
            return cls(cls.Params(**values))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "parameters"
            allowed = list(cls.Params.model_fields)
            raise StrategyError(
                f"{cls.name}: {where} = {first.get('input')!r}: {first['msg']}; "
                f"its parameters are {allowed}"
            ) from None

    @property
    @abstractmethod
    def warmup_bars(self) -> int:
        """The number of bars before a decision that it depends on.

        With this many earlier bars of each symbol, the last bar's weight is exact. Bars of longer
        timeframes are in `further_warmup`.
        """

    @property
    def further_warmup(self) -> Mapping[str, int]:
        """The number of longer bars that a decision depends on, by the name of their timeframe."""
        return {}

    def warmup(self, timeframe: Timeframe) -> int:
        """Return the number of bars of `timeframe` before a decision that it depends on.

        A longer bar takes as many of them as it has, and the one that has begun and the one in
        which the window begins take some more.
        """
        longer = [
            (bars + 2) * Timeframe.parse(self.timeframes[name]).seconds // timeframe.seconds
            for name, bars in self.further_warmup.items()
        ]
        return max(self.warmup_bars, *longer) if longer else self.warmup_bars

    @abstractmethod
    def target_weights(self, panel: Panel) -> Matrix:
        """Return the target weights that are decided at each bar's close.

        The answer is a float64 array of shape (bars, symbols), as the panel's arrays are. A weight
        is a fraction of equity; the rest is cash. NaN means "no decision": the position is kept.
        Where a symbol has no bar, what stands there is not read.
        """

    def weights(self, panel: Panel) -> Matrix:
        """Return `target_weights(panel)`, checked, with NaN where a symbol has no bar.

        Raises StrategyError where a series that it needs was not given with the bars, where the
        weights have another shape, or one is neither NaN nor a number in [-1, 1].
        """
        missing = [name for name in self.series if name not in panel.given_series]
        if missing:
            raise StrategyError(f"{self.name} needs the series {missing}, given with the bars")
        longer = {name: Timeframe.parse(text) for name, text in self.timeframes.items()}
        with np.errstate(divide="ignore", invalid="ignore"):  # of NaN, which is "no decision"
            wanted = self.target_weights(panel.with_timeframes(longer))
        return require_matrix(wanted, panel, self.name)

    def decide(
        self,
        bars: pl.DataFrame,
        timeframe: Timeframe | None = None,
        series: Mapping[str, pl.DataFrame] | None = None,
    ) -> pl.DataFrame:
        """Return the weights of long bars as a long frame, one row per bar (WEIGHTS_SCHEMA).

        `bars` (BARS_SCHEMA) may be in any order; the answer is sorted by symbol and ts. Without a
        timeframe it is inferred from the most common step. `series` are those that the strategy
        needs, by name (penstock.core.auxiliary_series.SERIES_SCHEMA).

        Raises DataError where they are no bars table, or have further columns, and StrategyError
        where the weights break the contract.
        """
        table = given_bars(bars, f"bars given to {self.name}")
        if table.is_empty():
            return pl.DataFrame(schema=WEIGHTS_SCHEMA)
        panel, cells = panel_and_cells(table, timeframe, series)
        decided = self.weights(panel).reshape(-1)[cells]
        weights = pl.Series("weight", decided, dtype=pl.Float64, nan_to_null=True)
        return pl.DataFrame([table["symbol"], table["ts"], weights])


class FrameStrategy(Strategy):
    """Base of a strategy that works on a long Polars frame. It is slower than one of arrays.

    A subclass writes `frame_weights` in place of `target_weights`.

    >>> class Half(FrameStrategy):
    ...     name = "half"
    ...     class Params(StrategyParams):
    ...         weight: float = 0.5
    ...     @property
    ...     def warmup_bars(self) -> int:
    ...         return 0
    ...     def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
    ...         return bars.select("symbol", "ts", weight=pl.lit(self.params.weight))
    """

    @abstractmethod
    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return the target weights that are decided at each bar's close.

        `bars` has BARS_SCHEMA and is sorted by symbol and ts. The answer has the columns symbol, ts
        and weight, and one row per bar (WEIGHTS_SCHEMA). Null means "no decision".
        """

    def target_weights(self, panel: Panel) -> Matrix:
        """Return the weights of `frame_weights` as an array.

        Raises StrategyError where they are not one row per bar, or one is not in [-1, 1].
        """
        given = require_weights(self.frame_weights(panel.bars), panel.bars, self.name)
        out = np.full(panel.close.shape, np.nan)
        out.reshape(-1)[panel.cells] = given["weight"].fill_null(np.nan).to_numpy()
        return out
