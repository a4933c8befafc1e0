"""A plan: an order's child orders in the style that works them. Each style has its planner."""

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from penstock.core.instruments import Instrument
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms.children import ChildOrder
from penstock.execution.algorithms.iceberg import plan_iceberg
from penstock.execution.algorithms.sliced import plan_twap, plan_vwap
from penstock.execution.algorithms.styles import Iceberg, Limit, MarketStyle, Style, Twap, Vwap
from penstock.execution.algorithms.volume import VolumeProfile, flat_profile
from penstock.execution.algorithms.whole import plan_limit, plan_market


class Plan(BaseModel):
    """The child orders of a parent, as planned.

    The rest of a piece that is not filled joins a later one, so what is sent may differ.
    `progress.next_step` returns what comes next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    style: Style
    """The style that works them."""
    children: tuple[ChildOrder, ...]
    """The children, earliest first. Their quantities are whole lots and sum to the parent's."""

    @property
    def quantity(self) -> Decimal:
        """The summed quantity of the children (base units)."""
        return sum((child.quantity for child in self.children), Decimal(0))


def plan_order(
    order: ProposedOrder,
    instrument: Instrument,
    style: Style,
    start: datetime,
    profile: VolumeProfile | None = None,
) -> Plan:
    """Return the plan that works `order` from `start` on.

    `profile` is for VWAP. Without one, volume counts as even.
    """
    return Plan(
        style=style, children=_children(order, instrument, style, start, profile or flat_profile())
    )


def _children(
    order: ProposedOrder,
    instrument: Instrument,
    style: Style,
    start: datetime,
    profile: VolumeProfile,
) -> tuple[ChildOrder, ...]:
    match style:
        case MarketStyle():
            return plan_market(order)
        case Limit():
            return plan_limit(order)
        case Twap():
            return plan_twap(order, instrument, style)
        case Vwap():
            return plan_vwap(order, instrument, style, profile, start)
        case Iceberg():
            return plan_iceberg(order, instrument, style)
