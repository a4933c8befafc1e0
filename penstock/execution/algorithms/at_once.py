"""Everything at once: the requests of an order that is not worked over time."""

from decimal import Decimal

from penstock.core.instruments import Instrument
from penstock.core.orders import OrderType
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms.children import ChildOrder
from penstock.portfolio.rebalancing import RebalancePolicy


def market(order: ProposedOrder) -> tuple[ChildOrder, ...]:
    """Take what the book offers, at once."""
    return (ChildOrder(OrderType.MARKET, order.quantity),)


def limit(
    order: ProposedOrder, instrument: Instrument, offset_bps: Decimal
) -> tuple[ChildOrder, ...]:
    """Accept at worst price x (1 + side x offset): a positive offset crosses the market, a negative
    one waits in the book.
    """
    worst = order.price * (1 + order.side.sign * offset_bps / 10_000)
    return (ChildOrder(OrderType.LIMIT, order.quantity, instrument.round_price(worst)),)


def plan_children(
    order: ProposedOrder, instrument: Instrument, policy: RebalancePolicy
) -> tuple[ChildOrder, ...]:
    """Return the requests that work `order` the way the policy says."""
    if policy.order_type is OrderType.LIMIT:
        return limit(order, instrument, policy.limit_offset_bps)
    return market(order)
