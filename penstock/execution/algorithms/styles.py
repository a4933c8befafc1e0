"""The styles in which an order can be worked: `execution` in configs/portfolio.yaml."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.orders import OrderType


class _Style(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MarketStyle(_Style):
    """The whole order as one market order. What is not filled is left to the next slot."""

    algorithm: Literal["market"] = "market"


class _OverTime(_Style):
    """What all styles that take time have in common.

    The price of a limit child is the last price x (1 + side x `offset_bps`), bounded by
    `collar_bps`.
    """

    finish: Literal["market", "leave"] = "leave"
    """What happens to the rest when the time is over. "market" sends it once as a market order;
    "leave" leaves it to the next slot."""
    offset_bps: Decimal = Field(default=Decimal(0), ge=-500, le=500)
    """How far a limit price goes beyond the last price; below zero it stays short of it."""
    collar_bps: Decimal = Field(default=Decimal(100), ge=0, le=1000)
    """How much worse than the planned price a limit price may be."""


class Limit(_OverTime):
    """The whole order as a limit order, which is cancelled and priced again at intervals."""

    algorithm: Literal["limit"] = "limit"
    reprice_seconds: float = Field(default=15, gt=0)
    """The time between two prices."""
    max_children: int = Field(default=8, ge=1, le=200)
    """How many limit orders are sent at most."""

    @property
    def duration(self) -> timedelta:
        """How long the order is worked at most."""
        return timedelta(seconds=self.reprice_seconds * self.max_children)


class _Sliced(_OverTime):
    """Slices at equal intervals. The rest of a limit child joins the next slice."""

    duration_seconds: float = Field(default=300, gt=0)
    """How long the order is worked at most."""
    slices: int = Field(default=10, ge=1, le=500)
    """The number of intervals."""
    child_type: OrderType = OrderType.MARKET
    """Whether slices are market or limit orders."""

    @property
    def duration(self) -> timedelta:
        """How long the order is worked at most."""
        return timedelta(seconds=self.duration_seconds)

    @property
    def interval(self) -> timedelta:
        """The time between two slices."""
        return self.duration / self.slices


class Twap(_Sliced):
    """The same quantity in every interval (time-weighted average price)."""

    algorithm: Literal["twap"] = "twap"


class Vwap(_Sliced):
    """A quantity per interval in proportion to the volume at that time of day.

    The volume comes from stored bars. A symbol without volume is worked like TWAP.
    """

    algorithm: Literal["vwap"] = "vwap"
    profile_days: int = Field(default=20, ge=1, le=365)
    """How many days of bars are averaged."""


class Iceberg(_OverTime):
    """One piece of the order in the order book at a time. The next is sent when it has ended."""

    algorithm: Literal["iceberg"] = "iceberg"
    display_fraction: Decimal = Field(default=Decimal("0.1"), gt=0, le=1)
    """The size of a piece as a fraction of the order."""
    piece_seconds: float = Field(default=15, gt=0)
    """The time after which a piece is cancelled and sent again at a new price."""
    duration_seconds: float = Field(default=300, gt=0)
    """How long the order is worked at most."""
    max_children: int = Field(default=100, ge=1, le=500)
    """How many pieces are sent at most."""

    @property
    def duration(self) -> timedelta:
        """How long the order is worked at most."""
        return timedelta(seconds=self.duration_seconds)


Style = Annotated[MarketStyle | Limit | Twap | Vwap | Iceberg, Field(discriminator="algorithm")]
