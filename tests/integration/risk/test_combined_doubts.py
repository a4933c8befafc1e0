"""Two things at once that make an account's worth hard to tell, over the wire of the practice
exchange: lent and withdrawn, suspended and long not traded, split and not yet accepted, stopped out
with crumbs left.

The account is that of test_unreadable_values: 99,930 with 20% BTC, 20% ETH and 30% SOL.
"""

from collections.abc import Callable
from decimal import Decimal

import pytest

from penstock.core.breaks import BreakKind
from penstock.core.halts import TradingState
from penstock.core.orders import Side
from penstock.core.proposals import SeenBar
from penstock.portfolio.rebalancing import RebalancePolicy
from tests.integration.practice_account import AT_LAST_PRICE, Account
from tests.integration.risk.test_unreadable_values import (
    EQUITY,
    FLATTENING,
    KEEP,
    LIMITS,
    STOPS,
    WEIGHTS,
    recorded,
    require_untouched,
    state_of,
    traded,
)


@pytest.fixture
def held(opened: Callable[..., Account]) -> Account:
    """The account after its first slot."""
    account = opened(fill_model=AT_LAST_PRICE)
    account.trade(WEIGHTS, LIMITS)
    return account


def test_what_is_lent_counts_and_what_left_does_not(held: Account) -> None:
    """A fifth of the SOL is withdrawn, two fifths and 20,000 of the 30,000 USDT go to Simple Earn:
    the withdrawn coins are no equity and no loss. Only 10,000 can be spent.
    """
    sol = held.session.exchange.balances()["SOL"]
    held.control.withdraw(held.key, "SOL", sol / 5)
    for asset, lent in (("SOL", sol * 2 / 5), ("USDT", Decimal(20_000))):
        held.control.earn(held.key, asset, lent)
    report = held.trade({**KEEP, "UP/USDT": 0.2}, FLATTENING)
    assert {(each.subject, each.kind) for each in report.breaks} == {
        ("SOL", BreakKind.EARN_BALANCE),
        ("SOL", BreakKind.WITHDRAWAL),
        ("USDT", BreakKind.EARN_BALANCE),
    }
    assert report.equity_before == pytest.approx(EQUITY - sol / 5 * 120, abs=1)
    assert (traded(report), state_of(held)) == ({("UP/USDT", Side.BUY)}, TradingState.ACTIVE)
    spent = sum(fill.notional for fill in report.fills)
    assert Decimal(9_900) < spent < Decimal(10_000)
    held.control.earn(held.key, "USDT", -20_000)
    assert held.accept("SOL", "paid out").breaks[0].kind is BreakKind.EARN_BALANCE
    after = held.trade({**KEEP, "UP/USDT": None}, FLATTENING)
    assert (after.orders, state_of(held)) == ((), TradingState.ACTIVE)


def test_suspended_coin_that_was_long_not_traded_keeps_its_value(
    opened: Callable[..., Account],
) -> None:
    """A coin outside of the universe rises from 100 to 133 after it was bought, and is suspended:
    it counts at what the venue's newest candle shows, not at the price of its only trade. Where
    that is all there is, and old, equity is unknown and no limit acts.
    """
    held = opened(fill_model=AT_LAST_PRICE)
    held.trade({"UP/USDT": 0.5}, LIMITS)
    for _ in range(2):
        held.trade({"BTC/USDT": None}, LIMITS)
    held.control.suspend("UP/USDT")

    def trade() -> object:
        seen = {"BTC/USDT": SeenBar(held.slots[-1], 50_000.0)}
        return held.trade({"BTC/USDT": None}, FLATTENING, seen=seen).equity_after

    assert trade() == pytest.approx(Decimal(recorded(held)[-1]), rel=Decimal("0.001"))
    held.control.delist("UP/USDT")
    assert trade() is None
    assert state_of(held) is TradingState.ACTIVE


def test_split_of_a_held_coin_is_no_loss(held: Account) -> None:
    """One SOL becomes a thousand at 0.12. Its series is closed then, so the price is in doubt. Once
    an operator has joined the series, the quantity is, until the break is accepted too.
    """
    held.control.correct(held.key, "SOL", held.session.exchange.balances()["SOL"] * 999)
    held.control.print_price("SOL/USDT", "0.12")
    held.control.show_book("SOL/USDT", "0.1199", "0.1201")
    for close in (120.0, 0.12):
        held.seen = {**held.seen, "SOL/USDT": close}
        report = held.trade({**WEIGHTS, "SOL/USDT": None}, FLATTENING)
        assert (report.orders, report.equity_after) == ((), None)
    assert "was it split or redenominated?" in report.alerts[-1]
    assert held.accept("SOL", "1 became 1000").breaks == ()
    require_untouched(held, held.trade(WEIGHTS, FLATTENING))


def test_what_a_stop_cannot_sell_is_not_stopped_again(opened: Callable[..., Account]) -> None:
    """ETH is stopped out. Its crumbs, and a reserve of SOL, are no position: no slot closes them
    again, and after a day ETH is bought anew.
    """
    held = opened(fill_model=AT_LAST_PRICE)
    policy = RebalancePolicy(keep={"SOL": Decimal(50)})
    held.trade({"ETH/USDT": 0.2034, "SOL/USDT": 0.3}, LIMITS, policy)
    for symbol, price in (("ETH/USDT", 2_200), ("SOL/USDT", 108)):
        held.control.print_price(symbol, price)
        held.control.show_book(symbol, price - 1, price + 1)
    out = held.trade(KEEP, STOPS, policy)
    assert traded(out) == {("ETH/USDT", Side.SELL), ("SOL/USDT", Side.SELL)}
    left = held.session.exchange.balances()
    assert left["SOL"] == 50
    assert 0 < left["ETH"] < Decimal("0.0001")
    held.seen = {**held.seen, "ETH/USDT": 2_200.0, "SOL/USDT": 108.0}
    after = held.trade({"ETH/USDT": 0.2, "SOL/USDT": 0.0}, STOPS, policy)
    assert [found.rule for found in after.findings] == []
    assert traded(after) == {("ETH/USDT", Side.BUY)}
