"""What an operator is told of a slot: its alerts, which are committed with its end."""

from collections import Counter

from penstock.core.alerts import Alert, urgent
from penstock.core.orders import Phase
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.result import RebalanceResult

#: How many lines an alert of orders that failed has.
_MOST_LINES = 20


def slot_alerts(result: RebalanceResult) -> tuple[Alert, ...]:
    """Return the alerts of a slot that has ended.

    They say that it was not done, what was to be closed and is still held, which orders failed, and
    what else came up. Opened breaks and a changed trading state are in the outbox already.
    """
    title = f"slot {result.slot:%Y-%m-%d %H:%M}"
    was_done = result.status is RebalanceStatus.DONE
    return (
        *(() if was_done else (Alert(f"{title} was {result.status}", result.summary()),)),
        *(urgent(Alert(title, line)) for line in result.urgent),
        *_failure_alerts(title, result),
        *(Alert(title, line) for line in result.alerts),
    )


def _failure_alerts(title: str, result: RebalanceResult) -> list[Alert]:
    """Return the alert of orders that failed, an urgent one where a sell is among them; none where
    no order did.
    """
    orders = result.failed_orders
    if not orders:
        return []
    counted = Counter(
        f"{order.request.side} {order.request.symbol}: {order.reason or order.end_cause}"
        for order in orders
    )
    lines = [line if n == 1 else f"{line} ({n} orders)" for line, n in counted.items()]
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more"]
    many = "1 order" if len(orders) == 1 else f"{len(orders)} orders"
    alert = Alert(f"{title}: {many} failed", "\n".join(lines))
    exits = any(order.phase is Phase.SELLS for order in orders)
    return [urgent(alert) if exits else alert]
