"""How sure a price is: last price, bid and ask, close."""

from decimal import Decimal

import pytest

from penstock.core.errors import DataError
from penstock.core.quotes import Quote, two_sided
from penstock.core.valuation import (
    PRICE_TOLERANCE,
    Equity,
    Price,
    PriceState,
    last_known_price,
    needs_quote,
    traded_price,
)

CONFIRMED, IN_DOUBT = PriceState.CONFIRMED, PriceState.IN_DOUBT
BOOK = Quote(Decimal("99.9"), Decimal("100.1"))
THIN = Quote(Decimal(1), Decimal(1_000))
CRASHED = Quote(Decimal("69.9"), Decimal("70.1"))
SPLIT = Quote(Decimal("0.0999"), Decimal("0.1001"))


def decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


@pytest.mark.parametrize(
    ("last", "quote", "close", "value", "state"),
    [
        ("100", BOOK, "100", "100", CONFIRMED),
        ("110", BOOK, "100", "100.1", CONFIRMED),
        ("90", BOOK, "100", "99.9", CONFIRMED),
        ("70", CRASHED, "100", "70", CONFIRMED),
        ("100", CRASHED, "100", "100", CONFIRMED),
        ("100", THIN, "101", "100", CONFIRMED),
        ("100", None, "101", "100", CONFIRMED),
        ("100", BOOK, None, "100", CONFIRMED),
        (None, BOOK, "100", "100", CONFIRMED),
        ("150", BOOK, "100", "100", IN_DOUBT),
        ("50", BOOK, "100", "100", IN_DOUBT),
        ("1", BOOK, "100", "100", IN_DOUBT),
        ("150", BOOK, None, "100", IN_DOUBT),
        ("150", None, "100", "100", IN_DOUBT),
        ("150", None, None, "150", IN_DOUBT),
        (None, BOOK, None, "100", IN_DOUBT),
        (None, CRASHED, "100", "70", IN_DOUBT),
        (None, None, "100", "100", IN_DOUBT),
        ("90", Quote(Decimal(1), Decimal(179)), "120", "120", IN_DOUBT),
        ("0.1", SPLIT, "100", "0.1", IN_DOUBT),
        ("0.1", SPLIT, "0.2", "0.1", CONFIRMED),
        ("0.1", SPLIT, None, "0.1", CONFIRMED),
    ],
)
def test_price_is_confirmed_by_bid_and_ask_or_by_the_close(
    last: str | None, quote: Quote | None, close: str | None, value: str, state: PriceState
) -> None:
    """One wrong print is held between bid and ask, or is in doubt; a true crash is confirmed. So
    far from the close, the ticker may have other units. A wide book confirms nothing.
    """
    found = traded_price(decimal(last), quote, decimal(close), PRICE_TOLERANCE)
    assert found is not None
    assert (found.value, found.state) == (Decimal(value), state)
    assert bool(found.reason) == (state is IN_DOUBT)


def test_nothing_known_is_no_price() -> None:
    """Neither a last price nor a quote nor a close: not zero, but none."""
    assert traded_price(None, None, None, PRICE_TOLERANCE) is None
    assert last_known_price(None, None, PRICE_TOLERANCE) is None


@pytest.mark.parametrize(
    ("last", "reference", "value"),
    [("110", "100", "110"), ("300", "100", "100"), (None, "100", "100"), ("300", None, "300")],
)
def test_last_known_price_of_a_symbol_that_is_not_traded(
    last: str | None, reference: str | None, value: str
) -> None:
    """The venue's own last price counts where the close does not speak against it."""
    found = last_known_price(decimal(last), decimal(reference), PRICE_TOLERANCE)
    assert found is not None
    assert (found.value, found.state) == (Decimal(value), PriceState.LAST_KNOWN)


@pytest.mark.parametrize(
    ("last", "close", "tolerance", "needed"),
    [
        ("100.9", "100", "0.2", False),
        ("101.1", "100", "0.2", True),
        ("100.9", "100", "0.005", True),
        (None, "100", "0.2", True),
        ("100", None, "0.2", True),
    ],
)
def test_quote_is_asked_for_only_away_from_the_close(
    last: str | None, close: str | None, tolerance: str, needed: bool
) -> None:
    """On an ordinary day the close confirms every price, and no request is spent."""
    assert needs_quote(decimal(last), decimal(close), Decimal(tolerance)) is needed


@pytest.mark.parametrize("value", ["0", "-5", "NaN", "Infinity"])
def test_price_that_is_none_does_not_construct(value: str) -> None:
    """Every price is finite and above zero."""
    with pytest.raises(DataError, match="above zero"):
        Price(Decimal(value))


@pytest.mark.parametrize(
    ("bid", "ask"), [("NaN", "1"), ("1", "NaN"), ("1", "Infinity"), ("0", "1")]
)
def test_quote_of_no_numbers_is_no_quote(bid: str, ask: str) -> None:
    """A side that is no finite number above zero is a missing side."""
    assert two_sided(Decimal(bid), Decimal(ask), None, Decimal("NaN")) is None
    whole = two_sided(Decimal(1), Decimal(2), Decimal("NaN"), Decimal(-1))
    assert whole is not None
    assert (whole.bid_size, whole.ask_size) == (0, 0)


def test_equity_names_what_it_lacks() -> None:
    """Known where nothing is unknown; else every reason is told."""
    assert Equity(Decimal(1)).is_known
    lacking = Equity(Decimal(1), {"B": "no price", "A": "in doubt"})
    assert not lacking.is_known
    assert lacking.reason == "A: in doubt; B: no price"
