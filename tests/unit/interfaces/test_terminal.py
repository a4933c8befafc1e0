"""What a user types."""

from decimal import Decimal

import pytest

from penstock.core.errors import ConfigError
from penstock.interfaces.cli.terminal import parse_amount


@pytest.mark.parametrize("text", ["", "many", "nan", "sNaN", "inf", "-Infinity"])
def test_what_is_no_finite_number_is_no_amount(text: str) -> None:
    """The error shows what was typed and the form."""
    with pytest.raises(ConfigError, match=f"'{text}' is no amount: write it like 1000 or 0.25"):
        parse_amount(text)


def test_amount_is_exact() -> None:
    """No digit is lost."""
    assert parse_amount("0.1000000000000000055") == Decimal("0.1000000000000000055")
