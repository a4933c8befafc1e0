"""One class per risk rule: an order and its context in, a rejection or nothing out.

A rejection says how much of the order the rule allows; zero denies it. Which rules are in force,
and combining them, is for penstock.risk.review. Rules on losses, pace and single positions stand in
modules of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from penstock.core.halts import Halt, TradingState
from penstock.core.instruments import Instrument, holdings_by_symbol
from penstock.core.orders import Side
from penstock.core.proposals import ProposedOrder, SeenBar
from penstock.core.risk_records import RiskHistory, Verdict

_ZERO = Decimal(0)


@dataclass(frozen=True)
class RiskContext:
    """What the rules may look at: the account as it stands before the orders under review.

    `positions` by asset, `prices` (the venue's, quote units), `mids` (where the venue quotes both
    sides), `instruments` and `seen` by symbol. `unquoted` says why mids cannot be read, "" where
    they can. `requests`: in how many seconds the requests for a symbol's order leave, where that is
    not one at once. `locks` maps a locked symbol or asset to the reason. `weights` are the slot's
    targets by symbol, `contributions` what each strategy version asked of a symbol, `quotas` what
    each version may use. `flatten` names the symbols whose position is being closed by a rule or an
    operator. `planned` are all orders under review.
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
    mids: Mapping[str, Decimal] = field(default_factory=dict)
    unquoted: str = ""
    requests: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    weights: Mapping[str, float | None] = field(default_factory=dict)
    contributions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    quotas: Mapping[str, float] = field(default_factory=dict)
    history: RiskHistory = field(default_factory=RiskHistory)
    entries: Mapping[str, Decimal] = field(default_factory=dict)
    flatten: frozenset[str] = frozenset()
    planned: Sequence[ProposedOrder] = ()

    def exposure(self, symbol: str) -> Decimal:
        """Return the value held in `symbol`."""
        return self.positions.get(self.instruments[symbol].base, _ZERO) * self.prices.get(
            symbol, _ZERO
        )

    @property
    def held(self) -> list[str]:
        """The symbols of every position that has a market against the quote asset, sorted."""
        held = holdings_by_symbol(self.positions, self.quote, self.instruments)
        return sorted(symbol for symbol, quantity in held.items() if quantity)

    @property
    def gross(self) -> Decimal:
        """The summed size of what is held outside the quote asset, where it has a price."""
        return sum((abs(self.exposure(symbol)) for symbol in self.held), _ZERO)

    @property
    def net(self) -> Decimal:
        """What is held outside the quote asset, where it has a price; a negative position counts
        against the others.
        """
        return sum((self.exposure(symbol) for symbol in self.held), _ZERO)

    @property
    def planned_buys(self) -> Decimal:
        """The summed notional of all buys under review."""
        return sum((order.notional for order in self.planned if order.side is Side.BUY), _ZERO)


@dataclass(frozen=True)
class RuleFinding:
    """A rule's word against an order. `allowed` is the quantity the rule would let pass (base
    units); zero denies.
    """

    rule: str
    symbol: str
    reason: str
    allowed: Decimal = _ZERO
    flatten: bool = False

    @property
    def verdict(self) -> Verdict:
        if self.flatten:
            return Verdict.FLATTEN
        return Verdict.SHRINK if self.allowed > 0 else Verdict.DENY


class Rule(Protocol):
    """One limit. `check` returns None where the order may pass as it is."""

    @property
    def name(self) -> str: ...

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None: ...


@dataclass(frozen=True)
class KillSwitchRule:
    """HALTED passes nothing; REDUCE_ONLY passes sells only."""

    name: str = "kill_switch"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        halt = context.halt
        if not halted(halt, order.side):
            return None
        return RuleFinding(
            self.name,
            order.symbol,
            f"{halt.account} is {halt.state}: {halt.reason} (set by {halt.by})",
        )


def halted(halt: Halt, side: Side) -> bool:
    """Return whether the state forbids an order of this side. A halt that flattens lets sells pass."""
    if halt.flatten and side is Side.SELL:
        return False
    return halt.state is TradingState.HALTED or (
        halt.state is TradingState.REDUCE_ONLY and side is Side.BUY
    )


@dataclass(frozen=True)
class LockedInstrument:
    """A symbol, or its base asset, on which ledger and venue disagree is not traded."""

    name: str = "locked_instrument"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        for subject in (order.symbol, context.instruments[order.symbol].base):
            if subject in context.locks:
                return RuleFinding(
                    self.name, order.symbol, f"locked by an open break: {context.locks[subject]}"
                )
        return None


@dataclass(frozen=True)
class StaleBars:
    """slot - close of the newest bar seen <= max_lag_seconds; a buy that no bar stands behind is
    stale.
    """

    max_lag_seconds: float
    name: str = "stale_bars"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        bar = context.seen.get(order.symbol)
        if bar is None and order.side is Side.SELL:
            return None  # an asset that left the universe is closed by policy, on no bar at all
        if bar is None:
            return RuleFinding(self.name, order.symbol, "no bar was seen for this symbol")
        lag = (context.slot - bar.closed_at).total_seconds()
        if lag <= self.max_lag_seconds:
            return None
        reason = f"the newest bar closed {lag:.0f} s before the slot; at most {self.max_lag_seconds:.0f} s are allowed"
        return RuleFinding(self.name, order.symbol, reason)


@dataclass(frozen=True)
class PriceCollar:
    """|price / reference - 1| <= collar, against the venue's mid and against the close that the
    decision saw.

    A price far from either is more likely wrong than true. Where the venue quotes no mid the close
    alone counts. Quotes that cannot be read deny: what the market is willing to pay is then
    unknown, and only a position's exit leaves unseen.
    """

    collar: Decimal
    name: str = "price_collar"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        if context.unquoted:
            reason = f"the venue's quotes cannot be read, so nothing confirms the price {order.price}: {context.unquoted}"
            return RuleFinding(self.name, order.symbol, reason)
        bar, mid = context.seen.get(order.symbol), context.mids.get(order.symbol)
        close = _ZERO if bar is None else Decimal(str(bar.close))
        without = " (the venue quotes no mid)" if mid is None else ""
        for named, reference in (("the last mid", mid or _ZERO), ("the last close", close)):
            distance = abs(order.price / reference - 1) if reference > 0 else _ZERO
            if distance > self.collar:
                reason = (
                    f"price {order.price} is {distance:.1%} from {named} {reference:f}{without}"
                )
                return RuleFinding(
                    self.name, order.symbol, f"{reason}; at most {self.collar:.1%} is allowed"
                )
        return None


@dataclass(frozen=True)
class MaxOrderNotional:
    """quantity x price <= limit."""

    limit: Decimal
    name: str = "max_order_notional"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        if order.notional <= self.limit:
            return None
        reason = f"notional {order.notional:.2f} is over {self.limit} {context.quote}"
        return RuleFinding(self.name, order.symbol, reason, self.limit / order.price)


@dataclass(frozen=True)
class VolatilityFilter:
    """Standard deviation of the log returns, per day, <= limit; else no buy. A sell always passes:
    it reduces.
    """

    limit: Decimal
    name: str = "volatility_filter"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        bar = context.seen.get(order.symbol)
        seen = None if bar is None else bar.daily_volatility
        if order.side is Side.SELL or seen is None or seen <= self.limit:
            return None
        return RuleFinding(
            self.name,
            order.symbol,
            f"volatility is {seen:.1%} a day; at most {self.limit:.1%} is allowed",
        )
