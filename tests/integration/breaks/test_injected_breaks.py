"""Every break, injected for real: found in one cycle, only its instrument locked, gone by itself when it is mended."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.accounts import BreakKind, PlannedOrder
from penstock.core.errors import StoreError
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.execution.placement import place
from penstock.practice.faults import Fault, FaultKind

TRADES = "/api/v3/myTrades"
A_DAY = 86_400.0


def require_locked(account: Any, subject: str, kind: BreakKind) -> None:
    """The next cycle finds exactly this, the one after it writes nothing, and only this instrument is not traded."""
    first = account.check()
    assert {each.subject: each.kind for each in first.breaks} == {subject: kind}, first.breaks
    assert [each.kind for each in first.opened] == [kind]
    before = written(account)
    again = account.check()
    assert not again.opened
    assert not again.closed
    assert written(account) == before
    base = subject.split("/", maxsplit=1)[0]
    assert account.traded_symbols() == {"BTC/USDT", "ETH/USDT", "SOL/USDT"} - {f"{base}/USDT"}


def require_mended(account: Any) -> None:
    """The next cycle closes the break, and the instrument is traded again."""
    assert account.found() == {}
    report = account.trade({"BTC/USDT": 0.05, "ETH/USDT": 0.05, "SOL/USDT": 0.05})
    assert {order.request.symbol for order in report.orders} == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}


def written(account: Any) -> tuple[Any, ...]:
    """Return what a write would change: positions, orders, fills, breaks and their history."""
    supervision, name = account.desk.supervision, account.desk.account
    return (
        account.ledger.positions(name),
        account.ledger.orders(name),
        account.ledger.fills(name),
        supervision.open_breaks(name),
        supervision.break_history(name).rows(),
        supervision.acceptances(name),
    )


def test_deposit(account: Any) -> None:
    """One ETH more than traded, and the venue's history shows where it came from."""
    account.control.deposit(account.key, "ETH", 1)
    require_locked(account, "ETH", BreakKind.DEPOSIT)
    account.control.withdraw(account.key, "ETH", 1)
    require_mended(account)


def test_withdrawal(account: Any) -> None:
    """One ETH less."""
    account.control.withdraw(account.key, "ETH", 1)
    require_locked(account, "ETH", BreakKind.WITHDRAWAL)
    account.control.deposit(account.key, "ETH", 1)
    require_mended(account)


def test_position_mismatch(account: Any) -> None:
    """The venue mends its books: no trade and no transfer shows it."""
    account.control.correct(account.key, "SOL", "-3.5")
    require_locked(account, "SOL", BreakKind.POSITION_MISMATCH)
    account.control.correct(account.key, "SOL", "3.5")
    require_mended(account)


def test_dust(account: Any) -> None:
    """A difference worth less than a cent."""
    account.control.correct(account.key, "BTC", "-0.0000001")
    require_locked(account, "BTC", BreakKind.DUST)
    account.control.correct(account.key, "BTC", "0.0000001")
    require_mended(account)


def test_manual_trade(account: Any) -> None:
    """Someone sells by hand under the same keys; buying it back by hand does not undo the fees, an operator does."""
    account.direct.create_order("BTC/USDT", "market", "sell", 0.1)
    require_locked(account, "BTC/USDT", BreakKind.MANUAL_TRADE)
    assert account.accept("BTC/USDT", "sold for the owner").breaks == ()
    assert account.ledger.positions(account.desk.account) == account.desk.exchange.balances()
    require_mended(account)
    account.control.deposit(account.key, "BTC", "0.25")
    assert account.found() == {"BTC": BreakKind.DEPOSIT}, "the accepted trade is not counted a second time"


def test_unknown_order(account: Any) -> None:
    """An order by hand that rests in the book, until it is cancelled at the venue."""
    order = account.direct.create_order("SOL/USDT", "limit", "buy", 1, 60)
    require_locked(account, "SOL/USDT", BreakKind.UNKNOWN_ORDER)
    with pytest.raises(StoreError, match="cancelled at the venue"):
        account.accept("SOL/USDT")
    account.direct.cancel_order(order["id"], "SOL/USDT")
    require_mended(account)


def resting_order(account: Any, symbol: str = "ETH/USDT", price: str = "1000") -> str:
    """Place a limit order of ours that rests in the book, and leave it working; return its client order id."""
    desk, keeper = account.desk, account.keeper()
    slot = desk.ledger.rebalances(desk.account, limit=1)[0]
    request = OrderRequest("a" * 32, symbol, Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(price))
    planned = PlannedOrder(request, 1, 0, "trend/1", 0.2, Decimal(price))
    place(desk, keeper, slot, [planned])
    keeper.release()
    return request.client_order_id


def test_order_gone_from_the_venue(account: Any) -> None:
    """An order that works in the ledger and that the venue has forgotten; an operator ends it with a reason."""
    name = resting_order(account)
    assert account.found() == {}
    account.control.lose_order(account.key, name)
    assert account.found() == {"ETH/USDT": BreakKind.ORDER_GONE}
    assert account.found() == {"ETH/USDT": BreakKind.ORDER_GONE}
    assert account.accept("ETH/USDT", "the venue lost it").breaks == ()
    ended = next(order for order in account.ledger.orders(account.desk.account) if order.request.client_order_id == name)
    assert ended.state is OrderState.CANCELED
    assert "the venue lost it" in ended.reason


def test_missing_fill(account: Any) -> None:
    """Our order was filled, and the venue does not show the trade yet; when it does it is booked and the lock goes."""
    account.control.arm(Fault(kind=FaultKind.HIDDEN_TRADES, path=TRADES, seconds=A_DAY / 2))
    report = account.trade({"BTC/USDT": 0.3, "ETH/USDT": 0.3, "SOL/USDT": 0.2})
    assert {each.subject: each.kind for each in report.breaks} == {"ETH/USDT": BreakKind.MISSING_FILL}, report
    before = written(account)
    assert account.found() == {"ETH/USDT": BreakKind.MISSING_FILL}
    assert written(account) == before
    account.control.clear_faults()
    mended = account.check()
    assert [each.symbol for each in mended.fills] == ["ETH/USDT"]
    assert [each.kind for each in mended.closed] == [BreakKind.MISSING_FILL]
    assert account.ledger.positions(account.desk.account) == account.desk.exchange.balances()


def test_doubled_fill(account: Any) -> None:
    """The venue lists a trade twice under two ids and both are booked; once it lists one the other is found out."""
    account.control.arm(Fault(kind=FaultKind.DOUBLED_TRADES, path=TRADES, seconds=0))
    report = account.trade({"BTC/USDT": 0.3, "ETH/USDT": 0.3, "SOL/USDT": 0.2})
    assert len(report.fills) >= 2
    account.control.clear_faults()
    assert account.check().locks.keys() == {"ETH/USDT"}
    assert BreakKind.DOUBLED_FILL in {each.kind for each in account.check().breaks}
    settled = account.accept("ETH/USDT", "the venue listed it twice")
    assert settled.breaks == ()
    assert account.ledger.positions(account.desk.account) == account.desk.exchange.balances()
    require_mended(account)


def test_overfill(account: Any) -> None:
    """A fill beyond what was ordered is booked as it is, locks its symbol, and waits for an operator."""
    desk, keeper = account.desk, account.keeper()
    first = next(fill for fill in desk.ledger.fills(desk.account) if fill.symbol == "ETH/USDT")
    desk.ledger.book_fill(keeper.lease, replace(first, trade_id="beyond"))
    keeper.release()
    assert account.found()["ETH/USDT"] in (BreakKind.OVERFILL, BreakKind.DOUBLED_FILL)
    kinds = {each.kind for each in account.check().breaks}
    assert kinds == {BreakKind.OVERFILL, BreakKind.DOUBLED_FILL}
    assert account.accept("ETH/USDT", "booked by mistake").breaks == ()
    assert account.found() == {}


def test_truncated_trade_history(account: Any) -> None:
    """Someone traded, and the venue's history no longer reaches back to it, nor to trades that we know."""
    account.direct.create_order("BTC/USDT", "market", "sell", 0.1)
    account.control.step(seconds=600)
    account.control.arm(Fault(kind=FaultKind.TRUNCATED_TRADES, path=TRADES, seconds=60))
    assert account.found() == {"BTC/USDT": BreakKind.TRUNCATED_TRADES}
    before = written(account)
    assert account.found() == {"BTC/USDT": BreakKind.TRUNCATED_TRADES}
    assert written(account) == before
    account.control.clear_faults()
    assert account.found() == {"BTC/USDT": BreakKind.MANUAL_TRADE}, "the whole history says what it was"
    assert account.accept("BTC/USDT").breaks == ()
    require_mended(account)


def test_fee_in_the_base_asset(account: Any) -> None:
    """The venue was silent about a fee when the trade was booked, and had taken it from what was bought."""
    account.control.arm(Fault(kind=FaultKind.FEELESS_TRADES, path=TRADES, seconds=0))
    report = account.trade({"BTC/USDT": 0.3, "ETH/USDT": 0.3, "SOL/USDT": 0.2})
    account.control.clear_faults()
    assert {each.subject for each in report.breaks} == {"ETH"}, "while the venue is silent it is a plain difference"
    assert account.found() == {"ETH/USDT": BreakKind.BASE_ASSET_FEE}
    before = written(account)
    assert account.found() == {"ETH/USDT": BreakKind.BASE_ASSET_FEE}
    assert written(account) == before
    assert account.traded_symbols() == {"BTC/USDT", "SOL/USDT"}
    assert account.accept("ETH/USDT", "the fee was taken in ETH").breaks == ()
    assert account.ledger.positions(account.desk.account) == account.desk.exchange.balances()
    require_mended(account)


@pytest.mark.parametrize(("step", "other", "was"), [("lot_step", "0.01", "0.0001"), ("price_tick", "0.5", None)])
def test_step_changed_by_the_venue(account: Any, step: str, other: str, was: str | None) -> None:
    """Orders were planned with other steps: locked until the venue has the old one again, or an operator accepts the new."""
    present = getattr(account.desk.exchange.instruments()["ETH/USDT"], step)
    account.control.change_instrument("ETH/USDT", **{step: other})
    require_locked(account, "ETH/USDT", BreakKind.INSTRUMENT_CHANGED)
    account.control.change_instrument("ETH/USDT", **{step: present})
    assert account.found() == {}
    account.control.change_instrument("ETH/USDT", **{step: other})
    assert account.found() == {"ETH/USDT": BreakKind.INSTRUMENT_CHANGED}
    assert account.accept("ETH/USDT", "announced by the venue").breaks == ()
    require_mended(account)


def test_accepted_break_is_an_event_with_its_reason(account: Any) -> None:
    """Who accepted what, when and why can be read afterwards; the ledger then agrees with the venue."""
    account.control.deposit(account.key, "USDT", 1_000)
    assert account.found() == {"USDT": BreakKind.DEPOSIT}
    assert account.traded_symbols() == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}, "cash in doubt locks no instrument"
    assert account.accept("USDT", "topped up by the owner").breaks == ()
    accepted = account.desk.supervision.acceptances(account.desk.account)
    assert [(each.subject, each.kind, each.reason, each.by) for each in accepted] == [
        ("USDT", BreakKind.DEPOSIT, "topped up by the owner", "ada")
    ]
    assert accepted[0].value == 1_000
    history = account.desk.supervision.break_history(account.desk.account)
    assert "topped up by the owner" in history["closed_reason"][0]
    with pytest.raises(StoreError, match="open are: none"):
        account.accept("USDT")


def test_accepting_a_transfer_leaves_a_manual_trade_as_it_is(account: Any) -> None:
    """Two breaks touch the cash: accepting one settles its own part only."""
    account.direct.create_order("BTC/USDT", "market", "sell", 0.1)
    account.control.deposit(account.key, "USDT", 777)
    assert account.found() == {"BTC/USDT": BreakKind.MANUAL_TRADE, "USDT": BreakKind.DEPOSIT}
    assert [each.subject for each in account.accept("USDT").breaks] == ["BTC/USDT"]
    assert account.accept("BTC/USDT").breaks == ()
    assert account.ledger.positions(account.desk.account) == account.desk.exchange.balances()


def clean_cycles(account: Any, cycles: int) -> int:
    """Reconcile a clean account so often; return how many cycles found or wrote anything."""
    before, keeper, false = written(account), account.keeper(), 0
    from penstock.execution.reconciliation import reconcile

    for _ in range(cycles):
        found = reconcile(account.desk, keeper)
        false += bool(found.breaks or found.opened or found.closed or found.fills)
    keeper.release()
    assert written(account) == before
    return false


def test_clean_cycles_lock_nothing_and_write_nothing(account: Any) -> None:
    """Some hundred cycles of a clean account leave no trace."""
    assert clean_cycles(account, 300) == 0


@pytest.mark.soak
def test_ten_thousand_clean_cycles_lock_nothing(account: Any) -> None:
    """The long form of the same."""
    cycles = 10_000
    false = clean_cycles(account, cycles)
    print(f"breaks: {cycles} clean cycles, {false} false locks")
    assert false == 0
