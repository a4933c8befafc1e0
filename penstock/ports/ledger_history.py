"""What Penstock needs of the ledger's past: its read models proved against its events, and an
account as it was at any time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill


@dataclass(frozen=True)
class Difference:
    """One row of a read model that is not what its events lead to."""

    table: str
    row: str
    stored: str
    rebuilt: str


@dataclass(frozen=True)
class Rebuild:
    """What was folded and compared. `different` counts all that differs, `differences` has at most
    20 of each table.
    """

    orders: int
    balances: int
    events: int
    fills: int
    adjustments: int
    different: int
    differences: tuple[Difference, ...]
    replaced: bool


@dataclass(frozen=True)
class AccountState:
    """An account as it was at `at`: its orders, oldest first, and what it held by asset."""

    account: str
    at: datetime
    orders: Sequence[OrderRecord]
    balances: Mapping[str, Decimal]


class LedgerHistory(Protocol):
    """The append-only record behind the ledger. Raises StoreError where the database fails."""

    def accounts(self) -> Sequence[str]:
        """Return the names of the accounts in the ledger, sorted."""
        ...

    def fills(self, account: str, at: datetime | None = None) -> Sequence[tuple[str, Fill]]:
        """Return the account's fills up to `at`, each with the strategy version whose order it
        filled.
        """
        ...

    def moved_from_outside(self, account: str, opening_reason: str) -> bool:
        """Return whether anything but trades has changed the account since its opening balances
        were booked with `opening_reason`.
        """
        ...

    def state_at(self, account: str, at: datetime) -> AccountState:
        """Return orders and balances as they were at `at`; StoreError for an unknown account."""
        ...

    def rebuild(self, *, replace: bool) -> Rebuild:
        """Compare the read models with what the events lead to, row for row.

        With `replace` the read models become what was folded, in the same transaction, while every
        writer waits. Without it nothing is changed. StoreError where the history contradicts
        itself.
        """
        ...
