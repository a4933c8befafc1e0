"""Deposits and withdrawals."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True)
class Transfer:
    """A deposit or a withdrawal that the venue's own history shows."""

    asset: str
    """The asset."""
    quantity: Decimal
    """The quantity, with fees: above zero for a deposit, below zero for a withdrawal."""
    at: datetime
    """When it happened by the venue's clock (UTC)."""
