"""Iceberg: one small piece in the order book at a time."""

from decimal import ROUND_CEILING, Decimal

from penstock.core.instruments import Instrument
from penstock.core.orders import OrderType
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms.children import ChildOrder, cut
from penstock.execution.algorithms.styles import Iceberg


def plan_iceberg(
    order: ProposedOrder, instrument: Instrument, style: Iceberg
) -> tuple[ChildOrder, ...]:
    """Return equal pieces of about the displayed fraction. Each is sent when the last has ended.

    There are at most half as many pieces as `max_children`, so that pieces can be shown again.
    """
    wanted = int((1 / style.display_fraction).to_integral_value(rounding=ROUND_CEILING))
    count = max(1, min(wanted, (style.max_children + 1) // 2))
    pieces = cut(order, [Decimal(1)] * count, instrument)
    return tuple(
        ChildOrder(OrderType.LIMIT, quantity, number=number)
        for number, (_, quantity) in enumerate(pieces)
    )
