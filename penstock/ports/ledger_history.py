"""What Penstock needs of the ledger's past.

Read models are compared with their events, and an account is shown as it was at a past time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill


@dataclass(frozen=True)
class RowDifference:
    """One row of a read model that is not what its events lead to."""

    table: str
    """The read model."""
    row: str
    """The key of the row, as text."""
    stored: str
    """What the read model has."""
    rebuilt: str
    """What the events lead to."""


@dataclass(frozen=True)
class Rebuild:
    """What was folded and compared."""

    orders: int
    """The number of orders."""
    balances: int
    """The number of balances."""
    events: int
    """The number of events."""
    fills: int
    """The number of fills."""
    adjustments: int
    """The number of adjustments."""
    different: int
    """The number of rows that differ."""
    differences: tuple[RowDifference, ...]
    """The rows that differ, at most 20 per table."""
    replaced: bool
    """Whether the read models were replaced."""


@dataclass(frozen=True)
class AccountState:
    """An account as it was at a past time."""

    account: str
    """The account's name."""
    at: datetime
    """The time (UTC)."""
    orders: Sequence[OrderRecord]
    """Its orders, the oldest first."""
    balances: Mapping[str, Decimal]
    """Its balances, by asset."""


class LedgerHistory(Protocol):
    """The append-only record behind the ledger. Raises StoreError where the database fails."""

    def accounts(self) -> Sequence[str]:
        """Return the names of the accounts in the ledger, sorted."""
        ...

    def fills(self, account: str, at: datetime | None = None) -> Sequence[tuple[str, Fill]]:
        """Return the account's fills up to `at` (default: all).

        Each comes with the strategy version whose order it filled.
        """
        ...

    def moved_from_outside(self, account: str, opening_reason: str) -> bool:
        """Return whether an adjustment has changed the account besides its opening balances.

        The opening balances are the adjustments with `opening_reason`.
        """
        ...

    def state_at(self, account: str, at: datetime) -> AccountState:
        """Return orders and balances as they were at `at`.

        Raises StoreError for an unknown account.
        """
        ...

    def rebuild(self, *, replace: bool) -> Rebuild:
        """Compare the read models with what the events lead to, row for row.

        With `replace` the read models are replaced by what the events lead to, in the same
        transaction, while every writer waits. Without it nothing is changed. Raises StoreError
        where the history contradicts itself.
        """
        ...
