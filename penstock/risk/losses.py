"""Rules on what the account has lost, open positions valued at the last price: the day's loss and
the drawdown.
"""

from dataclasses import dataclass
from decimal import Decimal

from penstock.core.orders import Side
from penstock.core.proposals import ProposedOrder
from penstock.risk.limits import LossLimit, RiskLimits
from penstock.risk.rules import RiskContext, RuleFinding

_ZERO = Decimal(0)


def loss_since(start: Decimal | None, context: RiskContext) -> Decimal:
    """Return the loss from `start` to now as a fraction of `start`; zero for a gain, or where no
    start is known.

    What deposits and withdrawals added or took is no gain and no loss: `start` is without it.
    """
    transferred = context.history.transferred
    if start is None or start + transferred <= 0:
        return _ZERO
    return max((start + transferred - context.equity) / (start + transferred), _ZERO)


def daily_loss(context: RiskContext) -> Decimal:
    """Return the loss since the day (UTC) began, as a fraction of the equity then."""
    return loss_since(context.history.day_start, context)


def drawdown(context: RiskContext) -> Decimal:
    """Return the loss from the highest equity since trading was last resumed, as a fraction of it."""
    return loss_since(context.history.peak, context)


@dataclass(frozen=True)
class DailyLoss:
    """loss since 00:00 UTC < limit; else no buy until the next day."""

    limit: Decimal
    name: str = "daily_loss"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        lost = daily_loss(context)
        if order.side is Side.SELL or lost < self.limit:
            return None
        return RuleFinding(
            self.name,
            order.symbol,
            f"the day's loss is {lost:.2%} of equity; the limit is {self.limit:.2%}",
        )


@dataclass(frozen=True)
class Drawdown:
    """loss from the highest equity < limit; else no buy until an operator resumes trading."""

    limit: Decimal
    name: str = "drawdown"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        lost = drawdown(context)
        if order.side is Side.SELL or lost < self.limit:
            return None
        return RuleFinding(
            self.name,
            order.symbol,
            f"the drawdown is {lost:.2%} of the peak; the limit is {self.limit:.2%}",
        )


@dataclass(frozen=True)
class LossBreach:
    """A loss limit that is breached now, and what follows from it."""

    rule: str
    reason: str
    limit: LossLimit


def breaches(context: RiskContext, limits: RiskLimits) -> tuple[LossBreach, ...]:
    """Return the loss limits that the account has breached."""
    found = (
        ("daily_loss", "the day's loss", limits.daily_loss, daily_loss(context)),
        ("drawdown", "the drawdown", limits.drawdown, drawdown(context)),
    )
    return tuple(
        LossBreach(rule, f"{what} is {lost:.2%}; the limit is {limit.limit:.2%}", limit)
        for rule, what, limit, lost in found
        if limit is not None and lost >= limit.limit
    )
