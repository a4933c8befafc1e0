"""Every break, injected for real: found in one cycle, only its instrument locked, a second look
writes nothing, unlocked.

One check for all kinds, against the practice exchange and PostgreSQL; at the end one line of
figures is printed.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.breaks import BreakKind
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderType,
    Phase,
    Side,
)
from penstock.interfaces.cli.remedies import break_remedy
from penstock.practice.faults import Fault, FaultKind
from tests.integration.practice_account import Account

TRADES = "/api/v3/myTrades"
MANY_DAYS = 100 * 86_400.0
SYMBOLS = frozenset({"BTC/USDT", "ETH/USDT", "SOL/USDT"})

Mend = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """One break: how it comes about, its expected kind and lock, and how it is repaired.

    `inject` disturbs one side and returns what repairs it. A break with `by_hand` is repaired by an
    operator's acceptance.
    """

    name: str
    kind: BreakKind
    subject: str
    inject: Callable[[Any], Mend]
    by_hand: bool = False


@dataclass
class Tally:
    """What is counted over all cases."""

    kinds: set[BreakKind] = field(default_factory=set)
    count: Counter[str] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    tally = Tally()
    yield tally
    count = tally.count
    print(
        f"\nbreaks: {count['injected']} injected of {len(tally.kinds)} kinds, "
        f"{count['found']} found in one cycle, {count['false']} false locks, "
        f"{count['silent']} second looks wrote nothing, {count['unlocked']} unlocked "
        f"({count['alone']} by themselves, {count['accepted']} by acceptance)"
    )


def nothing() -> None:
    """There is nothing to undo: an operator accepts the break."""


def deposited(account: Account) -> Mend:
    account.control.deposit(account.key, "ETH", 1)
    return lambda: account.control.withdraw(account.key, "ETH", 1)


def withdrawn(account: Account) -> Mend:
    account.control.withdraw(account.key, "ETH", 1)
    return lambda: account.control.deposit(account.key, "ETH", 1)


def lent(account: Account) -> Mend:
    """The venue moves the coins to its earn programme, as an automatic subscription does."""
    account.control.earn(account.key, "ETH", 1)
    return lambda: account.control.earn(account.key, "ETH", -1)


def corrected(asset: str, quantity: str) -> Callable[[Any], Mend]:
    """The venue corrects its balance. No trade and no transfer shows it."""

    def inject(account: Account) -> Mend:
        account.control.correct(account.key, asset, quantity)
        return lambda: account.control.correct(account.key, asset, -Decimal(quantity))

    return inject


def traded_by_hand(account: Account) -> Mend:
    """Someone sells under the same keys; buying it back would not undo the fees."""
    account.direct.create_order("BTC/USDT", "market", "sell", 0.1)
    return nothing


def traded_there_and_back_by_hand(account: Account) -> Mend:
    """Someone sells and buys the same: the position agrees, and we traded the symbol just now."""
    account.own_order("0.5")
    account.direct.create_order("ETH/USDT", "market", "sell", 1.0)
    account.direct.create_order("ETH/USDT", "market", "buy", 1.001001)
    return nothing


def ordered_by_hand(account: Account) -> Mend:
    order = account.direct.create_order("SOL/USDT", "limit", "buy", 1, 60)
    return lambda: account.direct.cancel_order(order["id"], "SOL/USDT")


def forgotten_by_the_venue(account: Account) -> Mend:
    """An order of ours rests in the book, and the venue loses it."""
    name = account.own_order("1", "1000", followed=False)
    assert account.found() == {}
    account.control.lose_order(account.key, name)
    return nothing


def trades_hidden(account: Account) -> Mend:
    """Our order was filled, and the venue does not show the trade yet."""
    spoil(account, FaultKind.HIDDEN_TRADES, MANY_DAYS)
    account.own_order("1", followed=False)
    return account.control.clear_faults


def trades_cut_off(account: Account) -> Mend:
    """The venue's history no longer reaches back to a fill that was booked a moment ago; the
    balances agree.
    """
    account.own_order("1")
    account.control.step(seconds=600)
    spoil(account, FaultKind.TRUNCATED_TRADES, 60)
    return account.control.clear_faults


def trade_listed_twice_and_booked_twice(account: Account) -> Mend:
    spoil(account, FaultKind.DOUBLED_TRADES)
    account.own_order("1")
    return account.control.clear_faults


def trade_listed_twice_and_booked_once(account: Account) -> Mend:
    account.own_order("1")
    spoil(account, FaultKind.DOUBLED_TRADES)
    return account.control.clear_faults


def fill_doubled_and_another_missing(account: Account) -> Mend:
    """One trade stands twice in the ledger and another of the same size is not booked: balances
    agree.
    """
    first, second = account.own_order("1"), account.own_order("1", followed=False)
    booked = next(fill for fill in account.shown_trades() if fill.client_order_id == first)
    book(account, replace(booked, trade_id="again"))
    assert account.ledger.balances(account.session.account) == account.session.exchange.balances()
    assert any(fill.client_order_id == second for fill in account.shown_trades())
    return nothing


def fee_not_named_at_first(account: Account) -> Mend:
    """The venue was silent about a fee when the trade was booked, and had taken it from what was
    bought.
    """
    spoil(account, FaultKind.FEELESS_TRADES)
    account.own_order("1")
    account.control.clear_faults()
    return nothing


def fees_exchanged(account: Account) -> Mend:
    """Two fills are booked each with the fee of the other: balances agree."""
    names = [account.own_order("1", followed=False), account.own_order("2", followed=False)]
    one, two = [fill for fill in account.shown_trades() if fill.client_order_id in names]
    book(account, replace(one, fee=two.fee), replace(two, fee=one.fee))
    assert account.ledger.balances(account.session.account) == account.session.exchange.balances()
    return nothing


def booked_at_another_price(account: Account) -> Mend:
    name = account.own_order("1", followed=False)
    (fill,) = [fill for fill in account.shown_trades() if fill.client_order_id == name]
    book(account, replace(fill, price=fill.price + 7))
    return nothing


def filled_beyond_the_order(account: Account) -> Mend:
    """The venue fills twice what the ledger ordered: both sides agree that it happened."""
    name, keeper = secrets.token_hex(16), account.keeper()
    request = OrderRequest(name, "ETH/USDT", Side.BUY, OrderType.MARKET, Decimal("0.5"))
    planned = OrderIntent(request, Phase.BUYS, 0, 0, "trend/1", 0.2, Decimal(2_500))
    slot, at = (
        account.ledger.rebalances(account.session.account, limit=1)[0],
        account.session.clock.now(),
    )
    submit = OrderEvent(name, OrderEventKind.SUBMIT, at)
    account.ledger.write_ahead(keeper.lease, slot.id, [planned], [submit], at)
    keeper.release()
    account.direct.create_order("ETH/USDT", "market", "buy", 1.0, None, {"newClientOrderId": name})
    return nothing


def changed_step(step: str, other: str) -> Callable[[Any], Mend]:
    def inject(account: Account) -> Mend:
        present = getattr(account.session.exchange.instruments()["ETH/USDT"], step)
        account.control.change_instrument("ETH/USDT", **{step: other})
        return lambda: account.control.change_instrument("ETH/USDT", **{step: present})

    return inject


def spoil(account: Account, kind: FaultKind, seconds: float = 0) -> None:
    account.control.arm(Fault(kind=kind, path=TRADES, seconds=seconds, symbol="ETHUSDT"))


def book(account: Account, *fills: Fill) -> None:
    keeper = account.keeper()
    account.ledger.book_fills(keeper.lease, fills)
    keeper.release()


CASES = (
    Case("deposit", BreakKind.DEPOSIT, "ETH", deposited),
    Case("withdrawal", BreakKind.WITHDRAWAL, "ETH", withdrawn),
    Case("lent", BreakKind.EARN_BALANCE, "ETH", lent),
    Case("balance mismatch", BreakKind.BALANCE_MISMATCH, "SOL", corrected("SOL", "-3.5")),
    Case("dust", BreakKind.DUST, "BTC", corrected("BTC", "-0.0000001")),
    Case("manual trade", BreakKind.MANUAL_TRADE, "BTC/USDT", traded_by_hand, by_hand=True),
    Case(
        "manual round trip",
        BreakKind.MANUAL_TRADE,
        "ETH/USDT",
        traded_there_and_back_by_hand,
        by_hand=True,
    ),
    Case("unknown order", BreakKind.UNKNOWN_ORDER, "SOL/USDT", ordered_by_hand),
    Case("order gone", BreakKind.ORDER_GONE, "ETH/USDT", forgotten_by_the_venue, by_hand=True),
    Case("missing fill", BreakKind.MISSING_FILL, "ETH/USDT", trades_hidden),
    Case("truncated trades", BreakKind.TRUNCATED_TRADES, "ETH/USDT", trades_cut_off),
    Case(
        "doubled in both",
        BreakKind.DOUBLED_FILL,
        "ETH/USDT",
        trade_listed_twice_and_booked_twice,
        by_hand=True,
    ),
    Case(
        "doubled at the venue",
        BreakKind.DOUBLED_FILL,
        "ETH/USDT",
        trade_listed_twice_and_booked_once,
    ),
    Case(
        "doubled and missing",
        BreakKind.DOUBLED_FILL,
        "ETH/USDT",
        fill_doubled_and_another_missing,
        by_hand=True,
    ),
    Case(
        "fee in the base asset",
        BreakKind.BASE_ASSET_FEE,
        "ETH/USDT",
        fee_not_named_at_first,
        by_hand=True,
    ),
    Case("fees exchanged", BreakKind.BASE_ASSET_FEE, "ETH/USDT", fees_exchanged, by_hand=True),
    Case("other price", BreakKind.FILL_DIFFERS, "ETH/USDT", booked_at_another_price, by_hand=True),
    Case("overfill", BreakKind.OVERFILL, "ETH/USDT", filled_beyond_the_order, by_hand=True),
    Case(
        "lot step changed",
        BreakKind.INSTRUMENT_CHANGED,
        "ETH/USDT",
        changed_step("lot_step", "0.01"),
    ),
    Case(
        "price tick changed",
        BreakKind.INSTRUMENT_CHANGED,
        "ETH/USDT",
        changed_step("price_tick", "0.5"),
    ),
)


def test_every_kind_of_break_is_injected() -> None:
    """A kind that is added has to be added here."""
    assert {case.kind for case in CASES} == set(BreakKind)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_break_is_found_locks_its_instrument_only_and_unlocks(
    account: Account, case: Case, tally: Tally, contents: Callable[[], Any]
) -> None:
    """One cycle finds the break by its name and writes it once. The other instruments are traded.
    The lock goes once the cause is repaired.
    """
    tally.kinds.add(case.kind)
    tally.count["injected"] += 1
    mend = case.inject(account)
    first = account.check()
    tally.count["false"] += sum(each.subject != case.subject for each in first.breaks)
    assert {(each.subject, each.kind) for each in first.breaks} == {(case.subject, case.kind)}, (
        first.breaks
    )
    assert [each.kind for each in first.opened] == [case.kind]
    tally.count["found"] += 1
    require_silence(account, contents)
    tally.count["silent"] += 1
    base = case.subject.split("/", maxsplit=1)[0]
    assert account.traded_symbols() == SYMBOLS - {f"{base}/USDT"}
    standing = account.session.control_store.open_breaks(account.session.account)
    assert {(each.subject, each.kind) for each in standing} == {(case.subject, case.kind)}, standing
    mend()
    require_unlocked(account, case)
    tally.count["unlocked"] += 1
    tally.count["accepted" if case.by_hand else "alone"] += 1


def require_silence(account: Account, contents: Callable[[], Any]) -> None:
    """A second look at the same state changes no row of any table."""
    before = contents()
    again = account.check()
    assert (again.opened, again.closed, again.fills) == ((), (), ())
    assert contents() == before


def require_unlocked(account: Account, case: Case) -> None:
    """The lock goes, by itself or by an operator's acceptance. The books agree and every instrument
    is traded again.
    """
    if case.by_hand:
        assert account.found() == {case.subject: case.kind}, (
            "nothing that happened since can have settled it"
        )
        assert account.accept(case.subject).breaks == ()
    else:
        assert [(each.subject, each.kind) for each in account.check().closed] == [
            (case.subject, case.kind)
        ]
    assert account.found() == {}
    assert account.ledger.balances(account.session.account) == account.session.exchange.balances()
    report = account.trade(dict.fromkeys(SYMBOLS, 0.05))
    assert {order.request.symbol for order in report.orders} == SYMBOLS
    assert account.found() == {}


@pytest.mark.parametrize("kind", BreakKind)
def test_every_kind_has_a_remedy(kind: BreakKind) -> None:
    """What stands beside a break names the command that settles it, or the one thing that does."""
    text = break_remedy(kind, "ETH/USDT", "minute")
    ways = ("penstock accept-break ETH/USDT", "cancel the order at the venue", "redeem or unstake")
    assert any(way in text for way in ways)
