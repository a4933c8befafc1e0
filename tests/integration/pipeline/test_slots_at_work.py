"""Slots whose account is held elsewhere or whose run raises: on record, alerted once, and never
traded twice.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from polars.exceptions import PanicException

from penstock.core.errors import (
    ConfigError,
    IllegalTransitionError,
    StaleDataError,
    UnexpectedError,
    VenueError,
)
from penstock.core.halts import TradingState
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK
from penstock.core.orders import OrderEventKind, OrderReport, OrderRequest
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.execution.lease import take_lease
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.rebalance.slots import MissedSlots, account_for_missed
from penstock.pipeline import slots
from penstock.pipeline.alerts import send_alerts
from penstock.pipeline.comparison import decisions
from penstock.pipeline.rebalance import (
    _inputs,
    newest_slot,
    pinned_models,
    rebalance_slot,
    stored_warm_bars,
)
from penstock.pipeline.reconcile import reconcile_after_slot
from penstock.pipeline.slots import (
    _ingest,
    due_slots,
    list_slots,
    slots_due,
    trade_slot,
    wait_for_slot,
    why_idle,
)
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.practice.faults import Fault, FaultKind
from tests.integration.pipeline.conftest import ACTOR, Deciding, OneVersion, Place

pytestmark = pytest.mark.slow


def table(place: Place) -> list[tuple[str, str]]:
    """Status and reason of each slot, newest first."""
    found = list_slots(place.platform, ACTOR, "daily")
    return [("open" if row.status is None else row.status.value, row.reason) for row in found]


def hold(place: Place) -> Any:
    """Take the account's lease as another process would."""
    keeper = take_lease(place.ledger, "practice-daily", 600, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS)
    assert keeper is not None
    return keeper


@pytest.fixture
def traded(place: Place) -> Place:
    """A place whose first slot is DONE."""
    outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert outcome.result is not None, outcome.failure
    assert outcome.result.status is RebalanceStatus.DONE
    assert outcome.result.sent
    place.alerts.clear()
    return place


def test_slot_whose_account_is_held_is_alerted_and_open_and_then_accounted_for(
    traded: Place,
) -> None:
    """Nothing is sent, one alert reports it, and `penstock slots` shows the slot as open. A day
    later it is recorded as missed.
    """
    missed = traded.tomorrow()
    keeper = hold(traded)
    outcome = trade_slot(traded.platform, ACTOR, "daily", missed)
    assert outcome.failed
    assert [title for title, _ in traded.alerts] == [
        "practice-daily: slot 2024-06-02 00:00 was not traded by this run"
    ]
    assert "not on record yet" in traded.alerts[0][1]
    assert [status for status, _ in table(traded)] == ["open", "done"]
    keeper.release()
    newest = traded.tomorrow()
    assert slots_due(traded.platform, ACTOR, "daily", newest).skipped == (missed,)
    trade_slot(traded.platform, ACTOR, "daily", newest)
    assert [status for status, _ in table(traded)] == ["done", "skipped", "done"]
    assert "no run had the account" in table(traded)[1][1]


def test_slot_that_the_other_process_has_done_is_no_alert(traded: Place) -> None:
    """The account is held, but the slot has ended: that is what this run says, and nobody is
    called.
    """
    keeper = hold(traded)
    report = rebalance_slot(traded.platform, ACTOR, "daily", newest_slot(traded.platform, "daily"))
    keeper.release()
    assert (report.status, report.already_done, report.sent) == (RebalanceStatus.DONE, True, 0)
    assert "another process" in report.summary()
    assert not traded.alerts


def test_slot_is_decided_by_the_quotas_of_its_version(traded: Place) -> None:
    """A slot that began with half of the account is finished so, and compared with a backtest of
    the same, though the configuration gives the strategy all of it now.
    """
    slot = newest_slot(traded.platform, "daily")
    decide = _inputs(traded.platform, "daily", slot).decide
    now, then = decide("daily-portfolio/1"), decide("daily-portfolio/1*0.5")
    assert then.version == "daily-portfolio/1*0.5"
    assert then.weights == {symbol: (weight or 0) / 2 for symbol, weight in now.weights.items()}
    assert any(then.weights.values())
    models = {slot: pinned_models(traded.platform, "daily-portfolio/1*0.5")}
    symbols = traded.platform.settings.universe.symbols_of(Timeframe.D1)
    bars = stored_warm_bars(traded.platform, Timeframe.D1, symbols, 500, slot)
    assert decisions(traded.platform, "daily", bars, models)[slot].quotas == then.quotas


def test_fills_that_a_daily_slot_leaves_are_compared_after_it(place: Place) -> None:
    """A slot's own run asks for no trades while balances agree. Its next slot is a day away, so
    they are compared right after it; where slots are minutes apart, nothing is.
    """
    trades = "GET /api/v3/myTrades"
    slot = place.tomorrow()
    _ingest(place.platform, "daily", slot)
    result = rebalance_slot(place.platform, ACTOR, "daily", slot)
    assert result.fills
    assert trades not in place.control.stats()["requests"]
    compared = reconcile_after_slot(place.platform, ACTOR, "daily")
    assert compared is not None
    assert not compared.found.breaks
    symbols = {fill.symbol for fill in result.fills}
    assert place.control.stats()["requests"][trades] == len(symbols)
    assert reconcile_after_slot(place.platform, ACTOR, "practice-minute") is None


def test_slot_whose_fills_cannot_be_compared_afterwards_is_a_failed_outcome(place: Place) -> None:
    """The slot is done, and the venue does not list trades for the comparison that follows: the
    service counts the slot as failed, its line says what was done and what was not, and one alert
    says so. The comparison can be made later.
    """
    place.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/myTrades"))
    outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert outcome.result is not None, outcome.failure
    assert outcome.result.status is RebalanceStatus.DONE
    assert outcome.failed
    assert outcome.result.summary() in outcome.line()
    assert outcome.line().endswith(f"its fills were not compared: {outcome.failure}")
    assert "HTTP 503" in outcome.failure
    assert place.alerts == [
        ("practice-daily: the comparison of a slot's fills was not finished", outcome.failure)
    ]
    place.control.clear_faults()
    assert reconcile_after_slot(place.platform, ACTOR, "daily") is not None


def test_two_workers_on_one_slot_leave_one_order_set_and_one_row(traded: Place) -> None:
    """Of two at once, one trades and the other reports what it found; the slot is recorded once."""
    slot, before = traded.tomorrow(), traded.control.stats()["orders"]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(
            pool.map(lambda _: trade_slot(traded.platform, ACTOR, "daily", slot), range(2))
        )
    assert not [outcome.failure for outcome in outcomes if outcome.failure]
    sent = [outcome.result.sent for outcome in outcomes if outcome.result is not None]
    assert sorted(sent)[0] == 0
    assert traded.control.stats()["orders"] - before == max(sent)
    assert [status for status, _ in table(traded)] == ["done", "done"]
    assert all("was not traded by this run" in title for title, _ in traded.alerts)


@pytest.mark.parametrize("way", ["service", "flow"])
def test_slot_that_failed_can_be_run_again_whoever_ran_it(traded: Place, way: str) -> None:
    """The minute service and the daily flow leave the same: RUNNING, with the reason, and one
    alert. A second run finishes the slot.
    """
    slot = traded.tomorrow()
    trade_slot_once(traded, slot, way)
    assert len(traded.alerts) == 1
    status, reason = table(traded)[0]
    assert status == "running"
    assert "HTTP 503" in reason
    traded.control.clear_faults()
    assert trade_slot(traded.platform, ACTOR, "daily", slot).failed is False
    assert [status for status, _ in table(traded)] == ["done", "done"]


def trade_slot_once(place: Place, slot: Any, way: str) -> None:
    """Run a slot while the venue does not tell balances."""
    place.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/account"))
    if way == "service":
        assert trade_slot(place.platform, ACTOR, "daily", slot).failed
    else:
        (due,) = due_slots(place.platform, ACTOR, "daily")
        with pytest.raises(VenueError):
            rebalance_slot(place.platform, ACTOR, "daily", due.slot, due.however_late)


@pytest.mark.parametrize("way", ["service", "flow"])
def test_slot_that_failed_ends_with_its_reason_once_the_next_is_due(
    traded: Place, way: str
) -> None:
    """Nobody ran it again: a day later it is FAILED with what stopped it, and its alert is not
    repeated.
    """
    trade_slot_once(traded, traded.tomorrow(), way)
    traded.control.clear_faults()
    newest = traded.tomorrow()
    for due in due_slots(traded.platform, ACTOR, "daily"):
        assert (
            trade_slot(traded.platform, ACTOR, "daily", due.slot, due.however_late).failed is False
        )
    assert table(traded)[0][0] == "done"
    status, reason = table(traded)[1]
    assert status == "failed"
    assert "HTTP 503" in reason
    assert f"{newest:%Y-%m-%d} 00:00 took over" in reason
    assert len(traded.alerts) == 1


def test_slot_without_bars_keeps_its_reason(traded: Place) -> None:
    """A decision that finds no bar of the slot leaves the row running with the reason."""
    slot = traded.tomorrow()
    with pytest.raises(StaleDataError):
        rebalance_slot(traded.platform, ACTOR, "daily", slot)
    assert table(traded)[0][0] == "running"
    assert "ingest bars first" in table(traded)[0][1]


def test_slot_at_which_no_bar_closes_is_refused_and_leaves_no_row(traded: Place) -> None:
    """A typed slot half a minute off the grid: the nearest closes are named, nothing is sent, kept
    or alerted.
    """
    slot, before = (
        newest_slot(traded.platform, "daily") + timedelta(seconds=30),
        traded.control.stats()["orders"],
    )
    for way in (rebalance_slot, due_slots):
        with pytest.raises(
            ConfigError, match=r"not the close of a 1d bar.* 2024-06-01T00:00 and 2024-06-02T00:00"
        ):
            way(traded.platform, ACTOR, "daily", slot)
    assert [status for status, _ in table(traded)] == ["done"]
    assert traded.control.stats()["orders"] == before
    assert not traded.alerts


def test_illegal_order_event_is_an_alert_of_its_own_once(traded: Place) -> None:
    """The order machine refuses an event in the middle of a slot. One alert names the order, and
    the slot's run raises.
    """
    order = traded.ledger.orders("practice-daily")[0].request.client_order_id

    def cancel_what_is_filled() -> None:
        traded.ledger.record_event(
            traded.ledger.newest, order, OrderEventKind.CANCEL, traded.control.now()
        )

    Deciding.meanwhile = staticmethod(cancel_what_is_filled)
    slot = traded.tomorrow()
    trade_slot(traded.platform, ACTOR, "daily", slot)
    assert [title for title, _ in traded.alerts] == [
        "practice-daily: an illegal order event was refused"
    ]
    assert order in traded.alerts[0][1]
    with pytest.raises(IllegalTransitionError):
        rebalance_slot(traded.platform, ACTOR, "daily", slot)
    assert len(traded.alerts) == 2, "the second event is another one"
    Deciding.meanwhile = staticmethod(lambda: None)
    assert trade_slot(traded.platform, ACTOR, "daily", slot).failed is False


def divide() -> None:
    print(1 / 0)


def look_up() -> None:
    print(dict[str, float]()["BTC/USDT"])


def select() -> None:
    pl.DataFrame().select("close")


def round_nothing() -> None:
    Decimal(1).quantize(Decimal("1e-40"))


def panic() -> None:
    raise PanicException("called `Option::unwrap()` on a `None` value")


@pytest.mark.parametrize(
    ("raising", "reason"),
    [
        (divide, "ZeroDivisionError: division by zero (test_slots_at_work.py, line"),
        (look_up, "KeyError: 'BTC/USDT' (test_slots_at_work.py, line"),
        (select, "ColumnNotFoundError: "),
        (round_nothing, "InvalidOperation: "),
        (panic, "PanicException: called `Option::unwrap()`"),
    ],
)
def test_slot_fails_with_the_reason_whatever_a_strategy_raises(
    traded: Place, raising: Callable[[], None], reason: str
) -> None:
    """The service gets an outcome. The slot is FAILED with the reason, one alert says it, and the
    next slot is traded.
    """
    Deciding.meanwhile = staticmethod(raising)
    outcome = trade_slot(traded.platform, ACTOR, "daily", traded.tomorrow())
    assert outcome.failed
    assert outcome.failure.startswith(reason)
    assert table(traded)[0] == ("failed", outcome.failure)
    assert traded.alerts == [
        ("practice-daily: slot 2024-06-02 00:00 was not finished", outcome.failure)
    ]
    Deciding.meanwhile = staticmethod(lambda: None)
    assert trade_slot(traded.platform, ACTOR, "daily", traded.tomorrow()).failed is False
    assert [status for status, _ in table(traded)] == ["done", "failed", "done"]
    assert len(traded.alerts) == 1


def test_flow_gets_one_error_of_ours_whatever_a_strategy_raises(traded: Place) -> None:
    """The daily flow's task and the command line know PenstockErrors only."""
    slot = traded.tomorrow()
    slots._ingest(traded.platform, "daily", slot)
    Deciding.meanwhile = staticmethod(divide)
    with pytest.raises(UnexpectedError, match="ZeroDivisionError: division by zero") as raised:
        rebalance_slot(traded.platform, ACTOR, "daily", slot)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert table(traded)[0][0] == "failed"


def test_error_of_a_library_after_an_order_has_left_loses_no_fill(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order is at the venue when the answer makes a library raise; the other one may be under
    way. The slot is FAILED, and the next one books what was filled and sends the rest once.
    """
    exchange = place.platform.exchange("daily")
    submit = exchange.submit

    def breaking(order: OrderRequest) -> OrderReport:
        submit(order)
        raise TypeError("unsupported operand type(s) for +: 'NoneType' and 'str'")

    monkeypatch.setattr(exchange, "submit", breaking)
    outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert outcome.failure.startswith("TypeError: unsupported operand")
    assert table(place)[0][0] == "failed"
    monkeypatch.setattr(exchange, "submit", submit)
    left = place.control.stats()["orders"]
    assert left in (1, 2)
    assert trade_slot(place.platform, ACTOR, "daily", place.tomorrow()).failed is False
    assert place.ledger.balances("practice-daily") == exchange.balances()
    orders = place.ledger.orders("practice-daily")
    assert all(order.state.is_final for order in orders)
    assert place.control.stats()["orders"] == len([o for o in orders if o.venue_order_id])


def test_database_error_of_an_unknown_kind_does_not_end_the_service(
    traded: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passed without a run cannot be read: the newest slot is due all the same, with an
    alert.
    """

    def breaking(*_: object, **__: object) -> None:
        raise OverflowError("date value out of range")

    monkeypatch.setattr(traded.ledger, "rebalances", breaking)
    newest = traded.tomorrow()
    assert slots_due(traded.platform, ACTOR, "daily", newest).to_run == (newest,)
    send_alerts(traded.platform, "daily")  # waits for the message under way
    ((title, body),) = traded.alerts
    assert title == "practice-daily: missed slots are not accounted for yet"
    assert body.startswith("OverflowError: date value out of range")


def test_venue_that_does_not_tell_the_time_is_asked_again(
    traded: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service waits for the venue, with one alert, and then begins the slot."""
    monkeypatch.setattr(slots, "_ASK_AGAIN_SECONDS", 0.05)
    before = newest_slot(traded.platform, "daily")
    newest = traded.tomorrow()
    traded.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/time", times=6))
    assert wait_for_slot(traded.platform, ACTOR, "daily", before) == newest
    assert [title for title, _ in traded.alerts] == [
        "practice-daily: no slot can begin: the venue does not tell the time"
    ]


def test_account_that_never_traded_and_has_no_champion_is_left_alone(place: Place) -> None:
    """The revive schedule is active as shipped: before the first promotion its runs end at once.
    An account that has traded is never left alone.
    """

    class NoVersion(OneVersion):
        def find(self, name: str, alias_or_version: str) -> None:  # type: ignore[override]
            return None

    vars(place.platform).update(registry=NoVersion())
    assert why_idle(place.platform, ACTOR, "daily") == (
        "'daily-portfolio' has no champion yet: research and promote the study daily first"
    )
    vars(place.platform).update(registry=OneVersion())
    assert why_idle(place.platform, ACTOR, "daily") == ""
    trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    vars(place.platform).update(registry=NoVersion())
    assert why_idle(place.platform, ACTOR, "daily") == ""
    with pytest.raises(ConfigError, match="no account for portfolio 'nobody'"):
        why_idle(place.platform, ACTOR, "nobody")


def test_alert_of_missed_slots_is_committed_with_their_rows(traded: Place) -> None:
    """Whoever dies between the rows and the alert loses neither: the next run sends it, once."""
    traded.tomorrow()
    newest = traded.tomorrow()
    session = traded.platform.session("daily")
    account = account_for_missed(session, Timeframe.D1, newest, MissedSlots.SKIP)
    assert len(account.skipped) == 1
    assert not traded.alerts, "nothing of the pipeline has run: as after a kill"
    assert slots_due(traded.platform, ACTOR, "daily", newest).skipped == ()
    trade_slot(traded.platform, ACTOR, "daily", newest)
    assert [title for title, _ in traded.alerts] == [
        "practice-daily: 1 slots were missed or interrupted"
    ]


def test_alert_of_a_skipped_slot_is_committed_with_its_row(traded: Place) -> None:
    """The slot is skipped because of a halt, by a process that dies before it can say so."""
    slot = traded.tomorrow()
    session = traded.platform.session("daily")
    session.control_store.set_trading_state(
        session.account, TradingState.HALTED, "drill", "ada", traded.control.now()
    )
    targets = PortfolioTargets("trend/1", {}, {}, {})
    inputs = RebalanceInputs(
        slot, "trend/1", lambda _: targets, RebalancePolicy(), traded.platform.settings.risk
    )
    assert rebalance(session, inputs).status is RebalanceStatus.SKIPPED
    assert not traded.alerts
    again = trade_slot(traded.platform, ACTOR, "daily", slot)
    assert again.result is not None
    assert again.result.already_done
    assert [title for title, _ in traded.alerts] == [
        "practice-daily: slot 2024-06-02 00:00 was skipped"
    ]
