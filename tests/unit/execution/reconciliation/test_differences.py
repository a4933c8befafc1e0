"""What counts as a difference between ledger and venue, and what is only rounding."""

from decimal import Decimal

import pytest

from penstock.execution.reconciliation.differences import BalanceGaps


@pytest.mark.parametrize("ledger", ["37265.84056971916", "37265.840569715", "37265.84056972999"])
def test_rounding_of_the_shown_balance_is_no_difference(ledger: str) -> None:
    """A notional has more decimals than the eight that a venue shows. The decimals that are cut off
    must not lock an asset.
    """
    assert BalanceGaps({"USDT": Decimal("37265.84056972")}, {"USDT": Decimal(ledger)}).open() == {}


def test_last_shown_decimal_is_a_difference() -> None:
    """One unit of the last shown decimal is already something that the venue says and the ledger
    does not.
    """
    gaps = BalanceGaps({"BTC": Decimal("0.50000001")}, {"BTC": Decimal("0.5")})
    assert gaps.open() == {"BTC": Decimal("0.00000001")}


def test_every_venue_of_an_account_rounds_for_itself() -> None:
    """What two venues cut off comes to less than two units of the last shown decimal, and is no
    difference.
    """
    sums, ledger = {"USDT": Decimal("10.00000000")}, {"USDT": Decimal("10.000000019")}
    assert BalanceGaps(sums, ledger, venues=2).open() == {}
    assert BalanceGaps(sums, ledger).open() == {"USDT": Decimal("-0.000000019")}
