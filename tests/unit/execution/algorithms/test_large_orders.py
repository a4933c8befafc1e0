"""Orders that are larger than the venue takes at once: all of it leaves in the same slot, in pieces
that survive crashes like any child.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import VenueRejectedError, VenueUnavailableError
from penstock.core.halts import TradingState
from penstock.core.instruments import Instrument
from penstock.core.order_limits import OrderLimits
from penstock.core.orders import OrderRequest, OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Limit, MarketStyle, Style, Twap
from penstock.execution.rebalance.run import rebalance
from penstock.risk.limits import RiskLimits
from penstock.testing.instruments import instrument
from penstock.testing.world import World, make_world
from tests.unit.execution.algorithms.test_phase_worker import resumed_after_kill

#: 0.1 BTC, which the venue takes in pieces of 0.03 at most.
HALF = {"BTC/USDT": 0.5}
WHOLE = Decimal("0.1")


def bounded(world: World, **limits: str) -> World:
    """Have the venue bound its orders; by default market orders to 0.03."""
    given = limits or {"market_quantity": "0.03"}
    bounds: dict[str, Any] = {name: Decimal(value) for name, value in given.items()}
    own = OrderLimits(**bounds)

    def rules(symbol: str) -> Instrument:
        return replace(instrument(symbol), limits=own)

    world.venue.rules = rules
    return world


def bought(world: World) -> Decimal:
    return sum((fill.quantity for fill in world.venue.trades), Decimal(0))


def test_market_order_leaves_in_pieces_within_one_slot(world: World) -> None:
    """Four children of 0.025, numbered from 0, all written ahead at one instant."""
    report = rebalance(bounded(world).session, world.inputs(HALF))
    assert (report.status, report.skipped, report.sent) == (RebalanceStatus.DONE, (), 4)
    assert [(order.child, order.attempt) for order in report.orders] == [
        (number, 0) for number in range(4)
    ]
    quantities = [order.request.quantity for order in report.orders]
    assert max(quantities) - min(quantities) <= Decimal("0.00001")
    assert max(quantities) <= Decimal("0.03")
    assert len({order.created_at for order in report.orders}) == 1
    assert WHOLE - Decimal("0.001") < bought(world) <= WHOLE


@given(
    st.lists(st.sampled_from(["takes", "loses", "does not answer", "refuses"]), max_size=12),
    st.decimals("0.011", "0.11", places=3),
    st.sampled_from([MarketStyle(), Twap(duration_seconds=40, slices=2), Limit(max_children=3)]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_venue_does_to_pieces_no_more_than_the_order_is_bought(
    outcomes: list[str], most: Decimal, style: Style
) -> None:
    """Each request is taken, lost on the way, taken without an answer, or refused. No name is used
    twice, no order is over the bound, and ledger and venue agree.
    """
    world, left = make_world(), list(outcomes)
    bounded(world, market_quantity=str(most), limit_notional=str(most * 55_000))
    world.session = replace(world.session, style=style)

    def before(order: OrderRequest) -> None:
        outcome = left[0] if left else "takes"
        if outcome in ("loses", "refuses"):
            left.pop(0)
        if outcome == "loses":
            raise VenueUnavailableError("connection refused")
        if outcome == "refuses":
            raise VenueRejectedError("Filter failure", "-1013")

    def after(order: OrderRequest) -> None:
        if left and left.pop(0) == "does not answer":
            raise VenueUnavailableError("read timed out")

    world.venue.before, world.venue.after = before, after
    rebalance(world.session, world.inputs(HALF))
    names = [order.client_order_id for order in world.venue.submitted]
    assert len(names) == len(set(names))
    assert all(order.quantity <= most for order in world.venue.submitted)
    assert bought(world) <= WHOLE
    assert world.ledger.balances("test") == world.venue.balances()


@pytest.mark.parametrize("call", ["before", "after"])
@pytest.mark.parametrize("piece", [1, 2, 3, 4])
def test_killed_at_any_piece_the_rest_leaves_once(world: World, call: str, piece: int) -> None:
    """Killed before or after any piece's request: the next run sends what is left, no piece twice
    and never more than was planned.
    """
    bounded(world)

    report = resumed_after_kill(world, call, piece)
    assert (report.status, report.resumed) == (RebalanceStatus.DONE, True)
    names = [fill.client_order_id for fill in world.venue.trades]
    assert len(names) == len(set(names))
    assert WHOLE - Decimal("0.001") < bought(world) <= WHOLE
    assert world.ledger.balances("test") == world.venue.balances()


def test_piece_whose_answer_is_lost_is_found_and_not_repeated(world: World) -> None:
    """The third of four pieces is taken without an answer: it is asked for by its name."""
    bounded(world)

    def lose(order: OrderRequest) -> None:
        if len(world.venue.placed) == 3:
            raise VenueUnavailableError("read timed out")

    world.venue.after = lose
    report = rebalance(world.session, world.inputs(HALF))
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert len(world.venue.submitted) == 4


def test_piece_that_never_arrived_goes_out_again_alone(world: World) -> None:
    """The second of four pieces is lost on the way: only its quantity leaves a second time."""
    bounded(world)
    lost: list[Decimal] = []

    def refuse(order: OrderRequest) -> None:
        if len(world.venue.placed) == 1 and not lost:
            lost.append(order.quantity)
            raise VenueUnavailableError("connection refused")

    world.venue.before = refuse
    report = rebalance(world.session, world.inputs(HALF))
    again = [order for order in report.orders if order.attempt]
    assert [(order.child, order.request.quantity) for order in again] == [(1, lost[0])]
    assert WHOLE - Decimal("0.001") < bought(world) <= WHOLE


def test_refused_piece_is_not_sent_again(world: World) -> None:
    """A refusal counts for its piece: the others fill, and nothing leaves in its place."""
    bounded(world)

    def refuse(order: OrderRequest) -> None:
        if len(world.venue.placed) == 2 and len(world.venue.submitted) == 2:
            world.venue.submitted.append(order)
            raise VenueRejectedError("Filter failure: MARKET_LOT_SIZE", "-1013")

    world.venue.before = refuse
    report = rebalance(world.session, world.inputs(HALF))
    states = [order.state for order in report.orders]
    assert sorted(states) == [*[OrderState.FILLED] * 3, OrderState.REJECTED]
    assert [order.end_cause for order in report.failed_orders] == ["refused"]
    assert bought(world) < WHOLE * 3 / 4 + Decimal("0.001")


def test_kill_switch_stops_the_pieces_that_have_not_left(world: World) -> None:
    """Halted while the second piece leaves: the others are written down as stopped, and after the
    resumption the slot sends just them.
    """
    bounded(world)
    state = world.control_store.set_trading_state

    def halt(order: OrderRequest) -> None:
        if len(world.venue.placed) == 2:
            state("test", TradingState.HALTED, "drill", "ada", world.clock.now())

    world.venue.after = halt
    first = rebalance(world.session, world.inputs(HALF))
    assert (first.status, len(world.venue.trades)) == (RebalanceStatus.FAILED, 2)
    assert "drill" in first.reason


@pytest.mark.parametrize(
    ("style", "limits", "orders"),
    [
        (Twap(duration_seconds=40, slices=2), {"market_quantity": "0.03"}, 4),
        (Limit(offset_bps=Decimal(50)), {"limit_notional": "1650"}, 4),
        (Limit(offset_bps=Decimal(50)), {"market_quantity": "0.03"}, 1),
    ],
)
def test_children_of_every_style_leave_in_pieces(
    world: World, style: Style, limits: dict[str, str], orders: int
) -> None:
    """A slice of 0.05 is two pieces at the market; a limit order of 5,000 is four of 1,500 at most,
    as its type has a bound of its own.
    """
    bounded(world, **limits)
    world.session = replace(world.session, style=style)
    report = rebalance(world.session, world.inputs(HALF))
    assert (report.status, len(report.orders)) == (RebalanceStatus.DONE, orders)
    assert WHOLE - Decimal("0.001") < bought(world) <= WHOLE


def test_what_no_piece_can_have_is_skipped_and_said(world: World) -> None:
    """Pieces of 0.06 to 0.07 of 0.1: one leaves, and the result says what is left and why."""

    def rules(symbol: str) -> Instrument:
        limits = OrderLimits(market_quantity=Decimal("0.07"))
        return replace(instrument(symbol), min_quantity=Decimal("0.06"), limits=limits)

    world.venue.rules = rules
    report = rebalance(world.session, world.inputs(HALF))
    assert bought(world) == Decimal("0.07")
    assert [(each.symbol, each.reason.split(" makes ")[0]) for each in report.skipped] == [
        ("BTC/USDT", "buy of 0.03 of 0.1")
    ]


def test_pieces_count_in_the_limit_on_orders_per_minute(world: World) -> None:
    """Four pieces are four orders: a limit of three denies the order before anything leaves."""
    bounded(world)
    limits = RiskLimits(
        max_gross=Decimal(1), max_weight=Decimal(1), max_orders_per_minute=3, price_collar=None
    )
    report = rebalance(world.session, replace(world.inputs(HALF), limits=limits))
    assert [finding.rule for finding in report.findings] == ["max_orders_per_minute"]
    assert not world.venue.submitted


def test_pieces_of_a_later_slice_are_counted_at_the_price_of_that_moment(world: World) -> None:
    """Two slices of two pieces each are within six orders per minute. Then the price is four times
    as high, the second slice would be six pieces, and its review denies it.
    """
    bounded(world, market_notional="1650")
    world.session = replace(world.session, style=Twap(duration_seconds=40, slices=2))

    def rise(order: OrderRequest) -> None:
        world.venue.prices["BTC/USDT"] = Decimal(
            200_000 if len(world.venue.placed) == 2 else 50_000
        )

    world.venue.after = rise
    limits = RiskLimits(
        max_gross=Decimal(1), max_weight=Decimal(1), max_orders_per_minute=6, price_collar=None
    )
    report = rebalance(world.session, replace(world.inputs(HALF), limits=limits))
    assert [finding.rule for finding in report.findings] == ["max_orders_per_minute"]
    assert len(world.venue.submitted) == 2


def test_flattening_sells_a_position_above_the_maximum_in_one_slot(world: World) -> None:
    """A halt that flattens ends a position of any size: no limit of the account binds an exit."""
    rebalance(world.session, world.inputs(HALF))
    held = world.venue.balances()["BTC"]
    bounded(world)
    world.control_store.set_trading_state(
        "test", TradingState.HALTED, "drill", "ada", world.clock.now(), flatten=True
    )
    inputs = world.inputs({}, slot=world.clock.now(), version="flatten")
    tight = replace(inputs, limits=RiskLimits(max_orders_per_minute=1))
    report = rebalance(world.session, tight)
    sells = [order.quantity for order in world.venue.submitted[1:]]
    assert (report.status, sum(sells), len(sells)) == (RebalanceStatus.DONE, held, 4)
    assert (report.skipped, report.not_closed) == ((), frozenset())


def test_flattening_says_what_no_piece_can_have(world: World) -> None:
    """A venue whose bounds exclude each other takes nothing: the report names the position that is
    still held, and the bounds.
    """
    rebalance(world.session, world.inputs(HALF))

    def rules(symbol: str) -> Instrument:
        limits = OrderLimits(market_quantity=Decimal("0.05"))
        return replace(instrument(symbol), min_quantity=Decimal("0.06"), limits=limits)

    world.venue.rules = rules
    world.control_store.set_trading_state(
        "test", TradingState.HALTED, "drill", "ada", world.clock.now(), flatten=True
    )
    report = rebalance(world.session, world.inputs({}, slot=world.clock.now(), version="flatten"))
    assert len(world.venue.submitted) == 1
    assert report.not_closed == {"BTC/USDT"}
    assert "a market order has 0.05 at most, 0.06 and 5 USDT" in report.urgent[0]
