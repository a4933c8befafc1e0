"""What every ControlStore promises, and the record of promotion verdicts beside it, held against
every tier.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from penstock.adapters.stores.postgres import Database, PostgresPromotionStore
from penstock.core.bars import TS
from penstock.core.breaks import Break, BreakKind, PastBreak
from penstock.core.errors import StaleLeaseError, StoreError
from penstock.core.halts import TradingState
from penstock.core.leases import Lease
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.rebalances import RebalanceStatus, SlotEquity
from penstock.execution.kill_switch import KillSwitch
from penstock.ports import ControlStore, Ledger
from penstock.promotion.criteria import CriterionResult
from penstock.promotion.gate import CandidateStatus, GateDecision
from penstock.promotion.records import Judgement
from penstock.testing.memory_promotions import MemoryPromotionStore

AT = datetime(2025, 6, 1, tzinfo=UTC)
#: Other suites share the database, and a state of every account is a resume to them. So it is set
#: for an instant before theirs.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def control_store(control_store: ControlStore) -> Iterator[ControlStore]:
    """A control store that leaves no halt of every account behind."""
    yield control_store
    control_store.set_trading_state("*", TradingState.ACTIVE, "end of test", "test", LONG_AGO)


def test_break_is_open_once_until_closed(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """The same difference opens one break; closed, it can open again; closing what is not open says
    so.
    """
    found = Break(
        name, "BTC", BreakKind.BALANCE_MISMATCH, "0.1 missing", Decimal("1.1"), Decimal(1)
    )
    assert control_store.open_break(writer, found, AT)
    assert not control_store.open_break(writer, found, AT + timedelta(hours=1))
    assert control_store.open_breaks(name) == [found]
    assert control_store.close_break(writer, "BTC", BreakKind.BALANCE_MISMATCH, AT, "agrees again")
    assert not control_store.close_break(
        writer, "BTC", BreakKind.BALANCE_MISMATCH, AT, "agrees again"
    )
    assert control_store.open_breaks(name) == []
    assert control_store.open_break(writer, found, AT)


def test_breaks_lock_only_what_they_name(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """Kinds, subjects and accounts are kept apart."""
    first = Break(name, "BTC", BreakKind.DUST, "dust")
    second = Break(name, "BTC/USDT", BreakKind.DUST, "dust")
    third = Break(
        name, "BTC", BreakKind.DEPOSIT, "1 BTC came", None, Decimal(1), {"BTC": Decimal("1.10")}
    )
    assert [control_store.open_break(writer, found, AT) for found in (first, second, third)] == [
        True
    ] * 3
    control_store.close_break(writer, "BTC", BreakKind.DUST, AT, "swept")
    assert control_store.open_breaks(name) == [second, third]
    assert control_store.open_breaks(f"{name}-other") == []


def test_past_breaks_are_kept_with_when_and_why_they_closed(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """A break that opens again is a second one; the newest comes first, and no more than asked."""
    found = Break(name, "BTC", BreakKind.DUST, "dust")
    control_store.open_break(writer, found, AT)
    control_store.close_break(writer, "BTC", BreakKind.DUST, AT + timedelta(hours=1), "swept")
    control_store.open_break(writer, found, AT + timedelta(hours=2))
    closed = PastBreak(AT, AT + timedelta(hours=1), "BTC", BreakKind.DUST, "dust", "swept")
    again = PastBreak(AT + timedelta(hours=2), None, "BTC", BreakKind.DUST, "dust", "")
    assert list(control_store.break_history(name)) == [again, closed]
    assert list(control_store.break_history(name, limit=1)) == [again]
    assert not control_store.break_history(f"{name}-other")


def test_account_that_was_never_stopped_is_active(control_store: ControlStore, name: str) -> None:
    """No row means no halt."""
    assert control_store.trading_state(name).state is TradingState.ACTIVE


def test_newest_state_of_an_account_is_in_force(control_store: ControlStore, name: str) -> None:
    """What was set last counts, whatever instant it was set for, and says who and why."""
    control_store.set_trading_state(name, TradingState.HALTED, "drawdown", "risk", AT)
    control_store.set_trading_state(
        name, TradingState.REDUCE_ONLY, "calmer", "operator", AT - timedelta(days=1)
    )
    halt = control_store.trading_state(name)
    assert (halt.state, halt.reason, halt.by, halt.at) == (
        TradingState.REDUCE_ONLY,
        "calmer",
        "operator",
        AT - timedelta(days=1),
    )


@pytest.mark.parametrize("own", list(TradingState))
@pytest.mark.parametrize("common", list(TradingState))
def test_strictest_of_own_and_common_state_is_in_force(
    control_store: ControlStore, name: str, own: TradingState, common: TradingState
) -> None:
    """An account's own state does not undo a halt of every account, and the reverse holds too."""
    order = [TradingState.ACTIVE, TradingState.REDUCE_ONLY, TradingState.HALTED]
    control_store.set_trading_state(name, own, "own", "test", AT)
    control_store.set_trading_state("*", common, "common", "test", LONG_AGO)
    assert control_store.trading_state(name).state is max(own, common, key=order.index)


def test_trading_state_history_cannot_be_changed(
    control_store: ControlStore, database: Database, name: str
) -> None:
    """Who halted what, and when, stays on record."""
    control_store.set_trading_state(name, TradingState.HALTED, "drawdown", "risk", AT)
    with pytest.raises(StoreError, match="append-only"), database.transaction() as connection:
        connection.execute("DELETE FROM trading_state WHERE account = %s", [name])


def test_equity_is_one_row_an_instant_in_order(
    control_store: ControlStore, writer: Lease, name: str
) -> None:
    """Recording an instant again replaces it; the history is oldest first, as floats."""
    later = AT + timedelta(hours=1)
    for at, equity in ((later, "101.5"), (AT, "100"), (later, "102.25")):
        control_store.record_equity(writer, at, Decimal(equity), Decimal(5))
    rows = {
        "at": [AT, later],
        "equity": [100.0, 102.25],
        "cash": [5.0, 5.0],
        "transferred": [0.0, 0.0],
    }
    expected = pl.DataFrame(rows, schema_overrides={"at": TS})
    assert control_store.equity_history(name).equals(expected)
    assert control_store.equity_history(f"{name}-other").schema == expected.schema


def test_equity_of_a_slot_is_recorded_with_its_end(
    ledger: Ledger, control_store: ControlStore, writer: Lease, name: str
) -> None:
    """One write ends the slot and records its equity. A stale lease does neither."""
    slot = ledger.start_rebalance(writer, AT, "v/1")
    equity = SlotEquity(AT, Decimal("102.25"), Decimal(5), Decimal(2))
    ledger.end_rebalance(writer, slot.id, RebalanceStatus.DONE, "", (), equity)
    assert [each.status for each in ledger.rebalances(name)] == [RebalanceStatus.DONE]
    assert control_store.equity_history(name).rows() == [(AT, 102.25, 5.0, 2.0)]
    assert ledger.acquire_lease(name, writer.holder, 60) is not None
    with pytest.raises(StaleLeaseError):
        ledger.end_rebalance(
            writer, slot.id, RebalanceStatus.FAILED, "late", (), replace(equity, cash=Decimal(9))
        )
    assert [each.status for each in ledger.rebalances(name)] == [RebalanceStatus.DONE]
    assert control_store.equity_history(name).rows() == [(AT, 102.25, 5.0, 2.0)]


@pytest.mark.parametrize("begun", [timedelta(), timedelta(hours=9)])
def test_equity_by_day_has_the_first_row_and_the_last_of_each_day(
    control_store: ControlStore, writer: Lease, name: str, begun: timedelta
) -> None:
    """A slot at midnight belongs to the day that ends, and a day without slots has no row."""
    assert control_store.equity_by_day(name).is_empty()
    midnight = AT.replace(hour=0, minute=0)
    hours = [0, 1, 14, 15, 24, 25, 47, 100, 101]
    for n, hour in enumerate(hours):
        at = midnight + begun + timedelta(hours=hour)
        control_store.record_equity(writer, at, Decimal(100 + n), Decimal(n))
    found = control_store.equity_by_day(name)
    kept = [0, 24, 47, 101] if begun == timedelta() else [0, 15, 25, 47, 101]
    assert found["at"].to_list() == [midnight + begun + timedelta(hours=hour) for hour in kept]
    assert found["cash"].to_list() == [hours.index(hour) for hour in kept]
    assert found.equals(
        control_store.equity_history(name).filter(pl.col("cash").is_in(found["cash"].to_list()))
    )


def test_verdicts_are_kept_by_version(database: Database, name: str) -> None:
    """Every verdict stays, in the order in which it was given. Each has its figure, its limit and
    who asked for it.
    """
    record = PostgresPromotionStore(database)
    rows = (
        CriterionResult("deflated_sharpe", True, 0.97, 0.95, "above"),
        CriterionResult("rehearsal", False, None, None, "no orders"),
    )
    rejected = GateDecision(CandidateStatus.REJECTED, rows)
    passed = GateDecision(CandidateStatus.CHAMPION, rows[:1])
    record.save_judgement(Judgement(name, "1", "aaa", rejected, AT, "ana"))
    record.save_judgement(Judgement(name, "2", "bbb", passed, AT, "ben"))
    assert record.verdicts(name, "1").select(
        "criterion", "passed", "value", "bound", "reason"
    ).rows() == [
        ("deflated_sharpe", True, 0.97, 0.95, "above"),
        ("rehearsal", False, None, None, "no orders"),
    ]
    assert record.verdicts(name)["version"].to_list() == ["1", "1", "2"]
    assert record.verdicts(name)["asked_by"].to_list() == ["ana", "ana", "ben"]


@pytest.mark.parametrize("kind", ["postgres", "memory"])
def test_choice_of_a_search_is_on_record_however_often_it_is_kept(
    database: Database, name: str, kind: str
) -> None:
    record = PostgresPromotionStore(database) if kind == "postgres" else MemoryPromotionStore()
    assert not record.is_choice(name)
    for search_id in ("first", "again"):
        record.save_choice(name, search_id, AT)
    assert record.is_choice(name)
    assert not record.is_choice(f"{name}-other")


@pytest.mark.parametrize("kind", ["postgres", "memory"])
def test_content_passed_only_where_the_gate_let_it(
    database: Database, name: str, kind: str
) -> None:
    """A version has passed with the content of each judgement that made it challenger or champion.
    A rejection gives no pass, and takes none back. Another model's are its own.
    """
    record = PostgresPromotionStore(database) if kind == "postgres" else MemoryPromotionStore()
    for content, decision in (
        ("rejected", CandidateStatus.REJECTED),
        ("first", CandidateStatus.CHALLENGER),
        ("second", CandidateStatus.CHAMPION),
        ("second", CandidateStatus.REJECTED),
    ):
        record.save_judgement(Judgement(name, "1", content, GateDecision(decision, ()), AT, "ana"))
    assert record.passed_hashes(name, "1") == {"first", "second"}
    assert record.passed_hashes(name, "2") == frozenset()
    assert record.passed_hashes(f"{name}-other", "1") == frozenset()


def test_halt_that_flattens_everything_reaches_an_account_that_is_halted_already(
    control_store: ControlStore, name: str
) -> None:
    """What either state asks for is done. Neither a risk rule's halt nor a later plain halt hides
    the request to flatten.
    """
    control_store.set_trading_state(name, TradingState.HALTED, "drawdown", "risk rule drawdown", AT)
    control_store.set_trading_state(
        "*", TradingState.HALTED, "get out", "ada", LONG_AGO, cancel=True, flatten=True
    )
    halt = control_store.trading_state(name)
    assert (halt.reason, halt.by, halt.account) == (
        "get out; drawdown",
        "ada, risk rule drawdown",
        "*",
    )
    assert (halt.cancel, halt.flatten) == (True, True)
    control_store.set_trading_state(name, TradingState.HALTED, "stay", "ada", AT)
    halt = control_store.trading_state(name)
    assert (halt.reason, halt.by, halt.account, halt.flatten) == (
        "stay; get out",
        "ada",
        name,
        True,
    )
    control_store.set_trading_state("*", TradingState.HALTED, "stay as well", "ada", AT)
    assert not control_store.trading_state(name).flatten


@pytest.mark.parametrize("whose", ["own", "*"])
def test_state_that_may_only_tighten_leaves_a_stricter_one_in_force(
    control_store: ControlStore, name: str, whose: str
) -> None:
    """What somebody set a moment ago is not loosened, nor replaced by one as strict; a looser one
    is.
    """
    target = name if whose == "own" else whose
    control_store.set_trading_state(
        target, TradingState.HALTED, "get out", "ada", LONG_AGO, flatten=True
    )
    for state in (TradingState.REDUCE_ONLY, TradingState.HALTED):
        control_store.set_trading_state(
            name, state, "drawdown", "risk rule drawdown", AT, only_tighten=True
        )
        assert control_store.trading_state(name).reason == "get out"
        assert control_store.trading_state(name).flatten
    control_store.set_trading_state(target, TradingState.ACTIVE, "over", "ada", LONG_AGO)
    control_store.set_trading_state(
        name, TradingState.REDUCE_ONLY, "drawdown", "risk rule drawdown", AT, only_tighten=True
    )
    assert control_store.trading_state(name).state is TradingState.REDUCE_ONLY


#: What file, account and every account may ask for, by the file's text: the state's strictness,
#: cancel, flatten.
ASKED = {
    "nothing": (0, False, False),
    "reduce_only": (1, False, False),
    "reduce_only cancel": (1, True, False),
    "reduce_only flatten": (1, True, True),
    "halted": (2, False, False),
    "halted cancel": (2, True, False),
    "halted flatten": (2, True, True),
}


@pytest.mark.parametrize("own", ASKED)
@pytest.mark.parametrize("common", ASKED)
def test_no_source_of_halts_hides_what_another_asks_for(
    control_store: ControlStore, name: str, tmp_path: Path, own: str, common: str
) -> None:
    """Of file, account and every account: the strictest state, every wish to cancel or flatten, and
    all reasons.
    """
    states = list(TradingState)
    for account, asked in ((name, own), ("*", common)):
        rank, cancel, flatten = ASKED[asked]
        control_store.set_trading_state(
            account, states[rank], f"by {account}", account, LONG_AGO, cancel, flatten
        )
    for text, by_file in ASKED.items():
        file = tmp_path / "HALT"
        file.unlink(missing_ok=True)
        if text != "nothing":
            file.write_text(f"{text} by file" if " " in text else text)
        halt = KillSwitch(name, control_store, file, clock=SYSTEM_CLOCK).read()
        every = (by_file, ASKED[own], ASKED[common])
        expected = tuple(max(asked[n] for asked in every) for n in range(3))
        assert (states.index(halt.state), halt.cancel, halt.flatten) == expected, (
            text,
            own,
            common,
        )
        saying = {who for who, asked in zip((str(file), name, "*"), every, strict=True) if asked[0]}
        assert not saying or set(halt.by.split(", ")) == saying
        assert all(f"by {who}" in halt.reason for who in saying - {str(file)})
