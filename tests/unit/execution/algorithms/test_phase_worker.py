"""Orders worked over time through the ledger: children once each, remainders passed on,
interruptions resumed.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.errors import OrderNotFoundError, StoreError, VenueUnavailableError
from penstock.core.halts import TradingState
from penstock.core.orders import OrderRequest, OrderState, OrderType, Phase
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Iceberg, Limit, MarketStyle, Style, Twap
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import rebalance
from penstock.risk.limits import RiskLimits
from penstock.simulation.fill_model import FillModel
from penstock.testing.memory_parent_orders import MemoryParentOrderStore
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
HALF = {"BTC/USDT": 0.5}
TWAP = Twap(duration_seconds=40, slices=4)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def resumed_after_kill(world: World, call: str, number: int) -> RebalanceResult:
    """Kill a run "before" or "after" its n-th request and return the result of the next run.

    The next run asks for another target, which an interrupted slot must not take up.
    """

    def kill(order: OrderRequest) -> None:
        if len({*world.venue.placed, order.client_order_id}) == number:
            raise Killed

    setattr(world.venue, call, kill)
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(HALF))
    setattr(world.venue, call, lambda _: None)
    world.ledger.holder = ""
    world.clock.at += timedelta(seconds=3)
    return rebalance(world.session, world.inputs({"BTC/USDT": 0.9}))


def worked(world: World, style: Style) -> Any:
    """Have the world's account work its orders in this style."""
    world.session = replace(world.session, style=style)
    return world


def sent_at(world: World) -> list[float]:
    """When each child was written down, in seconds after the first."""
    times = [order.created_at for order in world.ledger.book.values()]
    return [round((at - times[0]).total_seconds(), 1) for at in times]


def require_whole(world: World, weight: float = 0.5) -> None:
    orders = list(world.ledger.book.values())
    assert all(order.state.is_final for order in orders)
    assert len({order.client_order_id for order in world.venue.submitted}) == len(
        world.venue.submitted
    )
    assert world.ledger.balances("test") == world.venue.balances()
    bought = world.ledger.balances("test")["BTC"] * world.venue.prices["BTC/USDT"]
    assert float(bought) / 10_000 == pytest.approx(weight, abs=0.003)


def test_twap_sends_its_slices_when_they_are_due(world: World) -> None:
    """Four slices, ten seconds apart, each under its own number; together they reach the target."""
    worked(world, TWAP)
    report = rebalance(world.session, world.inputs(HALF))
    assert report.status is RebalanceStatus.DONE, report
    assert sent_at(world) == [0, 10, 20, 30]
    assert [(order.phase, order.child) for order in report.orders] == [
        (Phase.BUYS, child) for child in range(4)
    ]
    assert (report.sent, len(report.fills)) == (4, 4)
    require_whole(world)


def test_market_order_has_its_parent_on_record_before_it_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parent and child are one write: a run that is killed before it has neither, and the slot is
    planned again.
    """
    kept: list[int] = []
    world.venue.before = lambda _: kept.append(len(world.session.parent_orders.work_of(1)))

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(world.session.parent_orders, "begin_work", killed)
        with pytest.raises(Killed):
            rebalance(world.session, world.inputs(HALF))
    assert not world.ledger.book
    assert not world.session.parent_orders.work_of(1)
    world.ledger.holder = ""
    assert rebalance(world.session, world.inputs(HALF)).status is RebalanceStatus.DONE
    assert kept == [1]
    require_whole(world)


def test_slot_of_worked_orders_run_again_sends_nothing(world: World) -> None:
    """A slot that is DONE is not worked again."""
    worked(world, TWAP)
    rebalance(world.session, world.inputs(HALF))
    again = rebalance(world.session, world.inputs({"BTC/USDT": 0.9}))
    assert again.already_done
    assert len(world.venue.submitted) == 4


def test_unfilled_part_of_a_slice_is_passed_on(world: World) -> None:
    """The venue fills half of each child. Every rest joins the next child, and the last rest is
    swept at the end.
    """
    worked(world, TWAP.model_copy(update={"finish": "market"}))
    world.venue.fraction = Decimal("0.5")
    rebalance(world.session, world.inputs(HALF))
    quantities = [order.quantity for order in world.venue.submitted]
    assert len(quantities) == 5
    assert quantities[1] > quantities[0]
    filled = sum(fill.quantity for fill in world.venue.trades)
    assert filled + quantities[-1] / 2 == pytest.approx(Decimal("0.1"), abs=Decimal("0.001"))


@pytest.mark.parametrize(
    "style", [TWAP, Iceberg(display_fraction=Decimal("0.25"), offset_bps=Decimal(5))]
)
@pytest.mark.parametrize("call", ["before", "after"])
@pytest.mark.parametrize("child", [1, 2, 3, 4])
def test_killed_work_goes_on_with_the_children_that_are_left(
    world: World, style: Style, call: str, child: int
) -> None:
    """Killed before or after any child's request: the next run sends the rest, no child twice, and
    reaches the target.
    """
    worked(world, style)

    report = resumed_after_kill(world, call, child)
    assert report.status is RebalanceStatus.DONE, report
    assert report.resumed
    require_whole(world)
    filled = [fill.client_order_id for fill in world.venue.trades]
    assert len(filled) == len(set(filled))
    # the visibility delay may have passed over a slice, which then joined the next
    assert len(filled) in (
        3,
        4,
    )


def test_run_killed_before_its_first_child_starts_from_the_committed_parent(world: World) -> None:
    """The parent is on record before any child: the next run works it though the targets have
    changed since.
    """
    worked(world, TWAP)
    place = world.ledger.plan_orders

    def die(*args: object) -> None:
        raise Killed

    world.ledger.plan_orders = die  # type: ignore[assignment]  # it fails instead
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(HALF))
    world.ledger.plan_orders, world.ledger.holder = place, ""
    rebalance(world.session, world.inputs({"BTC/USDT": 0.0, "ETH/USDT": 0.4}))
    require_whole(world)
    assert {order.symbol for order in world.venue.submitted} == {"BTC/USDT"}


@pytest.mark.parametrize("style", [MarketStyle(), TWAP])
def test_what_an_interrupted_run_left_is_sent_as_far_as_risk_allows_now(
    world: World, style: Style
) -> None:
    """Killed once the parent is on record; the limit on weights is lower when the slot is run
    again. What the first review allowed is not what leaves.
    """
    worked(world, style)
    write_ahead = world.ledger.write_ahead

    def die(*args: object) -> None:
        raise Killed

    world.ledger.write_ahead = die  # type: ignore[assignment]  # it fails instead
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(HALF))
    world.ledger.write_ahead, world.ledger.holder = write_ahead, ""  # type: ignore[method-assign]
    tighter = RiskLimits(max_gross=Decimal(1), max_weight=Decimal("0.2"))
    rebalance(world.session, replace(world.inputs(HALF), limits=tighter))
    require_whole(world, 0.2)


def test_child_whose_answer_is_lost_is_found_and_not_repeated(world: World) -> None:
    """A lost answer is asked for; the plan goes on with the next child."""
    worked(world, TWAP)

    def lose(order: OrderRequest) -> None:
        if len(world.venue.placed) == 2:
            raise VenueUnavailableError("read timed out")

    world.venue.after = lose
    report = rebalance(world.session, world.inputs(HALF))
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert len(world.venue.submitted) == 4
    require_whole(world)


def test_child_that_never_arrived_goes_out_under_a_new_attempt(world: World) -> None:
    """The venue's own "no such order" for the whole delay lets the same child out again, under the
    same number.
    """
    worked(world, TWAP)
    lost: list[str] = []

    def refuse_second(order: OrderRequest) -> None:
        if len(world.venue.placed) == 1 and not lost:
            lost.append(order.client_order_id)
            raise VenueUnavailableError("connection refused")

    world.venue.before = refuse_second
    report = rebalance(world.session, world.inputs(HALF))
    assert [(order.child, order.attempt) for order in report.orders if order.child == 1] == [
        (1, 0),
        (1, 1),
    ]
    require_whole(world)


def test_kill_switch_stops_work_while_it_waits(world: World) -> None:
    """A halt comes between two slices. The next look stops the rest, and the slot is FAILED with
    the reason.
    """
    worked(world, TWAP)
    pause, paused = world.session.pause, []

    def halt_later(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 3:
            world.control_store.set_trading_state(
                "test", TradingState.HALTED, "drill", "test", world.clock.now()
            )
        pause(seconds)

    world.session = replace(world.session, pause=halt_later)
    report = rebalance(world.session, world.inputs(HALF))
    assert report.status is RebalanceStatus.FAILED
    assert "drill" in report.reason
    assert len(world.venue.submitted) == 1
    assert len(paused) == 3
    assert [order.state for order in report.orders] == [OrderState.FILLED, OrderState.CANCELED]


def test_limit_that_waits_is_cancelled_and_priced_anew(world: World) -> None:
    """A passive bid that is not filled is cancelled after its time. Its whole rest is bid at the
    price of that moment.
    """
    style = Limit(
        reprice_seconds=5,
        max_children=2,
        offset_bps=Decimal(-10),
        finish="market",
        collar_bps=Decimal(500),
    )
    worked(world, style)
    pause = world.session.pause

    def drift(seconds: float) -> None:
        world.venue.prices["BTC/USDT"] += 10
        pause(seconds)

    world.session = replace(world.session, pause=drift)
    report = rebalance(world.session, world.inputs(HALF))
    kinds = [(order.request.type, order.state) for order in report.orders]
    assert kinds == [(OrderType.LIMIT, OrderState.CANCELED)] * 2 + [
        (OrderType.MARKET, OrderState.FILLED)
    ]
    first, second = (order.request.price for order in report.orders[:2])
    assert first
    assert second
    assert second > first
    assert world.ledger.balances("test") == world.venue.balances()


def test_sells_are_worked_to_their_end_before_buys_begin(world: World) -> None:
    """A switch sells in slices first; the buys' parent is planned with what the sells yielded."""
    rebalance(world.session, world.inputs({"BTC/USDT": 0.9}))
    world.clock.at += timedelta(days=1)
    worked(world, TWAP)
    report = rebalance(
        world.session, world.inputs({"BTC/USDT": 0.0, "ETH/USDT": 0.9}, SLOT + timedelta(days=1))
    )
    sides = [order.request.side.value for order in report.orders]
    assert sides == ["sell"] * 4 + ["buy"] * 4
    assert world.ledger.balances("test") == world.venue.balances()
    assert "BTC" not in {
        asset for asset, held in world.ledger.balances("test").items() if held > Decimal("0.0001")
    }


def test_denied_child_whose_trade_the_venue_shows_is_not_sent_again(world: World) -> None:
    """The first answer is lost, and the venue wrongly denies the child for good. It is not sent
    twice, and the work ends.
    """
    worked(world, TWAP)

    def deny(client_order_id: str, symbol: str) -> Any:
        raise OrderNotFoundError("could not find order id")

    def lose(order: OrderRequest) -> None:
        raise VenueUnavailableError("time-out")

    world.venue.find_order = deny
    world.venue.after = lose
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.2}))
    assert len(world.venue.submitted) == 1, report
    assert world.ledger.balances("test") == world.venue.balances()


def test_buys_never_ask_for_more_cash_than_there_is(world: World) -> None:
    """The price rises by four percent in each interval. The last children shrink to the cash. None
    is refused for funds, the fee in cash included.
    """
    worked(world, TWAP)
    world.venue.fill_model = FillModel(fee_asset="quote")
    pause = world.session.pause

    def rise(seconds: float) -> None:
        world.venue.prices["BTC/USDT"] *= Decimal("1.004")
        pause(seconds)

    world.session = replace(world.session, pause=rise)
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.99}))
    assert report.status is RebalanceStatus.DONE, report
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert 0 <= world.ledger.balances("test")["USDT"] < 200


def test_nothing_is_sent_beside_a_child_that_cannot_be_cancelled(world: World) -> None:
    """The run is killed while a child rests, and then no cancellation is answered. The child still
    works when the next one is due. Its quantity would be sent a second time.
    """
    resting = TWAP.model_copy(
        update={"child_type": OrderType.LIMIT, "offset_bps": Decimal(-50), "finish": "market"}
    )
    worked(world, resting)

    def kill(order: OrderRequest) -> None:
        raise Killed

    def no_answer(*_: object) -> Any:
        raise VenueUnavailableError("no answer")

    world.venue.after = kill
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(HALF))
    world.venue.after = lambda _: None
    world.venue.cancel = no_answer  # type: ignore[assignment]  # it fails instead
    world.ledger.holder = ""
    report = rebalance(world.session, world.inputs(HALF))
    assert [order.state for order in report.orders] == [OrderState.PENDING_CANCEL]
    assert report.status is RebalanceStatus.FAILED
    assert len(world.venue.submitted) == 1


def test_account_that_is_flattened_is_sold_at_once(world: World) -> None:
    """Flattening does not wait for slices: each position goes out whole."""
    rebalance(world.session, world.inputs({"BTC/USDT": 0.5, "ETH/USDT": 0.4}))
    worked(world, TWAP)
    world.control_store.set_trading_state(
        "test", TradingState.HALTED, "drill", "test", world.clock.now(), flatten=True
    )
    world.clock.at += timedelta(days=1)
    report = rebalance(world.session, world.inputs(HALF, SLOT + timedelta(days=1)))
    assert [order.request.side.value for order in report.orders] == ["sell", "sell"]
    assert {
        asset for asset, held in world.ledger.balances("test").items() if held > Decimal("0.001")
    } == {"USDT"}


def test_flattening_ends_work_that_is_under_way(world: World) -> None:
    """Slow sells stop where everything is to be closed, so that the next slot can close all at
    once.
    """
    rebalance(world.session, world.inputs({"BTC/USDT": 0.9}))
    world.clock.at += timedelta(days=1)
    worked(world, TWAP)
    pause, paused = world.session.pause, []

    def flatten_later(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 2:
            world.control_store.set_trading_state(
                "test", TradingState.HALTED, "drill", "test", world.clock.now(), flatten=True
            )
        pause(seconds)

    world.session = replace(world.session, pause=flatten_later)
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.1}, SLOT + timedelta(days=1)))
    assert report.status is RebalanceStatus.FAILED
    assert [order.state for order in report.orders] == [OrderState.FILLED, OrderState.CANCELED]


def test_sells_are_not_planned_anew_once_buys_have_begun(world: World) -> None:
    """The run is killed between the buys' parent and its first child. The next run sells nothing,
    though prices would now ask for it.
    """
    rebalance(world.session, world.inputs(HALF))
    world.clock.at += timedelta(days=1)
    worked(world, TWAP)
    inputs = world.inputs({"BTC/USDT": 0.5, "ETH/USDT": 0.3}, SLOT + timedelta(days=1))
    write_ahead = world.ledger.write_ahead

    def die(*args: object) -> None:
        raise Killed

    world.ledger.write_ahead = die  # type: ignore[assignment]  # it fails instead
    with pytest.raises(Killed):
        rebalance(world.session, inputs)
    world.ledger.write_ahead, world.ledger.holder = write_ahead, ""
    world.venue.prices["BTC/USDT"] *= Decimal("1.3")
    report = rebalance(world.session, inputs)
    assert {(order.request.symbol, order.request.side.value) for order in report.orders} == {
        ("ETH/USDT", "buy")
    }


def test_denied_child_is_looked_for_before_the_next_child_takes_its_quantity(world: World) -> None:
    """The venue filled a child's last attempt and denies it. Its trade is found, and its quantity
    is not bought again.
    """
    worked(world, TWAP)
    tries: list[str] = []

    def lose(order: OrderRequest) -> None:
        tries.append(order.client_order_id)
        if len(tries) < 3:
            raise VenueUnavailableError("no answer")

    def hide(order: OrderRequest) -> None:
        if len(tries) == 3:
            world.venue.hidden.add(order.client_order_id)
            raise VenueUnavailableError("no answer")

    world.venue.before, world.venue.after = lose, hide
    rebalance(world.session, world.inputs(HALF))
    assert world.ledger.balances("test") == world.venue.balances()
    assert sum(fill.quantity for fill in world.venue.trades) <= Decimal("0.1")


def test_symbol_that_is_kept_back_ends_alone(world: World) -> None:
    """The venue fills a slice of BTC and denies it. Its trade shows before the next slice: nothing
    more of BTC leaves, and the result says so. ETH is worked to its end.
    """
    worked(world, TWAP)
    sent: list[str] = []

    def deny_the_second(order: OrderRequest) -> None:
        sent.append(order.symbol)
        if order.symbol == "BTC/USDT" and sent.count("BTC/USDT") == 2:
            world.venue.hidden.add(order.client_order_id)
            raise VenueUnavailableError("no answer")

    world.venue.after = deny_the_second
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.4, "ETH/USDT": 0.4}))
    assert (sent.count("BTC/USDT"), sent.count("ETH/USDT")) == (2, 4)
    assert report.status is RebalanceStatus.DONE
    (left,) = report.skipped
    assert left.symbol == "BTC/USDT"
    assert left.reason.startswith("buy of 0.04 of 0.08 is not sent: trades of an earlier order")
    assert world.ledger.balances("test") == world.venue.balances()


def test_interrupted_sell_of_a_symbol_that_is_suspended_meanwhile_is_named(world: World) -> None:
    """Killed after the first slice of each. ETH is suspended when the slot goes on: BTC is sold,
    and the result says that ETH is not.
    """
    rebalance(world.session, world.inputs({"BTC/USDT": 0.4, "ETH/USDT": 0.4}))
    slot = SLOT + timedelta(days=1)
    world.clock.at = slot + timedelta(seconds=2)
    worked(world, TWAP)
    sell_all = world.inputs({"BTC/USDT": 0.0, "ETH/USDT": 0.0}, slot)
    before = len(world.venue.submitted)

    def kill(order: OrderRequest) -> None:
        if len(world.venue.submitted) == before + 2:
            raise Killed

    world.venue.after = kill
    with pytest.raises(Killed):
        rebalance(world.session, sell_all)
    world.venue.after, world.ledger.holder = lambda _: None, ""
    del world.venue.prices["ETH/USDT"]
    report = rebalance(world.session, sell_all)
    assert [(each.symbol, each.reason) for each in report.skipped] == [
        (
            "ETH/USDT",
            "its sell was begun and is not gone on with: the venue does not trade it now",
        )
    ]
    assert world.ledger.balances("test").get("BTC", Decimal(0)) < Decimal("0.0001")


def test_slot_of_an_earlier_version_is_left_alone(world: World) -> None:
    """Orders without parent orders were begun by an earlier version. The run stops before it sends
    anything, and the next slot trades instead.
    """

    def kill(order: OrderRequest) -> None:
        raise Killed

    world.venue.after = kill
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(HALF))
    world.ledger.holder, world.venue.after = "", lambda _: None
    session = replace(world.session, parent_orders=MemoryParentOrderStore(world.ledger))
    with pytest.raises(StoreError, match="an earlier version"):
        rebalance(session, world.inputs(HALF))
    assert len(world.venue.submitted) == 1
