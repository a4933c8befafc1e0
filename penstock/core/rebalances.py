"""A slot's rebalance of an account, and how much an account has done."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class RebalanceStatus(StrEnum):
    """What became of a slot's rebalance."""

    RUNNING = "running"
    """A run began it and has not ended it."""
    DONE = "done"
    """It was traded, or there was nothing to trade."""
    SKIPPED = "skipped"
    """It was not traded, for a reason that is on record."""
    FAILED = "failed"
    """It ended with an error."""


@dataclass(frozen=True)
class Rebalance:
    """The rebalance of one account for one slot. There is one per account and slot."""

    id: int
    """Its number in the ledger."""
    account: str
    """The account's name."""
    slot: datetime
    """The bar close that it acts on (UTC)."""
    portfolio_version: str
    """The versions that decide it, fixed by its first run."""
    status: RebalanceStatus
    """What became of it."""
    reason: str = ""
    """Why it was skipped or failed, or what stopped a run of it."""


@dataclass(frozen=True)
class AccountTotals:
    """How much an account has done."""

    slots: Mapping[RebalanceStatus, int]
    """The number of slots by status."""
    orders: int
    """The number of orders."""
    fills: int
    """The number of fills."""
    traded: Decimal
    """The notional of all fills, in quote units."""
