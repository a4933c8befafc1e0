"""Faults of the venue's wire, struck by the practice exchange: no order twice, none lost, ledger
and venue equal.
"""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.errors import VenueUnavailableError
from penstock.core.halts import TradingState
from penstock.core.orders import OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.run import rebalance
from penstock.practice.faults import FaultKind
from tests.integration.execution.conftest import Stage

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
PRICES = {"BTC/USDT": 50_000.0, "ETH/USDT": 2_500.0, "SOL/USDT": 120.0}
WEIGHTS = {"BTC/USDT": 0.4, "ETH/USDT": 0.3, "SOL/USDT": 0.2}
BARS = pl.DataFrame(
    [
        (symbol, SLOT + timedelta(days=day), *(price,) * 4, 1e9)
        for symbol, price in PRICES.items()
        for day in (-2, -1, 0, 1)
    ],
    schema=BARS_SCHEMA,
    orient="row",
)


@pytest.fixture
def stage(stage_on_practice: Callable[..., Any]) -> Any:
    return stage_on_practice(BARS, SLOT)


def require_whole(stage: Stage) -> None:
    session = stage.session
    fills = [fill for symbol in WEIGHTS for fill in session.exchange.fills(symbol, SLOT)]
    assert Counter(fill.symbol for fill in fills) == dict.fromkeys(WEIGHTS, 1)
    assert {fill.trade_id for fill in fills} == {
        fill.trade_id for fill in session.ledger.fills(session.account)
    }
    assert session.ledger.balances(session.account) == session.exchange.balances()


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        (FaultKind.TIMEOUT_BEFORE, {"seconds": 1.5}),
        (FaultKind.TIMEOUT_AFTER, {"seconds": 1.5}),
        (FaultKind.ERROR_BEFORE, {}),
        (FaultKind.ERROR_AFTER, {}),
        (FaultKind.RESET_AFTER, {}),
        (FaultKind.MALFORMED, {}),
        (FaultKind.RATE_LIMIT, {"seconds": 0.1}),
    ],
)
def test_ambiguous_submit_gives_one_order_and_its_fill(
    stage: Stage, kind: FaultKind, details: dict[str, float]
) -> None:
    """Each symbol trades once and the slot is DONE, whatever became of the second answer."""
    stage.control.arm_next(kind, "POST", "/api/v3/order", nth=(2,), **details)
    report = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    assert report.status is RebalanceStatus.DONE, report
    assert [fault["struck"] for fault in stage.control.faults()] == [1]
    require_whole(stage)


def test_order_hidden_for_a_while_is_found_and_not_repeated(stage: Stage) -> None:
    """Accepted, its answer lost, and not visible at once: within the visibility delay it is found,
    not sent again.
    """
    submit, lost = stage.session.exchange.submit, []

    def submit_and_lose(order: Any) -> Any:
        report = submit(order)
        if not lost:
            lost.append(order.client_order_id)
            raise VenueUnavailableError("reset by peer")
        return report

    stage.session.exchange.submit = submit_and_lose
    stage.control.arm_next(FaultKind.HIDDEN_ORDER, "POST", "/api/v3/order", seconds=0.2)
    report = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    assert report.status is RebalanceStatus.DONE
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    require_whole(stage)


def test_halt_in_the_database_stops_the_next_order(stage: Stage) -> None:
    """The kill switch is set between two orders of one plan. The rest is not sent, and the slot is
    FAILED with the reason.
    """
    submit = stage.session.exchange.submit

    def submit_then_halt(order: Any) -> Any:
        report = submit(order)
        stage.session.control_store.set_trading_state(
            stage.session.account, TradingState.HALTED, "drill", "test", SLOT
        )
        # so old the switch's last word may be when an order leaves
        time.sleep(stage.session.policy.kill_switch_seconds)
        return report

    stage.session.exchange.submit = submit_then_halt
    report = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    assert report.status is RebalanceStatus.FAILED
    assert "drill" in report.reason
    assert Counter(order.state for order in report.orders) == {
        OrderState.FILLED: 1,
        OrderState.CANCELED: 2,
    }
    assert stage.session.ledger.balances(stage.session.account) == stage.session.exchange.balances()


def test_deposit_at_the_venue_locks_and_unlocks(stage: Stage) -> None:
    """A deposit opens a break in the database, and closes by itself when it is withdrawn again."""
    rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    stage.control.deposit("key", "ETH", 1)
    stage.move_to(SLOT + timedelta(days=1))
    report = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT + timedelta(days=1)))
    assert [found.subject for found in report.breaks] == ["ETH"]
    stage.control.withdraw("key", "ETH", 1)
    again = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT + timedelta(days=1)))
    assert not again.breaks
