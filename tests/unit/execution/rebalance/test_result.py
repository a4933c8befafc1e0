"""What a rebalance's report says of itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.core.order_records import OrderRecord
from penstock.core.orders import OrderRequest, OrderType, Phase, Side
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


def test_slot_that_was_done_before_says_when_and_that_nothing_was_sent_now() -> None:
    """The orders of the earlier run stand below it, and are not this run's."""
    request = OrderRequest("a", "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal(1))
    orders = tuple(
        OrderRecord(
            account="main",
            rebalance_id=1,
            request=request,
            phase=Phase.BUYS,
            child=0,
            attempt=0,
            reference_price=Decimal(50_000),
            strategy_version="v/1",
            created_at=at,
            updated_at=at,
        )
        for at in (SLOT + timedelta(hours=19, minutes=26), SLOT + timedelta(hours=1))
    )
    done = RebalanceResult(
        "main", SLOT, RebalanceStatus.DONE, "already done", "v/1", already_done=True, orders=orders
    )
    named = "main 2025-06-02 00:00: already done"
    assert done.summary() == f"{named} at 2025-06-02 19:26; 0 orders sent now"
    assert replace(done, orders=()).summary() == f"{named}; 0 orders sent now"


def test_slot_that_wants_nothing_else_says_what_it_wants() -> None:
    """Nobody takes a strategy that holds cash for one that does not work."""
    cash = RebalanceResult(
        "main", SLOT, RebalanceStatus.DONE, "", "v/1", invested=0, lateness_seconds=9000
    )
    assert "0 orders sent (at its targets: 0% of equity invested), 0 fills" in cash.summary()
    assert cash.summary().endswith("2.5 h late, took 0.0 s")
