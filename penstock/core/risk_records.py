"""What risk rules said, and what they remember of an account."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Verdict(StrEnum):
    """What review says of an order, or of a position."""

    ALLOW = "allow"
    SHRINK = "shrink"
    DENY = "deny"
    FLATTEN = "flatten"


@dataclass(frozen=True)
class RiskVerdict:
    """One rule's word, kept: which symbol, how much was wanted and how much was let pass (base
    units), and why.
    """

    symbol: str
    verdict: Verdict
    rule: str
    reason: str
    wanted: Decimal
    passed: Decimal


@dataclass(frozen=True)
class PositionMark:
    """What is remembered of a position: its highest price since it was opened, and when it was last
    stopped out.
    """

    high: Decimal | None = None
    stopped_at: datetime | None = None


@dataclass(frozen=True)
class RiskHistory:
    """What an account did before now, as far as risk rules ask.

    `day_start` and `peak` are equities (quote units) without the transfers in them (what operators'
    acceptances added or took, and what was in doubt); None where none is recorded. `transferred` is
    the sum of those up to now. `targets` are the weights of the newest earlier slots, newest first,
    two at most. `marks` by asset.
    """

    day_start: Decimal | None = None
    peak: Decimal | None = None
    transferred: Decimal = Decimal(0)
    targets: tuple[Mapping[str, float], ...] = ()
    orders_last_minute: int = 0
    orders_today: int = 0
    traded_last_hour: Decimal = Decimal(0)
    marks: Mapping[str, PositionMark] = field(default_factory=dict)
