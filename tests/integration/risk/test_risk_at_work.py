"""Limits and the kill switch on a real ledger and a practice exchange: what is sold, what is not
sent, and the delay.
"""

import threading
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.stores.postgres import Database, PostgresAlertOutbox
from penstock.core.breaks import BreakKind
from penstock.core.halts import TradingState
from penstock.core.orders import OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.orders.cancel import cancel_working
from penstock.risk.limits import LossLimit, RiskLimits
from tests.integration.practice_account import Account

HALF = {"BTC/USDT": 0.15, "ETH/USDT": 0.1, "SOL/USDT": 0.1}


def record(account: Account, days: int, equity: int) -> None:
    """Have had this equity so many days after the first slot."""
    with account.writer() as lease:
        account.session.control_store.record_equity(
            lease, account.slots[0] + timedelta(days=days), Decimal(equity), Decimal(0)
        )


def test_drawdown_sets_reduce_only_until_an_operator_resumes(
    account: Account, database: Database
) -> None:
    """Equity was 130,000 and is 100,000. Buys are denied, the state is set with an alert, and sells
    pass. A resume starts a new peak.
    """
    record(account, -3, 130_000)
    report = account.trade({"BTC/USDT": 0.5, "ETH/USDT": 0.1, "SOL/USDT": 0.2})
    told: list[str] = []
    PostgresAlertOutbox(database).deliver(
        account.session.account, lambda alerts: not told.extend(a.title for a in alerts)
    )
    state = account.session.control_store.trading_state(account.session.account)
    assert state.state is TradingState.REDUCE_ONLY
    assert "drawdown" in state.reason
    assert told == ["the account is set to reduce_only"]
    assert {order.request.symbol for order in report.orders} == {"ETH/USDT"}
    assert {"kill_switch", "drawdown"} <= {
        word.rule for word in report.findings if word.symbol == "BTC/USDT"
    }
    account.session.control_store.set_trading_state(
        account.session.account,
        TradingState.ACTIVE,
        "looked at",
        "ada",
        account.session.clock.now(),
    )
    again = account.trade({"BTC/USDT": 0.5, "ETH/USDT": 0.1, "SOL/USDT": 0.2})
    assert {order.request.symbol for order in again.orders} == {"BTC/USDT"}


def test_withdrawal_is_no_loss_before_it_is_accepted_and_after(account: Account) -> None:
    """A third of the account leaves the venue, more than any loss limit allows. The account keeps
    trading with what is left.
    """
    account.trade(HALF)
    account.control.withdraw(account.key, "USDT", 35_000)
    seen = account.trade(HALF)
    assert [found.kind for found in seen.breaks] == [BreakKind.WITHDRAWAL]
    assert (
        account.session.control_store.trading_state(account.session.account).state
        is TradingState.ACTIVE
    )
    assert account.accept("USDT", "paid out").breaks == ()
    assert account.trade(HALF).status is RebalanceStatus.DONE
    assert (
        account.session.control_store.trading_state(account.session.account).state
        is TradingState.ACTIVE
    )


def test_drawdown_closes_everything_and_halts_where_the_limit_says_so(account: Account) -> None:
    """Everything is sold in the slot that finds the breach, and the next slot is skipped."""
    record(account, -3, 130_000)
    harsh = RiskLimits(
        price_collar=None, drawdown=LossLimit(limit=Decimal("0.2"), state="halted", flatten=True)
    )
    report = account.trade(HALF, harsh)
    assert report.status is RebalanceStatus.DONE
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert set(account.session.exchange.balances()) <= {"USDT", "BTC", "ETH", "SOL"}
    left = account.session.exchange.balances()
    assert all(left.get(asset, 0) < Decimal("0.01") for asset in ("BTC", "ETH", "SOL")), left
    assert (
        account.session.control_store.trading_state(account.session.account).state
        is TradingState.HALTED
    )


def test_stop_loss_sells_the_position_and_keeps_it_out(account: Account) -> None:
    """A stop above the price (it was bought dearer) closes one position, and it is not bought back
    at once.
    """
    fills = [
        fill for fill in account.ledger.fills(account.session.account) if fill.symbol == "ETH/USDT"
    ]
    assert fills
    tight = RiskLimits(
        price_collar=None, stop_loss=Decimal("0.0001"), stop_cooldown_minutes=3 * 1440
    )
    entry = sum(f.notional for f in fills) / sum(f.quantity - f.fee for f in fills)
    assert entry > 2_500, "the fee in ETH makes the entry dearer than the price"
    report = account.trade({"BTC/USDT": 0.3, "ETH/USDT": 0.2, "SOL/USDT": 0.2}, tight)
    assert {word.rule for word in report.findings} == {"stop_loss"}
    assert account.session.exchange.balances().get("ETH", Decimal(0)) < Decimal("0.001")
    later = account.trade({"BTC/USDT": 0.3, "ETH/USDT": 0.2, "SOL/USDT": 0.2}, tight)
    assert {(word.rule, word.symbol) for word in later.findings} >= {("stop_cooldown", "ETH/USDT")}


def test_halt_cancels_and_flattens_by_database_row(account: Account) -> None:
    """The row asks for it. The next slot sells everything though the account is halted, and the one
    after it is skipped.
    """
    control_store, name = account.session.control_store, account.session.account
    control_store.set_trading_state(
        name, TradingState.HALTED, "get out", "ada", account.session.clock.now(), flatten=True
    )
    report = account.trade({"BTC/USDT": 0.5, "ETH/USDT": 0.2})
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert len(report.orders) == 3
    assert account.ledger.balances(name) == account.session.exchange.balances()


def test_halt_flattens_by_file(account: Account, tmp_path: Path) -> None:
    """The file's first word is enough."""
    file = tmp_path / "HALT"
    file.write_text("flatten: the house is on fire")
    object.__setattr__(account.session.kill_switch, "file", file)
    report = account.trade({"BTC/USDT": 0.5})
    assert len(report.fills) == 3
    assert {word.rule for word in report.findings} == {"kill_switch"}


def test_working_orders_are_cancelled_without_the_lease(account: Account) -> None:
    """An operator cancels at the venue while another process holds the account."""
    keeper = account.keeper()
    account.direct.create_order("SOL/USDT", "limit", "buy", 1, 60)
    account.direct.create_order("ETH/USDT", "limit", "buy", 1, 1000)
    assert len(cancel_working(account.session).cancelled) == 2
    assert account.session.exchange.open_orders() == []
    keeper.release()


@pytest.mark.parametrize("how", ["database", "file"])
def test_kill_switch_stops_new_orders_within_a_second_in_mid_plan(
    account: Account, how: str, tmp_path: Path
) -> None:
    """The switch is set while a plan of slow orders is being sent. A second later no request
    leaves, and most of the plan is unsent.
    """
    file = tmp_path / "HALT"
    object.__setattr__(account.session.kill_switch, "file", file)
    sent: list[float] = []
    submit = account.session.exchange.submit

    def slow(order: Any) -> Any:
        sent.append(time.monotonic())
        time.sleep(0.3)
        return submit(order)

    account.session.exchange.submit = slow
    pulled: list[float] = []

    def pull() -> None:
        while not sent:
            time.sleep(0.005)
        if how == "file":
            file.write_text("drill")
        else:
            control_store = account.session.control_store
            control_store.set_trading_state(
                account.session.account, TradingState.HALTED, "drill", "ada", account.slots[0]
            )
        pulled.append(time.monotonic())

    hand = threading.Thread(target=pull)
    hand.start()
    report = account.trade(HALF)
    hand.join()
    late = [at - pulled[0] for at in sent if at > pulled[0]]
    assert all(delay < 1 for delay in late), late
    assert len(sent) < 3
    assert report.status is RebalanceStatus.FAILED
    assert "drill" in report.reason


def test_words_of_the_rules_are_kept_in_the_database(account: Account, database: Any) -> None:
    """What was wanted, what passed and why can be read afterwards."""
    account.trade(
        {"BTC/USDT": 0.7, "ETH/USDT": 0.05, "SOL/USDT": 0.05}, RiskLimits(price_collar=None)
    )
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT symbol, verdict, rule, wanted > passed FROM risk_verdict WHERE account = %s",
            [account.session.account],
        ).fetchall()
    assert ("BTC/USDT", "shrink", "max_weight", True) in rows
