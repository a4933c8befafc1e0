"""Time-weighted performance against figures worked out by hand."""

import polars as pl
import pytest

from penstock.monitoring.returns import Performance, performance_of


def performance(equity: list[float], transferred: list[float]) -> Performance:
    return performance_of(
        pl.DataFrame(
            {"equity": equity, "transferred": transferred},
            schema=dict.fromkeys(("equity", "transferred"), pl.Float64),
        )
    )


def test_deposit_and_withdrawal_are_neither_gain_nor_loss() -> None:
    """+10%, then 500 in and +10%, then 1,000 out and -5%: the account earned what the market did to
    it.
    """
    seen = performance([1000, 1100, 1710, 624.5], [0, 0, 500, -500])
    assert list(seen.growth) == pytest.approx([1, 1.1, 1.1 * 1.1, 1.21 * 0.95])
    assert seen.total_return == pytest.approx(0.1495)
    assert seen.deepest_fall == pytest.approx(0.05)
    assert (seen.paid_in, seen.paid_out) == (500, 1000)


def test_account_that_only_moved_money_earned_nothing() -> None:
    """Doubled by a deposit and halved by a withdrawal: return zero, no fall."""
    seen = performance([1000, 2000, 1000], [0, 1000, 0])
    assert (seen.total_return, seen.deepest_fall) == (0, 0)


def test_without_transfers_it_is_the_plain_return() -> None:
    """What was accepted before the first slot is in its equity and no transfer since."""
    seen = performance([100, 50, 75], [40, 40, 40])
    assert seen.total_return == pytest.approx(-0.25)
    assert seen.deepest_fall == pytest.approx(0.5)
    assert (seen.paid_in, seen.paid_out) == (0, 0)


def test_account_that_was_emptied_and_filled_again_goes_on_from_where_it_was() -> None:
    """+10%, all taken out, filled again, +20%: an empty account can neither gain nor lose."""
    seen = performance([1000, 1100, 0, 500, 600], [0, 0, -1100, -600, -600])
    assert seen.total_return == pytest.approx(1.1 * 1.2 - 1)


def test_single_slot_has_earned_nothing_yet() -> None:
    """The first slot is where the count begins."""
    seen = performance([1000], [0])
    assert (seen.total_return, seen.deepest_fall, list(seen.growth)) == (0, 0, [1])
