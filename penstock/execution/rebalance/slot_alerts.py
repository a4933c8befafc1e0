"""What an operator is told of a slot: its alerts, which are committed with its end."""

from collections import Counter

from penstock.core.alerts import Alert, urgent
from penstock.core.orders import Phase
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.result import RebalanceResult

#: How many lines an alert of refused orders has.
_MOST_LINES = 20


def slot_alerts(result: RebalanceResult) -> tuple[Alert, ...]:
    """Return the alerts of a slot that has ended.

    They say that it was not done, what was to be closed and is still held, which orders were
    refused, and what else came up. Opened breaks and a changed trading state are in the outbox
    already.
    """
    title = f"slot {result.slot:%Y-%m-%d %H:%M}"
    was_done = result.status is RebalanceStatus.DONE
    return (
        *(() if was_done else (Alert(f"{title} was {result.status}", result.summary()),)),
        *(urgent(Alert(title, line)) for line in result.urgent),
        *_refusal_alerts(title, result),
        *(Alert(title, line) for line in result.alerts),
    )


def _refusal_alerts(title: str, result: RebalanceResult) -> list[Alert]:
    """Return the alert of a slot's refused orders, an urgent one where an exit was refused; none
    where no order was.
    """
    if not result.refused:
        return []
    counted = Counter(
        f"{order.request.side} {order.request.symbol}: {order.reason or order.end_cause}"
        for order in result.refused
    )
    lines = [line if n == 1 else f"{line} ({n} orders)" for line, n in counted.items()]
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more"]
    many = "1 order was" if len(result.refused) == 1 else f"{len(result.refused)} orders were"
    alert = Alert(f"{title}: {many} refused", "\n".join(lines))
    exits = any(order.phase is Phase.SELLS for order in result.refused)
    return [urgent(alert) if exits else alert]
