"""What an operator is to look at, in words: one alert a break, a state that risk has set, or an
order event that was refused.

Whoever keeps the cause keeps the alert with it. When and how alerts are sent is not decided here.
"""

from dataclasses import dataclass
from datetime import datetime

from penstock.core.breaks import Break
from penstock.core.halts import TradingState


@dataclass(frozen=True)
class Alert:
    """One thing to look at. `found` is the break that it is about; `is_over` says that this break
    has closed since.

    `made_at` is when it was put on record; None where it is not yet.
    """

    title: str
    body: str
    found: Break | None = None
    is_over: bool = False
    made_at: datetime | None = None


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
        f"order {order}: {refusal}. It is on record as refused and changed nothing; compare the order with the venue's page",
    )
