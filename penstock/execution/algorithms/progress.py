"""Which child comes next: a pure function of the plan, the earlier children and the time.

It keeps no state between two calls, so a run that was killed goes on from the ledger.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from penstock.core.amounts import plain
from penstock.core.instruments import Instrument
from penstock.core.orders import OrderType
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms.children import ChildOrder, limit_price
from penstock.execution.algorithms.plans import Plan
from penstock.execution.algorithms.styles import Iceberg, Limit, MarketStyle, Twap, Vwap

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Progress:
    """What has been done of a plan. Every child that was sent has ended."""

    sent: int = 0
    """How many children were sent."""

    filled: Decimal = _ZERO
    """Their summed fills (base units)."""

    last_at: timedelta | None = None
    """When the last one was sent, from the start of the work; None before the first."""

    allowed: Decimal | None = None
    """What the summed fills may come to, where risk allows less than the plan now (base units)."""


@dataclass(frozen=True)
class Send:
    """A child is due now."""

    child: ChildOrder
    """The child to be sent."""
    patience_seconds: float | None
    """The time after which its rest is cancelled; None for the time of the execution policy."""


@dataclass(frozen=True)
class Wait:
    """Nothing is due yet."""

    until: timedelta
    """When the next child is due, from the start of the work."""
    reason: str = ""
    """Why a child that was due is not sent; "" where none was due."""


@dataclass(frozen=True)
class Finished:
    """Nothing more will be sent."""

    left: Decimal
    """The quantity that is not filled (base units)."""
    reason: str = ""
    """Why the last child that was due is not sent; "" where none was due."""


Step = Send | Wait | Finished


def next_step(
    plan: Plan,
    order: ProposedOrder,
    progress: Progress,
    now: timedelta,
    last_price: Decimal,
    instrument: Instrument,
) -> Step:
    """Return what is to be done `now` (from the start of the work). No child may be at the venue.

    A child is legal at the venue at the last price. A quantity that is too small joins the next
    child; at the end it is left.
    """
    ceiling = order.quantity if progress.allowed is None else min(order.quantity, progress.allowed)
    rest = ceiling - progress.filled
    if rest <= 0 or instrument.refusal(rest, last_price) is not None:
        return Finished(max(order.quantity - progress.filled, _ZERO))
    left = [
        moment
        for moment in moments(plan, lambda style: _pieces_in_turn(style, progress))
        if progress.last_at is None or moment > progress.last_at
    ]
    due = [moment for moment in left if moment <= now]
    later = min((moment for moment in left if moment > now), default=None)
    reason = ""
    if due:
        child = _child(plan, order, progress, max(due), rest, last_price, instrument)
        if isinstance(child, str):
            reason = child
        elif instrument.refusal(child.quantity, child.price or last_price) is None:
            return Send(child, _patience(plan, child, now, later))
    if later is None:
        return Finished(order.quantity - progress.filled, reason)
    return Wait(later, reason)


def moments(plan: Plan, pieces: Callable[[Iceberg], list[timedelta]]) -> list[timedelta]:
    """Return when children of a plan are due, counted from the start of the work, in their order.

    `pieces` says so of an iceberg, whose pieces have no set times.
    """
    style = plan.style
    match style:
        case MarketStyle():
            return [timedelta(0)]
        case Limit():
            due = [n * timedelta(seconds=style.reprice_seconds) for n in range(style.max_children)]
        case Twap() | Vwap():
            due = sorted({child.at for child in plan.children})
        case Iceberg():
            due = pieces(style)
    return [*due, style.duration] if style.finish == "market" else due


def _pieces_in_turn(style: Iceberg, progress: Progress) -> list[timedelta]:
    """Return when the next piece of an iceberg is due: as soon as the last one has ended.

    Nothing is due once the time or the children are used up.
    """
    if progress.sent >= style.max_children:
        return []
    after = (
        timedelta(0) if progress.last_at is None else progress.last_at + timedelta(microseconds=1)
    )
    return [after] if after < style.duration else []


def _child(
    plan: Plan,
    order: ProposedOrder,
    progress: Progress,
    moment: timedelta,
    rest: Decimal,
    last: Decimal,
    instrument: Instrument,
) -> ChildOrder | str:
    """Return the child of a moment, or why the venue takes none at any price that is allowed."""
    style = plan.style
    if isinstance(style, MarketStyle) or moment >= style.duration:
        return ChildOrder(OrderType.MARKET, rest, at=moment, number=progress.sent)
    quantity, kind = rest, OrderType.LIMIT
    if isinstance(style, Twap | Vwap):
        due = sum((child.quantity for child in plan.children if child.at <= moment), _ZERO)
        quantity, kind = min(rest, due - progress.filled), style.child_type
    elif isinstance(style, Iceberg):
        piece = max(child.quantity for child in plan.children)
        remainder_is_illegal = instrument.refusal(rest - piece, last) is not None
        quantity = rest if remainder_is_illegal else min(rest, piece)
    price = None
    if kind is OrderType.LIMIT:
        price = limit_price(
            order.side, last, order.price, style.offset_bps, style.collar_bps, instrument
        )
        if price is None:
            return (
                f"the venue takes no limit {order.side} at a price within {style.collar_bps} bps "
                f"of {plain(order.price)}: the market is at {plain(last)}, outside of the "
                "venue's price band"
            )
    return ChildOrder(kind, quantity, price, moment, progress.sent)


def _patience(
    plan: Plan, child: ChildOrder, now: timedelta, later: timedelta | None
) -> float | None:
    """Return the seconds for which a child may work: its style's time, or until the next slice.

    None, for a market child, is the time of the execution policy.
    """
    style = plan.style
    if child.type is OrderType.MARKET or isinstance(style, MarketStyle):
        return None
    if isinstance(style, Limit):
        return style.reprice_seconds
    if isinstance(style, Iceberg):
        return style.piece_seconds
    end = style.duration if later is None else later
    return max((end - now).total_seconds(), 0.0)
