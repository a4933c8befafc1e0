"""Rules on how fast an account trades, and on decisions that look like an accident."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from penstock.core.proposals import ProposedOrder
from penstock.risk.limits import RiskLimits
from penstock.risk.rules import RiskContext, RuleFinding

_MINUTE = 60.0


@dataclass(frozen=True)
class MaxOrdersPerMinute:
    """In any 60 seconds: orders done + requests of this order and of those before it <= limit.

    Orders before it in the plan count even where they are denied. An order that is worked over time
    counts each request when it is to leave.
    """

    limit: int
    name: ClassVar[str] = "max_orders_per_minute"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_orders_per_minute is None else cls(limits.max_orders_per_minute)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        if _all_fit(order, context, context.history.orders_last_minute, self.limit):
            return None
        times = sorted(_times(order, context))
        busiest = max(_in_minutes(times, context.history.orders_last_minute), default=0)
        return _paced(self.name, order, busiest, self.limit, "minute")


@dataclass(frozen=True)
class MaxOrdersPerDay:
    """Orders since 00:00 UTC + requests of this order and of those before it <= limit.

    Orders before it in the plan count even where they are denied. A request that is to leave after
    midnight counts for today too.
    """

    limit: int
    name: ClassVar[str] = "max_orders_per_day"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_orders_per_day is None else cls(limits.max_orders_per_day)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        if _all_fit(order, context, context.history.orders_today, self.limit):
            return None
        return _paced(
            self.name,
            order,
            context.history.orders_today + len(_times(order, context)),
            self.limit,
            "day",
        )


def _all_fit(order: ProposedOrder, context: RiskContext, done: int, limit: int) -> bool:
    """Return whether even all requests under review fit, so that no order needs to be counted."""
    return done + context.request_count + len(context.request_times(order)) <= limit


def _times(order: ProposedOrder, context: RiskContext) -> list[float]:
    """Return the seconds until each request leaves, of this order and of those before it."""
    upto = next((n for n, each in enumerate(context.under_review) if each is order), 0)
    before = context.under_review[:upto]
    return [seconds for each in (*before, order) for seconds in context.request_times(each)]


def _in_minutes(times: list[float], done: int) -> Iterator[int]:
    """Yield the number of requests in each minute that ends with a request.

    `done`, the requests of the past minute, count in those of the first minute.
    """
    first = 0
    for n, at in enumerate(times):
        while times[first] <= at - _MINUTE:
            first += 1
        yield n - first + 1 + (done if at < _MINUTE else 0)


def _paced(
    name: str, order: ProposedOrder, count: int, limit: int, period: str
) -> RuleFinding | None:
    if count <= limit:
        return None
    reason = f"with it there would be {count} orders in a {period}; at most {limit} are allowed"
    return RuleFinding(name, order.symbol, reason)


@dataclass(frozen=True)
class TargetJump:
    """sum over symbols of |weight - earlier weight| <= limit, for the nearer of two earlier slots.

    Else no order passes. So a large change waits for one slot, and trades if the next decision is
    the same. An account's first decision always passes.
    """

    limit: Decimal
    name: ClassVar[str] = "target_jump"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_target_jump is None else cls(limits.max_target_jump)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        jump = context.target_jump
        if jump <= self.limit:
            return None
        reason = (
            f"the targets moved by {jump:.2f} of equity since the last slot; "
            f"at most {self.limit} is allowed at once"
        )
        return RuleFinding(self.name, order.symbol, reason)


@dataclass(frozen=True)
class TurnoverBurst:
    """(traded in the last hour + all orders under review) / equity <= limit.

    Else none of them passes.
    """

    limit: Decimal
    name: ClassVar[str] = "turnover_burst"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_hourly_turnover is None else cls(limits.max_hourly_turnover)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        turnover = (
            (context.history.traded_last_hour + context.to_trade) / context.equity
            if context.equity > 0
            else Decimal(0)
        )
        if turnover <= self.limit:
            return None
        reason = (
            f"the hour's turnover would be {turnover:.2f} times equity; "
            f"at most {self.limit} is allowed"
        )
        return RuleFinding(self.name, order.symbol, reason)
