"""The rebalance of a slot: once, whole, and resumable."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.errors import (
    DuplicateOrderError,
    NotSentError,
    OrderNotFoundError,
    StaleDataError,
    StaleLeaseError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.halts import TradingState
from penstock.core.leases import Lease
from penstock.core.orders import (
    EndCause,
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderState,
    Side,
)
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Limit
from penstock.execution.rebalance.run import rebalance
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
#: One order that waits in the book, 50 bps from the market, for five seconds.
PASSIVE = Limit(offset_bps=Decimal(-50), max_children=1, reprice_seconds=5)
HALF_HALF = {"BTC/USDT": 0.5, "ETH/USDT": 0.4}


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def weights_of(world: World) -> dict[str, float]:
    prices, held = world.venue.prices, world.ledger.balances("test")
    values = {
        symbol: held.get(symbol.split("/")[0], Decimal(0)) * price
        for symbol, price in prices.items()
    }
    equity = sum(values.values()) + held["USDT"]
    return {symbol: round(float(value / equity), 3) for symbol, value in values.items() if value}


def agree(world: World) -> bool:
    return world.ledger.balances("test") == world.venue.balances()


def test_first_rebalance_takes_over_balances_and_reaches_its_targets(world: World) -> None:
    """From cash alone the targets are bought, and ledger and venue agree to the last digit."""
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert report.status is RebalanceStatus.DONE
    assert (report.sent, len(report.fills)) == (2, 2)
    assert weights_of(world) == pytest.approx({"BTC/USDT": 0.5, "ETH/USDT": 0.4}, abs=0.002)
    assert agree(world)
    assert not report.breaks


@pytest.mark.parametrize(
    ("limit", "rule"),
    [
        ({"max_orders_per_minute": 1}, "max_orders_per_minute"),
        ({"max_orders_per_day": 1}, "max_orders_per_day"),
        ({"max_hourly_turnover": Decimal("0.6")}, "turnover_burst"),
    ],
)
def test_buys_are_reviewed_with_the_sells_before_them(
    world: World, limit: dict[str, Any], rule: str
) -> None:
    """Half of the account is sold by one order. The buy of as much would be one order too many, or
    too much for an hour, and is denied.
    """
    rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    world.clock.sleep(24 * 3600)
    inputs = world.inputs({"BTC/USDT": 0.0, "ETH/USDT": 0.5}, SLOT + timedelta(days=1))
    report = rebalance(
        world.session, replace(inputs, limits=inputs.limits.model_copy(update=limit))
    )
    assert [order.request.side for order in report.orders] == [Side.SELL]
    assert [(found.symbol, found.rule) for found in report.findings] == [("ETH/USDT", rule)]


def test_same_slot_twice_sends_nothing_the_second_time(world: World) -> None:
    """The second run of a slot that is DONE writes no order and sends no request, even with other
    targets.
    """
    rebalance(world.session, world.inputs(HALF_HALF))
    again = rebalance(world.session, world.inputs({"BTC/USDT": 0.0, "ADA/USDT": 0.9}))
    assert again.already_done
    assert again.sent == 0
    assert len(world.venue.submitted) == 2


def test_sells_are_over_before_buys_leave(world: World) -> None:
    """A full switch sells first and buys with what the sells yielded."""
    rebalance(world.session, world.inputs({"BTC/USDT": 0.95}))
    world.clock.at += timedelta(days=1)
    report = rebalance(
        world.session, world.inputs({"BTC/USDT": 0.0, "ETH/USDT": 0.95}, SLOT + timedelta(days=1))
    )
    assert [order.request.side for order in report.orders] == [Side.SELL, Side.BUY]
    assert "BTC/USDT" not in {s for s, w in weights_of(world).items() if w > 0.001}
    assert weights_of(world)["ETH/USDT"] == pytest.approx(0.95, abs=0.002)
    assert agree(world)


def test_lost_answer_is_asked_for_and_never_sent_again(world: World) -> None:
    """A request whose answer is lost after acceptance is found by its id: one order, its fill
    booked, targets reached.
    """

    def lose(order: OrderRequest) -> None:
        raise VenueUnavailableError("read timed out")

    world.venue.after = lose
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert report.status is RebalanceStatus.DONE
    assert len(world.venue.submitted) == 2
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert agree(world)


def test_order_that_never_arrived_is_sent_under_a_new_id_after_the_visibility_delay(
    world: World,
) -> None:
    """Only the venue's own "no such order", repeated for the whole delay, lets the quantity go out
    again.
    """
    lost: list[str] = []

    def lose_first(order: OrderRequest) -> None:
        if not lost:
            lost.append(order.client_order_id)
            raise VenueUnavailableError("connection refused")

    world.venue.before = lose_first
    start = world.clock.now()
    report = rebalance(world.session, world.inputs(HALF_HALF))
    states = {order.request.client_order_id: order.state for order in report.orders}
    assert states.pop(lost[0]) is OrderState.REJECTED
    assert set(states.values()) == {OrderState.FILLED}
    assert lost[0] not in {order.client_order_id for order in world.venue.submitted}
    assert (
        world.clock.now() - start
    ).total_seconds() >= world.session.policy.visibility_delay_seconds
    assert agree(world)


def test_denied_order_whose_trade_the_venue_shows_is_not_sent_again(world: World) -> None:
    """The answer is lost, and the venue wrongly denies the order for good. Its trades are looked at
    before a second attempt.
    """

    def deny(client_order_id: str, symbol: str) -> Any:
        raise OrderNotFoundError("could not find order id")

    def lose(order: OrderRequest) -> None:
        raise VenueUnavailableError("time-out")

    world.venue.find_order = deny
    world.venue.after = lose
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.2}))
    assert len(world.venue.submitted) == 1, report
    assert agree(world)


def test_denied_order_that_only_the_balances_show_is_not_sent_again(world: World) -> None:
    """The venue filled the order, denies it and does not list its trade: its balances alone speak
    of it. They lock the symbol, and no second attempt leaves.
    """

    def deny(client_order_id: str, symbol: str) -> Any:
        raise OrderNotFoundError("could not find order id")

    def lose(order: OrderRequest) -> None:
        raise VenueUnavailableError("time-out")

    world.venue.find_order, world.venue.after = deny, lose
    world.venue.fills = lambda *_: []
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.2}))
    assert len(world.venue.submitted) == 1, report
    assert {found.subject for found in report.breaks} == {"BTC", "USDT"}


def test_hidden_order_that_shows_late_is_not_duplicated(world: World) -> None:
    """An accepted order that the venue denies for a while is not sent again: it is found when it
    shows.
    """

    def lose_and_hide(order: OrderRequest) -> None:
        world.venue.hidden.add(order.client_order_id)
        raise VenueUnavailableError("reset by peer")

    world.venue.after = lose_and_hide
    original, polls = world.venue.find_order, []

    def find(client_order_id: str, symbol: str) -> Any:
        polls.append(client_order_id)
        if len(polls) > 8:
            world.venue.hidden.clear()
        return original(client_order_id, symbol)

    world.venue.find_order = find
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert len(world.venue.submitted) == 2
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert agree(world)


def test_venue_refusal_is_final_and_keeps_the_venues_words(world: World) -> None:
    """A refused order is REJECTED with the venue's reason, is not tried again, and the other order
    goes through.
    """

    def refuse(order: OrderRequest) -> None:
        if order.symbol == "BTC/USDT":
            raise VenueRejectedError("Filter failure: MARKET_LOT_SIZE", "-1013")

    world.venue.before = refuse
    report = rebalance(world.session, world.inputs(HALF_HALF))
    by_symbol = {order.request.symbol: order for order in report.orders}
    assert by_symbol["BTC/USDT"].state is OrderState.REJECTED
    assert "MARKET_LOT_SIZE" in by_symbol["BTC/USDT"].reason
    assert by_symbol["ETH/USDT"].state is OrderState.FILLED
    assert report.status is RebalanceStatus.DONE
    assert "MARKET_LOT_SIZE" in report.reason


def test_order_that_is_refused_here_was_never_sent(world: World) -> None:
    """An order that our own adapter refuses ends CANCELED with its own cause, once. Nothing left,
    and the slot names it apart from the venue's refusals.
    """

    def refuse(order: OrderRequest) -> None:
        if order.symbol == "BTC/USDT":
            raise NotSentError("quantity 0.05001 is not on the venue's step; nothing was sent")

    world.venue.before = refuse
    report = rebalance(world.session, world.inputs(HALF_HALF))
    (order,) = [order for order in report.orders if order.request.symbol == "BTC/USDT"]
    assert (order.state, order.end_cause) == (OrderState.CANCELED, EndCause.REFUSED_HERE)
    assert [request.symbol for request in world.venue.submitted] == ["ETH/USDT"]
    assert report.status is RebalanceStatus.DONE
    assert report.reason.startswith("1 orders refused before sending: quantity 0.05001")


@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_interrupted_slot_goes_on_without_duplicates(world: World, point: str, nth: int) -> None:
    """Killed before or after the nth request: the next run of the slot finishes it, each order
    once, targets reached.
    """
    world.venue.assets = {"USDT": Decimal(5_000), "ADA": Decimal(10_000)}
    calls: list[str] = []

    def kill(order: OrderRequest) -> None:
        calls.append(order.client_order_id)
        if len(calls) == nth:
            raise Killed

    setattr(world.venue, point, kill)
    targets: Mapping[str, float | None] = {"BTC/USDT": 0.5, "ETH/USDT": 0.4, "ADA/USDT": 0.0}
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(targets))
    world.ledger.holder = ""  # the lease has run out
    setattr(world.venue, point, lambda _: None)
    report = rebalance(world.session, world.inputs(targets, version="trend/2"))
    assert report.status is RebalanceStatus.DONE
    assert report.portfolio_version == "trend/1"
    assert len(world.venue.trades) == 3
    assert weights_of(world) == pytest.approx({"BTC/USDT": 0.5, "ETH/USDT": 0.4}, abs=0.003)
    assert agree(world)


def test_late_slot_is_skipped_with_its_reason(world: World) -> None:
    """A slot older than the policy allows sends nothing and says why."""
    world.clock.at += timedelta(hours=2)
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert report.status is RebalanceStatus.SKIPPED
    assert "late" in report.reason
    assert not world.venue.submitted


def test_slot_whose_recovery_took_too_long_is_skipped(world: World) -> None:
    """It began in time, and waited for an order of the slot before until its own decision was old:
    nothing is sent on that.
    """

    def kill(order: OrderRequest) -> None:
        raise Killed

    world.venue.before = kill  # the request never arrives
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(HALF_HALF))
    world.ledger.holder, world.venue.before = "", lambda _: None
    policy = world.session.policy.model_copy(update={"max_lateness_seconds": 8})
    following = SLOT + timedelta(days=1)
    world.clock.at = following + timedelta(seconds=2)
    session = replace(world.session, policy=policy)
    report = rebalance(session, world.inputs(HALF_HALF, following))
    assert (report.status, report.lateness_seconds) == (RebalanceStatus.SKIPPED, 2)
    assert "s late" in report.reason
    assert not world.venue.submitted


def test_slot_in_the_future_is_refused(world: World) -> None:
    """A run that starts before the bar closes raises and leaves no trace of the slot."""
    with pytest.raises(StaleDataError, match="closes in"):
        rebalance(world.session, world.inputs(HALF_HALF, SLOT + timedelta(hours=1)))
    assert not world.ledger.slots


def test_halted_account_sends_nothing(world: World) -> None:
    """With the kill switch on, the slot is skipped with the operator's reason."""
    world.control_store.set_trading_state(
        "test", TradingState.HALTED, "venue behaves oddly", "operator", SLOT
    )
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert report.status is RebalanceStatus.SKIPPED
    assert "venue behaves oddly" in report.reason
    assert not world.venue.submitted


def test_kill_switch_in_mid_plan_stops_the_rest(world: World) -> None:
    """The switch is read before every single order: once set after the first, the second never
    leaves.
    """

    def halt(order: OrderRequest) -> None:
        world.control_store.set_trading_state("test", TradingState.HALTED, "stop", "operator", SLOT)

    world.venue.after = halt
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert len(world.venue.submitted) == 1
    assert sorted(order.state for order in report.orders) == [
        OrderState.CANCELED,
        OrderState.FILLED,
    ]
    assert report.status is RebalanceStatus.FAILED
    assert agree(world)


def test_order_that_does_not_fill_in_time_is_cancelled(world: World) -> None:
    """A limit order that is not filled in time is cancelled, and the slot ends DONE."""
    report = rebalance(replace(world.session, style=PASSIVE), world.inputs(HALF_HALF))
    assert {order.state for order in report.orders} == {OrderState.CANCELED}
    assert not world.venue.open_orders()
    assert report.status is RebalanceStatus.DONE


def test_partial_fill_then_expiry_books_what_was_filled(world: World) -> None:
    """A market order that the venue fills in part and expires is EXPIRED with its fill booked."""
    world.venue.fraction = Decimal("0.5")
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    (order,) = report.orders
    assert order.state is OrderState.EXPIRED
    assert 0 < order.filled_quantity < order.request.quantity
    assert agree(world)


def test_account_under_another_lease_is_left_alone(world: World) -> None:
    """Where another process trades the account this one does nothing and says so."""
    world.ledger.acquire_lease("test", "someone else", 60)
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert report.status is None
    assert "lease" in report.reason
    assert not world.venue.submitted


def test_silent_venue_stops_recovery_before_anything_new_is_sent(world: World) -> None:
    """An order that cannot be resolved because the venue is silent blocks the next slot; nothing is
    sent.
    """

    def kill(order: OrderRequest) -> None:
        raise Killed

    world.venue.after = kill
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(HALF_HALF))
    world.clock.at += timedelta(minutes=5)
    world.ledger.holder, world.venue.down, world.venue.after = "", True, lambda _: None
    with pytest.raises(VenueUnavailableError, match="cannot be resolved"):
        rebalance(world.session, world.inputs(HALF_HALF, SLOT + timedelta(minutes=5)))
    assert len(world.venue.submitted) == 1


def test_duplicate_is_looked_up_and_taken_as_ours(world: World) -> None:
    """A venue that calls our id a duplicate has the order. Its report counts, and the order is
    neither refused nor sent again.
    """
    submit = world.venue.submit

    def twice(order: OrderRequest) -> Any:
        submit(order)
        raise DuplicateOrderError("Duplicate order sent.", "-2010")

    world.venue.submit = twice
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert len(world.venue.submitted) == 2
    assert agree(world)


def test_process_that_slept_through_its_lease_sends_nothing(world: World) -> None:
    """Between the write-ahead of an order and its request the lease lapses: the request must not
    leave.
    """
    session = replace(
        world.session, policy=world.session.policy.model_copy(update={"lease_ttl_seconds": 0.2})
    )
    record = world.ledger.record_events

    def slow(lease: Lease, events: Sequence[OrderEvent]) -> Sequence[OrderState]:
        states = record(lease, events)
        if any(event.kind is OrderEventKind.SUBMIT for event in events):
            world.clock.sleep(0.25)
        return states

    world.ledger.record_events = slow
    with pytest.raises(StaleLeaseError, match="lapsed"):
        rebalance(session, world.inputs(HALF_HALF))
    assert not world.venue.submitted


def test_last_word_waits_until_the_fills_are_booked(world: World) -> None:
    """A venue that shows an order's end before its trades: the order stays unfinished until they
    are booked.
    """
    world.venue.fraction = Decimal("0.5")
    fills, asked = world.venue.fills, []

    def late(symbol: str, since: datetime) -> Any:
        asked.append(symbol)
        return fills(symbol, since) if len(asked) > 3 else []

    world.venue.fills = late
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    (order,) = report.orders
    assert order.state is OrderState.EXPIRED
    assert order.filled_quantity > 0
    assert agree(world)


def test_trades_of_others_in_the_same_minutes_are_not_booked_as_ours(world: World) -> None:
    """A manual trade in a symbol that we trade too is left to reconciliation."""
    world.venue.trade("BTC/USDT", Side.BUY, Decimal("0.01"), Decimal(50_000))
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert {fill.client_order_id for fill in report.fills} == {
        o.request.client_order_id for o in report.orders
    }
    assert report.status is RebalanceStatus.DONE
    assert agree(world)


def test_overdue_orders_of_an_earlier_slot_are_ended_before_the_next_is_planned(
    world: World,
) -> None:
    """A limit order left open by a killed run is cancelled by the next slot, which then trades
    freely.
    """

    def kill(order: OrderRequest) -> None:
        raise Killed

    world.venue.after = kill
    with pytest.raises(Killed):
        rebalance(replace(world.session, style=PASSIVE), world.inputs({"BTC/USDT": 0.5}))
    world.ledger.holder, world.venue.after = "", lambda _: None
    assert len(world.venue.open_orders()) == 1
    world.clock.at += timedelta(days=1)
    began = world.clock.now()
    report = rebalance(world.session, world.inputs(HALF_HALF, SLOT + timedelta(days=1)))
    assert (world.clock.now() - began).total_seconds() < world.session.policy.follow_timeout_seconds
    assert report.status is RebalanceStatus.DONE
    assert not world.venue.open_orders()
    assert {order.state for order in world.ledger.book.values()} == {
        OrderState.CANCELED,
        OrderState.FILLED,
    }
    assert world.ledger.slots[SLOT].status is RebalanceStatus.FAILED
    assert "took over" in world.ledger.slots[SLOT].reason


def test_waiting_for_an_order_keeps_the_lease_alive(world: World) -> None:
    """An order that waits longer than the lease lives is still followed, cancelled and booked."""
    policy = world.session.policy.model_copy(update={"lease_ttl_seconds": 4})
    session = replace(world.session, policy=policy, style=PASSIVE)
    report = rebalance(session, world.inputs({"BTC/USDT": 0.5}))
    assert report.status is RebalanceStatus.DONE
    assert {order.state for order in report.orders} == {OrderState.CANCELED}


def test_cancellation_without_an_answer_is_asked_for_again(world: World) -> None:
    """The first cancel request gets no answer: the next look repeats it, and the order ends
    CANCELED.
    """
    cancel = world.venue.cancel
    silent: list[str] = []

    def lose_first(client_order_id: str, symbol: str) -> Any:
        if not silent:
            silent.append(client_order_id)
            raise VenueUnavailableError("no answer in 5 s")
        return cancel(client_order_id, symbol)

    world.venue.cancel = lose_first  # type: ignore[assignment]  # no venue is named here
    report = rebalance(replace(world.session, style=PASSIVE), world.inputs({"BTC/USDT": 0.5}))
    assert silent
    assert report.status is RebalanceStatus.DONE
    assert not world.venue.open_orders()


def test_cancellation_answered_no_such_order_is_asked_for_again(world: World) -> None:
    """A halt cancels just after the order was placed, and the venue's cancellation does not know it
    yet: the next look finds it open and cancels it. It does not work on under the halt.
    """
    cancel = world.venue.cancel
    asked: list[float] = []

    def deny_two(client_order_id: str, symbol: str) -> Any:
        asked.append(0)
        if len(asked) < 3:
            raise OrderNotFoundError("Order does not exist", "170213")
        return cancel(client_order_id, symbol)

    world.venue.cancel = deny_two  # type: ignore[assignment]  # no venue is named here
    world.venue.after = lambda _: world.control_store.set_trading_state(
        "test", TradingState.HALTED, "drill", "ada", world.clock.now(), cancel=True
    )
    began = world.clock.now()
    patient = PASSIVE.model_copy(update={"reprice_seconds": 3600})
    report = rebalance(replace(world.session, style=patient), world.inputs({"BTC/USDT": 0.5}))
    assert (world.clock.now() - began).total_seconds() <= 3
    (order,) = report.orders
    assert (order.state, order.end_cause) == (
        OrderState.CANCELED,
        EndCause.CANCELLED_BY_KILL_SWITCH,
    )
    assert [kind for _, kind in world.ledger.events].count(OrderEventKind.REQUEST_CANCEL) == 1


def test_cancellation_that_was_taken_and_not_done_is_asked_for_again(world: World) -> None:
    """The venue takes the first request, and the order works on: three seconds later it is asked
    again, and no sooner.
    """
    cancel = world.venue.cancel
    asked: list[datetime] = []

    def only_take_first(client_order_id: str, symbol: str) -> Any:
        asked.append(world.clock.now())
        first = world.venue.placed[client_order_id]
        return first if len(asked) == 1 else cancel(client_order_id, symbol)

    world.venue.cancel = only_take_first  # type: ignore[assignment]  # no venue is named here
    report = rebalance(replace(world.session, style=PASSIVE), world.inputs({"BTC/USDT": 0.5}))
    assert [(at - asked[0]).total_seconds() for at in asked] == [0, 3]
    assert {order.state for order in report.orders} == {OrderState.CANCELED}


def test_symbol_that_was_sold_is_not_bought_in_the_same_slot(world: World) -> None:
    """A price that falls between the sells and the buys must not turn a sale round."""
    rebalance(world.session, world.inputs({"BTC/USDT": 0.6}))
    world.clock.at += timedelta(days=1)

    def crash(order: OrderRequest) -> None:
        if order.side is Side.SELL:
            world.venue.prices["BTC/USDT"] = Decimal(45_000)

    world.venue.after = crash
    report = rebalance(
        world.session, world.inputs({"BTC/USDT": 0.4, "ETH/USDT": 0.3}, SLOT + timedelta(days=1))
    )
    assert [(o.request.symbol, o.request.side) for o in report.orders] == [
        ("BTC/USDT", Side.SELL),
        ("ETH/USDT", Side.BUY),
    ]


def test_resumed_slot_whose_buys_were_committed_plans_no_sells(world: World) -> None:
    """The sells of a slot are over once its buys are committed, though prices have moved since."""

    def kill(order: OrderRequest) -> None:
        raise Killed

    world.venue.after = kill
    with pytest.raises(Killed):
        rebalance(world.session, world.inputs(HALF_HALF))
    world.ledger.holder, world.venue.after = "", lambda _: None
    world.venue.prices["BTC/USDT"] *= 2
    inputs = world.inputs(HALF_HALF)
    wide = inputs.limits.model_copy(update={"price_collar": None})
    report = rebalance(world.session, replace(inputs, limits=wide))
    assert {order.request.side for order in report.orders} == {Side.BUY}
    assert report.status is RebalanceStatus.DONE
