"""How amounts are written for people: quantities by the lot step, prices by the tick, money by the
places of its currency.

No amount has an exponent or a minus zero, and only money has zeros at its end. What only people
read is rounded to what a venue can trade. A quantity or price that is not zero is never written as
zero; money under half of its last place is.
"""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, localcontext

#: Steps are counted exactly in this context.
_EXACT = Context(prec=400)
#: Venues show balances to eight decimals. What is smaller has as many significant digits.
_DIGITS = 8
#: Currencies that are counted in cents, and what is pegged to one. Others have eight places.
_IN_CENTS = frozenset(
    {"USD", "EUR", "GBP", "CHF", "TRY", "BRL", "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI"}
)


def plain(amount: Decimal) -> str:
    """Return an amount with every digit that it has.

    >>> plain(Decimal("1E+3")), plain(Decimal("0.0150")), plain(Decimal("-0E-8"))
    ('1000', '0.015', '0')
    """
    text = f"{amount:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def to_step(amount: Decimal, step: Decimal | None = None, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return an amount in whole steps: a quantity by its lot step, a price by its tick.

    Without a step, and for what is less than one, it has eight decimals, or eight digits where it
    is smaller.

    >>> to_step(Decimal("999.9999999950700000")), to_step(Decimal("0.01239"), Decimal("0.001"))
    ('1000', '0.012')
    >>> to_step(Decimal("0.0004"), Decimal("0.001")), to_step(Decimal("0.00000123456789"))
    ('0.0004', '0.0000012345679')
    """
    return plain(_in_steps(amount, step, rounding))


def at_most(amount: Decimal, step: Decimal | None = None) -> str:
    """Return what is free, or may be had, by the step: never more than there is.

    >>> at_most(Decimal("999.9999999950700000"))
    '999.99999999'
    """
    return to_step(amount, step, ROUND_DOWN)


def signed(amount: Decimal, step: Decimal | None = None) -> str:
    """Return a change by the step, with its sign.

    >>> signed(Decimal("5")), signed(Decimal("-0.50"))
    ('+5', '-0.5')
    >>> signed(Decimal("-0E-8")), signed(Decimal("NaN"))
    ('0', 'NaN')
    """
    rounded = _in_steps(amount, step)
    is_gain = not rounded.is_nan() and rounded > 0
    return f"+{plain(rounded)}" if is_gain else plain(rounded)


def money(amount: Decimal | float, currency: str) -> str:
    """Return an amount of a currency by its places, with a comma at each thousand.

    >>> money(Decimal("999.9999999950700000"), "USDT"), money(-0.001, "USDT")
    ('1,000.00', '0.00')
    >>> money(Decimal("0.5"), "BTC")
    '0.50000000'
    """
    return f"{amount:z,.{_places(currency)}f}"


def money_change(amount: Decimal | float, currency: str) -> str:
    """Return a gain or a loss in a currency, with its sign.

    >>> money_change(Decimal("1234.5"), "USDT"), money_change(Decimal("-0.001"), "USDT")
    ('+1,234.50', '+0.00')
    """
    return f"{amount:+z,.{_places(currency)}f}"


def _in_steps(amount: Decimal, step: Decimal | None, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """Return an amount rounded to whole steps, as `to_step` writes it."""
    if not amount.is_finite() or not amount:
        return amount
    unit = step or Decimal(0)
    if abs(amount) < unit or not unit > 0:
        unit = Decimal(1).scaleb(min(-_DIGITS, amount.adjusted() + 1 - _DIGITS))
    with localcontext(_EXACT):
        return (amount / unit).to_integral_value(rounding=rounding) * unit


def _places(currency: str) -> int:
    return 2 if currency in _IN_CENTS else _DIGITS
