"""What a venue allows of a single order, beyond its steps and minimums."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal

from penstock.core.orders import Side


@dataclass(frozen=True)
class PriceBand:
    """Within which a limit price must be, as multiples of the market's price."""

    lowest_buy: Decimal
    """The lowest price of a buy."""
    highest_buy: Decimal
    """The highest price of a buy."""
    lowest_sell: Decimal
    """The lowest price of a sell."""
    highest_sell: Decimal
    """The highest price of a sell."""

    def of(self, side: Side) -> tuple[Decimal, Decimal]:
        """Return the lowest and the highest multiple for a side."""
        if side is Side.BUY:
            return self.lowest_buy, self.highest_buy
        return self.lowest_sell, self.highest_sell


@dataclass(frozen=True)
class OrderLimits:
    """The most that one order may be. None is no bound."""

    market_quantity: Decimal | None = None
    """The largest quantity of a market order."""
    market_notional: Decimal | None = None
    """The largest notional of a market order (quote units)."""
    limit_notional: Decimal | None = None
    """The largest notional of a limit order (quote units)."""
    position: Decimal | None = None
    """The most that may be held after a buy (base units)."""
    price_band: PriceBand | None = None
    """Within which the price of a limit order must be. The venue may count from an average."""


NO_LIMITS = OrderLimits()


def common_limits(limits: Sequence[OrderLimits]) -> OrderLimits:
    """Return the limits that every venue of several keeps.

    What may be held is the sum, because each venue counts what it holds itself.
    """
    positions = [each.position for each in limits]
    known = [position for position in positions if position is not None]
    return OrderLimits(
        market_quantity=_least([each.market_quantity for each in limits]),
        market_notional=_least([each.market_notional for each in limits]),
        limit_notional=_least([each.limit_notional for each in limits]),
        position=sum(known, Decimal(0)) if len(known) == len(positions) else None,
        price_band=_common_band([each.price_band for each in limits]),
    )


def _least(bounds: Sequence[Decimal | None]) -> Decimal | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _common_band(bands: Sequence[PriceBand | None]) -> PriceBand | None:
    known = [band for band in bands if band is not None]
    if not known:
        return None
    narrowest = {
        field.name: (max if field.name.startswith("lowest") else min)(
            getattr(band, field.name) for band in known
        )
        for field in fields(PriceBand)
    }
    return PriceBand(**narrowest)
