"""The parent orders of one phase of a slot: new ones, or those that an interrupted run committed.

New parents are reviewed by risk, and committed before a child leaves or together with it. Their
children are sent by penstock.execution.algorithms.phase_worker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.errors import StoreError
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Phase, Side
from penstock.core.parent_orders import ParentOrder
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms import (
    MarketStyle,
    Plan,
    Progress,
    Style,
    plan_order,
    requests_ahead,
)
from penstock.execution.algorithms.parents import WorkingParent
from penstock.execution.algorithms.slot_context import SlotContext
from penstock.execution.pretrade import PreTradeRisk
from penstock.portfolio.rebalancing import Book, Skipped, plan_buys, plan_sells


@dataclass(frozen=True)
class PhasePlan:
    """What a phase begins with."""

    parents: tuple[WorkingParent, ...]
    """The parent orders to be worked. All but the `uncommitted` are committed."""

    book: Book
    """The account as it was read for the review."""

    is_new: bool
    """Whether the parents were planned from this book and its cash."""

    allowed: Mapping[str, Decimal]
    """The largest summed fills of each parent of an interrupted run (base units by symbol)."""

    skipped: tuple[Skipped, ...] = ()
    """Symbols for which no order was made, or whose order is not gone on with."""

    uncommitted: tuple[ParentOrder, ...] = ()
    """New parents whose children leave at once: they are to be committed with them."""


def plan_phase(
    context: SlotContext,
    risk: PreTradeRisk,
    *,
    phase: Phase,
    style: Style,
    orders: Sequence[OrderRecord],
    now: datetime,
    book: Book | None = None,
) -> PhasePlan | None:
    """Return the parents that an interrupted run committed, or else plan new ones.

    New parents are committed, but for those of market orders: see PhasePlan.uncommitted.

    `orders` are all orders of the slot, `now` is the venue's time. New parents are planned from
    `book`; it is read where none is given. The result is None where a later phase has begun: this
    one is over. Raises StoreError where the first phase has orders but no parent orders.
    """
    begun = context.begun
    if orders and not begun and phase is Phase.SELLS:  # the first phase has those of earlier runs
        raise StoreError(
            f"slot {context.rebalance.slot:%Y-%m-%d %H:%M} has orders and no parent "
            "orders: an earlier version of Penstock began it; the next slot takes over"
        )
    mine = [parent for parent in begun if parent.order.phase is phase]
    if mine:
        return _continued(context, risk, mine, orders, now)
    if any(parent.order.phase > phase for parent in begun):
        return None
    return _planned_anew(
        context, risk, phase, style, orders, now, book or context.read_book(risk.locks)
    )


def _planned_anew(
    context: SlotContext,
    risk: PreTradeRisk,
    phase: Phase,
    style: Style,
    orders: Sequence[OrderRecord],
    now: datetime,
    book: Book,
) -> PhasePlan:
    """Plan and review the phase's parents, and commit those that are worked over time."""
    proposed, skipped = _proposed(book, phase, orders)
    ahead = {
        order.symbol: requests_ahead(
            _plan(context, order, style, now),
            Progress(),
            timedelta(0),
            order.price,
            context.instruments[order.symbol],
        )
        for order in proposed
    }
    approved = risk.review_plan(proposed, book, context.targets, ahead).orders
    parents = [
        ParentOrder(
            context.rebalance.id,
            order,
            context.targets.versions_of(order.symbol),
            _plan(context, order, style, now).model_dump_json(),
            now,
        )
        for order in approved
    ]
    at_once = isinstance(style, MarketStyle)
    if parents and not at_once:
        context.session.parent_orders.begin_work(context.keeper.lease, parents)
    working = tuple(WorkingParent(each, context.instruments[each.order.symbol]) for each in parents)
    return PhasePlan(
        working,
        book,
        is_new=True,
        allowed={},
        skipped=tuple(skipped),
        uncommitted=tuple(parents) if at_once else (),
    )


def _proposed(
    book: Book, phase: Phase, orders: Sequence[OrderRecord]
) -> tuple[Sequence[ProposedOrder], Sequence[Skipped]]:
    """Return the phase's orders, and the symbols without one.

    A symbol that was sold in this slot is not bought again in it.
    """
    if phase is Phase.SELLS:
        return plan_sells(book)
    sold = {order.request.symbol: None for order in orders if order.request.side is Side.SELL}
    return plan_buys(replace(book, targets={**book.targets, **sold}))


def _plan(context: SlotContext, order: ProposedOrder, style: Style, now: datetime) -> Plan:
    profiles = context.session.volume_profiles
    profile = None if profiles is None else profiles(order.symbol, context.rebalance.slot)
    return plan_order(order, context.instruments[order.symbol], style, now, profile)


def _continued(
    context: SlotContext,
    risk: PreTradeRisk,
    begun: Sequence[ParentOrder],
    orders: Sequence[OrderRecord],
    now: datetime,
) -> PhasePlan:
    """Return the committed parents. What may still leave of them is reviewed again."""
    parents = [
        WorkingParent(each, context.instruments[each.order.symbol])
        for each in begun
        if each.order.symbol in context.instruments
    ]
    unlisted = tuple(
        Skipped(
            each.order.symbol,
            f"its {each.order.side} was begun and is not gone on with: the venue does not trade it "
            "now",
        )
        for each in begun
        if each.order.symbol not in context.instruments
    )
    book = context.read_book(risk.locks, [each.symbol for each in parents])
    ahead = {each.symbol: each.requests_ahead(orders, now) for each in parents}
    filled = {each.symbol: each.progress(orders).filled for each in parents}
    rests = [
        replace(
            each.order.resized(each.order.quantity - filled[each.symbol]),
            price=book.prices.get(each.symbol, each.order.price),
        )
        for each in parents
        if ahead[each.symbol] and each.order.quantity > filled[each.symbol]
    ]
    approved = risk.review_plan(rests, book, context.targets, ahead).orders
    allowed = dict(filled)
    for order in approved:
        allowed[order.symbol] += order.quantity
    return PhasePlan(tuple(parents), book, is_new=False, allowed=allowed, skipped=unlisted)
