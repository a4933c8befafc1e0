"""Each rule of risk on a real ledger and a practice exchange: what was wanted, sent and recorded.

The account has about 100,000, 30% of it in BTC, 70% in all. The decision is 40% BTC, so about 0.2
BTC are to be bought.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.adapters.stores.postgres import Database
from penstock.core.proposals import SeenBar
from penstock.core.risk_records import PositionMark, RiskVerdict
from penstock.execution.rebalance.result import RebalanceResult
from penstock.risk.limits import RiskLimits
from penstock.risk.review import RULES
from tests.integration.practice_account import Account

MORE_BTC = {"BTC/USDT": 0.4, "ETH/USDT": None, "SOL/USDT": None}
KEEP = {"BTC/USDT": None, "ETH/USDT": None, "SOL/USDT": None}
WIDE = RiskLimits(max_gross=Decimal(1), max_weight=Decimal(1), max_hourly_turnover=None)
WANTED = Decimal("0.2")
#: Rules whose work is shown in the files beside this one, or with the injected breaks of
#: tests/integration/reconciliation.
ELSEWHERE = {
    "kill_switch",
    "locked_instrument",
    "unknown_equity",
    "price_collar",
    "drawdown",
    "stop_cooldown",
    "max_orders_per_minute",
    "max_orders_per_day",
}
HALVED: dict[str, dict[str, Any]] = {
    "max_position": {"max_position": {"BTC/USDT": Decimal("0.7")}},
    "max_position_notional": {"max_position_notional": Decimal(35_000)},
    "max_weight": {"max_weight": Decimal("0.35")},
    "max_account_notional": {"max_account_notional": Decimal(75_000)},
    "max_gross": {"max_gross": Decimal("0.75")},
    "max_net": {"max_net": Decimal("0.75")},
    "max_order_notional": {"max_order_notional": Decimal(5_000)},
}
DENIED: dict[str, dict[str, Any]] = {
    "daily_loss": {},
    "volatility_filter": {},
    "stale_bars": {},
    "target_jump": {"max_target_jump": Decimal("0.05")},
    "turnover_burst": {"max_hourly_turnover": Decimal("0.05")},
}


def bought(report: RebalanceResult, symbol: str = "BTC/USDT") -> Decimal:
    return sum(
        (fill.side.sign * fill.quantity for fill in report.fills if fill.symbol == symbol),
        Decimal(0),
    )


def on_record(database: Database, account: Account) -> list[tuple[Any, ...]]:
    """Return symbol, verdict, rule, wanted and passed of each finding kept at the newest slot."""
    with database.transaction() as connection:
        return connection.execute(
            """SELECT symbol, verdict, rule, wanted, passed FROM risk_verdict
               WHERE account = %(account)s
                 AND slot = (SELECT max(slot) FROM rebalance WHERE account = %(account)s)""",
            {"account": account.session.account},
        ).fetchall()


def require(
    database: Database, account: Account, report: RebalanceResult, rule: str, verdict: RiskVerdict
) -> Decimal:
    """Require one finding, the rule's, and that the venue received the quantity that it passed.
    Return that quantity.
    """
    ((symbol, kept, name, wanted, passed),) = on_record(database, account)
    assert (symbol, kept, name) == ("BTC/USDT", verdict, rule)
    assert wanted == pytest.approx(WANTED, abs=Decimal("0.002"))
    assert bought(report) == passed
    assert account.ledger.balances(account.session.account) == account.session.exchange.balances()
    return Decimal(passed)


def test_order_that_no_limit_holds_reaches_the_venue_as_it_is(
    account: Account, database: Database
) -> None:
    """The order before any rule: 0.2 BTC, and no finding."""
    assert bought(account.trade(MORE_BTC, WIDE)) == pytest.approx(WANTED, abs=Decimal("0.002"))
    assert on_record(database, account) == []


@pytest.mark.parametrize("rule", HALVED)
def test_limit_on_size_sends_what_fits(account: Account, database: Database, rule: str) -> None:
    """Each limit has room for half of the order: that half is bought and no more."""
    report = account.trade(MORE_BTC, WIDE.model_copy(update=HALVED[rule]))
    passed = require(database, account, report, rule, RiskVerdict.SHRINK)
    assert passed == pytest.approx(WANTED / 2, abs=Decimal("0.003"))


def test_strategy_buys_no_more_than_its_quota(account: Account, database: Database) -> None:
    """It asks for 40% and may use 35%. What is held without a decision is the other strategy's."""
    asked: dict[str, Any] = {
        "contributions": {"BTC/USDT": {"trend/1": 0.4}},
        "quotas": {"trend/1": 0.35, "other/1": 0.65},
    }
    report = account.trade(MORE_BTC, WIDE, **asked)
    passed = require(database, account, report, "strategy_quota", RiskVerdict.SHRINK)
    assert passed == pytest.approx(WANTED / 2, abs=Decimal("0.003"))


@pytest.mark.parametrize("rule", DENIED)
def test_order_on_bad_grounds_is_not_sent(account: Account, database: Database, rule: str) -> None:
    """A day's loss, wild prices, an old bar, a jump of the targets, a burst of turnover: nothing is
    sent to the venue.
    """
    slot = account.slots[-1]
    targets: dict[str, Any] = {}
    if rule == "daily_loss":
        with account.writer() as lease:
            account.session.control_store.record_equity(
                lease, account.slots[0], Decimal(110_000), Decimal(0)
            )
    elif rule == "volatility_filter":
        targets = {"seen": {"BTC/USDT": SeenBar(slot, 50_000.0, 0.6)}}
    elif rule == "stale_bars":
        targets = {"seen": {"BTC/USDT": SeenBar(slot - timedelta(days=1), 50_000.0)}}
    report = account.trade(MORE_BTC, WIDE.model_copy(update=DENIED[rule]), **targets)
    assert require(database, account, report, rule, RiskVerdict.DENY) == 0
    assert report.orders == ()


def test_jump_that_is_decided_again_is_traded(account: Account) -> None:
    """The slot after the one that was held back."""
    limits = WIDE.model_copy(update=DENIED["target_jump"])
    assert bought(account.trade(MORE_BTC, limits)) == 0
    assert bought(account.trade(MORE_BTC, limits)) == pytest.approx(WANTED, abs=Decimal("0.002"))


def test_take_profit_sells_a_position_that_has_risen(account: Account, database: Database) -> None:
    """A position bought at 110 is kept at 121 by a limit of 25%. At 133 a limit of 15% sells it."""
    account.trade({**KEEP, "UP/USDT": 0.05}, WIDE)
    held = account.ledger.balances(account.session.account)["UP"]
    kept = account.trade(
        {**KEEP, "UP/USDT": None}, WIDE.model_copy(update={"take_profit": Decimal("0.25")})
    )
    assert kept.orders == ()
    report = account.trade(
        {**KEEP, "UP/USDT": None}, WIDE.model_copy(update={"take_profit": Decimal("0.15")})
    )
    assert -bought(report, "UP/USDT") == pytest.approx(held, abs=Decimal("0.01"))
    assert [row[:3] for row in on_record(database, account)] == [
        ("UP/USDT", "close", "take_profit")
    ]


def remember(account: Account, mark: PositionMark) -> None:
    """Have this on record of ETH."""
    with account.writer() as lease:
        account.session.control_store.record_marks(lease, {"ETH/USDT": mark})


def test_trailing_stop_sells_a_position_under_its_high(
    account: Account, database: Database
) -> None:
    """ETH is at 2,500. A quarter under a remembered high of 3,400 sells it all; a high of 3,000
    does not.
    """
    limits, name = (
        WIDE.model_copy(update={"trailing_stop": Decimal("0.25")}),
        account.session.account,
    )
    remember(account, PositionMark(Decimal(3_000)))
    assert account.trade(KEEP, limits).orders == ()
    held = account.ledger.balances(name)["ETH"]
    remember(account, PositionMark(Decimal(3_400)))
    report = account.trade(KEEP, limits)
    assert -bought(report, "ETH/USDT") == pytest.approx(held, abs=Decimal("0.001"))
    assert [row[:3] for row in on_record(database, account)] == [
        ("ETH/USDT", "close", "trailing_stop")
    ]


def test_no_rule_is_left_out_here() -> None:
    """A new rule needs a test that shows its order before and after."""
    assert {rule.name for rule in RULES} == {
        *HALVED,
        *DENIED,
        *ELSEWHERE,
        "strategy_quota",
    }
