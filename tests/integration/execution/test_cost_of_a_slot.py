"""What a slot asks of its venue, counted there: no request that the result does not need."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import CachedClock
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.lease import take_lease
from penstock.execution.rebalance.run import rebalance
from penstock.execution.reconciliation.reconcile import reconcile
from penstock.practice.faults import Fault, FaultKind
from tests.integration.execution.conftest import Stage

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SYMBOLS = [f"C{n:02d}/USDT" for n in range(12)]
BARS = pl.DataFrame(
    [(symbol, SLOT + day * DAY, *(10.0,) * 4, 1e9) for symbol in SYMBOLS for day in range(-2, 4)],
    schema=BARS_SCHEMA,
    orient="row",
)
TRADES = "GET /api/v3/myTrades"
HALVES = (
    {symbol: (0.1 if n % 2 else 0.04) for n, symbol in enumerate(SYMBOLS)},
    {symbol: (0.04 if n % 2 else 0.1) for n, symbol in enumerate(SYMBOLS)},
)


@pytest.fixture
def stage(stage_on_practice: Callable[..., Any]) -> Any:
    """Make an account that has traded one slot, with several senders and the clock of a slot."""
    stage = stage_on_practice(BARS, SLOT)
    policy = stage.session.policy.model_copy(
        update={"senders": 4, "trade_comparison_seconds": 3600}
    )
    stage.session = replace(stage.session, policy=policy)
    assert len(traded(stage, 0)) == len(SYMBOLS)
    return stage


def traded(stage: Stage, day: int) -> list[str]:
    """Trade the slot of a day and return the symbols that were traded."""
    stage.move_to(SLOT + day * DAY)
    clock = CachedClock(stage.session.clock, SYSTEM_CLOCK, max_age_seconds=60)
    session = replace(stage.session, clock=clock, pause=clock.pause)
    result = rebalance(session, stage.inputs(HALVES[day % 2], SLOT + day * DAY))
    assert result.status is RebalanceStatus.DONE, result.summary()
    assert result.breaks == ()
    ledger, number = session.ledger, result.orders[0].rebalance_id
    assert ledger.balances(session.account) == session.exchange.balances()
    # what the run kept of its orders while it followed them is what the ledger has
    assert list(result.orders) == ledger.orders(session.account, rebalance_id=number)
    return [fill.symbol for fill in result.fills]


def asked(stage: Stage) -> Counter[str]:
    assert stage.control is not None
    return Counter(stage.control.stats()["requests"])


def reconciled(stage: Stage) -> Any:
    """Compare the account outside of a slot, as the schedule does each hour."""
    session = stage.session
    keeper = take_lease(session.ledger, session.account, 60, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS)
    assert keeper is not None
    try:
        return reconcile(session, keeper)
    finally:
        keeper.release()


def test_slot_asks_for_its_orders_and_little_else(stage: Stage) -> None:
    """Twelve orders in two phases: one request each, one for the time, none for trades, and the
    rest does not grow with the symbols.
    """
    reconciled(stage)
    before = asked(stage)
    assert sorted(traded(stage, 1)) == SYMBOLS
    cost = asked(stage) - before
    assert cost.pop("POST /api/v3/order") == len(SYMBOLS)
    assert cost.pop("GET /api/v3/time") == 1
    assert TRADES not in cost
    # one of them is this test's own question for the balances
    assert sum(cost.values()) <= 14, cost


def test_trades_are_compared_outside_of_the_slot_once_each(stage: Stage) -> None:
    """The hourly reconciliation lists the trades of each symbol that traded, and no other's."""
    traded(stage, 1)
    before = asked(stage)
    assert reconciled(stage).breaks == ()
    assert (asked(stage) - before)[TRADES] == len(SYMBOLS)
    before = asked(stage)
    assert reconciled(stage).breaks == ()
    assert TRADES not in asked(stage) - before


def test_next_slot_compares_trades_that_nobody_has_compared_for_an_hour(stage: Stage) -> None:
    """Older than the policy's bound, they are compared by the slot, before it trades."""
    before = asked(stage)
    traded(stage, 1)
    assert (asked(stage) - before)[TRADES] == len(SYMBOLS)


def test_trade_that_the_list_shows_otherwise_is_found_by_the_comparison(stage: Stage) -> None:
    """The venue lists each trade twice though its balances agree. The slot of the same hour does
    not see it; the comparison does, and locks.
    """
    assert stage.control is not None
    stage.control.arm(Fault(kind=FaultKind.DOUBLED_TRADES, method="GET", path="/api/v3/myTrades"))
    assert {found.subject for found in reconciled(stage).breaks} == {*SYMBOLS}


def test_balance_that_differs_makes_the_slot_read_trades(stage: Stage) -> None:
    """Somebody sells under the same keys within the hour: the slot lists the trades of all symbols
    that are not compared, and the break names the trade.
    """
    assert stage.control is not None
    reconciled(stage)
    stage.control.correct("key", "C03", "-1")
    stage.move_to(SLOT + DAY)
    before = asked(stage)
    result = rebalance(stage.session, stage.inputs(HALVES[1], SLOT + DAY))
    assert {found.subject for found in result.breaks} == {"C03"}
    assert (asked(stage) - before)[TRADES] >= 1
