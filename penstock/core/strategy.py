"""What a strategy is: frozen parameters, and a pure function from bars to target weights."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.core.bars import given_bars
from penstock.core.errors import StrategyError
from penstock.core.weights import require_weights


class StrategyParams(BaseModel):
    """Base of every strategy's parameters.

    A search explores the inclusive bounds of a field: `Field(20, ge=5, le=100)` from 5 to 100. A
    field with an open bound (`gt`, `lt`), or without bounds, keeps its value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Strategy(ABC):
    """Base of every strategy: bars in, target weights out, decided at each bar's close.

    A subclass sets `name` and `Params`, and writes `warmup_bars` and `target_weights`.
    `target_weights` is a pure function. It sees nothing after the bar at whose close it decides:
    changing later bars must not change an earlier weight.
    `penstock.research.validation.leakage.leak_proof` tests that.

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
    ...     def target_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
    ...         return bars.select("symbol", "ts", weight=pl.lit(self.params.weight))
    >>> row = ("BTC/USDT", datetime(2026, 1, 1, tzinfo=UTC), 1.0, 1.0, 1.0, 1.0, 5.0)
    >>> Half().decide(pl.DataFrame([row], BARS_SCHEMA, orient="row"))["weight"].to_list()
    [0.5]
    """

    name: ClassVar[str]
    """The name in configs, searches and the model registry."""

    Params: ClassVar[type[StrategyParams]]
    """The class of its parameters. Every parameter has a default."""

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

        With this many earlier bars of each symbol, the last bar's weight is exact.
        """

    @abstractmethod
    def target_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return the target weights that are decided at each bar's close.

        `bars` has BARS_SCHEMA and is sorted by symbol and ts. The answer has the columns symbol, ts
        and weight, and one row per bar (WEIGHTS_SCHEMA). A weight is a fraction of equity; the rest
        is cash. Null means "no decision": the position is kept.
        """

    def decide(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return `target_weights(bars)`, checked by require_weights, sorted by symbol and ts.

        `bars` may be in any order. Raises DataError where they are no bars table, or have further
        columns, and StrategyError where the weights break the contract.
        """
        table = given_bars(bars, f"bars given to {self.name}")
        return require_weights(self.target_weights(table), table, self.name)
