"""Which positions must be closed now: by stops, breached loss limits, or an operator.

They are closed by ordinary orders. In the formulas `side` is 1 for a long position and -1 for a
short one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Protocol, Self

from penstock.core.amounts import plain, to_step
from penstock.core.proposals import ProposedOrder
from penstock.core.risk_records import PositionMark
from penstock.risk.limits import RiskLimits
from penstock.risk.losses import breaches
from penstock.risk.rules import KillSwitchRule, RiskContext, RuleFinding

_ZERO = Decimal(0)


class Stop(Protocol):
    """One limit on a position's gain or loss. The table of all stops is STOPS."""

    name: ClassVar[str]

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        """Return the stop with its limit; None where the limits switch it off."""
        ...

    def check(self, symbol: str, context: RiskContext) -> RuleFinding | None:
        """Return why the position is to be closed; None where it may stay."""
        ...


@dataclass(frozen=True)
class StopLoss:
    """side x price > side x entry x (1 - side x limit); else the position is closed."""

    limit: Decimal
    name: ClassVar[str] = "stop_loss"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.stop_loss is None else cls(limits.stop_loss)

    def check(self, symbol: str, context: RiskContext) -> RuleFinding | None:
        entry, price, side = _entry_price_side(symbol, context)
        if entry is None or price is None:
            return None
        if side * price > side * entry * (1 - side * self.limit):
            return None
        where = "under" if side > 0 else "over"
        reason = _reason(price, self.limit, f"{where} the entry {to_step(entry)}")
        return RuleFinding(self.name, symbol, reason, closes=True)


@dataclass(frozen=True)
class TakeProfit:
    """side x price < side x entry x (1 + side x limit); else the position is closed."""

    limit: Decimal
    name: ClassVar[str] = "take_profit"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.take_profit is None else cls(limits.take_profit)

    def check(self, symbol: str, context: RiskContext) -> RuleFinding | None:
        entry, price, side = _entry_price_side(symbol, context)
        if entry is None or price is None:
            return None
        if side * price < side * entry * (1 + side * self.limit):
            return None
        where = "over" if side > 0 else "under"
        reason = _reason(price, self.limit, f"{where} the entry {to_step(entry)}")
        return RuleFinding(self.name, symbol, reason, closes=True)


@dataclass(frozen=True)
class TrailingStop:
    """side x price > side x best x (1 - side x limit); else the position is closed.

    `best` is the most favourable price since the entry: the highest of a long position, the lowest
    of a short one.
    """

    limit: Decimal
    name: ClassVar[str] = "trailing_stop"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return None if limits.trailing_stop is None else cls(limits.trailing_stop)

    def check(self, symbol: str, context: RiskContext) -> RuleFinding | None:
        entry, price, side = _entry_price_side(symbol, context)
        mark = context.history.marks.get(symbol, PositionMark())
        best = _best(side, entry, mark.best)
        if price is None or best is None:
            return None
        if side * price > side * best * (1 - side * self.limit):
            return None
        where, named = ("under", "high") if side > 0 else ("over", "low")
        reason = _reason(price, self.limit, f"{where} its {named} {to_step(best)}")
        return RuleFinding(self.name, symbol, reason, closes=True)


def _reason(price: Decimal, limit: Decimal, where: str) -> str:
    return f"price {plain(price)} is {limit:.1%} or more {where}"


def _entry_price_side(
    symbol: str, context: RiskContext
) -> tuple[Decimal | None, Decimal | None, int]:
    side = 1 if context.position(symbol) > 0 else -1
    return context.entries.get(symbol), context.prices.get(symbol), side


def _best(side: int, *prices: Decimal | None) -> Decimal | None:
    """Return the most favourable of the known prices: the highest for a long position."""
    known = [price for price in prices if price is not None]
    return max(known, key=lambda price: side * price, default=None)


#: Every stop, in the order in which reasons are shown.
STOPS: tuple[type[Stop], ...] = (StopLoss, TakeProfit, TrailingStop)
STOP_NAMES = frozenset(stop.name for stop in STOPS)


@dataclass(frozen=True)
class StopCooldown:
    """slot - last stop >= minutes; else only what reduces passes."""

    minutes: float
    name: ClassVar[str] = "stop_cooldown"

    @classmethod
    def of(cls, limits: RiskLimits) -> Self | None:
        return cls(limits.stop_cooldown_minutes) if limits.guards_positions else None

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        stopped = context.history.marks.get(order.symbol, PositionMark()).stopped_at
        if stopped is None or context.slot - stopped >= timedelta(minutes=self.minutes):
            return None
        if context.reduces(order):
            return None
        reason = (
            f"a stop of the position fired at {stopped:%Y-%m-%d %H:%M} UTC; "
            f"it may be bought again {self.minutes:g} min later"
        )
        return RuleFinding(self.name, order.symbol, reason)


def positions_to_close(context: RiskContext, limits: RiskLimits) -> tuple[RuleFinding, ...]:
    """Return one finding per reason for which a position must be closed.

    Stops act on confirmed prices only. A position that the venue does not trade now stays, and so
    does one of which nothing can be sold.
    """
    stops = [stop for kind in STOPS if (stop := kind.of(limits)) is not None]
    whole = [
        (breach.rule, breach.reason) for breach in breaches(context, limits) if breach.limit.flatten
    ]
    if context.halt.flatten:
        reason = f"flatten: {context.halt.reason} (set by {context.halt.by})"
        whole.append((KillSwitchRule.name, reason))
    priced = [
        symbol
        for symbol in context.held_symbols
        if symbol in context.instruments
        and symbol not in context.crumbs
        and context.exposure(symbol)
    ]
    found = [
        finding
        for symbol in priced
        if symbol not in context.unsure
        for stop in stops
        if (finding := stop.check(symbol, context))
    ]
    found += [
        RuleFinding(rule, symbol, reason, closes=True)
        for symbol in priced
        for rule, reason in whole
    ]
    return tuple(found)


def advanced_marks(
    marks: Mapping[str, PositionMark],
    positions: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    stopped: Mapping[str, datetime],
) -> dict[str, PositionMark]:
    """Return the marks by symbol after a slot.

    `prices` advance the best price of open positions: `positions` leaves out those of which nothing
    can be sold. That of a closed position is removed. `stopped` has the slot of each symbol of
    which a stop fired. What of it was not sold keeps its best price, so that the stop fires again.
    """
    after: dict[str, PositionMark] = {}
    for symbol in {*marks, *positions, *stopped}:
        mark, position = marks.get(symbol, PositionMark()), positions.get(symbol, _ZERO)
        side = 1 if position > 0 else -1
        best = _best(side, mark.best, prices.get(symbol)) if position else None
        mark = replace(mark, best=best, stopped_at=stopped.get(symbol, mark.stopped_at))
        if mark != PositionMark():
            after[symbol] = mark
    return after
