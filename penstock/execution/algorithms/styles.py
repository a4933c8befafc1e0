"""The styles in which an order can be worked, as `execution` of configs/portfolio.yaml names them.
The default is market.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.orders import OrderType


class _Style(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MarketStyle(_Style):
    """The whole order at once, at what the book offers. What the venue does not fill waits for the
    next slot.
    """

    algorithm: Literal["market"] = "market"


class _OverTime(_Style):
    """What all styles that take time share.

    `finish` says what becomes of a rest when the time is over: "market" sends it once as a market
    order, "leave" leaves it to the next slot. A limit child is priced at the last price x (1 + side
    x `offset_bps`) and never worse than the price that the order was planned at by more than
    `collar_bps`.
    """

    finish: Literal["market", "leave"] = "leave"
    offset_bps: Decimal = Field(default=Decimal(0), ge=-500, le=500)
    collar_bps: Decimal = Field(default=Decimal(100), ge=0, le=1000)


class Limit(_OverTime):
    """The whole rest in the book, cancelled and priced anew every `reprice_seconds`, at most
    `max_children` times.
    """

    algorithm: Literal["limit"] = "limit"
    reprice_seconds: float = Field(default=15, gt=0)
    max_children: int = Field(default=8, ge=1, le=200)

    @property
    def duration(self) -> timedelta:
        return timedelta(seconds=self.reprice_seconds * self.max_children)


class _Sliced(_OverTime):
    """Slices sent on a grid of equal intervals. A limit child works until the next slice is due,
    then its rest joins that.
    """

    duration_seconds: float = Field(default=300, gt=0)
    slices: int = Field(default=10, ge=1, le=500)
    child_type: OrderType = OrderType.MARKET

    @property
    def duration(self) -> timedelta:
        return timedelta(seconds=self.duration_seconds)

    @property
    def interval(self) -> timedelta:
        return self.duration / self.slices


class Twap(_Sliced):
    """The same quantity in every interval: the time-weighted average price."""

    algorithm: Literal["twap"] = "twap"


class Vwap(_Sliced):
    """In every interval the part of the day's volume that the stored bars show for its time of day.

    `profile_days` of bars are averaged. A symbol without volume is worked like TWAP.
    """

    algorithm: Literal["vwap"] = "vwap"
    profile_days: int = Field(default=20, ge=1, le=365)


class Iceberg(_OverTime):
    """One piece of `display_fraction` of the order in the book at a time; the next is shown when it
    has gone.

    A piece that is not filled in `piece_seconds` is cancelled and shown again at a new price.
    """

    algorithm: Literal["iceberg"] = "iceberg"
    display_fraction: Decimal = Field(default=Decimal("0.1"), gt=0, le=1)
    piece_seconds: float = Field(default=15, gt=0)
    duration_seconds: float = Field(default=300, gt=0)
    max_children: int = Field(default=100, ge=1, le=500)

    @property
    def duration(self) -> timedelta:
        return timedelta(seconds=self.duration_seconds)


Style = Annotated[MarketStyle | Limit | Twap | Vwap | Iceberg, Field(discriminator="algorithm")]
