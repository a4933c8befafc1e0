"""The review: every rule on every order, all reasons kept. Only `review` makes ApprovedOrders, and only those are placed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from penstock.core.drafts import DraftOrder
from penstock.core.errors import RiskError
from penstock.core.orders import Side
from penstock.risk.limits import RiskLimits
from penstock.risk.rules import Rejection, RiskContext, rules_of

_SEAL = object()


@dataclass(frozen=True)
class ApprovedOrders:
    """Orders that every rule lets pass, shrunk where a rule asked for it.

    `rejections` are all words against any order of the plan: those of a shrunk order and those of a denied one.
    """

    orders: tuple[DraftOrder, ...]
    denied: tuple[DraftOrder, ...]
    rejections: tuple[Rejection, ...]
    seal: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise RiskError("ApprovedOrders come from penstock.risk.review.review alone: have the plan reviewed")


def review(orders: Sequence[DraftOrder], context: RiskContext, limits: RiskLimits) -> ApprovedOrders:
    """Return what may be placed of `orders`. A limit shrinks an order; a rule that allows nothing denies it.

    A shrunk order is rounded down to lots, and denied where the venue would refuse what is left.
    """
    buys = sum((order.notional for order in orders if order.side is Side.BUY), Decimal(0))
    seen = replace(context, planned_buys=buys)
    rules = rules_of(limits)
    approved: list[DraftOrder] = []
    denied: list[DraftOrder] = []
    rejections: list[Rejection] = []
    for order in orders:
        against = [rejection for rule in rules if (rejection := rule.check(order, seen)) is not None]
        passed = _shrink(order, against, seen)
        if isinstance(passed, Rejection):
            against.append(passed)
        rejections.extend(against)
        if isinstance(passed, DraftOrder):
            approved.append(passed)
        else:
            denied.append(order)
    return ApprovedOrders(tuple(approved), tuple(denied), tuple(rejections), _SEAL)


def _shrink(order: DraftOrder, against: Sequence[Rejection], context: RiskContext) -> DraftOrder | Rejection | None:
    """Return what is left of the order, a rejection where the venue would refuse that, or None where a rule denies all."""
    if not against:
        return order
    allowed = min(rejection.allowed for rejection in against)
    if allowed <= 0:
        return None
    instrument = context.instruments[order.symbol]
    shrunk = order.resized(instrument.round_lots(min(allowed, order.quantity)))
    refusal = instrument.refusal(shrunk.quantity, shrunk.price)
    return shrunk if refusal is None else Rejection("venue_minimum", order.symbol, f"what the limits leave: {refusal}")
