"""Rules on how fast an account trades, and on decisions that look like an accident."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from penstock.core.drafts import DraftOrder
from penstock.risk.rules import Rejection, RiskContext


@dataclass(frozen=True)
class MaxOrdersPerMinute:
    """Orders of the last minute + those before this one in the plan < limit; the rest of the plan is denied."""

    limit: int
    name: str = "max_orders_per_minute"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        return _paced(self.name, order, context, context.history.orders_last_minute, self.limit, "minute")


@dataclass(frozen=True)
class MaxOrdersPerDay:
    """Orders since 00:00 UTC + those before this one in the plan < limit; the rest of the plan is denied."""

    limit: int
    name: str = "max_orders_per_day"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        return _paced(self.name, order, context, context.history.orders_today, self.limit, "day")


def _paced(name: str, order: DraftOrder, context: RiskContext, done: int, limit: int, period: str) -> Rejection | None:
    before = next((n for n, planned in enumerate(context.planned) if planned is order), 0)
    if done + before < limit:
        return None
    return Rejection(name, order.symbol, f"it would be order {done + before + 1} of the {period}; at most {limit} are allowed")


@dataclass(frozen=True)
class TargetJump:
    """sum over symbols of |weight - earlier weight| <= limit, against the nearer one of the last two slots' targets.

    A decision that differs so much from the last is held back for one slot: an accident passes by, a change of mind is
    decided again. The first decision of an account has nothing to differ from.
    """

    limit: Decimal
    name: str = "target_jump"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        if not context.history.targets:
            return None
        jump = min(distance(context.weights, earlier) for earlier in context.history.targets)
        if jump <= self.limit:
            return None
        reason = f"the targets moved by {jump:.2f} of equity since the last slot; at most {self.limit} is allowed at once"
        return Rejection(self.name, order.symbol, reason)


def distance(weights: Mapping[str, float | None], earlier: Mapping[str, float]) -> Decimal:
    """Return the summed change from `earlier` to `weights`; a symbol without a decision has not moved."""
    moved = Decimal(0)
    for symbol in {*weights, *earlier}:
        now = weights.get(symbol, 0.0)
        if now is not None:
            moved += abs(Decimal(str(now)) - Decimal(str(earlier.get(symbol, 0.0))))
    return moved


@dataclass(frozen=True)
class TurnoverBurst:
    """(traded in the last hour + all orders under review) / equity <= limit; else none of them passes."""

    limit: Decimal
    name: str = "turnover_burst"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        planned = sum((each.notional for each in context.planned), Decimal(0))
        turnover = (context.history.traded_last_hour + planned) / context.equity if context.equity > 0 else Decimal(0)
        if turnover <= self.limit:
            return None
        reason = f"the hour's turnover would be {turnover:.2f} times equity; at most {self.limit} is allowed"
        return Rejection(self.name, order.symbol, reason)
