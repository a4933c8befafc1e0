"""Deposits and withdrawals."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True)
class Transfer:
    """A deposit (quantity above zero) or withdrawal (below) that the venue's own history shows."""

    asset: str
    quantity: Decimal
    at: datetime
