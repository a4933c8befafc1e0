"""What follows a break: the operator's acceptance, what it settles and what it leaves, and what a
comparison costs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest

from penstock.adapters.stores.postgres import Database
from penstock.core.breaks import BreakKind
from penstock.core.errors import StoreError
from penstock.core.orders import OrderState
from penstock.practice.faults import Fault, FaultKind
from tests.integration.practice_account import Account

TRADES = "/api/v3/myTrades"
SYMBOLS = frozenset({"BTC/USDT", "ETH/USDT", "SOL/USDT"})


def test_unknown_order_cannot_be_accepted(account: Account) -> None:
    """No entry of the ledger could own an order that works at the venue."""
    account.direct.create_order("SOL/USDT", "limit", "buy", 1, 60)
    assert account.found() == {"SOL/USDT": BreakKind.UNKNOWN_ORDER}
    with pytest.raises(StoreError, match="cancelled at the venue"):
        account.accept("SOL/USDT")


def test_accepted_trades_are_not_counted_a_second_time(account: Account) -> None:
    """What comes after an accepted manual trade is a break of its own."""
    account.direct.create_order("BTC/USDT", "market", "sell", 0.1)
    account.check()
    assert account.accept("BTC/USDT", "sold for the owner").breaks == ()
    account.control.step(seconds=1)
    account.control.deposit(account.key, "BTC", "0.25")
    assert account.found() == {"BTC": BreakKind.DEPOSIT}


def test_order_that_is_gone_is_ended_with_the_operators_reason(account: Account) -> None:
    """The order is cancelled in the ledger, and the reason can be read there."""
    name = account.own_order("1", "1000", followed=False)
    account.control.lose_order(account.key, name)
    account.check()
    account.accept("ETH/USDT", "the venue lost it")
    ended = next(
        order
        for order in account.ledger.orders(account.session.account)
        if order.request.client_order_id == name
    )
    assert ended.state is OrderState.CANCELED
    assert "the venue lost it" in ended.reason


def test_history_that_is_whole_again_says_what_was_hidden(account: Account) -> None:
    """A trade by hand is TRUNCATED_TRADES while the venue's history is short, then MANUAL_TRADE."""
    account.direct.create_order("BTC/USDT", "market", "sell", 0.1)
    account.control.step(seconds=600)
    account.control.arm(Fault(kind=FaultKind.TRUNCATED_TRADES, path=TRADES, seconds=60))
    assert account.found() == {"BTC/USDT": BreakKind.TRUNCATED_TRADES}
    account.control.clear_faults()
    assert account.found() == {"BTC/USDT": BreakKind.MANUAL_TRADE}


def test_trades_that_an_accepted_short_history_hid_are_settled(account: Account) -> None:
    """The operator took over the balance; that the trade behind it shows up later changes nothing
    any more.
    """
    account.direct.create_order("BTC/USDT", "market", "sell", 0.1)
    account.control.step(seconds=600)
    account.control.arm(Fault(kind=FaultKind.TRUNCATED_TRADES, path=TRADES, seconds=60))
    account.check()
    assert account.accept("BTC/USDT", "the balance is right").breaks == ()
    account.control.clear_faults()
    assert account.found() == {}
    account.trade(dict.fromkeys(SYMBOLS, 0.05))
    assert account.found() == {}


def test_new_steps_that_were_accepted_are_planned_with(account: Account) -> None:
    """An announced change is taken over and the symbol is traded with it."""
    account.control.change_instrument("ETH/USDT", lot_step="0.01")
    account.check()
    assert account.accept("ETH/USDT", "announced by the venue").breaks == ()
    report = account.trade(dict.fromkeys(SYMBOLS, 0.05))
    (order,) = [order for order in report.orders if order.request.symbol == "ETH/USDT"]
    assert order.request.quantity % Decimal("0.01") == 0


def test_accepted_break_is_an_event_with_its_reason(account: Account) -> None:
    """Who accepted what, when and why can be read afterwards; the ledger then agrees with the
    venue.
    """
    account.control.deposit(account.key, "USDT", 1_000)
    assert account.found() == {"USDT": BreakKind.DEPOSIT}
    assert account.traded_symbols() == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}, (
        "cash in doubt locks no instrument"
    )
    assert account.accept("USDT", "topped up by the owner").breaks == ()
    accepted = account.session.control_store.acceptances(account.session.account)
    assert [(each.subject, each.kind, each.reason, each.by) for each in accepted] == [
        ("USDT", BreakKind.DEPOSIT, "topped up by the owner", "ada")
    ]
    assert accepted[0].value == 1_000
    history = account.session.control_store.break_history(account.session.account)
    assert "topped up by the owner" in history[0].closed_reason
    with pytest.raises(StoreError, match="open there are: none"):
        account.accept("USDT")


def test_accepting_a_transfer_leaves_a_manual_trade_as_it_is(account: Account) -> None:
    """Two breaks touch the cash: accepting one settles its own part only."""
    account.direct.create_order("BTC/USDT", "market", "sell", 0.1)
    account.control.deposit(account.key, "USDT", 777)
    assert account.found() == {"BTC/USDT": BreakKind.MANUAL_TRADE, "USDT": BreakKind.DEPOSIT}
    assert [each.subject for each in account.accept("USDT").breaks] == ["BTC/USDT"]
    assert account.accept("BTC/USDT").breaks == ()
    assert account.ledger.balances(account.session.account) == account.session.exchange.balances()


@contextmanager
def dying_at(database: Database, table: str) -> Iterator[None]:
    """Kill the database session that has just written a row to the table."""
    with database.transaction() as connection:
        connection.execute(
            f"""CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
                CREATE TRIGGER die AFTER INSERT ON {table}
                    FOR EACH ROW EXECUTE FUNCTION die()""".encode()
        )
    try:
        yield
    finally:
        with database.transaction() as connection:
            connection.execute(f"DROP TRIGGER die ON {table}; DROP FUNCTION die()".encode())


@pytest.mark.parametrize("table", ["adjustment", "break_acceptance"])
def test_accept_that_was_killed_half_way_books_the_difference_once(
    account: Account, database: Database, table: str
) -> None:
    """Its session dies between the parts of the settlement. Nothing of it is left, and a second
    acceptance settles all of it.
    """
    name, order = account.session.account, account.own_order("1", followed=False)
    (fill,) = [fill for fill in account.shown_trades() if fill.client_order_id == order]
    with account.writer() as lease:
        account.ledger.book_fills(lease, [replace(fill, price=fill.price + 7)])
    assert account.found() == {"ETH/USDT": BreakKind.FILL_DIFFERS}
    before = account.ledger.balances(name)
    with dying_at(database, table), pytest.raises(StoreError, match="cannot be used"):
        account.accept("ETH/USDT")
    assert account.ledger.balances(name) == before
    assert account.session.control_store.acceptances(name) == []
    assert account.found() == {"ETH/USDT": BreakKind.FILL_DIFFERS}
    assert account.accept("ETH/USDT").breaks == ()
    assert account.ledger.balances(name) == account.session.exchange.balances()
    assert len(account.session.control_store.acceptances(name)) == 1


def test_account_at_rest_asks_for_no_trades(account: Account) -> None:
    """Every fill is compared once: a cycle with nothing new costs no call for trades."""
    asked = account.control.stats()["requests"].get(f"GET {TRADES}", 0)
    for _ in range(3):
        account.check()
    assert account.control.stats()["requests"][f"GET {TRADES}"] == asked
    account.own_order("1")
    asked = account.control.stats()["requests"][f"GET {TRADES}"]
    for _ in range(3):
        account.check()
    assert account.control.stats()["requests"][f"GET {TRADES}"] == asked + 1, (
        "one call for the one symbol traded"
    )
