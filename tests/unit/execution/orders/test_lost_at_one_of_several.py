"""An order was lost at one of several venues, which then pauses its symbol. A process that starts
afterwards finds it there.
"""

from decimal import Decimal

import pytest

from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.execution.rebalance.run import rebalance
from penstock.testing.world import TwoVenueWorld

WEIGHTS = {"BTC/USDT": 0.3}


class Killed(BaseException):
    """The process ends here."""


def kill(_: OrderRequest) -> None:
    raise Killed


def test_order_lost_where_the_symbol_is_then_paused_is_not_bought_again(two: TwoVenueWorld) -> None:
    """The run is killed right after the venue had filled the order. The other venue's denial covers
    that venue only. The fill is booked once.
    """
    world = two.process()
    two.near.after = kill
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(WEIGHTS))
    two.near.after = lambda _: None
    two.near.paused = frozenset(WEIGHTS)
    again = two.process()
    rebalance(again.session, again.inputs(WEIGHTS))
    (order,) = two.ledger.book.values()
    assert (order.state, order.request.venue) == (OrderState.FILLED, "near")
    assert two.ledger.balances("test")["BTC"] == two.near.assets["BTC"]
    assert two.far.submitted == []


def test_resting_order_is_cancelled_where_the_symbol_is_paused(two: TwoVenueWorld) -> None:
    """The session asks the venue that the intent names, by request or (from the ledger) by name."""
    world = two.process()
    rebalance(world.session, world.inputs(WEIGHTS))
    (order,) = two.ledger.book.values()
    resting = OrderRequest(
        "rests", "BTC/USDT", Side.BUY, OrderType.LIMIT, Decimal("0.01"), Decimal(1000), venue="near"
    )
    world.session.exchange.submit(resting)
    two.near.paused = frozenset(WEIGHTS)
    fresh = two.process().session
    assert fresh.find_named(order.request.client_order_id, "BTC/USDT").state is OrderState.FILLED
    assert fresh.find_order(resting).state is OrderState.OPEN
    assert fresh.cancel(resting).state is OrderState.CANCELED
