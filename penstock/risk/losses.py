"""Rules on the losses of the account, with positions at the last price: day's loss and drawdown.

A loss at the limit is a breach too.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from penstock.core.proposals import ProposedOrder
from penstock.risk.limits import LossLimit, RiskLimits
from penstock.risk.rules import RiskContext, RuleFinding

_ZERO = Decimal(0)


def loss_since(start: Decimal | None, context: RiskContext) -> Decimal:
    """Return the loss from `start` (quote units, without transfers) to now, as a fraction of it.

    It is zero for a gain, and where `start` or equity is unknown. Transfers are no gain and no
    loss: those until now are added to `start`.
    """
    transferred = context.history.transferred
    if start is None or context.unknown or start + transferred <= 0:
        return _ZERO
    return max((start + transferred - context.equity) / (start + transferred), _ZERO)


def daily_loss(context: RiskContext) -> Decimal:
    """Return the loss since the day (UTC) began, as a fraction of the equity then."""
    return loss_since(context.history.day_start, context)


def drawdown(context: RiskContext) -> Decimal:
    """Return the loss from the highest equity since trading was last resumed, as a fraction."""
    return loss_since(context.history.peak, context)


@dataclass(frozen=True)
class DailyLoss:
    """loss since 00:00 UTC < limit; else only what reduces passes, until the next day."""

    limit: Decimal
    name: ClassVar[str] = "daily_loss"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.daily_loss is None else cls(limits.daily_loss.limit)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        lost = daily_loss(context)
        if lost < self.limit or context.reduces(order):
            return None
        reason = f"the day's loss is {lost:.2%} of equity; the limit is {self.limit:.2%}"
        return RuleFinding(self.name, order.symbol, reason)


@dataclass(frozen=True)
class Drawdown:
    """loss from the highest equity < limit; else only what reduces passes, until a resume."""

    limit: Decimal
    name: ClassVar[str] = "drawdown"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.drawdown is None else cls(limits.drawdown.limit)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        lost = drawdown(context)
        if lost < self.limit or context.reduces(order):
            return None
        reason = f"the drawdown is {lost:.2%} of the peak; the limit is {self.limit:.2%}"
        return RuleFinding(self.name, order.symbol, reason)


@dataclass(frozen=True)
class LossBreach:
    """A loss limit that is breached now, and what follows from it."""

    rule: str
    """The rule's name: daily_loss or drawdown."""
    reason: str
    """The loss and its limit, as a sentence."""
    limit: LossLimit
    """The limit, with the state to set and whether to flatten."""


def breaches(context: RiskContext, limits: RiskLimits) -> tuple[LossBreach, ...]:
    """Return the loss limits that the account has breached: loss >= limit."""
    found = (
        (DailyLoss.name, "the day's loss", limits.daily_loss, daily_loss(context)),
        (Drawdown.name, "the drawdown", limits.drawdown, drawdown(context)),
    )
    return tuple(
        LossBreach(rule, f"{what} is {lost:.2%}; the limit is {limit.limit:.2%}", limit)
        for rule, what, limit, lost in found
        if limit is not None and lost >= limit.limit
    )
