"""How sure a price is, and what an account's equity lacks where one is not. Pure.

Prices, quotes and closes are read in penstock.execution.prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from penstock.core.amounts import plain, to_step
from penstock.core.errors import DataError
from penstock.core.quotes import Quote
from penstock.core.relistings import RELISTING_RATIO

#: How far a last price may be from what confirms it, where no limit says otherwise.
PRICE_TOLERANCE = Decimal("0.20")
#: A last price this near to the close is confirmed without a quote.
_AT_THE_CLOSE = Decimal("0.01")


class PriceState(StrEnum):
    """How sure a price is."""

    CONFIRMED = "confirmed"
    """The venue's bid and ask, or the last close, agree with it."""
    LAST_KNOWN = "last_known"
    """The venue does not trade the symbol now. It is the last price that is known."""
    IN_DOUBT = "in_doubt"
    """The venue trades the symbol, and nothing confirms its price."""


@dataclass(frozen=True)
class Price:
    """What a position counts with. Raises DataError where it is not finite and above zero."""

    value: Decimal
    """Quote units. In doubt it is what speaks against the last price, where anything does."""
    state: PriceState = PriceState.CONFIRMED
    """How sure it is."""
    reason: str = ""
    """Why it is not confirmed, for people; "" where it is."""

    def __post_init__(self) -> None:
        if not self.value.is_finite() or self.value <= 0:
            raise DataError(f"no price: {self.value} is not finite and above zero")


@dataclass(frozen=True)
class Equity:
    """What an account is worth, as far as that is known."""

    value: Decimal
    """Cash and every position that has any price (quote units)."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Why the value cannot be relied on, by symbol; empty where it can."""

    @property
    def is_known(self) -> bool:
        """Whether nothing is unknown."""
        return not self.unknown

    @property
    def reason(self) -> str:
        """What is unknown and why, as one text; "" where nothing is."""
        return "; ".join(f"{symbol}: {why}" for symbol, why in sorted(self.unknown.items()))


def needs_quote(last: Decimal | None, close: Decimal | None, tolerance: Decimal) -> bool:
    """Return whether the last price must be compared with bid and ask before it is believed."""
    near = min(_AT_THE_CLOSE, tolerance)
    return last is None or close is None or not _near(last, close, near)


def traded_price(
    last: Decimal | None, quote: Quote | None, close: Decimal | None, tolerance: Decimal
) -> Price | None:
    """Return the price of a symbol that the venue trades; None where nothing is known of it.

    The last price is confirmed where |last / middle of bid and ask - 1| <= tolerance, and is then
    held between bid and ask. It is confirmed too where it is as near to the last close. Without a
    last price, the middle is confirmed by the close. A bid and an ask that are farther from their
    middle than the tolerance confirm nothing. Nor do they where the last price is more than
    RELISTING_RATIO times off the close: the ticker may have gone to another coin, or have other
    units. A true crash is in the next close.
    """
    wide = None if quote is None or quote.half_spread <= tolerance else quote
    quote = None if wide else quote
    mid = None if quote is None else quote.mid
    moved = last is not None and close is not None and _is_beyond(last, close)
    if last is not None and quote is not None and _near(last, quote.mid, tolerance) and not moved:
        return Price(min(max(last, quote.bid), quote.ask))
    if close is not None:
        for found in (last, mid if last is None else None):
            if found is not None and _near(found, close, tolerance):
                return Price(found)
    value = next((each for each in (mid, close, last) if each is not None), None)
    if value is None:
        return None
    seen = "the venue gives no last price" if last is None else f"the last price is {to_step(last)}"
    against = " and ".join(
        f"the {named} {to_step(each)}"
        for named, each in (("middle of bid and ask is", mid), ("last close was", close))
        if each is not None
    )
    coin = "; it may be another coin, or have other units" if moved else ""
    apart = (
        ""
        if wide is None
        else f"; bid {plain(wide.bid)} and ask {plain(wide.ask)} are too far apart"
    )
    reason = f"{seen}, {against or 'there is no bid and ask, and no close is known'}{apart}{coin}"
    return Price(value, PriceState.IN_DOUBT, reason)


def last_known_price(
    last: Decimal | None, reference: Decimal | None, tolerance: Decimal
) -> Price | None:
    """Return the last known price of a symbol that the venue does not trade now; None without any.

    `reference` is the last close, or what the account traded at last. The venue's last price counts
    where it agrees with the reference, or where there is none.
    """
    agrees = last is not None and (reference is None or _near(last, reference, tolerance))
    value = last if agrees else reference
    if value is None:
        return None
    reason = f"the venue does not trade it now; it counts at its last known price {to_step(value)}"
    return Price(value, PriceState.LAST_KNOWN, reason)


def _is_beyond(price: Decimal, close: Decimal) -> bool:
    return max(price / close, close / price) > Decimal(RELISTING_RATIO)


def _near(price: Decimal, reference: Decimal, tolerance: Decimal) -> bool:
    return abs(price / reference - 1) <= tolerance
