"""What a Prefect time-out leaves of a rebalance: nothing trades on, the lease ends, the slot goes
on later.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect.utilities.timeout import timeout

from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK
from penstock.core.orders import OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.lease import take_lease
from penstock.pipeline.rebalance import newest_slot, rebalance_slot
from penstock.pipeline.slots import _ingest
from penstock.practice.faults import Fault, FaultKind
from tests.integration.pipeline.conftest import ACTOR, Place

pytestmark = pytest.mark.slow

LIMIT_SECONDS = 2.0


def timed_out(place: Place) -> None:
    """Rebalance under a task's time limit, at a venue whose answer to an order takes longer."""
    with pytest.raises(TimeoutError), timeout(LIMIT_SECONDS):
        rebalance_slot(place.platform, ACTOR, "daily", newest_slot(place.platform, "daily"))


@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_time_out_stops_the_trading_and_ends_the_lease(place: Place, where: str) -> None:
    """The task raises. Its process sends nothing more and holds nothing. The next run finishes the
    slot with one order set.
    """
    place.platform.senders = 1  # the second order has not left when the time is up
    slot = place.tomorrow()
    _ingest(place.platform, "daily", slot)
    place.control.arm(
        Fault(kind=FaultKind.SLOW, method="POST", path="/api/v3/order", seconds=3, times=1)
    )
    if where == "main thread":
        timed_out(place)
    else:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(timed_out, place).result()
    keeper = take_lease(place.ledger, "practice-daily", 60, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS)
    assert keeper is not None, "the lease outlived the run"
    sent = place.control.stats()["orders"]
    time.sleep(3)  # the slow answer has come
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
