"""What a strategy is: frozen parameters whose bounds are the search space, and a pure function from
bars to weights.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.core.errors import StrategyError
from penstock.core.weights import require_weights


class StrategyParams(BaseModel):
    """Base of every strategy's parameters. A field's bounds (`Field(20, ge=5, le=100)`) are what a
    search explores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Strategy(ABC):
    """Bars in, target weights out, decided at each bar's close.

    `target_weights` must be a pure function that sees nothing after the bar it decides at: changing
    later bars must not change an earlier weight. `penstock.research.validation.leakage` tests that
    for every strategy.
    """

    name: ClassVar[str]
    Params: ClassVar[type[StrategyParams]]

    def __init__(self, params: StrategyParams | None = None) -> None:
        self.params = params if params is not None else self.Params()

    @classmethod
    def from_params(cls, values: dict[str, Any]) -> "Strategy":
        """Return the strategy with `values` as parameters; raise StrategyError naming the first bad
        one.
        """
        try:
            return cls(cls.Params(**values))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "parameters"
            allowed = list(cls.Params.model_fields)
            raise StrategyError(
                f"{cls.name}: {where} = {first.get('input')!r}: {first['msg']}; its parameters are {allowed}"
            ) from None

    @property
    @abstractmethod
    def warmup_bars(self) -> int:
        """Bars before a decision that the decision depends on: with this many earlier bars the last
        row is exact.
        """

    @abstractmethod
    def target_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return columns symbol, ts, weight: one row for each bar, null where there is no decision.

        `bars` has BARS_SCHEMA, sorted by symbol and ts. Weights are fractions of equity; what is
        left is cash.
        """

    def decide(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return `target_weights(bars)` checked against the contract (see require_weights)."""
        return require_weights(self.target_weights(bars), bars, self.name)
