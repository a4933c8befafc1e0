"""What a certification leaves at the venue, however it ended, and what it says of it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.errors import VenueRejectedError, VenueUnavailableError
from penstock.core.orders import OrderReport, OrderRequest, OrderState
from penstock.execution.certification.marked_orders import MarkedOrders
from penstock.execution.certification.script import CertifiedStep, StepResult
from penstock.testing.instruments import instrument
from tests.certified_steps import STEPS
from tests.unit.execution.certification.conftest import SYMBOL, Life, name_of


def unanswered(_: object) -> Any:
    raise VenueUnavailableError("no answer in 5 s")


@pytest.mark.parametrize("last", STEPS)
def test_interruption_after_any_step_leaves_nothing(life: Life, last: str) -> None:
    """What works is cancelled and what was bought is sold. The interruption is raised then."""

    def interrupt(step: CertifiedStep) -> None:
        if step.name == last:
            raise KeyboardInterrupt

    life.heard = interrupt
    with pytest.raises(KeyboardInterrupt):
        life.script.run()
    assert life.recorder.begun == [*STEPS[: STEPS.index(last) + 1], "end"]
    assert not life.working
    assert life.kept < instrument(SYMBOL).lot_step
    assert life.script.left == ()


@pytest.mark.parametrize(("times", "left"), [(1, ()), (2, ("not known: the end was interrupted",))])
def test_interrupted_end_begins_again_once(life: Life, times: int, left: tuple[str, ...]) -> None:
    """A second interruption stops it, and nothing is promised of what is left."""
    ends = 0

    def interrupt(orders: MarkedOrders) -> Any:
        nonlocal ends
        if life.recorder.begun[-1] == "end" and ends < times:
            ends += 1
            raise KeyboardInterrupt
        return orders

    life.venue.changes["open_orders"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        life.script.run()
    assert ends == times
    assert life.script.left == left


def test_order_that_arrives_late_is_cancelled(life: Life) -> None:
    """No answer came, and the venue takes the order three seconds later, during the end."""
    late: list[OrderRequest] = []

    def hold_back(order: OrderRequest) -> None:
        if not late:
            late.append(order)
            life.clock.alarms[3] = lambda: life.venue.submit(late[0])
            raise VenueUnavailableError("no answer in 5 s")

    life.venue.before = hold_back
    life.ended_at("place", "no answer in 5 s")
    life.clock.sleep(10)
    assert life.venue.placed[name_of(1)].state is OrderState.CANCELED
    assert life.script.left == ()


def test_refused_order_is_not_waited_for(life: Life) -> None:
    """The venue has answered: it will not arrive."""

    def refuse(_: OrderRequest) -> None:
        raise VenueRejectedError("Account is restricted.", "-2010")

    life.venue.before = refuse
    life.ended_at("place", "Account is restricted.")
    assert life.clock.elapsed_seconds() == 0
    assert life.script.left == ()


@pytest.mark.parametrize(("failures", "left"), [(3, False), (100, True)])
def test_cancellation_is_asked_for_until_the_patience_ends(
    life: Life, failures: int, left: bool
) -> None:
    """An order that still works then is named."""

    def fail(_: OrderRequest) -> None:
        count = 0

        def cancel(client_order_id: str, symbol: str) -> Any:
            nonlocal count
            count += 1
            if count <= failures:
                raise VenueUnavailableError("no answer in 5 s")
            return type(life.venue).cancel(life.venue, client_order_id, symbol)

        vars(life.venue).update(cancel=cancel)

    life.venue.before = fail
    last = life.run()
    assert (last.name, last.result) == ("cancel", StepResult.DIFFERENT)
    assert life.script.left == ((f"order {name_of(1)} works",) if left else ())
    assert life.working == ([1] if left else [])
    assert life.clock.elapsed_seconds() == (5 if left else 2)


@pytest.mark.parametrize(("shown", "left"), [(True, 0), (False, 1)])
def test_order_in_doubt_is_named_unless_it_is_seen_to_have_ended(
    life: Life, shown: bool, left: int
) -> None:
    """Its cancellation has no answer, and it is no longer among the working orders: only a look at
    the order itself shows that it has ended.
    """

    def cancelled_unseen(report: OrderReport) -> Any:
        if not shown:
            life.venue.down = True  # nothing is found any more
        return unanswered(report)

    life.venue.changes["cancel"] = cancelled_unseen
    last = life.run()
    assert (last.name, last.result) == ("cancel", StepResult.DIFFERENT)
    assert not life.working
    assert len(life.script.left) == left
    assert all(name_of(1) in each for each in life.script.left)


def test_end_that_cannot_list_the_orders_says_so(life: Life) -> None:
    """The venue answers no question about working orders. What it said stands in the result."""

    def deaf() -> None:
        life.venue.changes["open_orders"] = unanswered

    life.recorder.at_end = deaf
    life.run()
    assert life.script.left == ("no answer in 5 s",)
    assert not life.script.is_as_expected


def hide_the_fills(life: Life) -> None:
    life.venue.changes["fills"] = lambda fills: [
        fill for fill in fills if fill.client_order_id != name_of(5)
    ]


def lose_some_of_the_balance(life: Life) -> None:
    def take(order: OrderRequest) -> None:
        if order.client_order_id == name_of(5):
            life.venue.assets["ADA"] -= Decimal(1)

    life.venue.after = take


@pytest.mark.parametrize(
    ("trouble", "seen", "left"),
    [
        (
            hide_the_fills,
            "0 trades do not make up 22.8",
            ("22.7 ADA more than at the beginning",),
        ),
        # More was bought than is there: a sell of all of it is refused.
        (
            lose_some_of_the_balance,
            "ADA did not change by 22.7772",
            ("Account has insufficient balance for requested action.",),
        ),
    ],
)
def test_trades_must_make_up_the_order_and_the_balance(
    life: Life, trouble: Callable[[Life], None], seen: str, left: tuple[str, ...]
) -> None:
    """The step waits for it, differs, and the end says what could not be sold."""
    life.script.most = Decimal(500)  # so that nothing is bought before
    trouble(life)
    life.ended_at("fill", seen)
    assert life.script.left == left


def test_what_was_held_before_is_not_sold(life: Life) -> None:
    """Only what the run itself has bought is, and the rest is not said to be left."""
    life.venue.assets["ADA"] = Decimal(100)

    def stop(step: CertifiedStep) -> None:
        if step.name == "fill":
            raise KeyboardInterrupt

    life.heard = stop
    with pytest.raises(KeyboardInterrupt):
        life.script.run()
    assert 100 <= life.kept < 100 + instrument(SYMBOL).lot_step
    assert life.script.left == ()


def test_trades_of_others_are_not_counted_as_bought(life: Life) -> None:
    """Somebody buys by hand meanwhile: that stays, and is named as more than at the beginning."""

    def buy(step: CertifiedStep) -> None:
        if step.name == "fill":
            order = life.venue.submitted[-1]
            life.venue.trade(SYMBOL, order.side, Decimal(50), Decimal("0.5"), "by-hand")

    life.heard = buy
    life.run()
    assert life.script.left == ("50 ADA more than at the beginning",)
    assert not life.script.is_as_expected


def test_sell_that_is_below_the_minimum_is_not_tried(life: Life) -> None:
    """The market falls after the buy: the venue would refuse the sale."""

    def fall(step: CertifiedStep) -> None:
        if step.name == "fill":
            life.venue.prices[SYMBOL] = Decimal("0.1")
            raise KeyboardInterrupt

    life.script.most, life.heard = Decimal(500), fall
    with pytest.raises(KeyboardInterrupt):
        life.script.run()
    assert [order for order in life.venue.submitted if order.side.sign < 0] == []


def test_price_and_size_follow_the_rules_of_the_venue(life: Life) -> None:
    """The resting price is a tenth below the bid, in whole ticks. The size is twice the minimum at
    that price, in whole lots: it can be sold again after its fee.
    """
    life.venue.rules = lambda symbol: replace(
        instrument(symbol), lot_step=Decimal(3), min_quantity=Decimal(3)
    )
    life.script.orders.begin()
    order = life.script.orders.resting()
    assert (order.price, order.quantity) == (Decimal("0.44"), Decimal(24))
    assert order.client_order_id == name_of(1)
