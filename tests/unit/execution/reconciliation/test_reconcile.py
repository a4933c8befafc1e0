"""Ledger against venue: each difference is found in one cycle, locks its instrument only, and
unlocks by itself.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.breaks import Break, BreakKind
from penstock.core.errors import StoreError, UnknownSymbolError
from penstock.core.orders import OrderReport, OrderState, Side
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.lease import LeaseKeeper, take_lease
from penstock.execution.rebalance.run import rebalance
from penstock.execution.reconciliation.acceptance import accept_break
from penstock.execution.reconciliation.reconcile import Reconciliation, reconcile
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
TARGETS = {"BTC/USDT": 0.4, "ETH/USDT": 0.4}


@pytest.fixture
def traded(world: World) -> Any:
    """An account that has had one rebalance, and holds two assets."""
    rebalance(world.session, world.inputs(TARGETS))
    return world


def check(world: World) -> Reconciliation:
    keeper = take_lease(world.ledger, "test", 60, 0, clock=world.clock, ids=world.session.ids)
    assert isinstance(keeper, LeaseKeeper)
    try:
        return reconcile(world.session, keeper)
    finally:
        keeper.release()


def kinds(found: Reconciliation) -> dict[str, BreakKind]:
    return {each.subject: each.kind for each in found.breaks}


def test_agreement_finds_nothing_and_writes_nothing(traded: World) -> None:
    """A clean account stays clean, and checking it again leaves no trace."""
    writes = traded.ledger.writes
    for _ in range(3):
        assert not check(traded).breaks
    assert traded.ledger.writes == writes


def test_deposit_locks_its_asset_only_and_unlocks_when_it_leaves(traded: World) -> None:
    """Three ETH from outside lock ETH until they are gone again; BTC trades on."""
    traded.venue.assets["ETH"] += 3
    assert kinds(check(traded)) == {"ETH": BreakKind.DEPOSIT}
    assert not check(traded).opened
    traded.clock.at += timedelta(days=1)
    report = rebalance(
        traded.session, traded.inputs({"BTC/USDT": 0.2, "ETH/USDT": 0.1}, SLOT + timedelta(days=1))
    )
    assert {order.request.symbol for order in report.orders} == {"BTC/USDT"}
    assert "locked_instrument" in {rejection.rule for rejection in report.findings}
    traded.venue.assets["ETH"] -= 3
    assert [each.subject for each in check(traded).closed] == ["ETH"]


def test_withdrawal_is_found(traded: World) -> None:
    """Less at the venue than in the ledger, and no trade explains it."""
    traded.venue.assets["BTC"] /= 2
    assert kinds(check(traded)) == {"BTC": BreakKind.WITHDRAWAL}


def test_withdrawn_cash_is_not_planned_with(traded: World) -> None:
    """A break on the quote locks no instrument, and buys are sized to what the venue has."""
    traded.venue.assets["USDT"] = Decimal(500)
    traded.clock.at += timedelta(days=1)
    report = rebalance(
        traded.session, traded.inputs({**TARGETS, "ADA/USDT": 0.2}, SLOT + timedelta(days=1))
    )
    assert report.status is RebalanceStatus.DONE
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert kinds(check(traded)) == {"USDT": BreakKind.WITHDRAWAL}


def test_manual_trade_locks_its_symbol_and_not_the_cash(traded: World) -> None:
    """Someone sells half of our BTC by hand: the trade explains both differences, so only BTC/USDT
    is locked.
    """
    traded.venue.trade("BTC/USDT", Side.SELL, Decimal("0.04"), Decimal(50_000))
    assert kinds(check(traded)) == {"BTC/USDT": BreakKind.MANUAL_TRADE}


def test_our_own_trade_that_was_never_booked_is_booked_on_the_spot(traded: World) -> None:
    """A late fill of our order is booked and both agree. The same cycle reports that it is more
    than was ordered.
    """
    order = next(o for o in traded.ledger.book.values() if o.request.symbol == "BTC/USDT")
    traded.venue.trade(
        "BTC/USDT", Side.BUY, Decimal("0.001"), Decimal(50_000), order.request.client_order_id
    )
    found = check(traded)
    assert len(found.fills) == 1
    assert kinds(found) == {"BTC/USDT": BreakKind.OVERFILL}
    assert traded.ledger.balances("test") == traded.venue.balances()


def test_foreign_open_order_locks_its_symbol(traded: World) -> None:
    """An order that works at the venue and not in the ledger is shown until it is gone."""
    foreign = OrderReport("by-hand", "77", "ADA/USDT", OrderState.OPEN, Decimal(0))
    traded.venue.placed["by-hand"] = foreign
    assert kinds(check(traded)) == {"ADA/USDT": BreakKind.UNKNOWN_ORDER}
    del traded.venue.placed["by-hand"]
    assert not check(traded).breaks


def test_difference_worth_less_than_dust_is_called_dust(traded: World) -> None:
    """Half a cent of BTC is a break of its own kind; it goes when the half cent goes."""
    traded.venue.assets["BTC"] += Decimal("0.0000001")
    assert kinds(check(traded)) == {"BTC": BreakKind.DUST}
    traded.venue.assets["BTC"] -= Decimal("0.0000001")
    assert not check(traded).breaks


def test_noise_of_a_float_is_no_break(traded: World) -> None:
    """A balance that came through a float may be off in its sixteenth digit."""
    traded.venue.assets["BTC"] *= 1 + Decimal("1e-15")
    assert not check(traded).breaks


def test_opening_balances_are_taken_over_once(world: World) -> None:
    """Before the first rebalance differences are opening balances; a second look finds nothing to
    take over.
    """
    world.venue.assets = {"USDT": Decimal(100), "BTC": Decimal(2), "XYZ": Decimal(7)}
    assert check(world).opening == world.venue.balances()
    assert not check(world).opening
    assert world.ledger.balances("test") == world.venue.balances()


def accept(world: World, subject: str) -> Reconciliation:
    keeper = take_lease(world.ledger, "test", 60, 0, clock=world.clock, ids=world.session.ids)
    assert keeper is not None
    try:
        return accept_break(world.session, keeper, subject, "topped up by the owner")
    finally:
        keeper.release()


def test_accepted_deposit_becomes_a_position_and_unlocks(traded: World) -> None:
    """The ledger takes over what the venue has; the break closes."""
    traded.venue.assets["USDT"] += 1_000
    assert kinds(check(traded)) == {"USDT": BreakKind.DEPOSIT}
    assert not accept(traded, "USDT").breaks
    assert traded.ledger.balances("test") == traded.venue.balances()


def test_accepted_manual_trade_settles_both_of_its_assets(traded: World) -> None:
    """A sale by hand changed base and quote: both are taken over."""
    traded.venue.trade("BTC/USDT", Side.SELL, Decimal("0.04"), Decimal(50_000))
    check(traded)
    assert not accept(traded, "BTC/USDT").breaks
    assert traded.ledger.balances("test") == traded.venue.balances()


def test_break_that_is_not_open_cannot_be_accepted(traded: World) -> None:
    """A typo is answered with the breaks that are open."""
    traded.venue.assets["BTC"] += 1
    check(traded)
    with pytest.raises(StoreError, match=r"BTC \(deposit\)"):
        accept(traded, "ETH")


def test_balances_that_lag_behind_the_trades_open_no_break(traded: World) -> None:
    """A venue whose balances are one look late is asked twice before a break is opened."""
    current, asked = traded.venue.balances, []

    def lagging() -> Any:
        asked.append(1)
        return {**current(), "ETH": Decimal(0)} if len(asked) == 1 else current()

    traded.venue.balances = lagging
    found = check(traded)
    assert len(asked) == 2
    assert not found.breaks
    assert not found.opened


def test_manual_trade_before_the_first_slot_is_part_of_the_opening_balances(world: World) -> None:
    """A trade that the opening balances contain already does not explain a later deposit."""
    world.clock.at = SLOT - timedelta(minutes=2)
    world.venue.trade("ETH/USDT", Side.BUY, Decimal(1), Decimal(2_500))
    world.clock.at = SLOT + timedelta(seconds=2)
    rebalance(world.session, world.inputs(TARGETS))
    world.venue.assets["ETH"] += 1
    assert kinds(check(world)) == {"ETH": BreakKind.DEPOSIT}


def test_break_that_someone_else_opened_is_not_closed_here(traded: World) -> None:
    """An overfill stays until an operator has seen it, though both sides agree on it."""
    keeper = take_lease(traded.ledger, "test", 60, 0, clock=traded.clock, ids=traded.session.ids)
    assert keeper is not None
    traded.control_store.open_break(
        keeper.lease, Break("test", "BTC/USDT", BreakKind.OVERFILL, "filled twice"), SLOT
    )
    keeper.release()
    assert kinds(check(traded)) == {"BTC/USDT": BreakKind.OVERFILL}
    assert not accept(traded, "BTC/USDT").breaks


def test_order_that_nobody_has_asked_about_yet_is_not_called_gone(traded: World) -> None:
    """An order in flight is recovery's affair: that the venue does not show it yet is no break."""
    order = next(iter(traded.ledger.book.values()))
    traded.ledger.book["lost"] = replace(
        order,
        request=replace(order.request, client_order_id="lost"),
        state=OrderState.UNKNOWN,
        filled_quantity=Decimal(0),
    )
    assert not check(traded).breaks
    traded.ledger.book["lost"] = replace(traded.ledger.book["lost"], state=OrderState.OPEN)
    assert kinds(check(traded)) == {order.request.symbol: BreakKind.ORDER_GONE}


def test_symbol_that_is_no_longer_listed_stays_accepted_until_it_is_listed_again(
    traded: World,
) -> None:
    """An operator has accepted that the venue delisted it. No lock comes back until the venue
    changes it once more.
    """
    price = traded.venue.prices.pop("ETH/USDT")
    assert kinds(check(traded)) == {"ETH/USDT": BreakKind.INSTRUMENT_CHANGED}
    assert not accept(traded, "ETH/USDT").breaks
    for _ in range(3):
        assert not check(traded).opened
    traded.venue.prices["ETH/USDT"] = price
    assert kinds(check(traded)) == {"ETH/USDT": BreakKind.INSTRUMENT_CHANGED}
    assert not accept(traded, "ETH/USDT").breaks
    assert not check(traded).breaks
    del traded.venue.prices["ETH/USDT"]
    assert kinds(check(traded)) == {"ETH/USDT": BreakKind.INSTRUMENT_CHANGED}


def test_fills_of_a_symbol_that_is_no_longer_listed_are_not_called_cut_off(traded: World) -> None:
    """Where the venue does not know the symbol, a missing list of trades shows nothing."""
    traded.control_store.compared.clear()
    del traded.venue.prices["ETH/USDT"]
    listed = traded.venue.fills

    def unknown(symbol: str, since: datetime) -> Any:
        if symbol not in traded.venue.prices:
            raise UnknownSymbolError(symbol)
        return listed(symbol, since)

    traded.venue.fills = unknown
    assert kinds(check(traded)) == {"ETH/USDT": BreakKind.INSTRUMENT_CHANGED}


def test_list_of_trades_that_lags_opens_no_break(traded: World) -> None:
    """A fill that was booked a moment ago and is not listed now is asked for twice."""
    traded.control_store.compared.clear()
    listed, asked = traded.venue.fills, []

    def lagging(symbol: str, since: datetime) -> Any:
        asked.append(symbol)
        return [] if len(asked) <= 2 else listed(symbol, since)

    traded.venue.fills = lagging
    assert not check(traded).breaks
    assert sorted(asked) == ["BTC/USDT", "BTC/USDT", "ETH/USDT", "ETH/USDT"]


def test_two_real_fills_that_are_alike_are_not_called_doubled(traded: World) -> None:
    """Same price, quantity and instant under two ids: the order says that both were filled."""
    name, report = next(iter(traded.venue.placed.items()))
    order = traded.ledger.book[name]
    half = order.request.quantity
    traded.ledger.book[name] = replace(order, request=replace(order.request, quantity=half * 2))
    price = traded.venue.prices[report.symbol]
    traded.venue.trade(report.symbol, order.request.side, half, price, name)
    traded.venue.placed[name] = replace(report, filled_quantity=half * 2)
    found = check(traded)
    assert len(found.fills) == 1
    assert not found.breaks


def test_break_about_trades_stays_open_until_they_are_read_again(world: World) -> None:
    """The venue lists a fill of the last hour twice. The slots of that hour leave young fills out,
    but not those of a locked symbol: BTC stays locked as long as the list has both.
    """
    policy = world.session.policy.model_copy(update={"trade_comparison_seconds": 3600})
    world.session = replace(world.session, policy=policy)
    rebalance(world.session, world.inputs(TARGETS))
    twice = replace(world.venue.trades[0], trade_id="t99")
    world.venue.trades.append(twice)
    assert kinds(check(world)) == {twice.symbol: BreakKind.DOUBLED_FILL}
    world.clock.at += timedelta(minutes=6)
    more = world.inputs(dict.fromkeys(TARGETS, 0.5), SLOT + timedelta(minutes=6))
    report = rebalance(world.session, more)
    assert [each.kind for each in report.breaks] == [BreakKind.DOUBLED_FILL]
    assert {order.request.symbol for order in report.orders} == {*TARGETS} - {twice.symbol}
    world.venue.trades.remove(twice)
    assert [each.subject for each in check(world).closed] == [twice.symbol]


def test_manual_trade_stays_the_reason_when_it_was_taken_back(traded: World) -> None:
    """Somebody buys BTC by hand, and sells it again. BTC agrees, the cash does not: the break on
    BTC is not closed unread, and its trades explain the cash.
    """
    bought = traded.venue.trade("BTC/USDT", Side.BUY, Decimal("0.01"), Decimal(50_000))
    assert kinds(check(traded)) == {"BTC/USDT": BreakKind.MANUAL_TRADE}
    traded.venue.trade("BTC/USDT", Side.SELL, bought.quantity - bought.fee, Decimal(50_000))
    assert traded.ledger.balances("test")["BTC"] == traded.venue.assets["BTC"]
    assert kinds(check(traded)) == {"BTC/USDT": BreakKind.MANUAL_TRADE}
