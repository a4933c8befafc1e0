"""An instrument and its venue rules, with the Decimal rounding that every order goes through.

Lots and prices are rounded in Decimal against the venue's step: floats lose a lot on exact
multiples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from penstock.core.errors import DataError


@dataclass(frozen=True)
class Instrument:
    """A spot market on one venue. Quantities are in base units, prices and notionals in quote
    units.

    `listed` is False where the venue no longer has it, of which an operator has taken note.
    """

    symbol: str
    base: str
    quote: str
    price_tick: Decimal
    lot_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    max_quantity: Decimal | None = None
    listed: bool = True

    def round_lots(self, quantity: Decimal) -> Decimal:
        """Return `quantity` rounded towards zero to a whole number of lot steps."""
        return (quantity / self.lot_step).to_integral_value(rounding=ROUND_DOWN) * self.lot_step

    def round_price(self, price: Decimal) -> Decimal:
        """Return `price` rounded to the nearest tick."""
        return (price / self.price_tick).to_integral_value(
            rounding=ROUND_HALF_EVEN
        ) * self.price_tick

    def refusal(self, quantity: Decimal, price: Decimal) -> str | None:
        """Return why the venue would refuse this quantity at this price, or None where it would
        take it.
        """
        if quantity < self.min_quantity or quantity <= 0:
            return (
                f"quantity {quantity} is under the venue's minimum {self.min_quantity} {self.base}"
            )
        if self.max_quantity is not None and quantity > self.max_quantity:
            return (
                f"quantity {quantity} is over the venue's maximum {self.max_quantity} {self.base}"
            )
        if quantity * price < self.min_notional:
            return f"notional {quantity * price:.2f} is under the venue's minimum {self.min_notional} {self.quote}"
        return None


def spot_assets(symbol: str) -> tuple[str, str]:
    """Return the base and the quote asset of a spot symbol such as "BTC/USDT"; else DataError."""
    base, _, quote = symbol.partition("/")
    if not base or not quote or "/" in quote or ":" in quote:
        raise DataError(f"'{symbol}' is no spot symbol: write it as BASE/QUOTE, such as BTC/USDT")
    return base, quote


def common_rules(instruments: Sequence[Instrument]) -> Instrument:
    """Return the rules under which an order of one symbol is legal at every venue that these
    instruments stand for.

    Steps are the smallest that are whole multiples of every venue's, minimums the largest. The
    maximum is the sum: a larger order than one venue takes can be split; it is None where a venue
    has none.
    """
    most = [instrument.max_quantity for instrument in instruments]
    return replace(
        instruments[0],
        price_tick=_common_multiple([instrument.price_tick for instrument in instruments]),
        lot_step=_common_multiple([instrument.lot_step for instrument in instruments]),
        min_quantity=max(instrument.min_quantity for instrument in instruments),
        min_notional=max(instrument.min_notional for instrument in instruments),
        max_quantity=None
        if None in most
        else sum((each for each in most if each is not None), Decimal(0)),
    )


def _common_multiple(steps: Sequence[Decimal]) -> Decimal:
    """Return the smallest step that is a whole multiple of each, exactly."""
    ratios = [step.as_integer_ratio() for step in steps]
    unit = math.lcm(*(denominator for _, denominator in ratios))
    return (
        Decimal(math.lcm(*(numerator * (unit // denominator) for numerator, denominator in ratios)))
        / unit
    )
