"""Missed slots on the real ledger. One call records a day of minutes, and the account trades on."""

import time
from collections import Counter
from datetime import timedelta

from penstock.adapters.stores.postgres import PostgresControlStore, PostgresParentOrderStore
from penstock.core.clock import VenueClock
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.rebalance.slots import MissedSlots, account_for_missed
from penstock.execution.session import AccountSession, ExecutionPolicy
from tests.integration.algorithms.conftest import Stage

STYLE = {"algorithm": "market"}
WEIGHTS = {"ETH/USDT": 0.1}


def session_of(stage: Stage, account: str) -> AccountSession:
    exchange, control_store = stage.exchange(account), PostgresControlStore(stage.database)
    switch = KillSwitch(account, control_store, clock=SYSTEM_CLOCK)
    clock = VenueClock(exchange.now, SYSTEM_CLOCK)
    return AccountSession(
        account=account,
        exchange_name="practice",
        quote="USDT",
        exchange=exchange,
        ledger=stage.ledger,
        parent_orders=PostgresParentOrderStore(stage.database),
        control_store=control_store,
        clock=clock,
        kill_switch=switch,
        policy=ExecutionPolicy(),
        pause=SYSTEM_CLOCK.sleep,
        machine_clock=SYSTEM_CLOCK,
        runner=THREADS,
        ids=RANDOM_IDS,
    )


def test_day_of_missed_minutes_is_accounted_for_in_one_call(stage: Stage) -> None:
    """Done, then away for 1,000 minutes: 999 rows SKIPPED with the reason, the newest is run, and
    none is missing.
    """
    account = "away"
    slot = stage.open(account)
    assert stage.run(account, slot, STYLE, WEIGHTS)["status"] == "done"
    newest = slot + timedelta(minutes=1_000)
    started = time.monotonic()
    found = account_for_missed(session_of(stage, account), Timeframe.M1, newest, MissedSlots.SKIP)
    took = time.monotonic() - started
    assert found.to_run == (newest,)
    stage.control.step(to=newest + timedelta(seconds=1))
    assert stage.run(account, newest, STYLE, WEIGHTS)["status"] == "done"
    rows = stage.ledger.rebalances(account, limit=2_000)
    assert Counter(row.status for row in rows) == {
        RebalanceStatus.DONE: 2,
        RebalanceStatus.SKIPPED: 999,
    }
    assert [row.slot for row in rows] == [newest - n * Timeframe.M1.duration for n in range(1_001)]
    assert all(row.reason for row in rows if row.status is RebalanceStatus.SKIPPED)
    again = account_for_missed(session_of(stage, account), Timeframe.M1, newest, MissedSlots.SKIP)
    assert not again.skipped
    print(f"\n999 missed slots on record in {took:.2f} s")
