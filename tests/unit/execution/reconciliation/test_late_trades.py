"""Trades that a venue shows late, trades from before the account was taken over, and orders on
delisted symbols.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.breaks import BreakKind
from penstock.core.errors import UnknownSymbolError
from penstock.core.orders import OrderReport, OrderRequest, OrderState, Side
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.lease import LeaseKeeper, take_lease
from penstock.execution.rebalance.run import rebalance
from penstock.execution.reconciliation.acceptance import accept_break
from penstock.execution.reconciliation.reconcile import Reconciliation, reconcile
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
PRICE = Decimal(50_000)


def lease(world: World) -> LeaseKeeper:
    keeper = take_lease(world.ledger, "test", 60, 0, clock=world.clock, ids=world.session.ids)
    assert isinstance(keeper, LeaseKeeper)
    return keeper


def check(world: World) -> Reconciliation:
    world.clock.at += timedelta(minutes=1)
    keeper = lease(world)
    try:
        return reconcile(world.session, keeper)
    finally:
        keeper.release()


def accept(world: World, subject: str) -> Reconciliation:
    world.clock.at += timedelta(minutes=1)
    keeper = lease(world)
    try:
        return accept_break(world.session, keeper, subject, "seen")
    finally:
        keeper.release()


def kinds(found: Reconciliation) -> dict[str, BreakKind]:
    return {each.subject: each.kind for each in found.breaks}


def slot(world: World, minute: int, weight: float) -> Any:
    world.clock.at = SLOT + timedelta(minutes=minute, seconds=2)
    return rebalance(
        world.session, world.inputs({"BTC/USDT": weight}, SLOT + timedelta(minutes=minute))
    )


def expired_at(world: World, minute: int) -> Any:
    """Run a slot whose order the venue shows as ended without a fill. Return the order and when
    that was.
    """
    filling, world.venue.fraction = world.venue.fraction, Decimal(0)
    slot(world, minute, 0.4)
    world.venue.fraction = filling
    (late,) = (order for order in world.ledger.book.values() if not order.filled_quantity)
    world.ledger.book[late.request.client_order_id] = replace(
        late, created_at=SLOT + timedelta(minutes=minute)
    )
    return late, world.clock.now()


def fill_late(world: World, late: Any, at: datetime, listed: bool = True) -> None:
    """The venue filled the order at `at`, and says so only now."""
    name, quantity = late.request.client_order_id, late.request.quantity
    now, world.clock.at = world.clock.at, at
    world.venue.trade("BTC/USDT", Side.BUY, quantity, PRICE, name)
    if not listed:
        world.venue.trades.pop()
    world.venue.placed[name] = replace(world.venue.placed[name], filled_quantity=quantity)
    world.clock.at = now


def test_trade_that_shows_after_the_window_moved_on_is_booked(world: World) -> None:
    """An order expired with nothing filled; minutes later newer trades are compared; then its trade
    appears, and is booked.
    """
    slot(world, 0, 0.3)
    late, at = expired_at(world, 1)
    assert not slot(world, 9, 0.5).breaks
    fill_late(world, late, at)
    found = check(world)
    assert [fill.client_order_id for fill in found.fills] == [late.request.client_order_id]
    assert not found.breaks
    assert world.ledger.balances("test") == world.venue.balances()


def test_late_trade_of_days_ago_is_found_by_its_order(world: World) -> None:
    """However old the trade is, the order that was not filled says from when on to look."""
    slot(world, 0, 0.3)
    late, at = expired_at(world, 1)
    for day in range(1, 5):
        slot(world, day * 1440, 0.4 + day / 10)
    fill_late(world, late, at)
    assert len(check(world).fills) == 1
    assert not check(world).breaks


def test_missing_fill_is_named_behind_many_newer_orders(world: World) -> None:
    """The venue filled an order and lists no trade of it; thirty newer orders do not hide that."""
    slot(world, 0, 0.3)
    late, at = expired_at(world, 1)
    for minute in range(9, 39):
        slot(world, minute, 0.45 if minute % 2 else 0.3)
    assert len(world.ledger.book) > 30
    fill_late(world, late, at, listed=False)
    found = check(world)
    assert kinds(found) == {"BTC/USDT": BreakKind.MISSING_FILL}
    assert late.request.client_order_id in found.breaks[0].detail


def test_manual_trade_that_shows_after_the_window_moved_on_is_named(world: World) -> None:
    """Someone else's trade of ten minutes ago appears with its balances: a manual trade, not a
    deposit and a withdrawal.
    """
    slot(world, 0, 0.3)
    at = world.clock.at = SLOT + timedelta(minutes=1)
    slot(world, 11, 0.5)
    now, world.clock.at = world.clock.at, at
    world.venue.trade("BTC/USDT", Side.SELL, Decimal("0.01"), PRICE)
    world.clock.at = now
    assert kinds(check(world)) == {"BTC/USDT": BreakKind.MANUAL_TRADE}


def test_trade_by_hand_before_the_first_run_is_part_of_the_opening_balances(world: World) -> None:
    """The first slot closed before the owner bought: what the take-over saw already is neither a
    break nor booked again.
    """
    world.clock.at = SLOT + timedelta(minutes=20)
    world.venue.trade("BTC/USDT", Side.BUY, Decimal("0.01"), PRICE)
    world.clock.at = SLOT + timedelta(minutes=23)
    assert not rebalance(world.session, world.inputs({"BTC/USDT": 0.3})).breaks
    assert not slot(world, 24, 0.2).breaks
    world.venue.assets["BTC"] += Decimal("0.01")
    assert kinds(check(world)) == {"BTC": BreakKind.DEPOSIT}


def hidden_sale(world: World) -> Any:
    """Someone sells by hand, and the venue does not list the trade."""
    slot(world, 0, 0.3)
    world.clock.at += timedelta(minutes=1)
    world.venue.trade("BTC/USDT", Side.SELL, Decimal("0.04"), PRICE)
    hidden = world.venue.trades.pop()
    assert kinds(check(world)) == {"BTC": BreakKind.WITHDRAWAL, "USDT": BreakKind.DEPOSIT}
    return hidden


def test_hidden_trade_that_was_accepted_by_asset_opens_nothing_when_it_shows(world: World) -> None:
    """Its base and its quote were taken over: the trade, listed at last, is part of both."""
    hidden = hidden_sale(world)
    accept(world, "BTC")
    assert not accept(world, "USDT").breaks
    world.venue.trades.append(hidden)
    assert not check(world).breaks
    assert not slot(world, 20, 0.4).breaks
    assert world.ledger.balances("test") == world.venue.balances()


def test_hidden_trade_of_which_one_asset_was_accepted_leaves_the_other(world: World) -> None:
    """Only the base was accepted when the trade shows. The quote keeps its break and is accepted by
    itself.
    """
    hidden = hidden_sale(world)
    accept(world, "BTC")
    world.venue.trades.append(hidden)
    assert kinds(check(world)) == {"USDT": BreakKind.DEPOSIT}
    assert not accept(world, "USDT").breaks
    assert world.ledger.balances("test") == world.venue.balances()


def test_accepted_deposit_does_not_settle_a_manual_trade_that_is_shown(world: World) -> None:
    """Cash came in while a sale by hand was open: accepting the cash leaves the sale as it was."""
    slot(world, 0, 0.3)
    world.clock.at += timedelta(minutes=1)
    world.venue.trade("BTC/USDT", Side.SELL, Decimal("0.04"), PRICE)
    world.venue.assets["USDT"] += 500
    assert kinds(check(world)) == {"BTC/USDT": BreakKind.MANUAL_TRADE, "USDT": BreakKind.DEPOSIT}
    assert kinds(accept(world, "USDT")) == {"BTC/USDT": BreakKind.MANUAL_TRADE}
    assert not accept(world, "BTC/USDT").breaks
    assert world.ledger.balances("test") == world.venue.balances()


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def delisted(world: World) -> Any:
    """An account whose process died after it had sent an order for ETH, before ETH was taken off
    the venue.
    """

    def die(order: OrderRequest) -> None:
        if order.symbol == "ETH/USDT":
            raise KilledError

    world.venue.after = die
    with pytest.raises(KilledError):
        rebalance(world.session, world.inputs({"BTC/USDT": 0.2, "ETH/USDT": 0.2}))
    world.venue.after, asked, listed = lambda _: None, world.venue.find_order, world.venue.fills
    del world.venue.prices["ETH/USDT"]

    def find(name: str, symbol: str) -> OrderReport:
        if symbol not in world.venue.prices:
            raise UnknownSymbolError(f"the venue does not list {symbol}")
        report: OrderReport = asked(name, symbol)
        return report

    def fills(symbol: str, since: datetime) -> Any:
        if symbol not in world.venue.prices:
            raise UnknownSymbolError(f"the venue does not list {symbol}")
        return listed(symbol, since)

    world.venue.find_order = find  # type: ignore[assignment]  # no venue is named here
    world.venue.fills = fills
    return world


def test_lost_order_on_a_delisted_symbol_locks_that_symbol_only(delisted: World) -> None:
    """Nobody will ever answer for it: it stays unknown, its symbol is locked, and the account
    trades on without waiting.
    """
    for minute in (1, 2):
        before = SLOT + timedelta(minutes=minute, seconds=2)
        report = slot(delisted, minute, 0.2 + minute / 10)
        assert report.status is RebalanceStatus.DONE
        assert delisted.clock.at - before < timedelta(seconds=10)
        assert {order.request.symbol for order in report.orders} == {"BTC/USDT"}
        assert BreakKind.ORDER_GONE in [
            each.kind for each in report.breaks if each.subject == "ETH/USDT"
        ]
    lost = next(
        order for order in delisted.ledger.book.values() if order.request.symbol == "ETH/USDT"
    )
    assert lost.state is OrderState.UNKNOWN


def test_accepting_ends_the_lost_order_of_a_delisted_symbol(delisted: World) -> None:
    """An operator looked: the order is cancelled in the ledger, and what the venue holds is taken
    over.
    """
    slot(delisted, 1, 0.3)
    accept(delisted, "ETH/USDT")
    lost = next(
        order for order in delisted.ledger.book.values() if order.request.symbol == "ETH/USDT"
    )
    assert lost.state is OrderState.CANCELED
    assert BreakKind.ORDER_GONE not in kinds(check(delisted)).values()


def test_lost_order_is_resolved_when_the_symbol_is_listed_again(delisted: World) -> None:
    """The venue lists the symbol again and answers: the fill is booked as if nothing had been."""
    slot(delisted, 1, 0.3)
    delisted.venue.prices["ETH/USDT"] = Decimal(2_500)
    slot(delisted, 2, 0.4)
    lost = next(
        order for order in delisted.ledger.book.values() if order.request.symbol == "ETH/USDT"
    )
    assert lost.state is OrderState.FILLED
    assert not check(delisted).breaks
