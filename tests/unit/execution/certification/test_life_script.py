"""The steps of a certification: their order, and how each of them can differ."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.errors import (
    OrderNotFoundError,
    RateLimitedError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.instruments import Instrument
from penstock.core.orders import OrderReport, OrderRequest, OrderState, OrderType, Side
from penstock.execution.certification.marked_orders import HaltedError
from penstock.execution.certification.script import CertifiedStep, StepResult
from penstock.testing.instruments import instrument
from tests.certified_steps import STEPS
from tests.unit.execution.certification.conftest import SYMBOL, Life, name_of


def with_rules(**rules: Decimal) -> Callable[[str], Instrument]:
    return lambda symbol: replace(instrument(symbol), **rules)  # type: ignore[arg-type]


def test_every_step_is_made_in_its_order_and_each_order_is_sent_once(life: Life) -> None:
    """Six orders leave. Name 2 asks for an order that was never sent. The end cancels them all."""
    life.run()
    assert [(step.name, step.result) for step in life.script.steps] == [
        (name, StepResult.AS_EXPECTED) for name in STEPS
    ]
    assert life.told == life.script.steps
    assert life.recorder.begun == [*STEPS, "end"]
    assert life.venue.actions == [
        ("submit", 1),
        ("cancel", 1),
        ("cancel", 1),
        ("submit", 3),
        ("submit", 4),
        ("cancel", 4),
        ("submit", 5),
        ("cancel", 5),
        ("submit", 6),
        ("submit", 7),
        *[("cancel", number) for number in (1, 3, 4, 5, 6, 7)],
    ]
    assert life.script.is_as_expected
    assert life.kept < instrument(SYMBOL).lot_step


def test_orders_carry_the_time_at_which_they_were_asked_for(life: Life) -> None:
    """So that the venue refuses one that a suspended process sends late."""
    asked: list[bool] = []
    life.venue.before = lambda order: asked.append(order.asked_at == life.clock.now())
    life.run()
    assert asked == [True] * 6


def test_nothing_is_sent_where_the_symbol_is_not_listed(life: Life) -> None:
    life.venue.paused = frozenset({SYMBOL})
    life.ended_at("read the rules", "ADA/USDT is not listed")
    assert life.venue.actions == []
    assert life.script.left == ()


@pytest.mark.parametrize(
    ("most", "cash", "step", "seen"),
    [
        ("11", "10000", "read the rules", "and 11 is the most that is allowed"),
        ("1000", "999", "read the account", "999 USDT are free, and 1000 may be needed"),
    ],
)
def test_nothing_is_sent_that_may_cost_too_much(
    life: Life, most: str, cash: str, step: str, seen: str
) -> None:
    """The smallest order that can be sold again costs 11.628."""
    life.script.most, life.venue.assets = Decimal(most), {"USDT": Decimal(cash)}
    life.ended_at(step, seen)
    assert life.venue.actions == []


def test_market_without_a_side_differs(life: Life) -> None:
    life.venue.changes["quotes"] = lambda _: {}
    life.ended_at("read the rules", "ADA/USDT has no bid or no ask")


def test_order_of_an_earlier_run_is_cancelled_before_the_first_of_this_one(life: Life) -> None:
    """Another program's order stays."""
    rests = OrderRequest(
        name_of(99), SYMBOL, Side.BUY, OrderType.LIMIT, Decimal(50), Decimal("0.3")
    )
    life.venue.submit(rests)
    life.venue.submit(replace(rests, client_order_id="by-hand"))
    life.venue.actions.clear()
    life.run()
    assert life.venue.actions[:2] == [("cancel", 99), ("submit", 1)]
    assert life.working == [-1]
    assert life.script.is_as_expected


def test_resting_order_that_fills_is_sold_again(life: Life) -> None:
    """The market falls through its price as it arrives."""

    def fall(_: OrderRequest) -> None:
        life.venue.prices[SYMBOL] = Decimal("0.4")

    life.venue.before = fall
    life.ended_at("place", "it is filled, 22.8 filled")
    assert life.submitted == [1, 2]
    assert life.kept < instrument(SYMBOL).lot_step
    assert life.script.left == ()


def state(wanted: OrderState) -> Callable[[Any], Any]:
    return lambda report: replace(report, state=wanted)


@pytest.mark.parametrize(
    ("method", "change", "after", "step", "seen"),
    [
        ("submit", state(OrderState.REJECTED), None, "place", "it is rejected, 0 filled"),
        ("find_order", state(OrderState.CANCELED), "place", "look up", "it is canceled, not open"),
        (
            "find_order",
            lambda report: replace(report, filled_quantity=Decimal(2)),
            "place",
            "look up",
            "2 of it is filled",
        ),
        (
            "open_orders",
            lambda _: [],
            "look up",
            "list",
            "it is not among 0 working orders",
        ),
        (
            "find_order",
            state(OrderState.OPEN),
            "cancel",
            "look up the cancelled",
            "it is open, not canceled",
        ),
    ],
)
def test_answer_of_another_kind_ends_the_script_and_the_order(
    life: Life,
    method: str,
    change: Callable[[Any], Any],
    after: str | None,
    step: str,
    seen: str,
) -> None:
    """The venue has taken the order all the same: it is cancelled, and no other is sent."""

    def lie(made: CertifiedStep) -> None:
        if made.name == after:
            life.venue.changes[method] = change

    life.heard = lie
    life.recorder.at_end = life.venue.changes.clear
    if after is None:
        life.venue.changes[method] = change
    life.ended_at(step, seen)
    assert life.submitted == [1]
    assert life.script.left == ()


def test_order_that_was_never_sent_is_not_found_to_be_there(life: Life) -> None:
    """A venue that answers with another order than the one asked for differs."""

    def show_any(made: CertifiedStep) -> None:
        if made.name == "cancel again":
            life.venue.placed[name_of(2)] = life.venue.placed[name_of(1)]

    life.heard = show_any
    life.ended_at("look up no order", "it has order 1, which was never sent")


@pytest.mark.parametrize(
    ("answered", "result"),
    [(OrderState.CANCELED, StepResult.AS_EXPECTED), (OrderState.OPEN, StepResult.DIFFERENT)],
)
def test_second_cancellation_may_be_answered_like_the_first(
    life: Life, answered: OrderState, result: StepResult
) -> None:
    """But not with an order that works."""

    def reopen(made: CertifiedStep) -> None:
        if made.name == "look up the cancelled":
            name = name_of(1)
            life.venue.placed[name] = replace(life.venue.placed[name], state=OrderState.OPEN)
            life.venue.changes["cancel"] = state(answered)

    life.heard = reopen
    life.run()
    (step,) = (step for step in life.script.steps if step.name == "cancel again")
    assert step.result is result
    assert answered in step.seen


@pytest.mark.parametrize(
    ("rules", "result", "seen"),
    [
        ({"min_notional": Decimal(0)}, StepResult.NOT_SHOWN, "no minimum above one lot"),
        (
            {"min_notional": Decimal(0), "min_quantity": Decimal(12)},
            StepResult.DIFFERENT,
            "0.1 was not refused: it is open",
        ),
    ],
)
def test_venue_that_refuses_nothing(
    life: Life, rules: Mapping[str, Decimal], result: StepResult, seen: str
) -> None:
    """One lot is sent only where the venue states a minimum above it. An order that it takes
    differs, and is cancelled.
    """
    life.venue.rules = with_rules(**rules)
    life.run()
    (step,) = (step for step in life.script.steps if step.name == "refuse")
    assert step.result is result
    assert seen in step.seen
    lots = [order for order in life.venue.submitted if order.quantity == Decimal("0.1")]
    assert len(lots) == (result is StepResult.DIFFERENT)
    assert life.script.is_as_expected is (result is StepResult.NOT_SHOWN)
    assert not life.working


@pytest.mark.parametrize(
    ("shown", "result"),
    [(OrderState.REJECTED, StepResult.AS_EXPECTED), (OrderState.OPEN, StepResult.DIFFERENT)],
)
def test_refused_order_is_looked_for(life: Life, shown: OrderState, result: StepResult) -> None:
    """A venue that refuses an order and works it all the same would trade unseen."""
    life.venue.rules = with_rules(min_notional=Decimal(0), min_quantity=Decimal(12))

    def refuse(order: OrderRequest) -> None:
        if order.client_order_id == name_of(3):
            placed = life.venue.placed
            placed[name_of(3)] = replace(placed[name_of(3)], state=shown)
            raise VenueRejectedError("Filter failure: LOT_SIZE", "-1013")

    life.venue.after = refuse
    life.run()
    (step,) = (step for step in life.script.steps if step.name == "refuse")
    assert step.result is result
    assert "VenueRejectedError, code -1013; " in step.seen
    assert shown in step.seen
    assert not life.working


def test_answer_that_is_not_lost_differs(life: Life) -> None:
    life.recorder.loses = False
    life.ended_at("lose an answer", "the answer was not lost: it is open")


@pytest.mark.parametrize(
    ("error", "seen", "seconds"),
    [
        # Five seconds in the step, and five more at the end.
        (VenueUnavailableError("no answer in 5 s"), "it is unseen, not open", 11),
        # No lost answer: what the venue says is shown at once.
        (RateLimitedError("slow down", 60), "slow down", 6),
    ],
)
def test_lost_order_that_never_arrives_is_asked_for_and_not_sent_again(
    life: Life, error: Exception, seen: str, seconds: int
) -> None:
    """Its outcome is unknown. The waiting ends."""

    def lose(order: OrderRequest) -> None:
        if order.client_order_id == name_of(4):
            raise error

    life.venue.before = lose
    life.ended_at("lose an answer", seen)
    assert life.submitted == [1, 3, 4]
    assert life.clock.elapsed_seconds() == seconds  # one of them after the refusal
    assert life.script.left == ()


@pytest.mark.parametrize(
    ("most", "sizes", "seen"),
    [
        ("521", {}, "1000 are offered at 0.51: more costs over 521"),
        ("1000", {"ask_size": Decimal(0)}, "the venue does not say how much is offered"),
        ("1000", {"ask_size": Decimal(900)}, "all of 922.8 was filled"),
    ],
)
def test_part_that_cannot_be_shown_is_no_difference(
    life: Life, most: str, sizes: Mapping[str, Decimal], seen: str
) -> None:
    """What was bought in trying is sold with the rest."""
    life.script.most = Decimal(most)
    life.venue.changes["quotes"] = lambda found: {SYMBOL: replace(found[SYMBOL], **sizes)}
    life.run()
    (step,) = (step for step in life.script.steps if step.name == "fill in part")
    assert (step.result, step.seen) == (StepResult.NOT_SHOWN, seen)
    assert life.script.is_as_expected
    assert life.kept < instrument(SYMBOL).lot_step


def test_part_that_ends_before_its_cancellation_is_not_shown(life: Life) -> None:
    """The rest fills in between: what was bought is sold, whole."""

    def race(report: OrderReport) -> Any:
        if report.client_order_id == name_of(5):
            raise OrderNotFoundError("Unknown order sent.", "-2011")
        return report

    life.venue.changes["cancel"] = race
    life.run()
    (step,) = (step for step in life.script.steps if step.name == "fill in part")
    assert step.seen == "1022.8 ended before it could be cancelled"
    assert life.kept < instrument(SYMBOL).lot_step


@pytest.mark.parametrize("number", [1, 3, 4, 5, 6])
@pytest.mark.parametrize("words", ["halted", "reduce_only"])
def test_halt_in_the_middle_of_a_step_lets_no_further_order_out(
    life: Life, number: int, words: str
) -> None:
    """The switch is set while the venue takes an order: its step is finished, the next order is not
    sent, and nothing works. A sell passes where what reduces does.
    """

    def halt(order: OrderRequest) -> None:
        if order.client_order_id == name_of(number):
            life.halt_file.write_text(f"{words} odd")

    life.venue.before = halt
    has_bought, may_sell = number >= 5, words == "reduce_only"
    if number == 6 and may_sell:
        life.run()
    else:
        with pytest.raises(HaltedError, match="the kill switch is set: odd"):
            life.script.run()
    sides = [
        order.side for order in life.venue.submitted if order.client_order_id > name_of(number)
    ]
    assert sides == ([Side.SELL] if has_bought and may_sell else [])
    assert not life.working
    assert life.recorder.begun[-1] == "end"
    assert (life.kept >= 1) is (has_bought and not may_sell)
    assert ("ADA that it bought: the kill switch is set" in str(life.script.left)) is (
        has_bought and not may_sell
    )
