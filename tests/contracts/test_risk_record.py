"""What ControlStore remembers for risk rules and accepted breaks, held against every tier."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.adapters.stores.postgres import Database
from penstock.core.breaks import Break, BreakAcceptance, BreakKind, Settlement
from penstock.core.errors import StoreError
from penstock.core.halts import TradingState
from penstock.core.instruments import Instrument, InstrumentKind
from penstock.core.leases import Lease
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
from penstock.core.risk_records import PositionMark, RecordedFinding, RiskVerdict
from penstock.ports import ControlStore, Ledger

SLOT = datetime(2025, 6, 2, 12, tzinfo=UTC)


def record(control_store: ControlStore, writer: Lease, hours: float, equity: int) -> None:
    control_store.record_equity(writer, SLOT + timedelta(hours=hours), Decimal(equity), Decimal(0))


def accept(control_store: ControlStore, writer: Lease, accepted: BreakAcceptance) -> None:
    control_store.open_break(
        writer, Break(writer.account, accepted.subject, accepted.kind, "found"), accepted.at
    )
    control_store.settle_breaks(writer, [Settlement(accepted)])


def test_day_and_peak_come_from_the_slots_before(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """The day starts at the last equity at or before its midnight. The slot itself and later ones
    do not count.
    """
    for hours, equity in ((-40, 130), (-13, 90), (-12, 100), (-2, 120), (0, 999)):
        record(control_store, writer, hours, equity)
    history = control_store.risk_history(name, SLOT, SLOT)
    assert (history.day_start, history.peak, history.transferred) == (100, 130, 0)
    midnight = SLOT.replace(hour=0)
    assert control_store.risk_history(name, midnight, midnight).day_start == 130


def test_first_day_of_an_account_begins_with_its_first_equity(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """There is none before its midnight. The next day begins with the last of this one."""
    assert control_store.risk_history(name, SLOT, SLOT).day_start is None
    for hours, equity in ((-4, 100), (-2, 90)):
        record(control_store, writer, hours, equity)
    assert control_store.risk_history(name, SLOT, SLOT).day_start == 100
    first = SLOT - timedelta(hours=4)
    assert control_store.risk_history(name, first, first).day_start is None
    tomorrow = SLOT + timedelta(days=1)
    assert control_store.risk_history(name, tomorrow, tomorrow).day_start == 90


def test_resume_starts_a_new_peak_and_a_halt_does_not(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """An operator who lets an account trade again accepts where it stands."""
    record(control_store, writer, -30, 200)
    record(control_store, writer, -2, 100)
    control_store.set_trading_state(
        name, TradingState.HALTED, "drill", "ada", SLOT - timedelta(hours=4)
    )
    assert control_store.risk_history(name, SLOT, SLOT).peak == 200
    control_store.set_trading_state(
        name, TradingState.ACTIVE, "over", "ada", SLOT - timedelta(hours=3)
    )
    assert control_store.risk_history(name, SLOT, SLOT).peak == 100


def test_accepted_money_is_no_gain_and_no_loss(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """Half of the account is withdrawn and accepted: the peak is what it would be without that
    half.
    """
    record(control_store, writer, -20, 1000)
    accepted = BreakAcceptance(
        name,
        "USDT",
        BreakKind.WITHDRAWAL,
        "paid out",
        "ada",
        SLOT - timedelta(hours=10),
        Decimal(-500),
    )
    accept(control_store, writer, accepted)
    record(control_store, writer, -1, 510)
    history = control_store.risk_history(name, SLOT, SLOT)
    assert (history.peak, history.transferred) == (1010, -500)
    assert control_store.acceptances(name) == [accepted]


def test_money_accepted_between_a_close_and_its_late_slot_is_no_drawdown_later(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """The slot of 12:00 runs at 12:20, after an acceptance at 12:10. Its equity includes the
    deposit although its stamp is older.
    """
    paid = BreakAcceptance(
        name,
        "USDT",
        BreakKind.DEPOSIT,
        "topped up",
        "ada",
        SLOT + timedelta(minutes=10),
        Decimal(500),
    )
    accept(control_store, writer, paid)
    record(control_store, writer, 0, 1500)
    later = SLOT + timedelta(hours=20)
    history = control_store.risk_history(name, later, later)
    assert (history.day_start, history.peak, history.transferred) == (1000, 1000, 500)


def test_equity_knows_what_was_accepted_when_it_was_recorded(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """A late slot is recorded under its bar's close, before an acceptance that its equity includes.
    The order of writing decides.
    """
    record(control_store, writer, -20, 1000)
    paid = BreakAcceptance(
        name,
        "USDT",
        BreakKind.DEPOSIT,
        "topped up",
        "ada",
        SLOT + timedelta(minutes=10),
        Decimal(500),
    )
    accept(control_store, writer, paid)
    record(control_store, writer, 0, 1500)
    assert control_store.equity_history(name)["transferred"].to_list() == [0, 500]
    accept(control_store, writer, replace(paid, kind=BreakKind.WITHDRAWAL, value=Decimal(-200)))
    record(control_store, writer, 0, 1300)
    assert control_store.equity_history(name)["transferred"].to_list() == [0, 300]
    control_store.record_equity(
        writer, SLOT + timedelta(hours=1), Decimal(1200), Decimal(0), in_doubt=Decimal(-100)
    )
    assert control_store.equity_history(name)["transferred"].to_list() == [0, 300, 200]


def test_targets_of_the_last_two_slots_are_remembered(
    control_store: ControlStore, ledger: Ledger, name: str
) -> None:
    """The newest first; a slot that is still to come is not among them."""
    ledger.open_account(name, "practice", "USDT")
    lease = ledger.acquire_lease(name, "test", 60)
    assert lease is not None
    for hours in (-3, -2, -1, 0):
        rebalance = ledger.start_rebalance(lease, SLOT + timedelta(hours=hours), "trend/1")
        ledger.record_targets(lease, rebalance.id, {"BTC/USDT": hours / 10})
    assert control_store.risk_history(name, SLOT, SLOT).targets == (
        {"BTC/USDT": -0.1},
        {"BTC/USDT": -0.2},
    )


def test_marks_and_instruments_are_replaced_and_words_are_only_added(
    control_store: ControlStore, database: Database, writer: Lease, name: str
) -> None:
    """A mark and an instrument hold the newest value. Verdicts are only added, so earlier ones
    stay.
    """
    control_store.record_marks(
        writer, {"BTC/USDT": PositionMark(Decimal(5)), "ETH/USDT": PositionMark(None, SLOT)}
    )
    control_store.record_marks(writer, {"BTC/USDT": PositionMark(Decimal(6))})
    assert control_store.risk_history(name, SLOT, SLOT).marks == {
        "BTC/USDT": PositionMark(Decimal(6))
    }
    old = Instrument(
        "BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5)
    )
    new = Instrument(
        "BTC/USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.01"), Decimal("0.01"), Decimal(5)
    )
    perpetual = replace(new, kind=InstrumentKind.LINEAR_PERPETUAL, contract_size=Decimal("0.1"))
    for each in (old, new, replace(new, listed=False), replace(perpetual, settle="USDC")):
        control_store.record_instruments(writer, [each])
        assert control_store.planned_instruments(name) == {"BTC/USDT": each}
    word = RecordedFinding(
        "BTC/USDT", RiskVerdict.SHRINK, "max_weight", "too much", Decimal(2), Decimal(1)
    )
    control_store.record_verdicts(writer, SLOT, [word], SLOT)
    for table in ("risk_verdict", "break_acceptance"):
        with pytest.raises(StoreError, match="append-only"), database.transaction() as connection:
            connection.execute(f"DELETE FROM {table}".encode())  # noqa: S608 - our own names


def test_halt_keeps_what_it_asks_for(control_store: ControlStore, name: str) -> None:
    """Cancel and flatten come back with the state, until another state is set."""
    control_store.set_trading_state(
        name, TradingState.HALTED, "out", "ada", SLOT, cancel=True, flatten=True
    )
    halt = control_store.trading_state(name)
    assert (halt.cancel, halt.flatten) == (True, True)
    control_store.set_trading_state(name, TradingState.ACTIVE, "over", "ada", SLOT)
    assert not control_store.trading_state(name).flatten


def test_trade_marks_say_what_was_not_compared_yet(
    control_store: ControlStore, ledger: Ledger, writer: Lease, name: str
) -> None:
    """Every symbol with fills is listed. Once compared, it is due again with the next fill only,
    and a mark never moves back.
    """
    slot = ledger.start_rebalance(writer, SLOT, "trend/1")

    def fill(trade: str, symbol: str, minutes: int) -> None:
        request = OrderRequest(f"{name}-{trade}", symbol, Side.BUY, OrderType.MARKET, Decimal(1))
        order, at = (
            OrderIntent(request, Phase.SELLS, 0, 0, "trend/1", 0.5, Decimal(1)),
            SLOT + timedelta(minutes=minutes),
        )
        ledger.write_ahead(
            writer,
            slot.id,
            [order],
            [OrderEvent(request.client_order_id, OrderEventKind.SUBMIT, at)],
        )
        ledger.book_fill(
            writer,
            Fill(
                trade,
                request.client_order_id,
                symbol,
                Side.BUY,
                Decimal(1),
                Decimal(1),
                Decimal(1),
                "USDT",
                at,
            ),
        )

    assert control_store.trade_marks(name) == []
    fill("1", "BTC/USDT", 1)
    fill("2", "ETH/USDT", 2)
    fill("3", "BTC/USDT", 3)
    first, second = control_store.trade_marks(name)
    shown = [(each.symbol, each.since, each.due_since) for each in (first, second)]
    at = [SLOT + timedelta(minutes=minutes) for minutes in range(6)]
    assert shown == [("BTC/USDT", at[1], at[1]), ("ETH/USDT", at[2], at[2])]
    control_store.record_compared(writer, {first.symbol: first.newest})
    assert [(m.symbol, m.since, m.due_since) for m in control_store.trade_marks(name)] == [
        ("BTC/USDT", at[3], None),
        ("ETH/USDT", at[2], at[2]),
    ]
    fill("4", "BTC/USDT", 5)
    newer = control_store.trade_marks(name)[0]
    assert (newer.since, newer.due_since) == (at[3], at[5])
    control_store.record_compared(writer, {"BTC/USDT": newer.newest})
    control_store.record_compared(writer, {"BTC/USDT": first.newest})
    assert control_store.trade_marks(name)[0].due_since is None
    assert control_store.trade_marks(f"{name}-other") == []
