"""Rules on the size of positions: of one symbol, of the whole account, of one strategy.

An order that reduces its position passes each of them. In the formulas `side` is 1 for a buy and -1
for a sell. So a limit is the same for long and short positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from penstock.core.amounts import plain, to_step
from penstock.core.proposals import ProposedOrder
from penstock.risk.limits import RiskLimits
from penstock.risk.rules import RiskContext, RuleFinding

_ZERO = Decimal(0)
#: Quotas and weights are floats: a sum may exceed its bound by this much.
_FLOAT_ERROR = Decimal("1e-9")


@dataclass(frozen=True)
class MaxPosition:
    """side x position + quantity <= limit (the symbol's own units), for symbols that have a limit.

    Else the order shrinks to what is left.
    """

    limits: Mapping[str, Decimal]
    name: ClassVar[str] = "max_position"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return cls(limits.max_position) if limits.max_position else None

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        limit = self.limits.get(order.symbol)
        if limit is None or context.reduces(order):
            return None
        room = limit - order.side.sign * context.position(order.symbol)
        if order.quantity <= room:
            return None
        wanted = to_step(limit - room + order.quantity)
        reason = f"position would be {wanted}; at most {plain(limit)} is allowed"
        return RuleFinding(self.name, order.symbol, reason, max(room, _ZERO))


@dataclass(frozen=True)
class MaxPositionNotional:
    """side x exposure + notional <= limit (quote units), for every symbol.

    Else the order shrinks to what is left.
    """

    limit: Decimal
    name: ClassVar[str] = "max_position_notional"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_position_notional is None else cls(limits.max_position_notional)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        notional = context.notional(order)
        room = self.limit - order.side.sign * context.exposure(order.symbol)
        if notional <= room or context.reduces(order):
            return None
        reason = (
            f"position would be worth {self.limit - room + notional:.2f}; "
            f"at most {self.limit} is allowed"
        )
        return RuleFinding(self.name, order.symbol, reason, context.quantity(order, room))


@dataclass(frozen=True)
class MaxWeight:
    """Concentration: side x exposure + notional <= limit x equity.

    Else the order shrinks to what is left.
    """

    limit: Decimal
    name: ClassVar[str] = "max_weight"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self:
        return cls(limits.max_weight)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        exposure = order.side.sign * context.exposure(order.symbol)
        notional = context.notional(order)
        room = self.limit * context.equity - exposure
        if notional <= room or context.reduces(order):
            return None
        weight = context.of_equity(exposure + notional)
        reason = f"weight would be {weight:.1%} of equity; at most {self.limit:.1%} is allowed"
        return RuleFinding(self.name, order.symbol, reason, context.quantity(order, room))


@dataclass(frozen=True)
class MaxAccountNotional:
    """gross + all increases under review <= limit (quote units).

    Else every order that does not reduce shrinks by the same factor.
    """

    limit: Decimal
    name: ClassVar[str] = "max_account_notional"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_account_notional is None else cls(limits.max_account_notional)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        gross, increases = context.gross, context.increases()
        if increases <= self.limit - gross or context.reduces(order):
            return None
        reason = f"the account would hold {gross + increases:.2f}; at most {self.limit} is allowed"
        allowed = _share(order, self.limit - gross, increases)
        return RuleFinding(self.name, order.symbol, reason, allowed)


@dataclass(frozen=True)
class MaxGross:
    """gross + all increases under review <= limit x equity.

    Else every order that does not reduce shrinks by the same factor.
    """

    limit: Decimal
    name: ClassVar[str] = "max_gross"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self:
        return cls(limits.max_gross)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        gross, increases = context.gross, context.increases()
        room = self.limit * context.equity - gross
        if increases <= room or context.reduces(order):
            return None
        reason = (
            f"gross exposure would be {context.of_equity(gross + increases):.1%} of equity; "
            f"at most {self.limit:.1%} is allowed"
        )
        return RuleFinding(self.name, order.symbol, reason, _share(order, room, increases))


@dataclass(frozen=True)
class MaxNet:
    """side x net + all increases under review of the order's side <= limit x equity.

    Else every order of that side that does not reduce shrinks by the same factor.
    """

    limit: Decimal
    name: ClassVar[str] = "max_net"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_net is None else cls(limits.max_net)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        net, increases = order.side.sign * context.net, context.increases(order.side)
        room = self.limit * context.equity - net
        if increases <= room or context.reduces(order):
            return None
        reason = (
            f"net exposure would be {context.of_equity(net + increases):.1%} of equity; "
            f"at most {self.limit:.1%} is allowed"
        )
        return RuleFinding(self.name, order.symbol, reason, _share(order, room, increases))


def _share(order: ProposedOrder, room: Decimal, increases: Decimal) -> Decimal:
    """Return the order's share of the room that all increases under review have together."""
    return order.quantity * max(room, _ZERO) / increases


@dataclass(frozen=True)
class StrategyQuota:
    """sum over symbols of |what a strategy asks for| <= its quota (fractions of equity).

    Else what it asks for shrinks to its share of the quota. Where several strategies want a symbol,
    what each may have of it is summed.
    """

    name: ClassVar[str] = "strategy_quota"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return cls() if limits.strategy_quotas else None

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        parts = context.contributions.get(order.symbol, {})
        if not parts or context.reduces(order):
            return None
        factors = {version: self._factor(version, context) for version in parts}
        over = sorted(version for version, factor in factors.items() if factor < 1)
        if not over:
            return None
        weight = sum(
            (Decimal(str(part)) * factors[version] for version, part in parts.items()), _ZERO
        )
        room = order.side.sign * (weight * context.equity - context.exposure(order.symbol))
        allowed = context.quantity(order, room)
        if order.quantity <= allowed:
            return None
        asked = ", ".join(
            f"{version} asks for {context.asked.get(version, _ZERO):.1%}" for version in over
        )
        quotas = ", ".join(f"{context.quotas[version]:.1%}" for version in over)
        reason = f"{asked} of equity; its quota is {quotas}"
        return RuleFinding(self.name, order.symbol, reason, allowed)

    def _factor(self, version: str, context: RiskContext) -> Decimal:
        asked, quota = context.asked.get(version, _ZERO), context.quotas.get(version)
        if quota is None or asked <= Decimal(str(quota)) + _FLOAT_ERROR:
            return Decimal(1)
        return Decimal(str(quota)) / asked
