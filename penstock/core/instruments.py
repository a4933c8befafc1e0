"""An instrument and its venue rules, with the Decimal rounding that every order goes through.

Lots are rounded in Decimal, because a float can lose a lot on an exact multiple. Only this module
knows how a symbol is written. Other code has the Instrument, or calls `spot_assets` and
`spot_symbol` where it has only a text.
"""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from enum import StrEnum

from penstock.core.amounts import money, plain
from penstock.core.errors import DataError
from penstock.core.order_limits import NO_LIMITS, OrderLimits, common_limits
from penstock.core.orders import OrderType, Side

#: How far a notional stays from the venue's bounds: the price moves until an order is there, and
#: some venues value a market order at an average price.
NOTIONAL_HEADROOM = Decimal("1.1")


class InstrumentKind(StrEnum):
    """What is traded."""

    SPOT = "spot"
    """A trade moves two assets: base against quote."""
    LINEAR_PERPETUAL = "linear_perpetual"
    """A trade changes a position; profit and loss are paid in the settle asset."""


@dataclass(frozen=True)
class Instrument:
    """A market on one venue, with the venue's rules for orders.

    Raises DataError where the contract size is not above zero. A spot market has contract size 1
    and settles in its quote asset; anything else raises DataError too.
    """

    symbol: str
    """How ccxt writes it: "BTC/USDT" (spot) or "BTC/USDT:USDT" (perpetual)."""
    base: str
    """The asset that is priced."""
    quote: str
    """The asset in which prices and notionals are stated."""
    price_tick: Decimal
    """Prices are whole multiples of it (quote units)."""
    lot_step: Decimal
    """Quantities are whole multiples of it."""
    min_quantity: Decimal
    """The smallest quantity of an order."""
    min_notional: Decimal
    """The smallest notional of an order (quote units)."""
    max_quantity: Decimal | None = None
    """The largest quantity of an order of any type; None where the venue has no such bound."""
    listed: bool = True
    """False where an operator has taken note that the venue no longer has it."""
    kind: InstrumentKind = InstrumentKind.SPOT
    """Spot or perpetual."""
    contract_size: Decimal = Decimal(1)
    """Base units per unit of quantity. 1 for spot: its quantities are base units."""
    settle: str = ""
    """The asset in which trades are paid. Quote unless given."""
    price_digits: int | None = None
    """The most significant digits of a price, where the venue counts them; else None."""
    limits: OrderLimits = NO_LIMITS
    """What else the venue allows of an order, by its type."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "settle", self.settle or self.quote)
        if not self.contract_size > 0:
            raise DataError(f"{self.symbol}: contract size {self.contract_size} is not above zero")
        spot = self.kind is InstrumentKind.SPOT
        if spot and (self.contract_size != 1 or self.settle != self.quote):
            raise DataError(
                f"{self.symbol}: a spot market has contract size 1 and settles in {self.quote}, "
                f"not {self.contract_size} and {self.settle}"
            )

    def notional(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Return quantity x contract size x price (quote units)."""
        return quantity * self.contract_size * price

    def round_lots(self, quantity: Decimal) -> Decimal:
        """Return `quantity` rounded towards zero to a whole number of lot steps."""
        return (quantity / self.lot_step).to_integral_value(rounding=ROUND_DOWN) * self.lot_step

    def round_price(self, price: Decimal, rounding: str) -> Decimal:
        """Return `price` in whole ticks and within the significant digits, as `decimal` rounds.

        It is at least one tick.
        """
        step = self.price_tick
        if self.price_digits is not None and price > 0:
            step = max(step, Decimal(1).scaleb(price.adjusted() + 1 - self.price_digits))
        steps = (price / step).to_integral_value(rounding=rounding)
        return max(steps * step, self.price_tick)

    def refusal(self, quantity: Decimal, price: Decimal) -> str | None:
        """Return why this is too little for an order at this price; None where it is enough.

        More than one order may have is sent in pieces: see `largest`.
        """
        if quantity < self.min_quantity or quantity <= 0:
            return (
                f"quantity {plain(quantity)} is under the venue's minimum "
                f"{plain(self.min_quantity)} {self.base}"
            )
        notional = self.notional(quantity, price)
        if notional < self.min_notional:
            return (
                f"notional {money(notional, self.quote)} is under the venue's minimum "
                f"{plain(self.min_notional)} {self.quote}"
            )
        return None

    def largest(self, kind: OrderType, price: Decimal) -> Decimal | None:
        """Return the largest quantity of one order, in whole lots; None where there is no bound.

        The largest notional is divided by NOTIONAL_HEADROOM.
        """
        quantity, notional = self._bounds(kind)
        if notional is not None:
            by_notional = notional / (price * self.contract_size * NOTIONAL_HEADROOM)
            quantity = by_notional if quantity is None else min(quantity, by_notional)
        return None if quantity is None else self.round_lots(quantity)

    def excess(self, kind: OrderType, quantity: Decimal, price: Decimal) -> str | None:
        """Return why this is too much for one order at this price; None where it is not."""
        most, notional = self._bounds(kind)
        if most is not None and quantity > most:
            return (
                f"quantity {plain(quantity)} is over the venue's maximum of a {kind} order, "
                f"{plain(most)} {self.base}"
            )
        if notional is not None and self.notional(quantity, price) > notional:
            return (
                f"notional {money(self.notional(quantity, price), self.quote)} is over the venue's "
                f"maximum of a {kind} order, {plain(notional)} {self.quote}"
            )
        return None

    def _bounds(self, kind: OrderType) -> tuple[Decimal | None, Decimal | None]:
        """Return the largest quantity and the largest notional of an order of a type."""
        if kind is OrderType.LIMIT:
            return self.max_quantity, self.limits.limit_notional
        bounds = [self.max_quantity, self.limits.market_quantity]
        least = min((bound for bound in bounds if bound is not None), default=None)
        return least, self.limits.market_notional

    def price_range(self, side: Side, last: Decimal) -> tuple[Decimal, Decimal] | None:
        """Return the lowest and the highest limit price at the market's `last` price, in ticks.

        None where there is no bound.
        """
        if self.limits.price_band is None:
            return None
        lowest, highest = self.limits.price_band.of(side)
        return (
            self.round_price(lowest * last, ROUND_CEILING),
            self.round_price(highest * last, ROUND_FLOOR),
        )


def spot_symbol(asset: str, quote: str) -> str:
    """Return the symbol of the spot market of `asset` against `quote`: "BTC/USDT"."""
    return f"{asset}/{quote}"


def spot_assets(symbol: str) -> tuple[str, str]:
    """Return base and quote of a spot symbol. Raises DataError where the text is none."""
    parts = symbol.split("/")
    if len(parts) != 2 or not all(parts) or ":" in symbol:
        raise DataError(f"'{symbol}' is not a symbol: write it as BASE/QUOTE, for example BTC/USDT")
    return parts[0], parts[1]


def is_spot_symbol(text: str) -> bool:
    """Return whether the text is a spot symbol ("BTC/USDT") and not, say, an asset ("BTC")."""
    try:
        spot_assets(text)
    except DataError:
        return False
    return True


def holdings_by_symbol(
    balances: Mapping[str, Decimal], quote: str, listed: Container[str] | None = None
) -> dict[str, Decimal]:
    """Return balances keyed by spot symbol instead of by asset.

    Each symbol is the asset's market against `quote`. The quote asset itself is left out. So are
    assets whose symbol is not in `listed`, where it is given.
    """
    symbols = {
        spot_symbol(asset, quote): quantity
        for asset, quantity in balances.items()
        if asset != quote
    }
    return {s: quantity for s, quantity in symbols.items() if listed is None or s in listed}


def common_rules(instruments: Sequence[Instrument]) -> Instrument:
    """Return the rules that make an order of one symbol legal at the venues of all instruments.

    A step is the smallest whole multiple of every venue's step. A minimum is the largest of the
    venues' minimums, a maximum the smallest of their maximums.
    """
    most = [each.max_quantity for each in instruments if each.max_quantity is not None]
    return replace(
        instruments[0],
        price_tick=_common_multiple([instrument.price_tick for instrument in instruments]),
        lot_step=_common_multiple([instrument.lot_step for instrument in instruments]),
        min_quantity=max(instrument.min_quantity for instrument in instruments),
        min_notional=max(instrument.min_notional for instrument in instruments),
        max_quantity=min(most, default=None),
        price_digits=min((i.price_digits for i in instruments if i.price_digits), default=None),
        limits=common_limits([instrument.limits for instrument in instruments]),
    )


def _common_multiple(steps: Sequence[Decimal]) -> Decimal:
    """Return the smallest step that is a whole multiple of each, exactly."""
    ratios = [step.as_integer_ratio() for step in steps]
    unit = math.lcm(*(denominator for _, denominator in ratios))
    return (
        Decimal(math.lcm(*(numerator * (unit // denominator) for numerator, denominator in ratios)))
        / unit
    )
