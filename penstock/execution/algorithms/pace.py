"""When a plan's requests will leave, at most: what the limits on orders per minute and per day
count before the first one does.
"""

from datetime import timedelta

from penstock.execution.algorithms.plans import Plan
from penstock.execution.algorithms.progress import Progress
from penstock.execution.algorithms.styles import Iceberg, Limit, MarketStyle


def requests_ahead(plan: Plan, progress: Progress, now: timedelta) -> tuple[float, ...]:
    """Return the seconds from `now` (itself counted from the start of the work) at which requests
    may still leave.

    Never fewer than there will be, as long as the venue takes them: one that never reached it is
    sent again, and a piece of an iceberg that it throws back is followed at once. What is overdue
    goes out as one.
    """
    moments = _moments(plan)
    if isinstance(plan.style, Iceberg):
        # Pieces come in turn rather than at set times: those that are left may all come soon.
        left = moments[progress.sent :]
    else:
        left = [
            moment for moment in moments if progress.last_at is None or moment > progress.last_at
        ]
        overdue = [moment for moment in left if moment <= now]
        left = left[len(overdue) - 1 :] if overdue else left
    return tuple(max((moment - now).total_seconds(), 0.0) for moment in left)


def _moments(plan: Plan) -> list[timedelta]:
    """Return when requests may leave, counted from the start of the work, in their order."""
    style = plan.style
    match style:
        case MarketStyle():
            return [timedelta(0)]
        case Limit():
            moments = [
                n * timedelta(seconds=style.reprice_seconds) for n in range(style.max_children)
            ]
        case Iceberg():
            moments = _pieces(style, len(plan.children))
        case _:
            moments = sorted({child.at for child in plan.children})
    return [*moments, style.duration] if style.finish == "market" else moments


def _pieces(style: Iceberg, pieces: int) -> list[timedelta]:
    """Each piece may go at once; while one stands, it is shown again whenever its time is over."""
    again = [n * timedelta(seconds=style.piece_seconds) for n in range(style.max_children - pieces)]
    return [timedelta(0)] * pieces + [moment for moment in again if moment < style.duration]
