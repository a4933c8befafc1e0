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
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    OrderReport,
    OrderRequest,
    OrderState,
    OrderType,
    Phase,
    Side,
)
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.lease import take_lease
from penstock.execution.orders.cancel import cancel_working
from penstock.execution.orders.submit import place
from penstock.execution.orders.track import OrderTracker
from penstock.execution.rebalance.run import rebalance
from penstock.interfaces.cli.remedies import ending_remedy
from penstock.pipeline.halts import AccountEnding, still_held
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.testing.world import World, make_two_venue_world

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


def only_taking(world: World) -> None:
    """Let the venue take each cancellation, and answer with the order as it is."""

    def take(client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        return world.venue.find_order(client_order_id, symbol)

    world.venue.cancel = take


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


def test_refused_cancellation_in_a_slot_does_not_keep_the_others(world: World) -> None:
    """The time of two orders is over, and the venue refuses to cancel the first: the second is
    cancelled, and the first is still followed.
    """
    rebalance(world.session, world.inputs({"ETH/USDT": 0.1}))
    keeper = take_lease(world.ledger, "test", 60, 0, clock=world.clock, ids=world.session.ids)
    assert keeper is not None
    slot = world.ledger.rebalances("test", limit=1)[0]
    price = Decimal(1000)
    intents = [
        OrderIntent(
            OrderRequest(name, "BTC/USDT", Side.BUY, OrderType.LIMIT, Decimal("0.1"), price),
            Phase.BUYS,
            number,
            0,
            "trend/1",
            0.2,
            price,
        )
        for number, name in enumerate(("stubborn", "ours"))
    ]
    reports = place(world.session, keeper, slot, intents)
    refusing(world, "stubborn", VenueRejectedError("EGeneral:Invalid arguments"))
    tracker = OrderTracker(world.session, keeper, slot.slot)
    left = tracker.follow(world.ledger.orders("test", unfinished_only=True), reports, 0)
    assert [order.request.client_order_id for order in left] == ["stubborn"]
    assert left[0].state is OrderState.PENDING_CANCEL
    assert world.ledger.book["ours"].state is OrderState.CANCELED


def test_venue_that_refuses_to_list_does_not_keep_the_others() -> None:
    """The keys of one venue are refused: the orders at the other one are cancelled first."""
    both = make_two_venue_world()
    for venue, name in ((both.near, "near"), (both.far, "far")):
        venue.placed[name] = OrderReport(name, "7", "ADA/USDT", OrderState.OPEN, Decimal(0))

    def refuse() -> list[OrderReport]:
        raise VenueRejectedError("Invalid API-key", "-2015")

    both.near.open_orders = refuse  # type: ignore[method-assign]
    with pytest.raises(VenueRejectedError, match="Invalid API-key"):
        cancel_working(both.process().session)
    assert both.far.placed["far"].state is OrderState.CANCELED


def test_order_that_ended_meanwhile_is_neither_cancelled_nor_left(world: World) -> None:
    """It is filled before it is cancelled, and the venue no longer has it open: nothing is left to
    do.
    """
    working(world, "gone", "ours")
    listed = world.venue.open_orders()
    world.venue.placed["gone"] = replace(listed[0], state=OrderState.FILLED)
    looks = [listed]
    world.venue.open_orders = lambda: looks.pop() if looks else []
    done = cancel_working(world.session)
    assert (done.cancelled, done.left) == (("ours",), ())


@pytest.mark.parametrize("ends", [True, False])
def test_order_whose_cancellation_was_only_taken_is_looked_for_again(
    world: World, ends: bool
) -> None:
    """The answer shows the order as open: it counts as cancelled only if it is gone a moment later.
    Else it is named as left.
    """
    working(world, "ours")
    before = world.clock.now()
    only_taking(world)

    def pause(seconds: float) -> None:
        world.clock.sleep(seconds)
        if ends:
            world.venue.placed.clear()

    done = cancel_working(replace(world.session, pause=pause))
    left = "order ours of ADA/USDT may still work: it was asked to be cancelled and is open"
    assert (done.cancelled, done.left) == ((("ours",), ()) if ends else ((), (left,)))
    assert (world.clock.now() - before).total_seconds() == 2


@pytest.mark.parametrize("denials", [1, 2])
def test_listed_order_that_the_cancellation_does_not_know_is_asked_for_again(
    world: World, denials: int
) -> None:
    """It was placed just now: the venue lists it and says "no such order" to its cancellation. It
    is asked once more; where that is the answer again, the order is left.
    """
    working(world, "new", "ours")
    cancel, asked = world.venue.cancel, []

    def deny(client_order_id: str, symbol: str, venue_order_id: str = "") -> OrderReport:
        asked.append(client_order_id)
        if asked.count("new") <= denials and client_order_id == "new":
            raise OrderNotFoundError("Unknown order sent.", "-2011")
        return cancel(client_order_id, symbol, venue_order_id)

    world.venue.cancel = deny
    done = cancel_working(world.session)
    left = "order new of ADA/USDT may still work: it is listed as open, and to its cancellation "
    assert (done.cancelled, done.left) == (
        (("ours", "new"), ())
        if denials == 1
        else (("ours",), (f"{left}the venue answers: Unknown order sent.",))
    )


def test_halt_that_cannot_see_an_order_again_leaves_it(world: World) -> None:
    """The venue took the cancellation, and does not list its orders a moment later."""
    working(world, "ours")
    looks = [world.venue.open_orders()]
    only_taking(world)

    def once() -> list[OrderReport]:
        if not looks:
            raise VenueUnavailableError("no answer in 5 s")
        return list(looks.pop())

    world.venue.open_orders = once
    done = cancel_working(world.session)
    assert (done.cancelled, done.left) == (
        (),
        ("order ours of ADA/USDT may still work: no answer in 5 s",),
    )


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
    held = still_held(world.session, skipped, RebalancePolicy())
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
    assert still_held(world.session, report, RebalancePolicy()) == ()


def test_flattening_names_what_is_suspended_and_not_what_is_kept(world: World) -> None:
    """ETH is not traded now and is still held. The reserve of BTC is where it belongs."""
    bought = rebalance(world.session, world.inputs({"BTC/USDT": 0.4, "ETH/USDT": 0.4}))
    done = replace(bought, orders=(), skipped=())
    kept = RebalancePolicy(keep={"BTC": Decimal(1_000)})
    del world.venue.prices["ETH/USDT"]
    (left,) = still_held(world.session, done, kept)
    assert left.summary() == "ETH/USDT is still held (the venue does not trade it now)"
    named = kept.model_copy(update={"uncounted_assets": ("ETH",)})
    assert still_held(world.session, done, named) == ()


def silent(order: OrderRequest) -> None:
    raise VenueUnavailableError("no answer in 5 s")
