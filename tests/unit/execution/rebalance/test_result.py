"""What a rebalance's report says of itself."""

from datetime import UTC, datetime

import pytest

from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.result import RebalanceResult
from penstock.portfolio.rebalancing import Skipped

SLOT = datetime(2025, 6, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "already_done", "failure"),
    [
        (RebalanceStatus.DONE, False, False),
        (RebalanceStatus.SKIPPED, False, False),
        (RebalanceStatus.FAILED, False, True),
        (RebalanceStatus.FAILED, True, True),
        (None, False, True),
        (None, True, False),
    ],
)
def test_slot_that_was_not_traded_as_it_should_is_a_failure(
    status: RebalanceStatus | None, already_done: bool, failure: bool
) -> None:
    """A script reads it from the exit code: the slot failed, or another process held the account
    and did not end it.
    """
    assert RebalanceResult("main", SLOT, status, "", "v/1", already_done).is_failure is failure


def test_slot_without_orders_says_why() -> None:
    """What planning left out stands in the line of a slot that traded nothing."""
    skipped = tuple(Skipped(symbol, "within the band") for symbol in ("BTC/USDT", "ETH/USDT"))
    result = RebalanceResult("main", SLOT, RebalanceStatus.DONE, "", "v/1", skipped=skipped)
    assert "0 orders sent (BTC/USDT: within the band; 1 more), 0 fills" in result.summary()


def test_slot_that_wants_nothing_else_says_what_it_wants() -> None:
    """Nobody takes a strategy that holds cash for one that does not work."""
    cash = RebalanceResult(
        "main", SLOT, RebalanceStatus.DONE, "", "v/1", invested=0, lateness_seconds=9000
    )
    assert "0 orders sent (at its targets: 0% of equity invested), 0 fills" in cash.summary()
    assert cash.summary().endswith("2.5 h late, took 0.0 s")
