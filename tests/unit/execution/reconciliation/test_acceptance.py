"""An operator's acceptance covers the difference that was recorded, and no other."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.breaks import BreakKind
from penstock.core.errors import StaleLeaseError, StoreError
from penstock.core.orders import OrderReport, OrderState, Side
from penstock.execution.lease import take_lease
from penstock.execution.rebalance.run import rebalance
from penstock.execution.reconciliation.acceptance import accept_break
from penstock.execution.reconciliation.reconcile import Reconciliation, reconcile
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def traded(world: World) -> Any:
    """An account that has had one rebalance, and holds two assets."""
    rebalance(world.session, world.inputs({"BTC/USDT": 0.4, "ETH/USDT": 0.4}))
    return world


def leased(world: World, act: Any, *arguments: Any) -> Reconciliation:
    keeper = take_lease(world.ledger, "test", 60, 0, clock=world.clock, ids=world.session.ids)
    assert keeper is not None
    try:
        found = act(world.session, keeper, *arguments)
        assert isinstance(found, Reconciliation)
        return found
    finally:
        keeper.release()


def check(world: World) -> Reconciliation:
    return leased(world, reconcile)


def accept(
    world: World, subject: str, closes: Mapping[str, Decimal] | None = None
) -> Reconciliation:
    return leased(world, accept_break, subject, "seen", "ada", closes or {})


def test_deposit_that_grew_since_it_was_recorded_is_not_accepted_unseen(traded: World) -> None:
    """The refusal names both figures and books nothing; the break then has the new ones, and is
    accepted with them.
    """
    traded.venue.assets["USDT"] += 100
    check(traded)
    traded.venue.assets["USDT"] += 900
    before = traded.ledger.balances("test")
    with pytest.raises(
        StoreError,
        match=r"(?s)has 100\.?0* USDT more.*books \+100.*and is now.*books \+1000.*look again",
    ):
        accept(traded, "USDT")
    assert (traded.ledger.balances("test"), traded.control_store.accepted) == (before, [])
    (standing,) = traded.control_store.open_breaks("test")
    assert standing.changes == {"USDT": 1_000}
    assert not accept(traded, "USDT").breaks
    assert traded.ledger.balances("test") == traded.venue.balances()


def test_look_in_between_does_not_put_other_figures_under_the_operators_word(traded: World) -> None:
    """A slot that runs between an operator's look and the acceptance finds more. The break keeps
    what the operator has seen.
    """
    traded.venue.assets["ETH"] += 1
    check(traded)
    (shown,) = traded.control_store.open_breaks("test")
    traded.venue.assets["ETH"] += 1
    assert not check(traded).opened
    assert traded.control_store.open_breaks("test") == [shown]
    with pytest.raises(StoreError, match="has changed since it was recorded"):
        accept(traded, "ETH")


def test_second_trade_by_hand_is_not_accepted_with_the_first(traded: World) -> None:
    """The bookings are compared, whatever the text of the break is."""
    traded.venue.trade("BTC/USDT", Side.SELL, Decimal("0.01"), Decimal(50_000))
    check(traded)
    traded.venue.trade("BTC/USDT", Side.SELL, Decimal("0.02"), Decimal(50_000))
    with pytest.raises(StoreError, match="2 trades by someone else"):
        accept(traded, "BTC/USDT")
    assert not accept(traded, "BTC/USDT").breaks
    assert traded.ledger.balances("test") == traded.venue.balances()


def test_rounding_of_what_the_venue_shows_asks_for_no_second_look(traded: World) -> None:
    """The last digit of a balance moves with every trade: that is no other difference."""
    traded.venue.assets["USDT"] += 100
    check(traded)
    traded.venue.assets["USDT"] += Decimal("0.000000004")
    assert not accept(traded, "USDT").breaks


def test_break_from_before_changes_were_kept_is_accepted_by_its_words(traded: World) -> None:
    """A break that was open during an upgrade is accepted at once, unless its detail differs."""
    traded.venue.assets["USDT"] += 100
    (found,) = check(traded).breaks
    key = (found.subject, found.kind)
    traded.control_store.breaks[key] = replace(
        found, changes=None, detail="the venue has 50 USDT more"
    )
    with pytest.raises(StoreError, match="has changed"):
        accept(traded, "USDT")
    traded.control_store.breaks[key] = replace(found, changes=None)
    assert not accept(traded, "USDT").breaks


def test_two_orders_that_are_gone_are_one_break_and_settled_together(traded: World) -> None:
    """One break stands for both and names both, and the operator's acceptance ends both. A third
    needs another look.
    """
    order = next(iter(traded.ledger.book.values()))

    def lose(name: str) -> None:
        request = replace(order.request, client_order_id=name)
        traded.ledger.book[name] = replace(
            order, request=request, state=OrderState.OPEN, filled_quantity=Decimal(0)
        )

    lose("first")
    lose("second")
    (found,) = check(traded).breaks
    assert (found.kind, "first" in found.detail, "second" in found.detail) == (
        BreakKind.ORDER_GONE,
        True,
        True,
    )
    lose("third")
    with pytest.raises(StoreError, match="order third"):
        accept(traded, order.request.symbol)
    assert traded.ledger.book["first"].state is OrderState.OPEN
    assert not accept(traded, order.request.symbol).breaks
    assert {traded.ledger.book[name].state for name in ("first", "second", "third")} == {
        OrderState.CANCELED
    }


def test_former_holder_can_neither_reconcile_nor_accept(traded: World) -> None:
    """Another process took the lease while this one looked: nothing is closed and nothing is
    booked.
    """
    traded.venue.assets["USDT"] += 100
    check(traded)
    keeper = take_lease(traded.ledger, "test", 60, 0, clock=traded.clock, ids=traded.session.ids)
    assert keeper is not None
    traded.ledger.holder = ""
    assert (
        take_lease(traded.ledger, "test", 60, 0, clock=traded.clock, ids=traded.session.ids)
        is not None
    )
    before = traded.ledger.balances("test")
    with pytest.raises(StaleLeaseError):
        accept_break(traded.session, keeper, "USDT", "seen")
    traded.venue.assets["USDT"] -= 100
    with pytest.raises(StaleLeaseError):
        reconcile(traded.session, keeper)
    assert [found.kind for found in traded.control_store.open_breaks("test")] == [BreakKind.DEPOSIT]
    assert (traded.ledger.balances("test"), traded.control_store.accepted) == (before, [])


def test_refusal_names_the_way_out_of_an_unknown_order_only_where_one_is_open(
    traded: World,
) -> None:
    """With no break at all there is nothing to cancel at the venue."""
    with pytest.raises(StoreError, match=r"can be accepted; open there are: none$"):
        accept(traded, "USDT")
    traded.venue.assets["USDT"] += 100
    check(traded)
    with pytest.raises(StoreError, match=r"open there are: USDT \(deposit\)$"):
        accept(traded, "BTC")
    traded.venue.placed["by-hand"] = OrderReport(
        "by-hand", "77", "ADA/USDT", OrderState.OPEN, Decimal(0)
    )
    check(traded)
    with pytest.raises(StoreError, match=r"an unknown order is to be cancelled at the venue$"):
        accept(traded, "ADA/USDT")


@pytest.mark.parametrize("closes", [{}, {"ETH/USDT": Decimal(5_000)}], ids=["trade", "close"])
def test_what_lost_its_market_is_accepted_at_its_last_close(
    traded: World, closes: dict[str, Decimal]
) -> None:
    """ETH has another name weeks after it was traded. Without a close the price of that trade is
    all there is, and no later look would find a better one.
    """
    paid = traded.venue.prices.pop("ETH/USDT")
    held = traded.venue.assets.pop("ETH")
    traded.clock.at += timedelta(days=30)
    check(traded)
    accept(traded, "ETH", closes)
    (accepted,) = traded.control_store.accepted
    assert accepted.value == -held * closes.get("ETH/USDT", paid)


def test_split_is_accepted_as_no_gain_and_a_find_as_what_it_is_worth(traded: World) -> None:
    """The venue has a thousand times the ETH, at a thousandth of the price, and a little more BTC.
    Nothing explains either.
    """
    traded.venue.transfers = lambda since: []  # type: ignore[method-assign]  # it shows that there are none
    traded.venue.assets["ETH"] *= 1000
    traded.venue.prices["ETH/USDT"] /= 1000
    traded.venue.assets["BTC"] += Decimal("0.1")
    check(traded)
    for asset in ("ETH", "BTC"):
        accept(traded, asset)
    values = {each.subject: each.value for each in traded.control_store.accepted}
    assert values == {"ETH": 0, "BTC": traded.venue.prices["BTC/USDT"] / 10}
