"""Cancelling what works: one order that the venue will not cancel does not keep the others, nor the
slot.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from penstock.core.errors import (
    OrderNotFoundError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.halts import TradingState
from penstock.core.orders import OrderReport, OrderRequest, OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.orders.cancel import cancel_working
from penstock.execution.rebalance.run import rebalance
from penstock.interfaces.cli.remedies import ending_remedy
from penstock.pipeline.halts import AccountEnding, still_held
from penstock.testing.world import World

DONE = RebalanceStatus.DONE
ONE_DAY = timedelta(days=1)
#: Nothing was to be ended.
ENDED = AccountEnding("daily", "test")


def working(world: World, *named: str) -> None:
    """Let orders work at the venue; one without a client order id was made by hand."""
    for number, name in enumerate(named, 71):
        report = OrderReport(name, str(number), "ADA/USDT", OrderState.OPEN, Decimal(0))
        world.venue.placed[name or f"by-hand-{number}"] = report


def refusing(world: World, name: str, error: VenueError) -> None:
    cancel = world.venue.cancel

    def refuse(client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        if client_order_id == name:
            raise error
        return cancel(client_order_id, symbol, venue_order_id)

    world.venue.cancel = refuse


def test_order_without_a_client_id_is_cancelled_by_the_venues(world: World) -> None:
    """An order made by hand has the venue's id only: it is cancelled by that, and those after it
    too.
    """
    working(world, "", "ours")
    done = cancel_working(world.session)
    assert (done.cancelled, done.left) == (("71", "ours"), ())
    assert not world.venue.open_orders()


@pytest.mark.parametrize(
    "error",
    [VenueRejectedError("EGeneral:Invalid arguments"), VenueUnavailableError("no answer in 5 s")],
)
def test_refused_cancellation_is_told_and_the_others_go_on(world: World, error: VenueError) -> None:
    """Whatever the venue answers for the first order, the second is cancelled. The result names the
    first with the venue's answer.
    """
    working(world, "stubborn", "ours")
    refusing(world, "stubborn", error)
    done = cancel_working(world.session)
    assert done.cancelled == ("ours",)
    assert done.left == (f"order stubborn of ADA/USDT may still work: {error}",)
    assert [report.client_order_id for report in world.venue.open_orders()] == ["stubborn"]


def test_order_that_ended_meanwhile_is_neither_cancelled_nor_left(world: World) -> None:
    """The venue no longer has it open: nothing is left to do."""
    working(world, "gone", "ours")
    refusing(world, "gone", OrderNotFoundError("Unknown order sent.", "-2011"))
    done = cancel_working(world.session)
    assert (done.cancelled, done.left) == (("ours",), ())


def test_slot_of_a_halt_flattens_past_an_order_that_cannot_be_cancelled(world: World) -> None:
    """The position is sold, the slot ends, and the alert names the order that is left."""
    rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    working(world, "stubborn")
    refusing(world, "stubborn", VenueRejectedError("EGeneral:Invalid arguments"))
    world.clock.at += ONE_DAY
    world.control_store.set_trading_state(
        "test", TradingState.HALTED, "drill", "test", world.clock.now(), flatten=True
    )
    inputs = world.inputs({})
    report = rebalance(world.session, replace(inputs, slot=inputs.slot + ONE_DAY))
    assert report.status is RebalanceStatus.DONE
    assert world.venue.assets["BTC"] < Decimal("0.0001")
    assert "order stubborn of ADA/USDT may still work: EGeneral:Invalid arguments" in report.alerts


def test_halt_says_what_is_left_of_orders_and_of_a_failed_flattening(world: World) -> None:
    """A FAILED flattening is not finished. One that is done or had nothing to sell is finished.
    Orders that are left are never finished.
    """
    world.venue.before = silent
    world.control_store.set_trading_state(
        "test", TradingState.ACTIVE, "", "test", world.clock.now()
    )
    world.venue.down = True
    failed = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    assert failed.status is RebalanceStatus.FAILED
    assert not replace(ENDED, flattened=failed).is_finished
    assert replace(ENDED, flattened=failed).unfinished() == failed.reason != ""
    for done in (
        ENDED,
        replace(ENDED, cancelled=("ours",), flattened=replace(failed, status=DONE)),
    ):
        assert done.is_finished
        assert done.unfinished() == ""
    left = replace(ENDED, working=("order 7 may still work",))
    assert not left.is_finished
    assert left.unfinished() == "order 7 may still work; cancel it at the venue"


def test_position_that_a_flattening_left_is_named_with_the_reason(world: World) -> None:
    """There is no break, but a slot that was not traded: the result has its reason. Once sold,
    there is nothing to report.
    """
    bought = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    skipped = replace(
        bought,
        status=RebalanceStatus.SKIPPED,
        reason="a newer slot has been traded",
        orders=(),
        skipped=(),
    )
    held = still_held(world.session, skipped)
    left = replace(ENDED, flattened=skipped, held=held)
    sentence = "BTC/USDT is still held (a newer slot has been traded)"
    assert left.unfinished() == sentence
    assert ending_remedy(left) == (
        f"{sentence}: `penstock halt --flatten -p daily --reason ...` again"
    )
    world.clock.at += ONE_DAY
    world.control_store.set_trading_state(
        "test", TradingState.HALTED, "drill", "test", world.clock.now(), flatten=True
    )
    inputs = world.inputs({})
    report = rebalance(world.session, replace(inputs, slot=inputs.slot + ONE_DAY))
    assert still_held(world.session, report) == ()


def silent(order: OrderRequest) -> None:
    raise VenueUnavailableError("no answer in 5 s")
