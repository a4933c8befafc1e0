"""The review: every rule on every order, all findings kept.

Only `review` makes ApprovedOrders, and only those are sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from penstock.core.errors import RiskError
from penstock.core.proposals import ProposedOrder
from penstock.core.risk_records import RecordedFinding, RiskVerdict
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
from penstock.risk.unknown_equity import UnknownEquity

#: Every rule, in the order in which findings are shown.
RULES: tuple[type[Rule], ...] = (
    KillSwitchRule,
    LockedInstrument,
    UnknownEquity,
    StaleBars,
    PriceCollar,
    VolatilityFilter,
    StopCooldown,
    DailyLoss,
    Drawdown,
    TargetJump,
    TurnoverBurst,
    MaxOrdersPerMinute,
    MaxOrdersPerDay,
    MaxOrderNotional,
    MaxPosition,
    MaxPositionNotional,
    StrategyQuota,
    MaxWeight,
    MaxAccountNotional,
    MaxGross,
    MaxNet,
)
#: The only rules for orders that close a position for risk's or an operator's sake.
_EXIT_RULES = (KillSwitchRule, LockedInstrument)
#: The rule name of an order that shrank below the venue's minimum.
VENUE_MINIMUM = "venue_minimum"

_SEAL = object()


@dataclass(frozen=True)
class ReviewedOrder:
    """One order before and after review."""

    order: ProposedOrder
    """The order as it was proposed."""
    verdict: RiskVerdict
    """What all rules together decided: allow, shrink or deny."""
    passed: ProposedOrder | None
    """What may be sent of it; None where it was denied."""
    findings: tuple[RuleFinding, ...] = ()
    """What the rules found; none where it is allowed as it is."""
    reduces: bool = False
    """Whether it makes a position smaller."""


@dataclass(frozen=True)
class ApprovedOrders:
    """What a review lets pass of a plan. Raises RiskError where anything but `review` makes one."""

    orders: tuple[ProposedOrder, ...]
    """The orders that may be sent, shrunk where a rule asked for it."""
    denied: tuple[ProposedOrder, ...]
    """The orders that were denied, as they were proposed."""
    findings: tuple[RuleFinding, ...]
    """What the rules found against any order of the plan."""
    seal: object = field(repr=False, compare=False)
    """Proof that `review` made it."""
    reviewed: tuple[ReviewedOrder, ...] = ()
    """Every order of the plan, before and after."""

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise RiskError(
                "ApprovedOrders come from penstock.risk.review.review alone: have the plan reviewed"
            )

    @property
    def verdicts(self) -> tuple[RecordedFinding, ...]:
        """Every finding as it is recorded, with the decision on its order."""
        return tuple(
            RecordedFinding(
                each.order.symbol,
                each.verdict,
                finding.rule,
                finding.reason,
                each.order.quantity,
                Decimal(0) if each.passed is None else each.passed.quantity,
            )
            for each in self.reviewed
            for finding in each.findings
        )


def review(
    orders: Sequence[ProposedOrder], context: RiskContext, limits: RiskLimits
) -> ApprovedOrders:
    """Return what may be sent of `orders`: every rule checks every order.

    An order shrinks to the smallest quantity that a rule allows, rounded down to lots. It is denied
    where a rule allows nothing, or where the venue would refuse what is left. An order that reduces
    a position of `context.exits` is checked for kill switch and locks only: no limit may stop it.
    """
    seen = replace(context, under_review=tuple(orders))
    rules = rules_of(limits)
    exit_rules = tuple(rule for rule in rules if isinstance(rule, _EXIT_RULES))
    reviewed = tuple(
        _reviewed(
            order,
            exit_rules if order.symbol in seen.exits and seen.reduces(order) else rules,
            seen,
        )
        for order in seen.under_review
    )
    return ApprovedOrders(
        tuple(each.passed for each in reviewed if each.passed is not None),
        tuple(each.order for each in reviewed if each.passed is None),
        tuple(finding for each in reviewed for finding in each.findings),
        _SEAL,
        reviewed,
    )


def _reviewed(order: ProposedOrder, rules: Sequence[Rule], context: RiskContext) -> ReviewedOrder:
    findings = tuple(
        finding for rule in rules if (finding := rule.check(order, context)) is not None
    )
    reduces = context.reduces(order)
    if not findings:
        return ReviewedOrder(order, RiskVerdict.ALLOW, order, reduces=reduces)
    allowed = min(finding.allowed for finding in findings)
    if allowed <= 0:
        return ReviewedOrder(order, RiskVerdict.DENY, None, findings, reduces)
    instrument = context.instruments[order.symbol]
    shrunk = order.resized(instrument.round_lots(min(allowed, order.quantity)))
    refusal = instrument.refusal(shrunk.quantity, shrunk.price)
    if refusal is None:
        return ReviewedOrder(order, RiskVerdict.SHRINK, shrunk, findings, reduces)
    reason = f"what the limits leave: {refusal}"
    refused = RuleFinding(VENUE_MINIMUM, order.symbol, reason)
    return ReviewedOrder(order, RiskVerdict.DENY, None, (*findings, refused), reduces)


def rules_of(limits: RiskLimits) -> tuple[Rule, ...]:
    """Return every rule that the limits switch on, in the order in which findings are shown."""
    return tuple(rule for kind in RULES if (rule := kind.of(limits)) is not None)
