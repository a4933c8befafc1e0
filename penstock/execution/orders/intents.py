"""Sending approved orders: each intent is committed before its request leaves, and each request
leaves exactly once.

What became of an order whose answer was lost is for following and recovery to ask; nothing here
sends twice.
"""

from collections.abc import Mapping, Sequence

from penstock.core.instruments import Instrument
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    OrderEvent,
    OrderEventKind,
    OrderReport,
    OrderRequest,
    client_order_id,
)
from penstock.core.proposals import ProposedOrder
from penstock.core.rebalances import Rebalance
from penstock.execution.algorithms import plan_children
from penstock.execution.lease import LeaseKeeper
from penstock.execution.orders.submit import send_all, stopped
from penstock.execution.session import AccountSession
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.review import ApprovedOrders
from penstock.risk.rules import halted


def intents(
    approved: ApprovedOrders,
    rebalance: Rebalance,
    targets: PortfolioTargets,
    instruments: Mapping[str, Instrument],
    policy: RebalancePolicy,
) -> list[OrderIntent]:
    """Return the requests of every approved order, with ids that the same decision always gives."""
    return [
        OrderIntent(
            request=OrderRequest(
                _id(rebalance, order, number),
                order.symbol,
                order.side,
                child.type,
                child.quantity,
                child.price,
                venue=order.venue,
            ),
            phase=order.phase,
            child=number,
            attempt=order.attempt,
            strategy_version=targets.versions_of(order.symbol),
            target_weight=order.target_weight,
            reference_price=order.price,
        )
        for order in approved.orders
        for number, child in enumerate(
            plan_children(order, instruments[order.symbol], policy), order.child
        )
    ]


def _id(rebalance: Rebalance, order: ProposedOrder, child: int) -> str:
    account, version, slot = rebalance.account, rebalance.portfolio_version, rebalance.slot
    return client_order_id(account, version, slot, order.symbol, order.phase, child, order.attempt)


def place(
    session: AccountSession,
    keeper: LeaseKeeper,
    rebalance: Rebalance,
    orders: Sequence[OrderIntent],
) -> dict[str, OrderReport]:
    """Commit all intents, then send each once; return the venue's reports by client order id.

    Two transactions, however many orders: that all are about to leave, and what the venue said. A
    crash between them leaves them SUBMITTING, which is resolved by asking the venue. An order
    without a report was refused (REJECTED), lost (UNKNOWN), or not sent (CANCELED): because of the
    kill switch, or because our own adapter refused it.
    """
    if not orders:
        return {}
    halt, at = session.kill_switch.read(), session.clock.now()
    leaving = [order.request for order in orders if not halted(halt, order.request.side)]
    held = [order.request for order in orders if halted(halt, order.request.side)]
    events = [OrderEvent(request.client_order_id, OrderEventKind.SUBMIT, at) for request in leaving]
    events += [stopped(request, halt, at) for request in held]
    session.ledger.write_ahead(keeper.lease, rebalance.id, orders, events, at)
    outcomes = send_all(session, keeper, leaving)
    said = [outcome.event for outcome in outcomes if outcome.event is not None]
    if said:
        session.ledger.record_events(keeper.lease, said)
    return {
        outcome.report.client_order_id: outcome.report
        for outcome in outcomes
        if outcome.report is not None
    }
