"""One class per risk rule: an order and its context in, a rejection or nothing out.

A rejection says how much of the order the rule allows; zero denies it. Combining the rules is for penstock.risk.review.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from penstock.core.accounts import Halt, TradingState
from penstock.core.drafts import DraftOrder, SeenBar
from penstock.core.instruments import Instrument
from penstock.core.orders import Side
from penstock.risk.limits import RiskLimits

_ZERO = Decimal(0)


@dataclass(frozen=True)
class RiskContext:
    """What the rules may look at: the account as it stands before the orders under review.

    `positions` by asset, `prices` (the venue's, quote units), `instruments` and `seen` by symbol. `locks` maps a locked
    symbol or asset to the reason.
    """

    slot: datetime
    equity: Decimal
    positions: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]
    instruments: Mapping[str, Instrument]
    seen: Mapping[str, SeenBar]
    halt: Halt
    quote: str
    locks: Mapping[str, str] = field(default_factory=dict)
    planned_buys: Decimal = _ZERO

    def exposure(self, symbol: str) -> Decimal:
        """Return the value held in `symbol`."""
        return self.positions.get(self.instruments[symbol].base, _ZERO) * self.prices.get(symbol, _ZERO)

    @property
    def gross(self) -> Decimal:
        """The value held outside the quote asset, where it has a price."""
        symbols = {f"{asset}/{self.quote}" for asset in self.positions}
        return sum((self.exposure(symbol) for symbol in symbols if symbol in self.instruments), _ZERO)


@dataclass(frozen=True)
class Rejection:
    """A rule's word against an order. `allowed` is the quantity the rule would let pass (base units); zero denies."""

    rule: str
    symbol: str
    reason: str
    allowed: Decimal = _ZERO


class Rule(Protocol):
    """One limit. `check` returns None where the order may pass as it is."""

    @property
    def name(self) -> str: ...

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None: ...


@dataclass(frozen=True)
class KillSwitchRule:
    """HALTED passes nothing; REDUCE_ONLY passes sells only."""

    name: str = "kill_switch"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        halt = context.halt
        if not halted(halt, order.side):
            return None
        return Rejection(self.name, order.symbol, f"{halt.account} is {halt.state}: {halt.reason} (set by {halt.by})")


def halted(halt: Halt, side: Side) -> bool:
    """Return whether the state forbids an order of this side."""
    return halt.state is TradingState.HALTED or (halt.state is TradingState.REDUCE_ONLY and side is Side.BUY)


@dataclass(frozen=True)
class LockedInstrument:
    """A symbol, or its base asset, on which ledger and venue disagree is not traded."""

    name: str = "locked_instrument"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        for subject in (order.symbol, context.instruments[order.symbol].base):
            if subject in context.locks:
                return Rejection(self.name, order.symbol, f"locked by an open break: {context.locks[subject]}")
        return None


@dataclass(frozen=True)
class StaleBars:
    """slot - close of the newest bar seen <= max_lag_seconds; a buy that no bar stands behind is stale."""

    max_lag_seconds: float
    name: str = "stale_bars"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        bar = context.seen.get(order.symbol)
        if bar is None and order.side is Side.SELL:
            return None  # an asset that left the universe is closed by policy, on no bar at all
        if bar is None:
            return Rejection(self.name, order.symbol, "no bar was seen for this symbol")
        lag = (context.slot - bar.closed_at).total_seconds()
        if lag <= self.max_lag_seconds:
            return None
        reason = f"the newest bar closed {lag:.0f} s before the slot; at most {self.max_lag_seconds:.0f} s are allowed"
        return Rejection(self.name, order.symbol, reason)


@dataclass(frozen=True)
class PriceCollar:
    """|price / close seen - 1| <= collar: a venue price far from the bars is more likely wrong than true."""

    collar: Decimal
    name: str = "price_collar"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        bar = context.seen.get(order.symbol)
        if bar is None or not bar.close > 0:
            return None
        distance = abs(order.price / Decimal(str(bar.close)) - 1)
        if distance <= self.collar:
            return None
        reason = f"price {order.price} is {distance:.1%} from the last close {bar.close}; at most {self.collar:.1%} is allowed"
        return Rejection(self.name, order.symbol, reason)


@dataclass(frozen=True)
class MaxOrderNotional:
    """quantity x price <= limit."""

    limit: Decimal
    name: str = "max_order_notional"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        if order.notional <= self.limit:
            return None
        reason = f"notional {order.notional:.2f} is over {self.limit} {context.quote}"
        return Rejection(self.name, order.symbol, reason, self.limit / order.price)


@dataclass(frozen=True)
class MaxWeight:
    """(held + bought) x price <= limit x equity. A sell always passes: it reduces."""

    limit: Decimal
    name: str = "max_weight"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        if order.side is Side.SELL:
            return None
        room = self.limit * context.equity - context.exposure(order.symbol)
        if order.notional <= room:
            return None
        weight = (context.exposure(order.symbol) + order.notional) / context.equity
        reason = f"weight would be {weight:.1%} of equity; at most {self.limit:.1%} is allowed"
        return Rejection(self.name, order.symbol, reason, max(room, _ZERO) / order.price)


@dataclass(frozen=True)
class MaxGross:
    """gross held + all buys under review <= limit x equity; else every buy shrinks by the same factor."""

    limit: Decimal
    name: str = "max_gross"

    def check(self, order: DraftOrder, context: RiskContext) -> Rejection | None:
        if order.side is Side.SELL:
            return None
        room = self.limit * context.equity - context.gross
        if context.planned_buys <= room:
            return None
        gross = (context.gross + context.planned_buys) / context.equity
        reason = f"gross exposure would be {gross:.1%} of equity; at most {self.limit:.1%} is allowed"
        return Rejection(self.name, order.symbol, reason, order.quantity * max(room, _ZERO) / context.planned_buys)


def rules_of(limits: RiskLimits) -> tuple[Rule, ...]:
    """Return every rule that the limits switch on, in the order in which reasons are shown."""
    rules: list[Rule] = [KillSwitchRule(), LockedInstrument(), StaleBars(limits.max_bar_lag_seconds)]
    if limits.price_collar is not None:
        rules.append(PriceCollar(limits.price_collar))
    if limits.max_order_notional is not None:
        rules.append(MaxOrderNotional(limits.max_order_notional))
    return (*rules, MaxWeight(limits.max_weight), MaxGross(limits.max_gross))
