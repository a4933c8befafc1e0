"""Alerts for an operator: a break, a state that risk has set, a refused event.

An alert is committed together with its cause. penstock.pipeline.alerts sends it.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from penstock.core.breaks import Break
from penstock.core.halts import TradingState

#: How the title of an urgent alert begins, on every channel.
URGENT = "URGENT: "


@dataclass(frozen=True)
class Alert:
    """One thing to look at."""

    title: str
    """The title, in a few words."""
    body: str
    """What happened."""
    found: Break | None = None
    """The break that it is about, if any."""
    is_over: bool = False
    """Whether that break has closed since."""
    made_at: datetime | None = None
    """When it was committed (UTC); None where it is not yet."""

    @property
    def is_urgent(self) -> bool:
        """Whether it cannot wait until morning."""
        return self.title.startswith(URGENT)


def urgent(alert: Alert) -> Alert:
    """Return the alert as an urgent one: its title says so."""
    return alert if alert.is_urgent else replace(alert, title=f"{URGENT}{alert.title}")


def break_alert(found: Break) -> Alert:
    """Return the alert of a break that was opened."""
    return Alert(f"{found.subject} is locked: {found.kind}", found.detail, found)


def state_alert(state: TradingState, reason: str, by: str) -> Alert:
    """Return the alert of a trading state that no operator has set."""
    return Alert(f"the account is set to {state}", f"{reason} (by {by})")


def refusal_alert(order: str, refusal: str) -> Alert:
    """Return the alert of an order event that the order machine refused."""
    return Alert(
        "an illegal order event was refused",
        f"order {order}: {refusal}. It is on record as refused and changed nothing; "
        "compare the order with the venue's page",
    )
