"""Bid and ask: what a quote is, and what is none."""

from decimal import Decimal

import pytest

from penstock.core.errors import DataError
from penstock.core.quotes import Quote, two_sided


def test_mid_and_spread_are_exact() -> None:
    """99.99 bid, 100.01 asked: the mid is 100 and the spread two basis points of it."""
    quote = Quote(Decimal("99.99"), Decimal("100.01"))
    assert quote.mid == 100
    assert quote.spread_bps == 2


@pytest.mark.parametrize(("bid", "ask"), [("0", "1"), ("-1", "1"), ("2", "1")])
def test_empty_and_crossed_sides_are_no_quote(bid: str, ask: str) -> None:
    """They do not construct, and what a venue sends of the kind is no quote."""
    with pytest.raises(DataError, match="no quote"):
        Quote(Decimal(bid), Decimal(ask))
    assert two_sided(Decimal(bid), Decimal(ask), None, None) is None


def test_missing_side_is_no_quote_and_missing_size_is_zero() -> None:
    """A venue that tells no sizes still quotes."""
    assert two_sided(Decimal(1), None, None, None) is None
    assert two_sided(Decimal(1), Decimal(2), None, Decimal(7)) == Quote(
        Decimal(1), Decimal(2), Decimal(0), Decimal(7)
    )
