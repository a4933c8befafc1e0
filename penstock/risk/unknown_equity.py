"""The rule on an account whose equity is not known, or whose order has no confirmed price."""

from dataclasses import dataclass
from typing import ClassVar, Self

from penstock.core.proposals import ProposedOrder
from penstock.risk.limits import RiskLimits
from penstock.risk.rules import RiskContext, RuleFinding


@dataclass(frozen=True)
class UnknownEquity:
    """Equity is known, else only what reduces passes; and the order's own price is confirmed.

    The review does not apply this rule to the exit of a position that risk or an operator closes.
    """

    name: ClassVar[str] = "unknown_equity"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self:  # noqa: ARG003 - always in force
        return cls()

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        own = context.unsure.get(order.symbol)
        if own is not None:
            return RuleFinding(self.name, order.symbol, f"no confirmed price: {own.reason}")
        if not context.unknown or context.reduces(order):
            return None
        why = "; ".join(f"{symbol}: {reason}" for symbol, reason in sorted(context.unknown.items()))
        return RuleFinding(self.name, order.symbol, f"equity is unknown: {why}")
