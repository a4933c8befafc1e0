"""Sending approved orders: each intent is committed before its request leaves, and each request leaves exactly once.

What became of an order whose answer was lost is for following and recovery to ask; nothing here sends twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from penstock.core.accounts import PlannedOrder, Rebalance
from penstock.core.drafts import DraftOrder
from penstock.core.errors import DuplicateOrderError, OrderNotFoundError, VenueRejectedError, VenueUnavailableError
from penstock.core.instruments import Instrument
from penstock.core.orders import OrderEventKind, OrderReport, OrderRequest, client_order_id
from penstock.execution.algorithms import ChildOrder, plan_children
from penstock.execution.desk import TradingDesk
from penstock.execution.lease import LeaseKeeper
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.review import ApprovedOrders
from penstock.risk.rules import halted

#: How an intent that never left, or never arrived, is told apart from one that the venue or an operator ended.
NEVER_SENT = "never sent"
NEVER_ARRIVED = "never arrived"
STOPPED = "stopped by the kill switch"

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

    An order without a report was refused (REJECTED), lost (UNKNOWN), or not sent because of the kill switch (CANCELED).
    """
    if not orders:
        return {}
    desk.ledger.plan_orders(keeper.lease, rebalance.id, orders, desk.clock.now())
    reports: dict[str, OrderReport] = {}
    for order in orders:
        report = send(desk, keeper, order.request)
        if report is not None:
            reports[order.request.client_order_id] = report
    return reports


def send(desk: TradingDesk, keeper: LeaseKeeper, request: OrderRequest) -> OrderReport | None:
    """Send one order that is PLANNED in the ledger, exactly once, unless the kill switch forbids it."""
    halt = desk.kill_switch.read()
    if halted(halt, request.side):
        _record(desk, keeper, request, OrderEventKind.ABANDON, f"{STOPPED}: {halt.state}, {halt.reason} (set by {halt.by})")
        return None
    asked_at = datetime.now(UTC)  # before the database confirms the lease: who sleeps after that sends a request too old
    _record(desk, keeper, request, OrderEventKind.SUBMIT)
    _ = keeper.lease  # a process that slept since the write above must not send: another may have resolved this order
    try:
        return desk.exchange.submit(replace(request, asked_at=asked_at))
    except DuplicateOrderError:
        return _ask(desk, keeper, request)
    except VenueRejectedError as refusal:
        _record(desk, keeper, request, OrderEventKind.REJECT, str(refusal))
    except VenueUnavailableError as silence:
        _record(desk, keeper, request, OrderEventKind.LOSE_TRACK, str(silence))
    return None


def _ask(desk: TradingDesk, keeper: LeaseKeeper, request: OrderRequest) -> OrderReport | None:
    """Return what the venue has under an id that it calls a duplicate."""
    try:
        return desk.exchange.find_order(request.client_order_id, request.symbol)
    except (OrderNotFoundError, VenueUnavailableError) as silence:
        _record(desk, keeper, request, OrderEventKind.LOSE_TRACK, f"the venue called it a duplicate, then: {silence}")
        return None


def _record(desk: TradingDesk, keeper: LeaseKeeper, request: OrderRequest, event: OrderEventKind, reason: str = "") -> None:
    desk.ledger.record_event(keeper.lease, request.client_order_id, event, desk.clock.now(), reason)
