"""What may change in the middle of a slot: the kill switch, the account's state, who has had the
lease.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.errors import StaleLeaseError, VenueUnavailableError
from penstock.core.halts import TradingState
from penstock.core.orders import OrderRequest, OrderState, Side
from penstock.core.rebalances import Rebalance, RebalanceStatus
from penstock.execution.algorithms import Limit, Twap
from penstock.execution.lease import take_lease
from penstock.execution.rebalance.run import rebalance
from penstock.risk.limits import LossLimit
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
HALF = {"BTC/USDT": 0.5}


class RenewingClock(SteppedClock):
    """Forty seconds elapse between two looks: each look at a lease of a minute renews it."""

    def elapsed_seconds(self) -> float:
        self.sleep(40)
        return super().elapsed_seconds()


def halt(world: World, **asked: bool) -> None:
    world.control_store.set_trading_state(
        "test", TradingState.HALTED, "drill", "ada", SLOT, **asked
    )


def test_switch_thrown_while_the_lease_is_renewed_keeps_the_order_back(
    world: World,
) -> None:
    """A renewal may wait for a slow database. The state of the switch after it counts, not the
    state before.
    """
    session = replace(world.session, machine_clock=RenewingClock(SLOT))
    acquire = world.ledger.acquire_lease

    def slow(account: str, holder: str, ttl_seconds: float) -> Any:
        if any(order.state is OrderState.SUBMITTING for order in world.ledger.book.values()):
            halt(world)
        return acquire(account, holder, ttl_seconds)

    world.ledger.acquire_lease = slow
    report = rebalance(session, world.inputs(HALF))
    assert world.venue.submitted == []
    assert [order.state for order in report.orders] == [OrderState.CANCELED]


def test_lease_that_another_process_has_had_is_not_renewed(
    world: World,
) -> None:
    """The database's clock jumped, another process did the slot and let go: who wakes finds the
    lease free, and stops.
    """
    keeper = take_lease(world.ledger, "test", 60, 0, clock=world.clock, ids=world.session.ids)
    assert keeper is not None
    world.ledger.holder = ""
    other = take_lease(world.ledger, "test", 60, 0, clock=world.clock, ids=world.session.ids)
    assert other is not None
    other.release()
    world.clock.sleep(40)
    with pytest.raises(StaleLeaseError, match="has had the lease"):
        _ = keeper.lease
    assert world.ledger.holder == ""


@pytest.mark.parametrize("flatten", [False, True])
def test_risk_rule_never_weakens_a_halt_set_while_it_judged(world: World, flatten: bool) -> None:
    """A loss limit asks for reduce-only at the moment in which an operator halts. The operator's
    halt stays in force.
    """
    world.control_store.equity[SLOT - timedelta(hours=1)] = Decimal(20_000)
    asked = world.inputs(HALF)
    limits = asked.limits.model_copy(
        update={"drawdown": LossLimit(limit=Decimal("0.2"), state="reduce_only")}
    )

    def decide(version: str) -> Any:
        halt(world, flatten=flatten)
        return asked.decide(version)

    rebalance(world.session, replace(asked, decide=decide, limits=limits))
    assert (world.control_store.halt.state, world.control_store.halt.reason) == (
        TradingState.HALTED,
        "drill",
    )
    assert world.control_store.halt.flatten is flatten


def resting(world: World, at_pause: Any) -> Any:
    """Rebalance by a limit order that waits in the book; call `at_pause` once while it is followed.
    Return the report.
    """
    calls = count()

    def pause(seconds: float) -> None:
        if next(calls) == 0:
            at_pause()
        world.clock.sleep(seconds)

    style = Limit(offset_bps=Decimal(-50), max_children=1, reprice_seconds=3600)
    patient = world.session.policy.model_copy(update={"follow_timeout_seconds": 3600})
    session = replace(world.session, pause=pause, policy=patient, style=style)
    return rebalance(session, world.inputs(HALF))


def test_halt_that_cancels_takes_a_resting_order_back_at_once(world: World) -> None:
    """The next look cancels an order that may rest for an hour. It does not wait for the end of its
    patience.
    """
    start = world.clock.now()
    report = resting(world, lambda: halt(world, cancel=True))
    assert [(order.state, "kill switch: drill" in order.reason) for order in report.orders] == [
        (OrderState.CANCELED, True)
    ]
    assert (world.clock.now() - start).total_seconds() < 10


def test_plain_halt_leaves_a_resting_order_alone(world: World) -> None:
    """Halting stops new orders; what works is ended only where the halt says so."""
    start = world.clock.now()
    resting(world, lambda: halt(world))
    assert (world.clock.now() - start).total_seconds() >= 3600


def lose_a_sell_of_eth(world: World, meanwhile: Callable[[], object]) -> None:
    """Let the first sell of ETH get lost on its way. Before it is sent again, the account is
    compared with the venue, where `meanwhile` has happened.
    """
    lost: list[str] = []

    def lose(order: OrderRequest) -> None:
        if order.side is Side.SELL and order.symbol == "ETH/USDT" and not lost:
            lost.append(order.client_order_id)
            meanwhile()
            raise VenueUnavailableError("no answer in 5 s")

    world.venue.before = lose


def test_break_that_is_found_while_sells_are_worked_binds_the_buys(world: World) -> None:
    """BTC that nobody can explain shows up at the venue: BTC is not bought in the same slot."""
    rebalance(world.session, world.inputs({"ETH/USDT": 0.5}))
    world.clock.at += timedelta(days=1)
    lose_a_sell_of_eth(world, lambda: world.venue.assets.update(BTC=Decimal("0.05")))
    wanted = {"ETH/USDT": 0.1, "BTC/USDT": 0.5, "ADA/USDT": 0.2}
    report = rebalance(world.session, world.inputs(wanted, SLOT + timedelta(days=1)))
    assert {(found.symbol, found.rule) for found in report.findings} == {
        ("BTC/USDT", "locked_instrument")
    }
    bought = {o.request.symbol for o in report.orders if o.request.side is Side.BUY}
    assert bought == {"ADA/USDT"}
    assert [found.subject for found in report.breaks] == ["BTC"]


def test_cash_that_is_lost_while_sells_are_worked_is_not_spent(world: World) -> None:
    """Cash leaves the account while ETH is sold: the buys are planned from what the venue has."""
    rebalance(world.session, world.inputs({"ETH/USDT": 0.5}))
    world.clock.at += timedelta(days=1)
    lose_a_sell_of_eth(world, lambda: world.venue.assets.update(USDT=Decimal(100)))
    wanted = {"ETH/USDT": 0.1, "BTC/USDT": 0.5}
    report = rebalance(world.session, world.inputs(wanted, SLOT + timedelta(days=1)))
    (bought,) = (o for o in report.orders if o.request.side is Side.BUY)
    assert bought.state is OrderState.FILLED, bought.reason
    assert bought.request.quantity * 50_000 < 4_200


def test_break_that_is_found_before_pieces_leave_keeps_those_of_its_symbol_back(
    world: World,
) -> None:
    """Both symbols have a piece due. The comparison that the lost piece of ETH asks for locks BTC:
    the piece of BTC does not leave beside it.
    """
    rebalance(world.session, world.inputs({"ETH/USDT": 0.4, "BTC/USDT": 0.4}))
    world.clock.at += timedelta(days=1)
    held = world.venue.assets["BTC"]
    lose_a_sell_of_eth(world, lambda: world.venue.assets.update(BTC=held + 1))
    session = replace(world.session, style=Twap(duration_seconds=20, slices=2))
    wanted = {"ETH/USDT": 0.0, "BTC/USDT": 0.0}
    report = rebalance(session, world.inputs(wanted, SLOT + timedelta(days=1)))
    assert [found.subject for found in report.breaks] == ["BTC"]
    sold = [o for o in report.orders if o.request.symbol == "BTC/USDT"]
    assert len(sold) == 1, sold
    (left,) = report.skipped
    assert left.symbol == "BTC/USDT"
    assert "is not sent: a break locks it" in left.reason


def test_late_slot_does_not_undo_a_newer_one_behind_an_outage(world: World) -> None:
    """After an hour of skipped minutes the newest slots say nothing: the one that was traded before
    them still counts.
    """
    for minute in range(1, 61):
        slot, status = (
            SLOT + timedelta(minutes=minute),
            RebalanceStatus.DONE if minute == 1 else RebalanceStatus.SKIPPED,
        )
        world.ledger.slots[slot] = Rebalance(minute + 1, "test", slot, "trend/1", status)
    world.ledger.held = dict(world.venue.assets)
    report = rebalance(world.session, world.inputs(HALF))
    assert report.status is RebalanceStatus.SKIPPED
    assert "must not undo a newer one" in report.reason
    assert world.venue.submitted == []
