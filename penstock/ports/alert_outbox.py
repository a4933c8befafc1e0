"""What Penstock needs of the record of alerts that are still to be sent."""

from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.core.alerts import Alert


class AlertOutbox(Protocol):
    """The alerts of every account until they are sent. Raises StoreError where the database fails.

    Ledger and control store add some alerts themselves, in the transaction of the cause. The causes
    are a break that is opened, a state that is set with `alert`, a refused order event, and a slot
    that has ended.
    """

    def add(self, account: str, alerts: Sequence[Alert]) -> None:
        """Add alerts that have no cause on record, all or none."""
        ...

    def deliver(self, account: str, send: Callable[[Sequence[Alert]], bool]) -> int:
        """Hand the account's unsent alerts to `send` in one call: urgent ones first, then the
        oldest. Of very many the next call gets the rest.

        Returns how many are now marked as sent: all of them where `send` returns True, none where
        it returns False. What `send` raises is passed on, and none is marked.

        While `send` runs no other process gets them. A process that dies, or loses the database,
        after `send` leaves them unmarked. So each is sent at least once. Without unsent alerts
        `send` is not called.
        """
        ...
