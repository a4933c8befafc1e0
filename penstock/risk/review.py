"""The review: every rule on every order, all reasons kept. Only `review` makes ApprovedOrders, and
only those are placed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from penstock.core.errors import RiskError
from penstock.core.orders import Side
from penstock.core.proposals import ProposedOrder
from penstock.core.risk_records import RiskVerdict, Verdict
from penstock.risk.exposure import (
    MaxAccountNotional,
    MaxGross,
    MaxNet,
    MaxPosition,
    MaxPositionNotional,
    MaxWeight,
    StrategyQuota,
)
from penstock.risk.limits import RiskLimits
from penstock.risk.losses import DailyLoss, Drawdown
from penstock.risk.pace import MaxOrdersPerDay, MaxOrdersPerMinute, TargetJump, TurnoverBurst
from penstock.risk.protection import StopCooldown
from penstock.risk.rules import (
    KillSwitchRule,
    LockedInstrument,
    MaxOrderNotional,
    PriceCollar,
    RiskContext,
    Rule,
    RuleFinding,
    StaleBars,
    VolatilityFilter,
)

_SEAL = object()


@dataclass(frozen=True)
class ReviewedOrder:
    """An order before and after review: `passed` is None where it was denied. `reasons` are all
    words against it.
    """

    order: ProposedOrder
    verdict: Verdict
    passed: ProposedOrder | None
    reasons: tuple[RuleFinding, ...] = ()


@dataclass(frozen=True)
class ApprovedOrders:
    """Orders that every rule lets pass, shrunk where a rule asked for it.

    `rejections` are all words against any order of the plan: those of a shrunk order and those of a
    denied one. `reviewed` has every order of the plan, before and after.
    """

    orders: tuple[ProposedOrder, ...]
    denied: tuple[ProposedOrder, ...]
    findings: tuple[RuleFinding, ...]
    seal: object = field(repr=False, compare=False)
    reviewed: tuple[ReviewedOrder, ...] = ()

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise RiskError(
                "ApprovedOrders come from penstock.risk.review.review alone: have the plan reviewed"
            )

    @property
    def verdicts(self) -> tuple[RiskVerdict, ...]:
        """Every rule's word as it is to be kept: the verdict on the order, and the rule and reason
        behind it.
        """
        return tuple(
            RiskVerdict(
                each.order.symbol,
                each.verdict,
                word.rule,
                word.reason,
                each.order.quantity,
                Decimal(0) if each.passed is None else each.passed.quantity,
            )
            for each in self.reviewed
            for word in each.reasons
        )


def review(
    orders: Sequence[ProposedOrder], context: RiskContext, limits: RiskLimits
) -> ApprovedOrders:
    """Return what may be placed of `orders`. A limit shrinks an order; a rule that allows nothing
    denies it.

    A shrunk order is rounded down to lots, and denied where the venue would refuse what is left. A
    sell that flattens a position is bound by the kill switch and by locks alone: a limit must not
    stand between an account and its exit.
    """
    seen = replace(context, planned=tuple(orders))
    rules = rules_of(limits)
    exit_rules = tuple(
        rule for rule in rules if isinstance(rule, KillSwitchRule | LockedInstrument)
    )
    reviewed: list[ReviewedOrder] = []
    for order in seen.planned:
        exits = order.side is Side.SELL and order.symbol in context.flatten
        reviewed.append(_judged(order, exit_rules if exits else rules, seen))
    return ApprovedOrders(
        tuple(each.passed for each in reviewed if each.passed is not None),
        tuple(each.order for each in reviewed if each.passed is None),
        tuple(reason for each in reviewed for reason in each.reasons),
        _SEAL,
        tuple(reviewed),
    )


def _judged(order: ProposedOrder, rules: Sequence[Rule], context: RiskContext) -> ReviewedOrder:
    against = [rejection for rule in rules if (rejection := rule.check(order, context)) is not None]
    passed = _shrink(order, against, context)
    if isinstance(passed, RuleFinding):
        return ReviewedOrder(order, Verdict.DENY, None, (*against, passed))
    verdict = Verdict.DENY if passed is None else Verdict.SHRINK if against else Verdict.ALLOW
    return ReviewedOrder(order, verdict, passed, tuple(against))


def _shrink(
    order: ProposedOrder, against: Sequence[RuleFinding], context: RiskContext
) -> ProposedOrder | RuleFinding | None:
    """Return what is left of the order, a rejection where the venue would refuse that, or None
    where a rule denies all.
    """
    if not against:
        return order
    allowed = min(rejection.allowed for rejection in against)
    if allowed <= 0:
        return None
    instrument = context.instruments[order.symbol]
    shrunk = order.resized(instrument.round_lots(min(allowed, order.quantity)))
    refusal = instrument.refusal(shrunk.quantity, shrunk.price)
    return (
        shrunk
        if refusal is None
        else RuleFinding("venue_minimum", order.symbol, f"what the limits leave: {refusal}")
    )


def rules_of(limits: RiskLimits) -> tuple[Rule, ...]:
    """Return every rule that the limits switch on, in the order in which reasons are shown."""
    table: tuple[tuple[object, Rule], ...] = (
        (True, KillSwitchRule()),
        (True, LockedInstrument()),
        (True, StaleBars(limits.max_bar_lag_seconds)),
        (limits.price_collar, PriceCollar(limits.price_collar or Decimal(0))),
        (limits.max_daily_volatility, VolatilityFilter(limits.max_daily_volatility or Decimal(0))),
        (limits.guards_positions, StopCooldown(limits.stop_cooldown_minutes)),
        (
            limits.daily_loss,
            DailyLoss(limits.daily_loss.limit if limits.daily_loss else Decimal(0)),
        ),
        (limits.drawdown, Drawdown(limits.drawdown.limit if limits.drawdown else Decimal(0))),
        (limits.max_target_jump, TargetJump(limits.max_target_jump or Decimal(0))),
        (limits.max_hourly_turnover, TurnoverBurst(limits.max_hourly_turnover or Decimal(0))),
        (limits.max_orders_per_minute, MaxOrdersPerMinute(limits.max_orders_per_minute or 0)),
        (limits.max_orders_per_day, MaxOrdersPerDay(limits.max_orders_per_day or 0)),
        (limits.max_order_notional, MaxOrderNotional(limits.max_order_notional or Decimal(0))),
        (limits.max_position, MaxPosition(limits.max_position)),
        (
            limits.max_position_notional,
            MaxPositionNotional(limits.max_position_notional or Decimal(0)),
        ),
        (limits.strategy_quotas, StrategyQuota()),
        (True, MaxWeight(limits.max_weight)),
        (
            limits.max_account_notional,
            MaxAccountNotional(limits.max_account_notional or Decimal(0)),
        ),
        (True, MaxGross(limits.max_gross)),
        (limits.max_net, MaxNet(limits.max_net or Decimal(0))),
    )
    return tuple(rule for switch, rule in table if switch)
