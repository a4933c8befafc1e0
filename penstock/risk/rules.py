"""The interface of a risk rule, its context and its findings; and the rules on single orders.

A rule takes an order and its context. It returns a RuleFinding, or None where the order may pass as
it is. A finding has how much of the order the rule allows; zero denies it. penstock.risk.review
chooses the rules and combines them. Rules on losses, pace, exposure and stops have modules of their
own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import ClassVar, Protocol, Self

from penstock.core.amounts import money, plain, to_step
from penstock.core.breaks import lock_subjects
from penstock.core.halts import Halt
from penstock.core.instruments import Instrument
from penstock.core.orders import Side
from penstock.core.positions import reduces
from penstock.core.proposals import ProposedOrder, SeenBar
from penstock.core.risk_records import RiskHistory, RiskVerdict
from penstock.core.valuation import Price
from penstock.risk.limits import RiskLimits

_ZERO = Decimal(0)


@dataclass(frozen=True)
class RiskContext:
    """What the rules see: the account before the orders under review.

    It has no working orders: a quantity that is open at the venue counts in no position.
    """

    slot: datetime
    """The bar close that the decision acts on (UTC)."""
    equity: Decimal
    """What the account is worth, as far as that is known (quote units)."""
    positions: Mapping[str, Decimal]
    """Signed quantity by symbol, dust included: base units for spot, contracts for a perpetual."""
    prices: Mapping[str, Decimal]
    """What a symbol counts with (quote units)."""
    instruments: Mapping[str, Instrument]
    """What the venue trades now, by symbol."""
    seen: Mapping[str, SeenBar]
    """The newest bar that the decision saw, by symbol."""
    halt: Halt
    """The trading state in force."""
    locks: Mapping[str, str] = field(default_factory=dict)
    """Why a symbol or an asset is locked by an open break, by symbol or asset."""
    mids: Mapping[str, Decimal] = field(default_factory=dict)
    """The middle of bid and ask by symbol, where the venue quotes both sides."""
    half_spreads: Mapping[str, Decimal] = field(default_factory=dict)
    """How far bid and ask are from the middle, as a fraction of it, by symbol."""
    unquoted: str = ""
    """Why mids cannot be read; "" where they can."""
    requests: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The seconds until each request of an order leaves, by symbol. Default: one request at 0."""
    weights: Mapping[str, float | None] = field(default_factory=dict)
    """The slot's targets by symbol (fractions of equity); None is no decision."""
    contributions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What each strategy version asked for (fraction of equity), by symbol and version."""
    quotas: Mapping[str, float] = field(default_factory=dict)
    """What each strategy version may use (fraction of equity)."""
    history: RiskHistory = field(default_factory=RiskHistory)
    """What the account did before."""
    entries: Mapping[str, Decimal] = field(default_factory=dict)
    """The average price paid for positions, by symbol."""
    crumbs: frozenset[str] = frozenset()
    """Symbols that are held and of which nothing can be sold: too little, or a reserve."""
    exits: frozenset[str] = frozenset()
    """Symbols whose position is being closed by a rule or an operator."""
    unsure: Mapping[str, Price] = field(default_factory=dict)
    """The prices that are not confirmed, by symbol."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Why equity cannot be known, by symbol; empty where it is."""
    aged_seconds: float = 0.0
    """How much the bars have aged since the order under review was planned: by the bar closes that
    have passed meanwhile. 0 where it is planned now.
    """
    under_review: Sequence[ProposedOrder] = ()
    """All orders of the plan, in its order. Denied orders stay in it."""

    def position(self, symbol: str) -> Decimal:
        """Return the signed quantity of a symbol; 0 where there is none."""
        return self.positions.get(symbol, _ZERO)

    def reduces(self, order: ProposedOrder) -> bool:
        """Return whether the order makes its symbol's position smaller."""
        return reduces(order, self.position(order.symbol))

    def notional(self, order: ProposedOrder) -> Decimal:
        """Return the order's notional (quote units)."""
        return self.instruments[order.symbol].notional(order.quantity, order.price)

    def quantity(self, order: ProposedOrder, notional: Decimal) -> Decimal:
        """Return the quantity worth `notional` at the order's price; 0 for a negative notional."""
        instrument = self.instruments[order.symbol]
        return max(notional, _ZERO) / instrument.notional(Decimal(1), order.price)

    def of_equity(self, value: Decimal) -> Decimal:
        """Return a value as a fraction of equity; infinity where there is no equity."""
        return value / self.equity if self.equity > 0 else Decimal("Infinity")

    def exposure(self, symbol: str) -> Decimal:
        """Return the signed value of a symbol's position (quote units); 0 where it has no price."""
        quantity, price = self.position(symbol), self.prices.get(symbol, _ZERO)
        if symbol not in self.instruments:  # it is not traded now: spot, in base units
            return quantity * price
        return self.instruments[symbol].notional(quantity, price)

    @cached_property
    def held_symbols(self) -> list[str]:
        """The symbols of all positions, sorted, whether or not the venue trades them now."""
        return sorted(symbol for symbol, quantity in self.positions.items() if quantity)

    @cached_property
    def gross(self) -> Decimal:
        """The summed absolute value of all positions that have a price (quote units)."""
        return sum((abs(self.exposure(symbol)) for symbol in self.held_symbols), _ZERO)

    @cached_property
    def net(self) -> Decimal:
        """The summed signed value of all positions that have a price (quote units)."""
        return sum((self.exposure(symbol) for symbol in self.held_symbols), _ZERO)

    def increases(self, side: Side | None = None) -> Decimal:
        """Return the notional of orders under review that do not reduce, of one side or both."""
        sides = Side if side is None else (side,)
        return sum((self._increases[each] for each in sides), _ZERO)

    @cached_property
    def request_count(self) -> int:
        """The number of requests of all orders under review."""
        return sum(len(self.request_times(each)) for each in self.under_review)

    def request_times(self, order: ProposedOrder) -> tuple[float, ...]:
        """Return the seconds until each request of an order leaves."""
        return self.requests.get(order.symbol, (0.0,))

    @cached_property
    def to_trade(self) -> Decimal:
        """The notional of all orders under review (quote units)."""
        return sum((self.notional(each) for each in self.under_review), _ZERO)

    @cached_property
    def target_jump(self) -> Decimal:
        """The summed change of weights since the nearer of two earlier slots; 0 without one."""
        return min(
            (_distance(self.weights, earlier) for earlier in self.history.targets), default=_ZERO
        )

    @cached_property
    def asked(self) -> dict[str, Decimal]:
        """What each strategy version asks for over all symbols (fraction of equity)."""
        asked: dict[str, Decimal] = {}
        for parts in self.contributions.values():
            for version, part in parts.items():
                asked[version] = asked.get(version, _ZERO) + abs(Decimal(str(part)))
        return asked

    @cached_property
    def _increases(self) -> dict[Side, Decimal]:
        increases = dict.fromkeys(Side, _ZERO)
        for order in self.under_review:
            if not self.reduces(order):
                increases[order.side] += self.notional(order)
        return increases


def _distance(weights: Mapping[str, float | None], earlier: Mapping[str, float]) -> Decimal:
    """Return the summed change from `earlier` to `weights`. No decision is no change."""
    moved = _ZERO
    for symbol in {*weights, *earlier}:
        now = weights.get(symbol, 0.0)
        if now is not None:
            moved += abs(Decimal(str(now)) - Decimal(str(earlier.get(symbol, 0.0))))
    return moved


@dataclass(frozen=True)
class RuleFinding:
    """What one rule found against an order, or against keeping a position."""

    rule: str
    """The rule's name."""
    symbol: str
    """The symbol of the order or position."""
    reason: str
    """The value seen and the limit, as a sentence."""
    allowed: Decimal = _ZERO
    """The quantity of the order that the rule lets pass; 0 denies the order."""
    closes: bool = False
    """Whether the position is to be closed. Such a finding is about no order."""

    @property
    def verdict(self) -> RiskVerdict:
        """What the rule alone would do."""
        if self.closes:
            return RiskVerdict.CLOSE
        return RiskVerdict.SHRINK if self.allowed > 0 else RiskVerdict.DENY


class Rule(Protocol):
    """One limit on orders. The table of all rules is penstock.risk.review.RULES."""

    name: ClassVar[str]
    """The rule's name in records and reports."""

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        """Return the rule with its limit; None where the limits switch it off."""
        ...

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        """Return what the rule found against the order; None where it may pass as it is."""
        ...


@dataclass(frozen=True)
class KillSwitchRule:
    """ACTIVE passes everything, REDUCE_ONLY what reduces, HALTED nothing.

    A halt that flattens passes what reduces.
    """

    name: ClassVar[str] = "kill_switch"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self:  # noqa: ARG003 - always in force
        return cls()

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        halt = context.halt
        if not halt.forbids(reduces=context.reduces(order)):
            return None
        reason = f"{halt.account} is {halt.state}: {halt.reason} (set by {halt.by})"
        return RuleFinding(self.name, order.symbol, reason)


@dataclass(frozen=True)
class LockedInstrument:
    """No open break on the order's symbol or its base asset."""

    name: ClassVar[str] = "locked_instrument"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self:  # noqa: ARG003 - always in force
        return cls()

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        for subject in lock_subjects(order.symbol):
            if subject in context.locks:
                reason = f"locked by an open break: {context.locks[subject]}"
                return RuleFinding(self.name, order.symbol, reason)
        return None


@dataclass(frozen=True)
class StaleBars:
    """slot - close of the newest bar seen + bar closes passed since <= max_lag_seconds.

    An order without any bar passes only where it reduces. So the policy can close a position whose
    symbol has left the universe.
    """

    max_lag_seconds: float
    name: ClassVar[str] = "stale_bars"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self:
        return cls(limits.max_bar_lag_seconds)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        bar = context.seen.get(order.symbol)
        if bar is None:
            if context.reduces(order):
                return None
            return RuleFinding(self.name, order.symbol, "no bar was seen for this symbol")
        lag = (context.slot - bar.closed_at).total_seconds() + context.aged_seconds
        if lag <= self.max_lag_seconds:
            return None
        before = "the bar close that has passed since" if context.aged_seconds else "the slot"
        reason = (
            f"the newest bar closed {lag:.0f} s before {before}; "
            f"at most {self.max_lag_seconds:.0f} s are allowed"
        )
        return RuleFinding(self.name, order.symbol, reason)


@dataclass(frozen=True)
class PriceCollar:
    """|price / reference - 1| <= collar, for the venue's mid and for the close that was seen.

    Where the venue has no mid, only the close counts. Where quotes cannot be read, or bid and ask
    are farther than the collar from their middle, the order is denied, because nothing confirms the
    price. An order that reduces passes where the mid confirms
    its price, however far the close is. The review does not apply this rule to the exit of a
    position that risk or an operator closes.
    """

    collar: Decimal
    name: ClassVar[str] = "price_collar"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.price_collar is None else cls(limits.price_collar)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        if context.unquoted:
            reason = (
                "the venue's quotes cannot be read, "
                f"so nothing confirms the price {plain(order.price)}: {context.unquoted}"
            )
            return RuleFinding(self.name, order.symbol, reason)
        bar, mid = context.seen.get(order.symbol), context.mids.get(order.symbol)
        apart = context.half_spreads.get(order.symbol, _ZERO)
        if apart > self.collar:
            reason = (
                f"bid and ask are {apart:.1%} from the middle, so nothing confirms the price "
                f"{plain(order.price)}; at most {self.collar:.1%} is allowed"
            )
            return RuleFinding(self.name, order.symbol, reason)
        close = _ZERO if bar is None else Decimal(str(bar.close))
        if mid is not None and context.reduces(order):
            close = _ZERO
        without = " (the venue quotes no mid)" if mid is None else ""
        for named, reference in (("the last mid", mid or _ZERO), ("the last close", close)):
            distance = abs(order.price / reference - 1) if reference > 0 else _ZERO
            if distance > self.collar:
                reason = (
                    f"price {plain(order.price)} is {distance:.1%} from {named} "
                    f"{to_step(reference)}{without}; at most {self.collar:.1%} is allowed"
                )
                return RuleFinding(self.name, order.symbol, reason)
        return None


@dataclass(frozen=True)
class MaxOrderNotional:
    """quantity x contract size x price <= limit (quote units); else the order shrinks to it."""

    limit: Decimal
    name: ClassVar[str] = "max_order_notional"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_order_notional is None else cls(limits.max_order_notional)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        notional = context.notional(order)
        if notional <= self.limit:
            return None
        quote = context.instruments[order.symbol].quote
        reason = f"notional {money(notional, quote)} is over {plain(self.limit)} {quote}"
        return RuleFinding(self.name, order.symbol, reason, context.quantity(order, self.limit))


@dataclass(frozen=True)
class VolatilityFilter:
    """Standard deviation of the log returns, per day, <= limit; else only what reduces passes."""

    limit: Decimal
    name: ClassVar[str] = "volatility_filter"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.max_daily_volatility is None else cls(limits.max_daily_volatility)

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        bar = context.seen.get(order.symbol)
        volatility = None if bar is None else bar.daily_volatility
        if volatility is None or volatility <= self.limit or context.reduces(order):
            return None
        reason = f"volatility is {volatility:.1%} per day; at most {self.limit:.1%} is allowed"
        return RuleFinding(self.name, order.symbol, reason)
