"""Which positions must be closed now, whatever the strategies want: stops, breached loss limits, an
operator's word.

Closing itself is ordinary selling, by planning and placement.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.core.instruments import spot_assets, spot_symbol
from penstock.core.orders import Side
from penstock.core.proposals import ProposedOrder
from penstock.core.risk_records import PositionMark
from penstock.risk.limits import RiskLimits
from penstock.risk.losses import breaches
from penstock.risk.rules import RiskContext, RuleFinding

_ZERO = Decimal(0)
STOPS = ("stop_loss", "take_profit", "trailing_stop")


@dataclass(frozen=True)
class StopLoss:
    """price > entry x (1 - limit); else the position is closed."""

    limit: Decimal
    name: str = "stop_loss"

    def check(self, symbol: str, context: RiskContext) -> RuleFinding | None:
        entry, price = context.entries.get(symbol), context.prices.get(symbol)
        if entry is None or price is None or price > entry * (1 - self.limit):
            return None
        return _flatten(
            self.name,
            symbol,
            f"price {price} is {self.limit:.1%} or more under the entry {entry:.8g}",
        )


@dataclass(frozen=True)
class TakeProfit:
    """price < entry x (1 + limit); else the position is closed."""

    limit: Decimal
    name: str = "take_profit"

    def check(self, symbol: str, context: RiskContext) -> RuleFinding | None:
        entry, price = context.entries.get(symbol), context.prices.get(symbol)
        if entry is None or price is None or price < entry * (1 + self.limit):
            return None
        return _flatten(
            self.name,
            symbol,
            f"price {price} is {self.limit:.1%} or more over the entry {entry:.8g}",
        )


@dataclass(frozen=True)
class TrailingStop:
    """price > highest price since the entry x (1 - limit); else the position is closed."""

    limit: Decimal
    name: str = "trailing_stop"

    def check(self, symbol: str, context: RiskContext) -> RuleFinding | None:
        price, entry = context.prices.get(symbol), context.entries.get(symbol)
        mark = context.history.marks.get(context.instruments[symbol].base, PositionMark())
        seen = [high for high in (entry, mark.high) if high is not None]
        if price is None or not seen or price > max(seen) * (1 - self.limit):
            return None
        return _flatten(
            self.name,
            symbol,
            f"price {price} is {self.limit:.1%} or more under its high {max(seen):.8g}",
        )


def _flatten(rule: str, symbol: str, reason: str) -> RuleFinding:
    return RuleFinding(rule, symbol, reason, flatten=True)


@dataclass(frozen=True)
class StopCooldown:
    """slot - last stop >= minutes; else the symbol is not bought back."""

    minutes: float
    name: str = "stop_cooldown"

    def check(self, order: ProposedOrder, context: RiskContext) -> RuleFinding | None:
        stopped = context.history.marks.get(
            context.instruments[order.symbol].base, PositionMark()
        ).stopped_at
        if (
            order.side is Side.SELL
            or stopped is None
            or context.slot - stopped >= timedelta(minutes=self.minutes)
        ):
            return None
        reason = f"the position was stopped out at {stopped:%Y-%m-%d %H:%M} UTC; it may be bought again {self.minutes:g} min later"
        return RuleFinding(self.name, order.symbol, reason)


def flattenings(context: RiskContext, limits: RiskLimits) -> tuple[RuleFinding, ...]:
    """Return a FLATTEN for every held symbol that must be closed, with every reason there is for
    it.
    """
    stops = [
        StopLoss(limits.stop_loss) if limits.stop_loss is not None else None,
        TakeProfit(limits.take_profit) if limits.take_profit is not None else None,
        TrailingStop(limits.trailing_stop) if limits.trailing_stop is not None else None,
    ]
    whole = [
        (breach.rule, breach.reason) for breach in breaches(context, limits) if breach.limit.flatten
    ]
    if context.halt.flatten:
        whole.append(("kill_switch", f"flatten: {context.halt.reason} (set by {context.halt.by})"))
    held = [symbol for symbol in context.held if context.exposure(symbol) > 0]
    found = [
        word
        for symbol in held
        for stop in stops
        if stop is not None and (word := stop.check(symbol, context))
    ]
    return (*found, *(_flatten(rule, symbol, reason) for symbol in held for rule, reason in whole))


def advanced_marks(
    marks: Mapping[str, PositionMark],
    positions: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    quote: str,
    stopped: Mapping[str, datetime],
) -> dict[str, PositionMark]:
    """Return the marks after a slot: highs of what is held raised to `prices`, highs of what is
    gone forgotten.

    `stopped` says which symbols were closed by a stop, and when.
    """
    after: dict[str, PositionMark] = {}
    for asset in {*marks, *positions, *(spot_assets(symbol)[0] for symbol in stopped)} - {quote}:
        symbol, mark = spot_symbol(asset, quote), marks.get(asset, PositionMark())
        price, held = prices.get(symbol), positions.get(asset, _ZERO) > 0 and symbol not in stopped
        highs = [high for high in (mark.high, price) if high is not None]
        mark = replace(
            mark,
            high=max(highs) if held and highs else None,
            stopped_at=stopped.get(symbol, mark.stopped_at),
        )
        if mark != PositionMark():
            after[asset] = mark
    return after
