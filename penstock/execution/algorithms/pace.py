"""When the requests of a plan may leave. The limits on orders per minute and per day count them."""

from datetime import timedelta
from decimal import Decimal

from penstock.core.instruments import Instrument
from penstock.core.orders import OrderType
from penstock.execution.algorithms.pieces import least_quantity, piece_count
from penstock.execution.algorithms.plans import Plan
from penstock.execution.algorithms.progress import Progress, moments
from penstock.execution.algorithms.styles import Iceberg, MarketStyle, Twap, Vwap

_ZERO = Decimal(0)


def requests_ahead(
    plan: Plan, progress: Progress, now: timedelta, price: Decimal, instrument: Instrument
) -> tuple[float, ...]:
    """Return the seconds from `now` at which requests may still leave.

    `now` is counted from the start of the work. All that is overdue goes out as one child. A child
    that is larger than the venue takes at once, at `price`, counts each of its pieces. The answer
    has as many requests as will leave, or more, while the venue accepts them. A request that never
    reached it is sent again, and a refused piece of an iceberg is replaced at once.
    """
    due = moments(plan, lambda style: _pieces(style, len(plan.children)))
    if isinstance(plan.style, Iceberg):
        # Pieces follow one another and have no set times: those that are left may all come soon.
        # What was sent were as many requests per piece, or fewer.
        each = _requests(plan, Progress(), timedelta(0), price, instrument)
        left = due[progress.sent // each :]
    else:
        left = [moment for moment in due if progress.last_at is None or moment > progress.last_at]
        overdue = [moment for moment in left if moment <= now]
        left = left[len(overdue) - 1 :] if overdue else left
    return tuple(
        max((moment - now).total_seconds(), 0.0)
        for moment in left
        for _ in range(_requests(plan, progress, moment, price, instrument))
    )


def _requests(
    plan: Plan, progress: Progress, moment: timedelta, price: Decimal, instrument: Instrument
) -> int:
    """Return in how many pieces the child of a moment leaves at most."""
    style, rest = plan.style, plan.quantity - progress.filled
    if isinstance(style, MarketStyle) or moment >= style.duration:
        return piece_count(OrderType.MARKET, rest, price, instrument)
    kind, most = OrderType.LIMIT, rest
    if isinstance(style, Twap | Vwap):
        kind = style.child_type
        due = sum((child.quantity for child in plan.children if child.at <= moment), _ZERO)
        most = due - progress.filled
    elif isinstance(style, Iceberg):
        # A remainder that would be too small joins the piece.
        piece = max(child.quantity for child in plan.children)
        most = piece + least_quantity(instrument, price)
    return piece_count(kind, min(rest, most), price, instrument)


def _pieces(style: Iceberg, pieces: int) -> list[timedelta]:
    """Each piece may leave at once. A piece is shown again whenever its time is over."""
    again = [n * timedelta(seconds=style.piece_seconds) for n in range(style.max_children - pieces)]
    return [timedelta(0)] * pieces + [moment for moment in again if moment < style.duration]
