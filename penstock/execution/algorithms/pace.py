"""When the requests of a plan may leave. The limits on orders per minute and per day count them."""

from datetime import timedelta

from penstock.execution.algorithms.plans import Plan
from penstock.execution.algorithms.progress import Progress
from penstock.execution.algorithms.styles import Iceberg, Limit, MarketStyle


def requests_ahead(plan: Plan, progress: Progress, now: timedelta) -> tuple[float, ...]:
    """Return the seconds from `now` at which requests may still leave.

    `now` is counted from the start of the work. All that is overdue goes out as one request. The
    answer has as many requests as will leave, or more, while the venue accepts them. A request that
    never reached it is sent again, and a refused piece of an iceberg is replaced at once.
    """
    moments = _moments(plan)
    if isinstance(plan.style, Iceberg):
        # Pieces follow one another and have no set times: those that are left may all come soon.
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
    """Each piece may leave at once. A piece is shown again whenever its time is over."""
    again = [n * timedelta(seconds=style.piece_seconds) for n in range(style.max_children - pieces)]
    return [timedelta(0)] * pieces + [moment for moment in again if moment < style.duration]
