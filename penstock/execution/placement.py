"""Sending approved orders: each intent is committed before its request leaves, and each request leaves exactly once.

What became of an order whose answer was lost is for following and recovery to ask; nothing here sends twice.
"""

from collections.abc import Mapping, Sequence

from penstock.core.accounts import PlannedOrder, Rebalance
from penstock.core.drafts import DraftOrder
from penstock.core.instruments import Instrument
from penstock.core.orders import OrderEvent, OrderEventKind, OrderReport, OrderRequest, client_order_id
from penstock.execution.algorithms import ChildOrder, plan_children
from penstock.execution.desk import TradingDesk
from penstock.execution.lease import LeaseKeeper
from penstock.execution.sending import NEVER_ARRIVED, STOPPED, send_all, stopped
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.review import ApprovedOrders
from penstock.risk.rules import halted

#: An intent that never left: a later run plans it anew.
NEVER_SENT = "never sent"

__all__ = ["NEVER_ARRIVED", "NEVER_SENT", "PHASES", "STOPPED", "intents", "place"]

#: Legs of one phase are this far apart: a child order of the same phase adds it to its leg.
PHASES = 2


def intents(
    approved: ApprovedOrders,
    rebalance: Rebalance,
    targets: PortfolioTargets,
    instruments: Mapping[str, Instrument],
    policy: RebalancePolicy,
) -> list[PlannedOrder]:
    """Return the requests of every approved order, with ids that the same decision always gives."""
    return [
        PlannedOrder(
            request=OrderRequest(
                _id(rebalance, order, leg),
                order.symbol,
                order.side,
                child.type,
                child.quantity,
                child.price,
            ),
            leg=leg,
            attempt=order.attempt,
            strategy_version=targets.versions_of(order.symbol),
            target_weight=order.target_weight,
            reference_price=order.price,
        )
        for order in approved.orders
        for leg, child in _legs(order, instruments[order.symbol], policy)
    ]


def _id(rebalance: Rebalance, order: DraftOrder, leg: int) -> str:
    version, slot = rebalance.portfolio_version, rebalance.slot
    return client_order_id(rebalance.account, version, slot, order.symbol, leg, order.attempt)


def _legs(order: DraftOrder, instrument: Instrument, policy: RebalancePolicy) -> list[tuple[int, ChildOrder]]:
    return [(order.leg + PHASES * n, child) for n, child in enumerate(plan_children(order, instrument, policy))]


def place(
    desk: TradingDesk, keeper: LeaseKeeper, rebalance: Rebalance, orders: Sequence[PlannedOrder]
) -> dict[str, OrderReport]:
    """Commit all intents, then send each once; return the venue's reports by client order id.

    Three transactions, however many orders: the plan, that all are about to leave, and what the venue said. A crash between
    the last two leaves them SUBMITTING, which is resolved by asking the venue. An order without a report was refused
    (REJECTED), lost (UNKNOWN), or not sent because of the kill switch (CANCELED).
    """
    if not orders:
        return {}
    desk.ledger.plan_orders(keeper.lease, rebalance.id, orders, desk.clock.now())
    requests = _leaving(desk, keeper, [order.request for order in orders])
    outcomes = send_all(desk, keeper, requests)
    _record(desk, keeper, [outcome.event for outcome in outcomes if outcome.event is not None])
    return {outcome.report.client_order_id: outcome.report for outcome in outcomes if outcome.report is not None}


def _leaving(desk: TradingDesk, keeper: LeaseKeeper, requests: Sequence[OrderRequest]) -> list[OrderRequest]:
    """Commit SUBMIT for every request that the kill switch allows now, ABANDON for the others; return the allowed ones."""
    halt, at = desk.kill_switch.read(), desk.clock.now()
    allowed = [request for request in requests if not halted(halt, request.side)]
    events = [OrderEvent(request.client_order_id, OrderEventKind.SUBMIT, at) for request in allowed]
    events += [stopped(desk, request, halt) for request in requests if halted(halt, request.side)]
    _record(desk, keeper, events)
    return allowed


def _record(desk: TradingDesk, keeper: LeaseKeeper, events: Sequence[OrderEvent]) -> None:
    if events:
        desk.ledger.record_events(keeper.lease, events)
