"""Every limit at its boundary: what passes at the limit itself, and what the smallest step does.

A loss limit and a stop are breached at the limit; every other limit is passed at it.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.core.orders import Side
from penstock.core.proposals import SeenBar
from penstock.core.risk_records import PositionMark, RiskHistory, RiskVerdict
from penstock.risk.limits import LossLimit, RiskLimits
from penstock.risk.losses import breaches
from penstock.risk.memory import AccountMemory
from penstock.risk.protection import STOPS, positions_to_close
from penstock.risk.review import RULES, review
from penstock.testing.risk import ACTIVE, SLOT, context, limits, order, perpetual

STEP = Decimal("0.001")
HELD = {"BTC/USDT": Decimal(1)}
JUMP = {"BTC/USDT": 0.1}

#: Rule, account, limit, and the quantity at price 100 that is just at the limit: a lot more is not.
AT_QUANTITY: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("max_order_notional", {}, {"max_order_notional": Decimal(300)}, "3"),
    ("max_position", {"positions": HELD}, {"max_position": {"BTC/USDT": Decimal(3)}}, "2"),
    ("max_position_notional", {"positions": HELD}, {"max_position_notional": Decimal(300)}, "2"),
    ("max_weight", {"positions": HELD}, {"max_weight": Decimal("0.3")}, "2"),
    ("max_account_notional", {"positions": HELD}, {"max_account_notional": Decimal(300)}, "2"),
    ("max_gross", {"positions": HELD}, {"max_gross": Decimal("0.3")}, "2"),
    ("max_net", {"positions": HELD}, {"max_net": Decimal("0.3")}, "2"),
    (
        "turnover_burst",
        {"history": RiskHistory(traded_last_hour=Decimal(1800))},
        {"max_hourly_turnover": Decimal(2)},
        "2",
    ),
    (
        "strategy_quota",
        {"contributions": {"BTC/USDT": {"t/1": 0.4}}, "quotas": {"t/1": 0.2}},
        {},
        "2",
    ),
]

#: Rule, limit, the account that is at the limit and the one that is a step beyond it.
AT_ACCOUNT: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        "stale_bars",
        {"max_bar_lag_seconds": 60.0},
        {"seen": {"BTC/USDT": SeenBar(SLOT - timedelta(seconds=60), 100.0)}},
        {"seen": {"BTC/USDT": SeenBar(SLOT - timedelta(seconds=61), 100.0)}},
    ),
    (
        "price_collar",
        {"price_collar": Decimal("0.25")},
        {"mids": {"BTC/USDT": Decimal(80)}},
        {"mids": {"BTC/USDT": Decimal("79.99")}},
    ),
    (
        "volatility_filter",
        {"max_daily_volatility": Decimal("0.5")},
        {"seen": {"BTC/USDT": SeenBar(SLOT, 100.0, 0.5)}},
        {"seen": {"BTC/USDT": SeenBar(SLOT, 100.0, 0.501)}},
    ),
    (
        "stop_cooldown",
        {"stop_loss": Decimal("0.1"), "stop_cooldown_minutes": 60.0},
        {"history": RiskHistory(marks={"BTC/USDT": PositionMark(None, SLOT - timedelta(hours=1))})},
        {
            "history": RiskHistory(
                marks={"BTC/USDT": PositionMark(None, SLOT - timedelta(minutes=59))}
            )
        },
    ),
    (
        "daily_loss",
        {"daily_loss": LossLimit(limit=Decimal("0.05"))},
        {"history": RiskHistory(day_start=Decimal(1000)), "equity": Decimal("950.01")},
        {"history": RiskHistory(day_start=Decimal(1000)), "equity": Decimal(950)},
    ),
    (
        "drawdown",
        {"drawdown": LossLimit(limit=Decimal("0.20"))},
        {"history": RiskHistory(peak=Decimal(1000)), "equity": Decimal("800.01")},
        {"history": RiskHistory(peak=Decimal(1000)), "equity": Decimal(800)},
    ),
    (
        "target_jump",
        {"max_target_jump": Decimal("0.5")},
        {"weights": {"BTC/USDT": 0.6}, "history": RiskHistory(targets=(JUMP,))},
        {"weights": {"BTC/USDT": 0.601}, "history": RiskHistory(targets=(JUMP,))},
    ),
    (
        "max_orders_per_minute",
        {"max_orders_per_minute": 10},
        {"history": RiskHistory(orders_last_minute=9)},
        {"history": RiskHistory(orders_last_minute=10)},
    ),
    (
        "max_orders_per_day",
        {"max_orders_per_day": 10},
        {"history": RiskHistory(orders_today=9)},
        {"history": RiskHistory(orders_today=10)},
    ),
]

#: Rules without a number: there is no boundary.
WITHOUT_A_LIMIT = {"kill_switch", "locked_instrument", "unknown_equity"}


@pytest.mark.parametrize(("name", "account", "bound", "quantity"), AT_QUANTITY)
def test_order_at_its_limit_passes_and_a_lot_more_does_not(
    name: str, account: dict[str, Any], bound: dict[str, Any], quantity: str
) -> None:
    """At the limit nothing is found; one lot beyond it the rule alone objects."""
    at, wide = Decimal(quantity), limits(max_hourly_turnover=None)
    bound = bound if name == "turnover_burst" else bound | {"max_hourly_turnover": None}
    at_limit = review([order(quantity)], context(**account), wide.model_copy(update=bound))
    assert at_limit.reviewed[0].verdict is RiskVerdict.ALLOW
    beyond = review([order(str(at + STEP))], context(**account), wide.model_copy(update=bound))
    assert [finding.rule for finding in beyond.findings] == [name]


@pytest.mark.parametrize(("name", "bound", "inside", "beyond"), AT_ACCOUNT)
def test_account_inside_its_limit_may_buy_and_a_step_further_may_not(
    name: str, bound: dict[str, Any], inside: dict[str, Any], beyond: dict[str, Any]
) -> None:
    """A loss is breached at its limit, and no later; every other limit just holds there."""
    passed = review([order("0.1")], context(**inside), limits(**bound))
    assert passed.reviewed[0].verdict is RiskVerdict.ALLOW, passed.findings
    denied = review([order("0.1")], context(**beyond), limits(**bound))
    assert [finding.rule for finding in denied.findings] == [name]


def test_every_rule_has_its_boundary_here() -> None:
    """A new rule shows at which value it begins to object."""
    shown = {case[0] for case in AT_QUANTITY} | {case[0] for case in AT_ACCOUNT}
    assert shown | WITHOUT_A_LIMIT == {rule.name for rule in RULES}


@pytest.mark.parametrize(
    ("history", "limit", "rule"),
    [
        (RiskHistory(day_start=Decimal(1000)), "0.05", "daily_loss"),
        (RiskHistory(peak=Decimal(1000)), "0.05", "drawdown"),
    ],
)
def test_loss_is_breached_at_its_limit(history: RiskHistory, limit: str, rule: str) -> None:
    """A loss of exactly the limit sets the state and flattens; a cent less does neither."""
    harsh = LossLimit(limit=Decimal(limit), state="halted", flatten=True)
    bound = limits(daily_loss=None, drawdown=None).model_copy(update={rule: harsh})
    at = context(history=history, equity=Decimal(950), positions=HELD)
    assert [breach.rule for breach in breaches(at, bound)] == [rule]
    assert [found.rule for found in positions_to_close(at, bound)] == [rule]
    inside = replace(at, equity=Decimal("950.01"))
    assert breaches(inside, bound) == ()
    assert positions_to_close(inside, bound) == ()


#: Stop, limit, position, best price, the price just at the limit and the one just inside it.
AT_STOP = [
    ("stop_loss", {"stop_loss": Decimal("0.1")}, "1", None, "90", "90.01"),
    ("stop_loss", {"stop_loss": Decimal("0.1")}, "-1", None, "110", "109.99"),
    ("take_profit", {"take_profit": Decimal("0.5")}, "1", None, "150", "149.99"),
    ("take_profit", {"take_profit": Decimal("0.5")}, "-1", None, "50", "50.01"),
    ("trailing_stop", {"trailing_stop": Decimal("0.2")}, "1", "150", "120", "120.01"),
    ("trailing_stop", {"trailing_stop": Decimal("0.2")}, "-1", "50", "60", "59.99"),
]


@pytest.mark.parametrize(("rule", "bound", "position", "best", "at", "inside"), AT_STOP)
def test_stop_closes_at_its_limit(
    rule: str, bound: dict[str, Any], position: str, best: str | None, at: str, inside: str
) -> None:
    """Opened at 100, long or short: closed at the limit, kept just inside it."""
    mark = PositionMark(None if best is None else Decimal(best))

    def closed(price: str) -> list[str]:
        account = perpetual(
            positions={"BTC/USDT": Decimal(position)},
            prices={"BTC/USDT": Decimal(price)},
            entries={"BTC/USDT": Decimal(100)},
            history=RiskHistory(marks={"BTC/USDT": mark}),
        )
        return [found.rule for found in positions_to_close(account, limits(**bound))]

    assert closed(at) == [rule]
    assert closed(inside) == []


def test_every_stop_has_its_boundary_here() -> None:
    """A new stop shows at which price it closes, for a long and a short position."""
    assert {case[0] for case in AT_STOP} == {stop.name for stop in STOPS}


@pytest.mark.parametrize("side", list(Side))
def test_limits_on_size_hold_for_both_sides(side: Side) -> None:
    """Short of 1 the sell that makes it 3 passes, one lot more shrinks; long the same for buys."""
    account = perpetual(positions={"BTC/USDT": Decimal(side.sign)})
    bound = limits(
        max_position={"BTC/USDT": Decimal(3)},
        max_weight=Decimal("0.3"),
        max_gross=Decimal("0.3"),
        max_net=Decimal("0.3"),
        max_position_notional=Decimal(300),
    )
    assert review([order("2", side)], account, bound).reviewed[0].verdict is RiskVerdict.ALLOW
    shrunk = review([order("3", side)], account, bound)
    assert [passed.quantity for passed in shrunk.orders] == [Decimal(2)]
    assert {finding.rule for finding in shrunk.findings} == {
        "max_position",
        "max_position_notional",
        "max_weight",
        "max_gross",
        "max_net",
    }


def test_order_that_turns_a_position_is_bound_by_the_limits() -> None:
    """Long of 1, a sell of 4 would be short of 3: at most 2 are allowed, so 3 pass."""
    account = perpetual(positions={"BTC/USDT": Decimal(1)})
    bound = RiskLimits(
        max_weight=Decimal(1), max_gross=Decimal(1), max_position={"BTC/USDT": Decimal(2)}
    )
    passed = review([order("4", Side.SELL)], account, bound)
    assert [(o.side, o.quantity) for o in passed.orders] == [(Side.SELL, Decimal(3))]


def test_account_that_had_nothing_has_lost_nothing() -> None:
    """A start of zero (all of it was withdrawn) is no start: nothing is divided by it."""
    gone = RiskHistory(day_start=Decimal(100), peak=Decimal(100), transferred=Decimal(-100))
    assert breaches(context(history=gone, equity=Decimal(0)), limits()) == ()


def test_turnover_of_an_account_worth_nothing_is_no_burst() -> None:
    """Equity of zero divides nothing; other rules deny what such an account would buy."""
    seen = review([order("1")], context(equity=Decimal(0)), limits())
    assert "turnover_burst" not in {finding.rule for finding in seen.findings}


def test_request_a_whole_minute_later_does_not_share_its_minute_with_what_was_done() -> None:
    """An order at 60 s begins a new minute; one at 59 s is in the old one."""
    history = RiskHistory(orders_last_minute=1)
    for seconds, verdict in ((60.0, RiskVerdict.ALLOW), (59.0, RiskVerdict.DENY)):
        account = context(history=history, requests={"BTC/USDT": (seconds,)})
        seen = review([order("1")], account, limits(max_orders_per_minute=1))
        assert seen.reviewed[0].verdict is verdict


def test_strategy_inside_its_quota_is_held_to_nothing() -> None:
    """It asks for 10% of 50%; an order of 30% is another rule's affair."""
    account = context(contributions={"BTC/USDT": {"t/1": 0.1}}, quotas={"t/1": 0.5})
    assert review([order("3")], account, limits()).reviewed[0].verdict is RiskVerdict.ALLOW


def test_position_limit_of_zero_is_refused() -> None:
    """Zero would deny every order of the symbol: leave the symbol out of the universe instead."""
    with pytest.raises(ValidationError, match="above zero"):
        RiskLimits(max_position={"BTC/USDT": Decimal(0)})


def test_memory_counts_the_minute_and_the_hour_as_the_ledger_does() -> None:
    """An order of exactly a minute ago is out of the minute. One of an hour ago is in the hour."""
    memory = AccountMemory(ACTIVE)
    memory.trades = [
        (SLOT - timedelta(hours=1), Decimal(5)),
        (SLOT - timedelta(minutes=1), Decimal(7)),
    ]
    history = memory.history(SLOT)
    assert (history.orders_last_minute, history.traded_last_hour) == (0, 12)
