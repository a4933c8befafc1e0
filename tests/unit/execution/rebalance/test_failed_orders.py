"""Orders that no venue took, or that one ended with nothing filled: the slot gives the reason, and
an alert does.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.core.errors import VenueUnavailableError
from penstock.core.orders import EndCause, OrderReport, OrderRequest, OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.outcome import FAILED
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import rebalance
from penstock.execution.rebalance.slot_alerts import slot_alerts
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
BOTH = {"BTC/USDT": 0.5, "ETH/USDT": 0.4}


def lose(order: OrderRequest) -> None:
    raise VenueUnavailableError("read timed out")


def said(result: RebalanceResult) -> list[tuple[str, bool]]:
    """The alerts of a slot: their titles, and whether they are urgent."""
    return [(each.title.rsplit(": ", 1)[-1], each.is_urgent) for each in slot_alerts(result)]


def test_orders_that_never_arrive_are_an_alert_and_an_urgent_one_for_sells(world: World) -> None:
    """A proxy drops every order: three requests per symbol, and none arrives. The slot is done with
    the reason.
    """
    world.venue.before = lose
    bought = rebalance(world.session, world.inputs(BOTH))
    assert (bought.status, bought.sent) == (RebalanceStatus.DONE, 6)
    assert bought.reason.startswith("2 orders that the venue does not have: never arrived")
    assert said(bought) == [("2 orders failed", False)]
    world.venue.before = lambda _: None
    slots = [SLOT + n * timedelta(days=1) for n in (1, 2)]
    world.clock.at = slots[0] + timedelta(seconds=2)
    rebalance(world.session, world.inputs(BOTH, slots[0]))
    world.venue.before = lose
    world.clock.at = slots[1] + timedelta(seconds=2)
    sold = rebalance(world.session, world.inputs(dict.fromkeys(BOTH, 0.0), slots[1]))
    assert said(sold) == [("2 orders failed", True)]


def test_order_that_arrives_at_another_attempt_is_no_failure(world: World) -> None:
    """The first request of each symbol is lost, the second one fills."""
    lost: set[str] = set()

    def lose_once(order: OrderRequest) -> None:
        if order.symbol not in lost:
            lost.add(order.symbol)
            lose(order)

    world.venue.before = lose_once
    result = rebalance(world.session, world.inputs(BOTH))
    assert (result.sent, len(result.fills), result.reason) == (4, 2, "")
    assert (result.failed_orders, said(result)) == ((), [])


def ended(world: World, state: OrderState, reason: str) -> RebalanceResult:
    """Buy BTC. The venue takes the order and answers with its id alone. Asked for it, it shows the
    order as ended with nothing filled.
    """

    def take(order: OrderRequest, price: Decimal) -> OrderReport:
        return OrderReport(order.client_order_id, "v1", order.symbol, OrderState.OPEN, Decimal(0))

    find = world.venue.find_order

    def found(client_order_id: str, symbol: str) -> OrderReport:
        return replace(find(client_order_id, symbol), state=state, reason=reason)

    world.venue._fill = take  # type: ignore[method-assign]
    world.venue.find_order = found  # type: ignore[method-assign]
    world.venue.open_orders = list  # type: ignore[method-assign]
    return rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (OrderState.REJECTED, EndCause.REFUSED),
        (OrderState.CANCELED, EndCause.CANCELLED),
        (OrderState.EXPIRED, EndCause.EXPIRED),
    ],
)
def test_order_that_the_venue_ends_after_it_took_it_is_a_failure(
    world: World, state: OrderState, cause: EndCause
) -> None:
    """The venue works the request off later and refuses the order, or ends it at once. What it says
    is in the slot's reason and in the alert.
    """
    result = ended(world, state, "EC_NoEnoughBalance")
    (order,) = result.orders
    assert (order.state.is_final, order.end_cause) == (True, cause)
    assert result.reason == f"1 orders {FAILED[cause]}: EC_NoEnoughBalance"
    (alert,) = slot_alerts(result)
    assert alert.title.endswith("1 order failed")
    assert alert.body == "buy BTC/USDT: EC_NoEnoughBalance"


def test_every_cause_of_an_order_that_was_not_taken_has_its_sentence() -> None:
    """A new cause cannot be left out of the slot's reason."""
    assert {cause for cause in EndCause if cause.was_not_taken} <= FAILED.keys()
