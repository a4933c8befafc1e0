"""A slot's rebalance of an account, and how much an account has done."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class RebalanceStatus(StrEnum):
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Rebalance:
    """One slot's rebalance of one account. `slot` is the bar close it acts on; there is one a
    (account, slot).
    """

    id: int
    account: str
    slot: datetime
    portfolio_version: str
    status: RebalanceStatus
    reason: str = ""


@dataclass(frozen=True)
class AccountTotals:
    """How much an account has done: slots by status, orders, fills, and the notional traded (quote
    units).
    """

    slots: Mapping[RebalanceStatus, int]
    orders: int
    fills: int
    traded: Decimal
