"""What Penstock needs of the record of alerts that are still to be sent."""

from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.core.alerts import Alert


class AlertOutbox(Protocol):
    """The alerts of every account until they are sent.

    Ledger and supervision put an alert here by themselves, in the transaction of its cause: for
    each break that they open, each state that is set with `alert`, and each order event that they
    refuse.
    """

    def add(self, account: str, alerts: Sequence[Alert]) -> None:
        """Keep alerts that have no cause on record, all or none."""
        ...

    def deliver(self, account: str, send: Callable[[Sequence[Alert]], bool]) -> int:
        """Hand the account's unsent alerts, oldest first, to `send` in one call; return how many
        are now marked as sent.

        They are marked where `send` returns True, and stay unsent where it returns False or raises.
        While `send` runs nobody else is handed them. Who dies or loses the database between sending
        and marking leaves them unsent: at least once. Without unsent alerts `send` is not called.
        """
        ...
