"""Rules on how much is held: one symbol, the whole account, one strategy. A sell always passes: it
reduces.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from penstock.core.orders import Side
from penstock.core.proposals import ProposedOrder
from penstock.risk.rules import RiskContext, RuleFinding

_ZERO = Decimal(0)
#: Quotas and weights are floats: a sum may pass its bound by this much and still be at it.
_FLOAT_ERROR = Decimal("1e-9")


@dataclass(frozen=True)
class MaxPosition:
    """held + bought <= limit (base units), for the symbols that have one."""

    limits: Mapping[str, Decimal]
    name: str = "max_position"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        limit = self.limits.get(order.symbol)
        if order.side is Side.SELL or limit is None:
            return None
        room = limit - context.positions.get(context.instruments[order.symbol].base, _ZERO)
        if order.quantity <= room:
            return None
        reason = f"position would be {limit - room + order.quantity}; at most {limit} is allowed"
        return RuleFinding(self.name, order.symbol, reason, max(room, _ZERO))


@dataclass(frozen=True)
class MaxPositionNotional:
    """(held + bought) x price <= limit (quote units), for every symbol."""

    limit: Decimal
    name: str = "max_position_notional"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        room = self.limit - context.exposure(order.symbol)
        if order.side is Side.SELL or order.notional <= room:
            return None
        reason = f"position would be worth {self.limit - room + order.notional:.2f}; at most {self.limit} is allowed"
        return RuleFinding(self.name, order.symbol, reason, max(room, _ZERO) / order.price)


@dataclass(frozen=True)
class MaxWeight:
    """Concentration: (held + bought) x price <= limit x equity."""

    limit: Decimal
    name: str = "max_weight"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        if order.side is Side.SELL:
            return None
        room = self.limit * context.equity - context.exposure(order.symbol)
        if order.notional <= room:
            return None
        weight = (context.exposure(order.symbol) + order.notional) / context.equity
        reason = f"weight would be {weight:.1%} of equity; at most {self.limit:.1%} is allowed"
        return RuleFinding(self.name, order.symbol, reason, max(room, _ZERO) / order.price)


@dataclass(frozen=True)
class MaxAccountNotional:
    """gross held + all buys under review <= limit (quote units); else every buy shrinks by the same
    factor.
    """

    limit: Decimal
    name: str = "max_account_notional"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        room = self.limit - context.gross
        if order.side is Side.SELL or context.planned_buys <= room:
            return None
        reason = f"the account would hold {context.gross + context.planned_buys:.2f}; at most {self.limit} is allowed"
        return _shared(self.name, order, context, room, reason)


@dataclass(frozen=True)
class MaxGross:
    """gross held + all buys under review <= limit x equity; else every buy shrinks by the same
    factor.
    """

    limit: Decimal
    name: str = "max_gross"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        room = self.limit * context.equity - context.gross
        if order.side is Side.SELL or context.planned_buys <= room:
            return None
        gross = (context.gross + context.planned_buys) / context.equity
        reason = (
            f"gross exposure would be {gross:.1%} of equity; at most {self.limit:.1%} is allowed"
        )
        return _shared(self.name, order, context, room, reason)


@dataclass(frozen=True)
class MaxNet:
    """net held + all buys under review <= limit x equity; else every buy shrinks by the same
    factor.
    """

    limit: Decimal
    name: str = "max_net"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        room = self.limit * context.equity - context.net
        if order.side is Side.SELL or context.planned_buys <= room:
            return None
        net = (context.net + context.planned_buys) / context.equity
        reason = f"net exposure would be {net:.1%} of equity; at most {self.limit:.1%} is allowed"
        return _shared(self.name, order, context, room, reason)


def _shared(
    name: str, order: ProposedOrder, context: RiskContext, room: Decimal, reason: str
) -> RuleFinding:
    """Return the order's share of the room that all buys under review have together."""
    return RuleFinding(
        name, order.symbol, reason, order.quantity * max(room, _ZERO) / context.planned_buys
    )


@dataclass(frozen=True)
class StrategyQuota:
    """sum over symbols of |what a strategy asks for| <= its quota; else its buys shrink to their
    share of the quota.

    A symbol that several strategies want is bought up to the sum of what each may have of it.
    """

    name: str = "strategy_quota"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        parts = context.contributions.get(order.symbol, {})
        if order.side is Side.SELL or not parts:
            return None
        factors = {version: self._factor(version, context) for version in parts}
        over = sorted(version for version, factor in factors.items() if factor < 1)
        if not over:
            return None
        weight = sum(
            (Decimal(str(part)) * factors[version] for version, part in parts.items()), _ZERO
        )
        room = max(weight * context.equity - context.exposure(order.symbol), _ZERO) / order.price
        if order.quantity <= room:
            return None
        asked = ", ".join(
            f"{version} asks for {self._asked(version, context):.1%}" for version in over
        )
        quotas = ", ".join(f"{context.quotas[version]:.1%}" for version in over)
        return RuleFinding(
            self.name, order.symbol, f"{asked} of equity; its quota is {quotas}", room
        )

    def _factor(self, version: str, context: RiskContext) -> Decimal:
        asked, quota = self._asked(version, context), context.quotas.get(version)
        if quota is None or asked <= Decimal(str(quota)) + _FLOAT_ERROR:
            return Decimal(1)
        return Decimal(str(quota)) / asked

    @staticmethod
    def _asked(version: str, context: RiskContext) -> Decimal:
        return sum(
            (
                abs(Decimal(str(parts.get(version, 0.0))))
                for parts in context.contributions.values()
            ),
            _ZERO,
        )
