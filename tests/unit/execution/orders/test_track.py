"""Following an order to its end: which of the venue's trades are asked for, and when an order that
the venue calls filled is over.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.errors import VenueUnavailableError
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, OrderReport, OrderRequest, OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Limit
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


def followed(world: World, changed: Callable[[Any], Any]) -> tuple[OrderRecord, float]:
    """Buy 0.1 BTC. The answer is lost, and asked for it the venue shows the order as `changed`.

    Returns the order and for how many seconds it was followed.
    """

    def change(order: OrderRequest) -> None:
        report = world.venue.placed[order.client_order_id]
        world.venue.placed[order.client_order_id] = changed(report)
        raise VenueUnavailableError("read timed out")

    world.venue.after = change
    began = world.clock.now()
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    assert report.status is RebalanceStatus.DONE, report
    (order,) = report.orders
    assert world.ledger.balances("test") == world.venue.balances()
    return order, (world.clock.now() - began).total_seconds()


def test_filled_order_that_does_not_say_how_much_has_its_trades(world: World) -> None:
    """Its quantity is empty and its trades are whole: they are booked at the first look."""
    order, seconds = followed(
        world, lambda report: replace(report, state=OrderState.FILLED, filled_quantity=Decimal(0))
    )
    assert (order.state, order.filled_quantity) == (OrderState.FILLED, order.request.quantity)
    assert seconds < 2


@pytest.mark.parametrize("fraction", ["0.5", "0"])
def test_closed_order_with_less_than_its_quantity_ends(world: World, fraction: str) -> None:
    """No trade shows for the rest during the visibility delay: the order has ended without it."""
    world.venue.fraction = Decimal(fraction)
    order, seconds = followed(world, lambda report: replace(report, state=OrderState.FILLED))
    assert (order.state, order.end_cause) == (OrderState.CANCELED, EndCause.CANCELLED)
    assert order.filled_quantity == pytest.approx(order.request.quantity * Decimal(fraction))
    assert order.reason.startswith("ended at the venue with ")
    assert world.session.policy.visibility_delay_seconds <= seconds < 15


def test_trades_of_a_filled_order_that_are_listed_late_are_waited_for(world: World) -> None:
    """The trade shows three seconds after the order: no end is recorded without it."""
    listed = world.venue.fills
    seen: list[float] = []

    def late(symbol: str, since: Any) -> Any:
        seen.append(0)
        return [] if len(seen) < 4 else listed(symbol, since)

    world.venue.fills = late  # type: ignore[method-assign]
    order, _ = followed(
        world, lambda report: replace(report, state=OrderState.FILLED, filled_quantity=Decimal(0))
    )
    assert (order.state, order.end_cause) == (OrderState.FILLED, EndCause.FILLED)


def test_reason_of_our_own_cancellation_stays(world: World) -> None:
    """The venue gives a reason for every order that it cancels. Ours says more."""
    cancel = world.venue.cancel

    def cancelled(client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        report = cancel(client_order_id, symbol, venue_order_id)
        return replace(report, reason="EC_PerCancelRequest")

    world.venue.cancel = cancelled  # type: ignore[method-assign]
    style = Limit(offset_bps=Decimal(-50), max_children=1, reprice_seconds=2)
    world.session = replace(world.session, style=style)
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    (order,) = report.orders
    assert (order.end_cause, order.reason) == (EndCause.NOT_FILLED_IN_TIME, "not filled in time")
    assert report.failed_orders == ()
