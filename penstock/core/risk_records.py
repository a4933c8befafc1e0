"""What is kept of risk rules' findings, and what the rules remember of an account."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class RiskVerdict(StrEnum):
    """What risk decides about an order or a position."""

    ALLOW = "allow"
    """The order passes as it is."""
    SHRINK = "shrink"
    """The order passes with a smaller quantity."""
    DENY = "deny"
    """The order does not pass."""
    CLOSE = "close"
    """The position is closed."""


@dataclass(frozen=True)
class RecordedFinding:
    """What is kept of one rule's finding."""

    symbol: str
    """The symbol of the order or position."""
    verdict: RiskVerdict
    """What all rules together decided."""
    rule: str
    """The name of the rule whose finding this is."""
    reason: str
    """The rule's reason."""
    wanted: Decimal
    """The quantity of the order before review, or of the position to be closed."""
    passed: Decimal
    """The quantity that was let pass."""


@dataclass(frozen=True)
class PositionMark:
    """What is remembered of a position between slots."""

    best: Decimal | None = None
    """The most favourable price since it was opened: the highest of a long position, the lowest of
    a short one. None where nothing is held."""
    stopped_at: datetime | None = None
    """When a stop closed it last (UTC)."""


@dataclass(frozen=True)
class RiskHistory:
    """What an account did before now, as far as risk rules ask."""

    day_start: Decimal | None = None
    """Equity when the day (UTC) began, without transfers (quote units). On an account's first day
    it is the first equity; None where there is none yet."""
    peak: Decimal | None = None
    """The highest equity since trading was last resumed, without transfers; None where unknown."""
    transferred: Decimal = Decimal(0)
    """What acceptances by operators added to equity (or took, below zero) until now, and what is
    in doubt (quote units)."""
    targets: tuple[Mapping[str, float], ...] = ()
    """The weights by symbol of the newest earlier slots, newest first, two at most."""
    orders_last_minute: int = 0
    """Orders of the last 60 seconds."""
    orders_today: int = 0
    """Orders since 00:00 UTC."""
    traded_last_hour: Decimal = Decimal(0)
    """Notional of the fills of the last hour (quote units)."""
    marks: Mapping[str, PositionMark] = field(default_factory=dict)
    """What is remembered of positions, by symbol."""
