"""What a Prefect time-out leaves of a rebalance: nothing trades on, the lease ends, the slot goes
on later.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect.states import State
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.timeout import timeout

import tasks.trading
from flows.rebalance_portfolio import rebalance_portfolio
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK
from penstock.core.orders import OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.lease import take_lease
from penstock.pipeline.rebalance import newest_slot, rebalance_slot
from penstock.pipeline.slots import _ingest, list_slots, trade_slot
from penstock.practice.faults import Fault, FaultKind
from tests.integration.pipeline.conftest import ACTOR, Place

LIMIT_SECONDS = 2.0


def timed_out(place: Place) -> None:
    """Rebalance under a task's time limit, at a venue whose answer to an order takes longer."""
    with pytest.raises(TimeoutError), timeout(LIMIT_SECONDS):
        rebalance_slot(place.platform, ACTOR, "daily", newest_slot(place.platform, "daily"))


@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_time_out_stops_the_trading_and_ends_the_lease(place: Place, where: str) -> None:
    """The task raises; its process sends nothing more and holds nothing; the next run finishes the
    slot with one order set.
    """
    slot = place.tomorrow()
    _ingest(place.platform, "daily", slot)
    place.control.arm(
        Fault(kind=FaultKind.SLOW, method="POST", path="/api/v3/order", seconds=4, times=1)
    )
    if where == "main thread":
        timed_out(place)
    else:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(timed_out, place).result()
    keeper = take_lease(place.ledger, "practice-daily", 60, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS)
    assert keeper is not None, "the lease outlived the run"
    sent = place.control.stats()["orders"]
    time.sleep(5)
    assert place.control.stats()["orders"] == sent
    keeper.release()
    assert sent < 2, "the time-out came too late to show anything"
    report = rebalance_slot(place.platform, ACTOR, "daily", slot)
    assert report.status is RebalanceStatus.DONE
    filled = [
        order for order in place.ledger.orders("practice-daily") if order.state is OrderState.FILLED
    ]
    assert {order.request.symbol for order in filled} == {"BTC/USDT", "ETH/USDT"}
    assert place.control.stats()["orders"] == len(filled) == 2
    assert place.ledger.balances("practice-daily") == place.platform.exchange("daily").balances()


@pytest.fixture
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def test_slot_that_fails_does_not_keep_a_newer_one_from_being_traded(
    place: Place, monkeypatch: pytest.MonkeyPatch, prefect_server: None
) -> None:
    """The venue fails the older slot: its task fails, the newer slot is traded, and the flow's run
    is a failed one.
    """
    portfolios = place.platform.settings.process.configs / "portfolio.yaml"
    catching_up = "max_lateness_minutes: 720\n  missed_slots: run_all"
    portfolios.write_text(
        portfolios.read_text().replace("max_lateness_minutes: 720", catching_up, 1)
    )
    trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    place.tomorrow()
    _ingest(place.platform, "daily", place.tomorrow())
    monkeypatch.setattr(tasks.trading, "worker_platform", lambda: place.platform)
    # as often as a read is tried
    place.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/account", times=4))
    state: State[object] = rebalance_portfolio("daily", return_state=True)
    assert state.is_failed()
    found = list_slots(place.platform, ACTOR, "daily")
    assert [row.status for row in found] == ["done", "failed", "done"]
    assert "HTTP 503" in found[1].reason
    assert [title for title, _ in place.alerts] == [
        "practice-daily: slot 2024-06-02 00:00 was not finished"
    ]
