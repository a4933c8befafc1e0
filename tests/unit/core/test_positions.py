"""Whether an order makes a position smaller, long or short."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.orders import Fill, Side
from penstock.core.positions import reduces

quantities = st.decimals(min_value=Decimal("0.001"), max_value=10**6, places=3)
positions = st.decimals(min_value=-(10**6), max_value=10**6, places=3)
sides = st.sampled_from(list(Side))


def order(side: Side, quantity: Decimal) -> Fill:
    return Fill(
        "1",
        "1",
        "A/Q",
        side,
        quantity,
        Decimal(1),
        Decimal(0),
        "Q",
        datetime(2024, 1, 1, tzinfo=UTC),
    )


@given(sides, quantities, positions)
def test_order_reduces_when_what_is_left_is_smaller_and_on_the_same_side(
    side: Side, quantity: Decimal, position: Decimal
) -> None:
    """It does exactly where the position ends nearer to zero, at zero at the most."""
    after = position + side.sign * quantity
    nearer = abs(after) < abs(position) and after * position >= 0
    assert reduces(order(side, quantity), position) is nearer


@given(sides, quantities, positions)
def test_long_and_short_are_mirror_images(side: Side, quantity: Decimal, position: Decimal) -> None:
    """The other side against the opposite position says the same; both sides never reduce."""
    other = Side.SELL if side is Side.BUY else Side.BUY
    said = reduces(order(side, quantity), position)
    assert reduces(order(other, quantity), -position) is said
    assert not (said and reduces(order(other, quantity), position))


@pytest.mark.parametrize(
    ("side", "quantity", "position", "expected"),
    [
        (Side.SELL, "1", "1", True),  # closes a long position whole
        (Side.SELL, "1.001", "1", False),  # and this would turn it
        (Side.BUY, "1", "-1", True),
        (Side.BUY, "1.001", "-1", False),
        (Side.SELL, "1", "0", False),  # nothing is held: it opens
        (Side.SELL, "1", "-1", False),  # more of a short position
        (Side.BUY, "1", "1", False),
    ],
)
def test_boundary_is_the_position_itself(
    side: Side, quantity: str, position: str, expected: bool
) -> None:
    """An order as large as the position reduces it; a step more does not."""
    assert reduces(order(side, Decimal(quantity)), Decimal(position)) is expected
