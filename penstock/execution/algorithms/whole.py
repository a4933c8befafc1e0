"""Market and limit: the order is one piece."""

from penstock.core.orders import OrderType
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms.children import ChildOrder


def plan_market(order: ProposedOrder) -> tuple[ChildOrder, ...]:
    """Return the order as one market child at the start."""
    return (ChildOrder(OrderType.MARKET, order.quantity),)


def plan_limit(order: ProposedOrder) -> tuple[ChildOrder, ...]:
    """Return the order as one limit child at the start. `progress` prices its rest again."""
    return (ChildOrder(OrderType.LIMIT, order.quantity),)
