"""What Supervision remembers for risk rules and accepted breaks, held against every tier."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.adapters.stores.timescale import Database, TimescaleLedger, TimescaleSupervision
from penstock.core.accounts import (
    Break,
    BreakAcceptance,
    BreakKind,
    Lease,
    PlannedOrder,
    PositionMark,
    RiskVerdict,
    Settlement,
    TradingState,
    Verdict,
)
from penstock.core.errors import StoreError
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill, OrderEvent, OrderEventKind, OrderRequest, OrderType, Side

SLOT = datetime(2025, 6, 2, 12, tzinfo=UTC)


def record(supervision: TimescaleSupervision, writer: Lease, hours: float, equity: int) -> None:
    supervision.record_equity(writer, SLOT + timedelta(hours=hours), Decimal(equity), Decimal(0))


def accept(supervision: TimescaleSupervision, writer: Lease, accepted: BreakAcceptance) -> None:
    supervision.open_break(writer, Break(writer.account, accepted.subject, accepted.kind, "found"), accepted.at)
    supervision.settle_breaks(writer, [Settlement(accepted)])


def test_day_and_peak_come_from_the_slots_before(supervision: TimescaleSupervision, writer: Lease, name: str) -> None:
    """The day starts at the last equity at or before its midnight; the slot itself and later ones do not count."""
    for hours, equity in ((-40, 130), (-13, 90), (-12, 100), (-2, 120), (0, 999)):
        record(supervision, writer, hours, equity)
    history = supervision.risk_history(name, SLOT, SLOT)
    assert (history.day_start, history.peak, history.transferred) == (100, 130, 0)
    midnight = SLOT.replace(hour=0)
    assert supervision.risk_history(name, midnight, midnight).day_start == 130


def test_resume_starts_a_new_peak_and_a_halt_does_not(supervision: TimescaleSupervision, writer: Lease, name: str) -> None:
    """An operator who lets an account trade again accepts where it stands."""
    record(supervision, writer, -30, 200)
    record(supervision, writer, -2, 100)
    supervision.set_trading_state(name, TradingState.HALTED, "drill", "ada", SLOT - timedelta(hours=4))
    assert supervision.risk_history(name, SLOT, SLOT).peak == 200
    supervision.set_trading_state(name, TradingState.ACTIVE, "over", "ada", SLOT - timedelta(hours=3))
    assert supervision.risk_history(name, SLOT, SLOT).peak == 100


def test_accepted_money_is_no_gain_and_no_loss(supervision: TimescaleSupervision, writer: Lease, name: str) -> None:
    """Half of the account is withdrawn and accepted: the peak is what it would be without that half."""
    record(supervision, writer, -20, 1000)
    accepted = BreakAcceptance(name, "USDT", BreakKind.WITHDRAWAL, "paid out", "ada", SLOT - timedelta(hours=10), Decimal(-500))
    accept(supervision, writer, accepted)
    record(supervision, writer, -1, 510)
    history = supervision.risk_history(name, SLOT, SLOT)
    assert (history.peak, history.transferred) == (1010, -500)
    assert supervision.acceptances(name) == [accepted]


def test_money_accepted_between_a_close_and_its_late_slot_is_no_drawdown_later(
    supervision: TimescaleSupervision, writer: Lease, name: str
) -> None:
    """The slot of 12:00 runs at 12:20 with what was accepted at 12:10: its equity has the deposit in it, its stamp is older."""
    paid = BreakAcceptance(name, "USDT", BreakKind.DEPOSIT, "topped up", "ada", SLOT + timedelta(minutes=10), Decimal(500))
    accept(supervision, writer, paid)
    record(supervision, writer, 0, 1500)
    later = SLOT + timedelta(hours=20)
    history = supervision.risk_history(name, later, later)
    assert (history.day_start, history.peak, history.transferred) == (1000, 1000, 500)


def test_equity_knows_what_was_accepted_when_it_was_recorded(
    supervision: TimescaleSupervision, writer: Lease, name: str
) -> None:
    """A late slot is recorded under its bar's close, before an acceptance that its equity has: the order of writing decides."""
    record(supervision, writer, -20, 1000)
    paid = BreakAcceptance(name, "USDT", BreakKind.DEPOSIT, "topped up", "ada", SLOT + timedelta(minutes=10), Decimal(500))
    accept(supervision, writer, paid)
    record(supervision, writer, 0, 1500)
    assert supervision.equity_history(name)["transferred"].to_list() == [0, 500]
    accept(supervision, writer, replace(paid, kind=BreakKind.WITHDRAWAL, value=Decimal(-200)))
    record(supervision, writer, 0, 1300)
    assert supervision.equity_history(name)["transferred"].to_list() == [0, 300]
    supervision.record_equity(writer, SLOT + timedelta(hours=1), Decimal(1200), Decimal(0), in_doubt=Decimal(-100))
    assert supervision.equity_history(name)["transferred"].to_list() == [0, 300, 200]


def test_targets_of_the_last_two_slots_are_remembered(supervision: TimescaleSupervision, database: Database, name: str) -> None:
    """The newest first; a slot that is still to come is not among them."""
    ledger = TimescaleLedger(database)
    ledger.open_account(name, "practice", "USDT")
    lease = ledger.acquire_lease(name, "test", 60)
    assert lease is not None
    for hours in (-3, -2, -1, 0):
        rebalance = ledger.start_rebalance(lease, SLOT + timedelta(hours=hours), "trend/1")
        ledger.record_targets(lease, rebalance.id, {"BTC/USDT": hours / 10})
    assert supervision.risk_history(name, SLOT, SLOT).targets == ({"BTC/USDT": -0.1}, {"BTC/USDT": -0.2})


def test_marks_and_instruments_are_replaced_and_words_are_only_added(
    supervision: TimescaleSupervision, database: Database, writer: Lease, name: str
) -> None:
    """What is remembered is the newest; what was said stays."""
    supervision.record_marks(writer, {"BTC": PositionMark(Decimal(5)), "ETH": PositionMark(None, SLOT)})
    supervision.record_marks(writer, {"BTC": PositionMark(Decimal(6))})
    assert supervision.risk_history(name, SLOT, SLOT).marks == {"BTC": PositionMark(Decimal(6))}
    old = Instrument("BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5))
    new = Instrument("BTC/USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.01"), Decimal("0.01"), Decimal(5))
    for each in (old, new, replace(new, listed=False)):
        supervision.record_instruments(writer, [each])
        assert supervision.planned_instruments(name) == {"BTC/USDT": each}
    word = RiskVerdict("BTC/USDT", Verdict.SHRINK, "max_weight", "too much", Decimal(2), Decimal(1))
    supervision.record_verdicts(writer, SLOT, [word], SLOT)
    for table in ("risk_verdict", "break_acceptance"):
        with pytest.raises(StoreError, match="append-only"), database.transaction() as connection:
            connection.execute(f"DELETE FROM {table}".encode())  # noqa: S608 - our own names


def test_halt_keeps_what_it_asks_for(supervision: TimescaleSupervision, name: str) -> None:
    """Cancel and flatten come back with the state, until another state is set."""
    supervision.set_trading_state(name, TradingState.HALTED, "out", "ada", SLOT, cancel=True, flatten=True)
    halt = supervision.trading_state(name)
    assert (halt.cancel, halt.flatten) == (True, True)
    supervision.set_trading_state(name, TradingState.ACTIVE, "over", "ada", SLOT)
    assert not supervision.trading_state(name).flatten


def test_trade_marks_say_what_was_not_compared_yet(
    supervision: TimescaleSupervision, database: Database, writer: Lease, name: str
) -> None:
    """Every symbol with fills is named; once compared it is due again with the next fill only, and a mark never goes back."""
    ledger = TimescaleLedger(database)
    slot = ledger.start_rebalance(writer, SLOT, "trend/1")

    def fill(trade: str, symbol: str, minutes: int) -> None:
        request = OrderRequest(f"{name}-{trade}", symbol, Side.BUY, OrderType.MARKET, Decimal(1))
        order, at = PlannedOrder(request, 0, 0, "trend/1", 0.5, Decimal(1)), SLOT + timedelta(minutes=minutes)
        ledger.write_ahead(writer, slot.id, [order], [OrderEvent(request.client_order_id, OrderEventKind.SUBMIT, at)])
        ledger.book_fill(writer, Fill(trade, request.client_order_id, symbol, Side.BUY, *[Decimal(1)] * 3, "USDT", at))

    assert supervision.trade_marks(name) == []
    fill("1", "BTC/USDT", 1)
    fill("2", "ETH/USDT", 2)
    fill("3", "BTC/USDT", 3)
    first, second = supervision.trade_marks(name)
    shown = [(each.symbol, each.since, each.due_since) for each in (first, second)]
    at = [SLOT + timedelta(minutes=minutes) for minutes in range(6)]
    assert shown == [("BTC/USDT", at[1], at[1]), ("ETH/USDT", at[2], at[2])]
    supervision.record_compared(writer, {first.symbol: first.newest})
    assert [(m.symbol, m.since, m.due_since) for m in supervision.trade_marks(name)] == [
        ("BTC/USDT", at[3], None),
        ("ETH/USDT", at[2], at[2]),
    ]
    fill("4", "BTC/USDT", 5)
    newer = supervision.trade_marks(name)[0]
    assert (newer.since, newer.due_since) == (at[3], at[5])
    supervision.record_compared(writer, {"BTC/USDT": newer.newest})
    supervision.record_compared(writer, {"BTC/USDT": first.newest})
    assert supervision.trade_marks(name)[0].due_since is None
    assert supervision.trade_marks(f"{name}-other") == []
