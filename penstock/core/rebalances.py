"""A slot's rebalance of an account."""

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
class SlotEquity:
    """What an account was worth at the end of a slot (quote units)."""

    at: datetime
    """The slot (UTC)."""
    equity: Decimal
    """Cash and positions."""
    cash: Decimal
    """What is in the quote asset."""
    in_doubt: Decimal = Decimal(0)
    """What breaks that are still open have added to the equity."""
