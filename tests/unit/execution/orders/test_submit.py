"""The way of one request: the venue's pace, the kill switch in between, and orders that leave side
by side.
"""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.errors import (
    DuplicateOrderError,
    RateLimitedError,
    UnknownSymbolError,
    VenueError,
    VenueRejectedError,
    VenueUnavailableError,
)
from penstock.core.halts import TradingState
from penstock.core.machine import THREADS
from penstock.core.orders import EndCause, OrderEventKind, OrderReport, OrderRequest, OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.run import rebalance
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
HALF_HALF = {"BTC/USDT": 0.5, "ETH/USDT": 0.4}


def refuse_for_rate(
    world: World, times: int, retry_after: float | None = 2.0
) -> list[OrderRequest]:
    """Make the venue refuse the first `times` requests with a 429; return the list of all that
    came.
    """
    came: list[OrderRequest] = []

    def refuse(order: OrderRequest) -> None:
        came.append(order)
        if len(came) <= times:
            raise RateLimitedError("HTTP 429 -1015 Too many new orders", retry_after)

    world.venue.before = refuse
    return came


def test_order_refused_for_its_rate_is_paced_and_sent_again_under_the_same_id(world: World) -> None:
    """A 429 means that the venue placed nothing. The same order goes out after the pause that the
    venue asked for.
    """
    came = refuse_for_rate(world, 2)
    start = world.clock.now()
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    assert report.status is RebalanceStatus.DONE
    assert len({order.client_order_id for order in came}) == 1
    assert len(came) == 3
    assert len(world.venue.submitted) == 1
    assert (world.clock.now() - start).total_seconds() >= 4
    assert [order.state for order in report.orders] == [OrderState.FILLED]


@pytest.mark.parametrize(
    "error",
    [
        VenueRejectedError("Filter failure: LOT_SIZE", "-1013"),
        DuplicateOrderError("Duplicate order sent.", "-2010"),
        RateLimitedError("HTTP 429", 1.0),
    ],
)
def test_refused_order_that_the_venue_has_is_found_and_sent_once(
    world: World, error: VenueError
) -> None:
    """The venue takes the order and answers that it refuses it. Asked by name, it shows it."""

    def refuse(order: OrderRequest) -> None:
        raise error

    world.venue.after = refuse
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    assert [order.state for order in report.orders] == [OrderState.FILLED]
    assert len(world.venue.submitted) == 1
    assert world.ledger.balances("test") == world.venue.balances()


@pytest.mark.parametrize("answer", [VenueUnavailableError("busy"), VenueRejectedError("bad key")])
def test_refusal_that_the_venue_does_not_confirm_is_unknown(
    world: World, answer: VenueError
) -> None:
    """Asked by name, the venue does not say whether it has the order: it is UNKNOWN, and never
    REJECTED for the refusal.
    """

    def refuse(order: OrderRequest) -> None:
        def ask(client_order_id: str, symbol: str) -> OrderReport:
            raise answer

        world.venue.find_order = ask  # type: ignore[method-assign]
        raise VenueRejectedError("Filter failure: LOT_SIZE", "-1013")

    world.venue.before = refuse
    rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    (order,) = world.ledger.book.values()
    assert order.state is OrderState.UNKNOWN
    assert "LOT_SIZE" in order.reason


def test_refused_orders_are_asked_for_once_after_the_lag(world: World) -> None:
    """Both orders of a phase are refused: the venue is asked for each, two seconds later."""
    asked: list[datetime] = []
    find, start = world.venue.find_order, world.clock.now()

    def refuse(order: OrderRequest) -> None:
        raise VenueRejectedError("Market is closed.", "-2010")

    def ask(client_order_id: str, symbol: str) -> OrderReport:
        asked.append(world.clock.now())
        return find(client_order_id, symbol)

    world.venue.before, world.venue.find_order = refuse, ask  # type: ignore[method-assign]
    report = rebalance(world.session, world.inputs(HALF_HALF))
    assert [order.end_cause for order in report.orders] == [EndCause.REFUSED] * 2
    assert asked == [start + timedelta(seconds=world.session.policy.refusal_lag_seconds)] * 2


def test_order_that_the_venue_answers_with_rejected_is_asked_for(world: World) -> None:
    """The answer to the request shows a rejected order, and the question an order that works: what
    the venue has counts.
    """
    submit = world.venue.submit
    world.venue.submit = lambda order: replace(  # type: ignore[method-assign]
        submit(order), state=OrderState.REJECTED
    )
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    assert [order.state for order in report.orders] == [OrderState.FILLED]


def test_venue_that_refuses_for_rate_without_end_is_given_up(world: World) -> None:
    """After the longest pacing the order is REJECTED with the venue's answer, and the slot ends. No
    order stays UNKNOWN for it.
    """
    refuse_for_rate(world, 10**6)
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    assert not world.venue.submitted
    assert {order.state for order in report.orders} == {OrderState.REJECTED}
    assert "refuses it for its rate" in report.orders[0].reason


def test_kill_switch_thrown_while_an_order_is_paced_keeps_it_back(world: World) -> None:
    """Waiting for the venue's pace is no way around the switch: it is read again before the request
    leaves again.
    """

    def refuse(order: OrderRequest) -> None:
        world.control_store.set_trading_state("test", TradingState.HALTED, "drill", "test", SLOT)
        raise RateLimitedError("HTTP 429", 2.0)

    world.venue.before = refuse
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    assert [order.state for order in report.orders] == [OrderState.CANCELED]
    assert "drill" in report.orders[0].reason
    assert report.status is RebalanceStatus.FAILED


def test_pause_longer_than_the_lease_keeps_it_alive(world: World) -> None:
    """A pause that the venue asks for may be longer than the lease lives: it is renewed while
    waiting.
    """
    policy = world.session.policy.model_copy(update={"lease_ttl_seconds": 4})
    session = replace(world.session, policy=policy)
    refuse_for_rate(world, 1, retry_after=6.0)
    report = rebalance(session, world.inputs({"BTC/USDT": 0.5}))
    assert report.status is RebalanceStatus.DONE
    assert world.ledger.token > 2


def test_all_intents_of_a_phase_have_begun_before_the_first_request_leaves(world: World) -> None:
    """When the first request comes to the venue, the ledger already has SUBMIT for every order of
    the phase.
    """
    seen: list[set[OrderState]] = []
    world.venue.before = lambda _: seen.append(
        {order.state for order in world.ledger.book.values()}
    )
    rebalance(world.session, world.inputs(HALF_HALF))
    assert seen[0] == {OrderState.SUBMITTING}


def test_order_held_back_in_the_middle_of_a_phase_is_abandoned_not_lost(world: World) -> None:
    """The switch thrown after the first request: the second has SUBMIT and ABANDON in its history
    and never left.
    """

    def halt(order: OrderRequest) -> None:
        world.control_store.set_trading_state("test", TradingState.HALTED, "drill", "test", SLOT)

    world.venue.after = halt
    report = rebalance(world.session, world.inputs(HALF_HALF))
    (held,) = [order for order in report.orders if order.state is OrderState.CANCELED]
    kinds = [kind for name, kind in world.ledger.events if name == held.request.client_order_id]
    assert kinds == [OrderEventKind.SUBMIT, OrderEventKind.ABANDON]
    assert len(world.venue.submitted) == 1


def test_symbol_that_the_venue_no_longer_lists_is_a_refusal(world: World) -> None:
    """Nothing was sent: the order is REJECTED, and the others go through."""

    def refuse(order: OrderRequest) -> None:
        if order.symbol == "BTC/USDT":
            raise UnknownSymbolError("memory does not list BTC/USDT")

    world.venue.before = refuse
    report = rebalance(world.session, world.inputs(HALF_HALF))
    states = {order.request.symbol: order.state for order in report.orders}
    assert states == {"BTC/USDT": OrderState.REJECTED, "ETH/USDT": OrderState.FILLED}


@pytest.mark.parametrize("senders", [2, 8])
def test_requests_leave_side_by_side_and_each_once(world: World, senders: int) -> None:
    """With several senders a phase's requests are under way together, each leaves once, and the
    books agree.
    """
    policy = world.session.policy.model_copy(update={"senders": senders})
    together = threading.Barrier(2, timeout=5)
    one_at_a_time = threading.Lock()  # the venue in memory is for one thread
    submit = world.venue.submit

    def submit_together(order: OrderRequest) -> Any:
        together.wait()
        with one_at_a_time:
            return submit(order)

    world.venue.submit = submit_together
    report = rebalance(
        replace(world.session, policy=policy, runner=THREADS), world.inputs(HALF_HALF)
    )
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert (
        len({order.client_order_id for order in world.venue.submitted})
        == len(world.venue.submitted)
        == 2
    )
    assert world.ledger.balances("test") == world.venue.balances()


def test_order_that_the_venue_accepts_and_then_takes_back_ends_cancelled(world: World) -> None:
    """REJECTED is the answer to a request; of an order that had worked it means that nothing works
    any more.
    """
    submit = world.venue.submit

    def accept_then_reject(order: OrderRequest) -> Any:
        world.venue.fraction = Decimal(0)
        report = submit(order)
        world.venue.placed[order.client_order_id] = replace(
            report, state=OrderState.REJECTED, reason="post-trade check"
        )
        return replace(report, state=OrderState.OPEN)

    world.venue.submit = accept_then_reject
    report = rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    assert [(order.state, order.reason) for order in report.orders] == [
        (OrderState.CANCELED, "post-trade check")
    ]
    assert report.status is RebalanceStatus.DONE


def test_request_is_dated_before_the_lease_is_looked_at(world: World) -> None:
    """The renewal of the lease takes five seconds. The request carries the time before it. A
    process that sleeps there sends a request that the venue finds too old.
    """
    write_ahead, acquire = world.ledger.write_ahead, world.ledger.acquire_lease
    dated: list[datetime] = []

    def slow_write(*arguments: Any) -> None:
        write_ahead(*arguments)
        world.clock.sleep(35)  # past half of the lease's life: the next look renews it
        dated.append(world.clock.now())

    def slow_renewal(account: str, holder: str, ttl_seconds: float) -> Any:
        lease = acquire(account, holder, ttl_seconds)
        world.clock.sleep(5 if dated else 0)
        return lease

    world.ledger.write_ahead = slow_write  # type: ignore[assignment]  # it takes any arguments
    world.ledger.acquire_lease = slow_renewal  # type: ignore[method-assign]
    rebalance(world.session, world.inputs({"BTC/USDT": 0.5}))
    (order,) = world.venue.submitted
    assert order.asked_at == dated[0]


def test_request_is_dated_by_this_machine_and_its_records_by_the_venue(world: World) -> None:
    """The venue's clock is an hour ahead. A signature already corrects the machine's time by that
    difference. A request dated by the venue's clock would stay valid for an hour, even after
    another process took the account.
    """
    machine_clock = SteppedClock(world.clock.now() - timedelta(hours=1))
    session = replace(world.session, machine_clock=machine_clock)
    report = rebalance(session, world.inputs({"BTC/USDT": 0.5}))
    (order,) = world.venue.submitted
    assert order.asked_at == machine_clock.now()
    assert [each.created_at for each in report.orders] == [world.clock.now()]
