"""Following an order to its end: which of the venue's trades are asked for."""

from datetime import timedelta

from penstock.core.clock import SteppedClock
from penstock.core.orders import OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.run import rebalance
from penstock.testing.instruments import SLOT
from penstock.testing.world import World


def test_trade_that_the_venue_dates_before_the_slot_is_booked(world: World) -> None:
    """The venue stamps its trades four minutes early, before the slot. The first look books the
    fill and ends the order, without reconciliation.
    """
    rebalance(world.session, world.inputs({"ETH/USDT": 0.1}))
    slot = SLOT + timedelta(days=1)
    world.clock.at = slot + timedelta(seconds=2)
    world.venue.clock = SteppedClock(slot - timedelta(minutes=4))
    report = rebalance(world.session, world.inputs({"ETH/USDT": 0.1, "BTC/USDT": 0.5}, slot))
    assert world.clock.now() == slot + timedelta(seconds=2)
    assert report.status is RebalanceStatus.DONE
    assert [order.state for order in report.orders] == [OrderState.FILLED]
    assert [fill.at for fill in report.fills] == [slot - timedelta(minutes=4)]
    assert world.ledger.balances("test") == world.venue.balances()
