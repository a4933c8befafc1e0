"""The price collar on live quotes, and the pace of parent orders, on a real ledger and venue."""

from dataclasses import replace
from typing import Any

import pytest

from penstock.adapters.stores.postgres import Database
from penstock.core.halts import TradingState
from penstock.core.orders import OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Twap
from penstock.execution.rebalance.result import RebalanceResult
from penstock.practice.faults import Fault, FaultKind
from penstock.risk.limits import RiskLimits
from tests.integration.practice_account import Account

HALF = {"BTC/USDT": 0.15, "ETH/USDT": 0.1, "SOL/USDT": 0.1}
LESS_BTC = {"BTC/USDT": 0.15, "ETH/USDT": None, "SOL/USDT": None}
BOOK = "/api/v3/ticker/bookTicker"


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def sold(report: RebalanceResult) -> set[str]:
    return {order.request.symbol for order in report.orders if order.state is OrderState.FILLED}


def test_wild_mid_holds_its_symbol_back_until_the_quotes_are_sane_again(
    account: Account, database: Database
) -> None:
    """BTC last traded at 50,000 and is quoted at 80,000. Its order is denied with the mid, and the
    others pass unchanged.
    """
    account.control.show_book("BTC/USDT", 79_990, 80_010)
    report = account.trade(HALF, RiskLimits())
    assert sold(report) == {"ETH/USDT", "SOL/USDT"}
    assert [(word.rule, word.symbol) for word in report.findings] == [("price_collar", "BTC/USDT")]
    assert "37.5% from the last mid 80000" in report.findings[0].reason
    with database.transaction() as connection:
        kept = connection.execute(
            (
                "SELECT rule, verdict, wanted > 0, passed FROM risk_verdict "
                "WHERE account = %s AND symbol = 'BTC/USDT'"
            ),
            [account.session.account],
        ).fetchall()
    assert kept == [("price_collar", "deny", True, 0)]
    account.control.clear_books()
    assert sold(account.trade(HALF, RiskLimits())) == {"BTC/USDT"}


def test_quotes_are_one_request_a_phase_and_none_for_a_phase_without_orders(
    account: Account,
) -> None:
    """Three sells are looked up together; there are no buys, so nothing is asked for them."""

    def asked() -> int:
        return int(account.control.stats()["requests"].get(f"GET {BOOK}", 0))

    before = asked()
    assert len(account.trade(HALF, RiskLimits()).orders) == 3
    assert asked() == before + 1
    account.trade(HALF, RiskLimits())
    assert asked() == before + 1


def test_nothing_is_traded_blind_but_exits_while_quotes_cannot_be_read(account: Account) -> None:
    """Every order of the slot is denied and the operator gets an alert. An operator's flatten is
    still sent.
    """
    account.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path=BOOK))
    report = account.trade(HALF, RiskLimits())
    assert report.orders == ()
    assert {(word.rule, word.symbol) for word in report.findings} == {
        ("price_collar", symbol) for symbol in HALF
    }
    assert all("quotes cannot be read" in word.reason for word in report.findings)
    assert any("quotes cannot be read" in alert for alert in report.alerts)
    control_store, name = account.session.control_store, account.session.account
    control_store.set_trading_state(
        name, TradingState.HALTED, "get out", "ada", account.session.clock.now(), flatten=True
    )
    assert sold(account.trade(HALF, RiskLimits())) == set(HALF)


@pytest.fixture
def worked(account: Account, database: Database) -> Any:
    """The account with a session that works orders in four slices of ten seconds; waiting moves the
    venue's clock.
    """

    def pause(seconds: float) -> None:
        account.control.step(seconds=seconds)

    style = Twap(duration_seconds=40, slices=4)
    account.session = replace(account.session, style=style, pause=pause)
    return account


@pytest.mark.parametrize(
    ("limit", "sent"), [("max_orders_per_minute", 3), ("max_orders_per_day", 3)]
)
def test_slices_of_a_worked_order_count_as_the_orders_that_they_are(
    worked: Account, limit: str, sent: int
) -> None:
    """Four slices do not fit into three orders and none leaves; they fit into four, and no fifth
    leaves.
    """
    tight = RiskLimits(price_collar=None).model_copy(update={limit: sent})
    report = worked.trade(LESS_BTC, tight)
    assert report.orders == ()
    assert [(word.rule, word.symbol) for word in report.findings] == [(limit, "BTC/USDT")]
    assert "4 orders in a" in report.findings[0].reason
    enough = RiskLimits(price_collar=None).model_copy(update={limit: sent + 1})
    again = worked.trade(LESS_BTC, enough)
    assert [order.state for order in again.orders] == [OrderState.FILLED] * 4
    assert not again.findings


@pytest.mark.parametrize(("limit", "whole"), [(4, True), (3, False)])
def test_count_of_the_day_is_right_after_a_restart(
    worked: Account, limit: int, whole: bool
) -> None:
    """A run is killed after its second slice, and the next one sends the other two. The ledger
    counts two, not none and not six.
    """
    submit, sent = worked.session.exchange.submit, []

    def killed(order: Any) -> Any:
        sent.append(order)
        report = submit(order)
        if len(sent) == 2:
            raise Killed
        return report

    worked.session.exchange.submit = killed
    loose = RiskLimits(price_collar=None)
    with pytest.raises(Killed):
        worked.trade(LESS_BTC, loose)
    worked.session.exchange.submit = submit
    worked.slots.pop()
    later = worked.session.clock.now()
    worked.control.step = lambda **how: type(worked.control).step(
        worked.control, **(how if how.get("to") is None or how["to"] > later else {"seconds": 0})
    )
    report = worked.trade(LESS_BTC, loose.model_copy(update={"max_orders_per_day": limit}))
    assert report.resumed
    assert report.status is RebalanceStatus.DONE
    assert len(report.orders) == (4 if whole else 2)
    assert [word.rule for word in report.findings] == ([] if whole else ["max_orders_per_day"])
