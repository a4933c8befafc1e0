"""Several workers on one slot of one account: one order set."""

import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.errors import StaleLeaseError
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK
from penstock.core.orders import OrderEventKind
from penstock.execution.lease import take_lease
from penstock.execution.rebalance.run import rebalance

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
BARS = pl.DataFrame(
    [
        (f"{base}/USDT", SLOT + timedelta(days=d), *(100.0,) * 4, 1e9)
        for base in ("AAA", "BBB")
        for d in (-1, 0, 1)
    ],
    schema=BARS_SCHEMA,
    orient="row",
)
WEIGHTS = {"AAA/USDT": 0.4, "BBB/USDT": 0.4}


@pytest.mark.parametrize("wait", [0, 20])
def test_workers_that_race_for_a_slot_give_one_order_set(
    stage_on_practice: Callable[..., Any], wait: int
) -> None:
    """Four workers at once: one trades; the others find the account taken, or wait and find the
    slot done.
    """
    stage = stage_on_practice(BARS, SLOT)
    session = replace(
        stage.session, policy=stage.session.policy.model_copy(update={"lease_wait_seconds": wait})
    )
    inputs = stage.inputs(WEIGHTS, SLOT)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: rebalance(session, inputs), range(4)))
    assert Counter(report.sent for report in reports) == {2: 1, 0: 3}
    others = [report for report in reports if not report.sent]
    assert all(report.already_done or (not wait and report.status is None) for report in others)
    assert stage.control.stats()["orders"] == 2
    assert stage.session.ledger.balances(stage.session.account) == stage.session.exchange.balances()


def test_stale_holder_is_refused_by_the_database(stage_on_practice: Callable[..., Any]) -> None:
    """A worker whose lease was replaced can write nothing more, whatever it believes."""
    stage = stage_on_practice(BARS, SLOT)
    session = stage.session
    rebalance(session, stage.inputs(WEIGHTS, SLOT))
    order = session.ledger.orders(session.account)[0].request.client_order_id
    slow = take_lease(session.ledger, session.account, 0.2, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS)
    assert slow is not None
    stale = slow.lease
    later = None
    while later is None:
        later = take_lease(
            session.ledger, session.account, 30, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS
        )
    with pytest.raises(StaleLeaseError, match="replaced"):
        session.ledger.record_event(stale, order, OrderEventKind.ACCEPT, SLOT)
    later.release()


def test_lease_ages_while_the_machine_is_suspended(
    stage_on_practice: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock that stands still during a suspension is not the one that a lease's life is
    measured on.
    """
    if sys.platform != "linux":
        pytest.skip("only Linux has a clock that is known to count the sleep")
    session = stage_on_practice(BARS, SLOT).session
    session.ledger.open_account(session.account, session.exchange_name, session.quote)
    frozen = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: frozen)
    keeper = take_lease(session.ledger, session.account, 0.3, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS)
    assert keeper is not None
    time.sleep(0.35)
    with pytest.raises(StaleLeaseError, match="lapsed"):
        _ = keeper.lease
