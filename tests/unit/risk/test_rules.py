"""Each rule with the order before it and what is left after it. Equity is 1,000, and every price is
100 unless a case differs.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.cost_basis import cost_bases, entry_prices
from penstock.core.halts import TradingState
from penstock.core.orders import Fill, Side
from penstock.core.proposals import ProposedOrder, SeenBar
from penstock.core.risk_records import PositionMark, RiskHistory, RiskVerdict
from penstock.core.valuation import Price, PriceState
from penstock.risk.limits import LossLimit, RiskLimits
from penstock.risk.losses import breaches
from penstock.risk.memory import AccountMemory
from penstock.risk.protection import advanced_marks, positions_to_close
from penstock.risk.review import ReviewedOrder, review
from penstock.risk.rules import RiskContext
from penstock.testing.risk import ACTIVE, SLOT, context, limits, order, perpetual

WIDE = limits()
ONE_HELD = {"BTC/USDT": Decimal(1)}


def judged(wanted: ProposedOrder, account: RiskContext, limits: RiskLimits) -> ReviewedOrder:
    return review([wanted], account, limits).reviewed[0]


@pytest.mark.parametrize(
    ("name", "account", "bound", "before", "after", "verdict"),
    [
        (
            "max_position",
            {"positions": ONE_HELD},
            {"max_position": {"BTC/USDT": Decimal(3)}},
            "5",
            "2",
            RiskVerdict.SHRINK,
        ),
        (
            "max_position_notional",
            {"positions": ONE_HELD},
            {"max_position_notional": Decimal(250)},
            "5",
            "1.5",
            RiskVerdict.SHRINK,
        ),
        (
            "max_weight",
            {"positions": ONE_HELD},
            {"max_weight": Decimal("0.3")},
            "5",
            "2",
            RiskVerdict.SHRINK,
        ),
        (
            "max_account_notional",
            {"positions": ONE_HELD},
            {"max_account_notional": Decimal(350)},
            "5",
            "2.5",
            RiskVerdict.SHRINK,
        ),
        (
            "max_gross",
            {"positions": ONE_HELD},
            {"max_gross": Decimal("0.4")},
            "5",
            "3",
            RiskVerdict.SHRINK,
        ),
        (
            "max_net",
            {"positions": ONE_HELD},
            {"max_net": Decimal("0.4")},
            "5",
            "3",
            RiskVerdict.SHRINK,
        ),
        (
            "max_order_notional",
            {},
            {"max_order_notional": Decimal(300)},
            "5",
            "3",
            RiskVerdict.SHRINK,
        ),
        (
            "max_weight",
            {"positions": ONE_HELD},
            {"max_weight": Decimal("0.1")},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "strategy_quota",
            {
                "contributions": {"BTC/USDT": {"t/1": 0.5}, "ETH/USDT": {"t/1": 0.5}},
                "quotas": {"t/1": 0.5},
            },
            {},
            "5",
            "2.5",
            RiskVerdict.SHRINK,
        ),
        (
            "daily_loss",
            {"history": RiskHistory(day_start=Decimal(1053))},
            {},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        ("drawdown", {"history": RiskHistory(peak=Decimal(1251))}, {}, "5", None, RiskVerdict.DENY),
        (
            "price_collar",
            {"mids": {"BTC/USDT": Decimal(70)}},
            {"price_collar": Decimal("0.2")},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "price_collar",
            {"unquoted": "no answer"},
            {"price_collar": Decimal("0.2")},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "volatility_filter",
            {"seen": {"BTC/USDT": SeenBar(SLOT, 100.0, 0.31)}},
            {"max_daily_volatility": Decimal("0.3")},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "stale_bars",
            {"seen": {"BTC/USDT": SeenBar(SLOT - timedelta(hours=1), 100.0)}},
            {},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "max_orders_per_minute",
            {"history": RiskHistory(orders_last_minute=10)},
            {"max_orders_per_minute": 10},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "max_orders_per_minute",
            {"requests": {"BTC/USDT": (0.0, 20.0, 40.0, 60.0)}},
            {"max_orders_per_minute": 2},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "max_orders_per_day",
            {
                "requests": {"BTC/USDT": (0.0, 20.0, 40.0, 60.0)},
                "history": RiskHistory(orders_today=7),
            },
            {"max_orders_per_day": 10},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "max_orders_per_day",
            {"history": RiskHistory(orders_today=10)},
            {"max_orders_per_day": 10},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "target_jump",
            {
                "weights": {"BTC/USDT": 0.9},
                "history": RiskHistory(targets=({"BTC/USDT": 0.1}, {"ETH/USDT": 0.5})),
            },
            {"max_target_jump": Decimal("0.7")},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "turnover_burst",
            {"history": RiskHistory(traded_last_hour=Decimal(1600))},
            {"max_hourly_turnover": Decimal(2)},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "stop_cooldown",
            {
                "history": RiskHistory(
                    marks={"BTC/USDT": PositionMark(stopped_at=SLOT - timedelta(hours=1))}
                )
            },
            {"stop_loss": Decimal("0.1"), "stop_cooldown_minutes": 90.0},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "kill_switch",
            {"halt": replace(ACTIVE, state=TradingState.HALTED)},
            {},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        (
            "kill_switch",
            {"halt": replace(ACTIVE, state=TradingState.REDUCE_ONLY)},
            {},
            "5",
            None,
            RiskVerdict.DENY,
        ),
        ("locked_instrument", {"locks": {"BTC": "deposit"}}, {}, "5", None, RiskVerdict.DENY),
    ],
)
def test_order_before_and_after_a_rule(
    name: str,
    account: dict[str, Any],
    bound: dict[str, Any],
    before: str,
    after: str | None,
    verdict: RiskVerdict,
) -> None:
    """Only the named rule has a finding. It has a reason and leaves what it allows. Inside its
    limit the same order passes unchanged.
    """
    seen = judged(order(before), context(**account), limits(**bound))
    assert {reason.rule for reason in seen.findings} == {name}, seen
    assert all(reason.reason for reason in seen.findings)
    assert seen.order.quantity == Decimal(before)
    assert seen.verdict is verdict
    assert (None if seen.passed is None else seen.passed.quantity) == (
        None if after is None else Decimal(after)
    )
    free = judged(order(before), context(), WIDE)
    assert (free.verdict, free.passed, free.findings) == (RiskVerdict.ALLOW, order(before), ())


@pytest.mark.parametrize(
    "account",
    [
        {"history": RiskHistory(day_start=Decimal(2000), peak=Decimal(2000))},
        {"positions": {"BTC/USDT": Decimal(9)}},
        {"seen": {"BTC/USDT": SeenBar(SLOT, 100.0, 9.0)}},
        {"halt": replace(ACTIVE, state=TradingState.REDUCE_ONLY)},
    ],
)
def test_order_that_reduces_passes_whatever_stops_others(account: dict[str, Any]) -> None:
    """What makes a position smaller is never held by a limit on making it larger."""
    bound = limits(max_weight=Decimal("0.1"), max_gross=Decimal("0.1"), max_net=Decimal("0.1"))
    long = {"positions": {"BTC/USDT": Decimal(5)}} | account
    assert judged(order("5", Side.SELL), context(**long), bound).verdict is RiskVerdict.ALLOW
    short = perpetual(**account | {"positions": {"BTC/USDT": Decimal(-5)}})
    assert judged(order("5", Side.BUY), short, bound).verdict is RiskVerdict.ALLOW
    assert judged(order("5", Side.SELL), short, bound).verdict is RiskVerdict.DENY


@pytest.mark.parametrize(
    ("history", "equity"),
    [
        (RiskHistory(day_start=Decimal(1052)), 1000),
        (RiskHistory(peak=Decimal(1249)), 1000),
        (RiskHistory(day_start=Decimal(1000), peak=Decimal(1000), transferred=Decimal(-500)), 490),
        (RiskHistory(), 100),
    ],
)
def test_loss_inside_its_limit_passes(history: RiskHistory, equity: int) -> None:
    """Just under 5% a day and 20% from the peak; money that was taken out is no loss."""
    account = context(history=history, equity=Decimal(equity))
    assert judged(order("0.1"), account, WIDE).verdict is RiskVerdict.ALLOW


def test_orders_of_one_plan_are_counted_one_by_one() -> None:
    """Two of five orders fit into what is left of the minute."""
    account = context(history=RiskHistory(orders_last_minute=8))
    approved = review([order("0.1") for _ in range(5)], account, limits(max_orders_per_minute=10))
    assert [each.verdict for each in approved.reviewed] == [RiskVerdict.ALLOW] * 2 + [
        RiskVerdict.DENY
    ] * 3


@pytest.mark.parametrize(
    ("ahead", "done", "limit", "passes"),
    [
        ((0.0, 20.0, 40.0, 60.0), 0, 3, True),  # the fourth leaves when the first is a minute old
        ((0.0, 20.0, 40.0, 60.0), 1, 3, False),
        ((0.0, 60.0, 120.0), 2, 3, True),  # what was done is forgotten when the second leaves
        ((30.0, 70.0, 80.0, 85.0), 0, 3, False),  # the busiest minute is not the first one
    ],
)
def test_requests_of_a_worked_order_count_in_the_minutes_they_leave_in(
    ahead: tuple[float, ...], done: int, limit: int, passes: bool
) -> None:
    """A slow order is many requests, and no sixty seconds may have more than the limit."""
    account = context(requests={"BTC/USDT": ahead}, history=RiskHistory(orders_last_minute=done))
    seen = judged(order(), account, limits(max_orders_per_minute=limit))
    assert seen.verdict is (RiskVerdict.ALLOW if passes else RiskVerdict.DENY)


def test_worked_orders_of_one_plan_share_the_minute() -> None:
    """Three requests each: the first order fits into five, the second does not."""
    ahead = (0.0, 10.0, 20.0)
    account = context(requests={"BTC/USDT": ahead, "ETH/USDT": ahead})
    approved = review(
        [order("0.1"), order("0.1", symbol="ETH/USDT")], account, limits(max_orders_per_minute=5)
    )
    assert [each.verdict for each in approved.reviewed] == [RiskVerdict.ALLOW, RiskVerdict.DENY]
    assert "6 orders in a minute" in approved.findings[0].reason


@pytest.mark.parametrize(
    ("mid", "close", "said"),
    [
        (100, 100.0, None),
        (70, 100.0, "42.9% from the last mid 70;"),
        (100, 70.0, "from the last close 70;"),
        (None, 100.0, None),
        (None, 70.0, "from the last close 70 (the venue quotes no mid);"),
    ],
)
def test_collar_holds_against_the_mid_and_the_close(
    mid: int | None, close: float, said: str | None
) -> None:
    """A price far from either is not traded; without a mid the close alone counts, and the reason
    says so.
    """
    account = context(
        mids={} if mid is None else {"BTC/USDT": Decimal(mid)},
        seen={"BTC/USDT": SeenBar(SLOT, close)},
    )
    seen = judged(order(), account, limits(price_collar=Decimal("0.2")))
    assert seen.verdict is (RiskVerdict.ALLOW if said is None else RiskVerdict.DENY)
    assert said is None or said in seen.findings[0].reason


@pytest.mark.parametrize(
    ("mid", "close", "side", "passes"),
    [
        (100, 130.0, Side.SELL, True),
        (100, 130.0, Side.BUY, False),
        (130, 100.0, Side.SELL, False),
        (None, 130.0, Side.SELL, False),
    ],
)
def test_collar_lets_a_reduction_pass_that_bid_and_ask_confirm(
    mid: int | None, close: float, side: Side, passes: bool
) -> None:
    """A position at 100 whose close was 130: the venue's own mid decides for what reduces."""
    account = context(
        positions=ONE_HELD,
        mids={} if mid is None else {"BTC/USDT": Decimal(mid)},
        seen={"BTC/USDT": SeenBar(SLOT, close)},
    )
    seen = judged(order("0.5", side), account, limits(price_collar=Decimal("0.2")))
    assert seen.verdict is (RiskVerdict.ALLOW if passes else RiskVerdict.DENY)


@pytest.mark.parametrize("side", Side)
def test_collar_holds_where_bid_and_ask_are_far_apart(side: Side) -> None:
    """Bid 1 and ask 199 have a middle of 100: an order at the market would not trade there."""
    account = context(
        positions=ONE_HELD,
        mids={"BTC/USDT": Decimal(100)},
        half_spreads={"BTC/USDT": Decimal("0.99")},
    )
    seen = judged(order("0.5", side), account, limits(price_collar=Decimal("0.2")))
    assert seen.verdict is RiskVerdict.DENY
    assert "bid and ask are 99.0% from the middle" in seen.findings[0].reason


IN_DOUBT = Price(Decimal(100), PriceState.IN_DOUBT, "the last price is 150")


def test_unknown_equity_lets_only_reductions_at_confirmed_prices_pass() -> None:
    """ETH is in doubt: BTC may be sold and not bought, ETH neither, unless risk closes it."""
    account = context(
        positions={**ONE_HELD, "ETH/USDT": Decimal(1)},
        unsure={"ETH/USDT": IN_DOUBT},
        unknown={"ETH/USDT": IN_DOUBT.reason},
    )
    orders = {
        (symbol, side): order("0.5", side, symbol)
        for symbol in ("BTC/USDT", "ETH/USDT")
        for side in Side
    }
    passed = {key for key, each in orders.items() if judged(each, account, WIDE).passed}
    assert passed == {("BTC/USDT", Side.SELL)}
    closing = replace(account, exits=frozenset({"ETH/USDT"}))
    assert judged(orders["ETH/USDT", Side.SELL], closing, WIDE).passed is not None


def test_no_loss_limit_and_no_stop_acts_on_what_is_unknown() -> None:
    """A loss of half and a price under the stop, both from a price in doubt. A stop of the other
    symbol, whose price is confirmed, acts.
    """
    bound = limits(stop_loss=Decimal("0.1"), drawdown=LossLimit(limit=Decimal("0.2"), flatten=True))
    account = context(
        equity=Decimal(500),
        history=RiskHistory(day_start=Decimal(1000), peak=Decimal(1000)),
        positions={**ONE_HELD, "ETH/USDT": Decimal(1)},
        entries={"BTC/USDT": Decimal(200), "ETH/USDT": Decimal(200)},
        unsure={"ETH/USDT": IN_DOUBT},
        unknown={"ETH/USDT": IN_DOUBT.reason},
    )
    assert breaches(account, bound) == ()
    closed = [(each.rule, each.symbol) for each in positions_to_close(account, bound)]
    assert closed == [("stop_loss", "BTC/USDT")]


def test_position_that_the_venue_does_not_trade_counts_in_gross_and_is_not_closed() -> None:
    """It has a value and no instrument: limits on exposure see it, and nothing can close it."""
    account = context(
        positions={"GONE/USDT": Decimal(5)},
        prices={"BTC/USDT": Decimal(100), "GONE/USDT": Decimal(100)},
    )
    assert (account.gross, account.net) == (500, 500)
    halted = replace(account, halt=replace(ACTIVE, state=TradingState.HALTED, flatten=True))
    assert positions_to_close(halted, WIDE) == ()


def test_first_rebalance_is_no_anomaly_and_a_change_that_stands_is_none_either() -> None:
    """The first targets after cash have nothing to compare with; the second slot trades them."""
    bound, wanted = limits(max_target_jump=Decimal("0.5")), {"BTC/USDT": 0.9}
    assert judged(order(), context(weights=wanted), bound).verdict is RiskVerdict.ALLOW
    stood = RiskHistory(targets=(wanted, {"ETH/USDT": 0.9}))
    assert (
        judged(order(), context(weights=wanted, history=stood), bound).verdict is RiskVerdict.ALLOW
    )
    back = RiskHistory(targets=({"ETH/USDT": 0.9}, wanted))
    assert (
        judged(order(), context(weights=wanted, history=back), bound).verdict is RiskVerdict.ALLOW
    )


def test_quota_holds_one_strategy_and_leaves_the_other() -> None:
    """Two strategies want a symbol; the one inside its quota gets its whole part."""
    account = context(
        contributions={"BTC/USDT": {"a/1": 0.4, "b/1": 0.2}, "ETH/USDT": {"a/1": 0.4}},
        quotas={"a/1": 0.4, "b/1": 0.4},
    )
    seen = judged(order("6"), account, WIDE)
    assert seen.passed is not None
    assert seen.passed.quantity == Decimal("4")
    assert "a/1 asks for 80.0%" in seen.findings[0].reason


@pytest.mark.parametrize(
    ("rule", "bound", "price", "high", "closes"),
    [
        ("stop_loss", {"stop_loss": Decimal("0.1")}, 90, None, True),
        ("stop_loss", {"stop_loss": Decimal("0.1")}, 91, None, False),
        ("take_profit", {"take_profit": Decimal("0.5")}, 150, None, True),
        ("take_profit", {"take_profit": Decimal("0.5")}, 149, None, False),
        ("trailing_stop", {"trailing_stop": Decimal("0.2")}, 120, 150, True),
        ("trailing_stop", {"trailing_stop": Decimal("0.2")}, 121, 150, False),
        ("trailing_stop", {"trailing_stop": Decimal("0.2")}, 80, None, True),
    ],
)
def test_position_is_closed_at_its_stop(
    rule: str, bound: dict[str, Any], price: int, high: int | None, closes: bool
) -> None:
    """Bought at 100: the verdict is FLATTEN at the limit and nothing just before it."""
    marks = {"BTC/USDT": PositionMark(None if high is None else Decimal(high))}
    account = context(
        positions=ONE_HELD,
        prices={"BTC/USDT": Decimal(price)},
        entries={"BTC/USDT": Decimal(100)},
        history=RiskHistory(marks=marks),
    )
    words = positions_to_close(account, limits(**bound))
    assert [(word.rule, word.symbol, word.verdict) for word in words] == (
        [(rule, "BTC/USDT", RiskVerdict.CLOSE)] if closes else []
    )


def test_exit_passes_a_stale_bar_a_collar_and_a_pace() -> None:
    """A stop's sell passes rules that deny an ordinary sell; a halt and a lock still deny it."""
    account = context(
        positions=ONE_HELD,
        seen={"BTC/USDT": SeenBar(SLOT - timedelta(days=3), 500.0)},
        history=RiskHistory(orders_last_minute=99),
    )
    bound = limits(
        price_collar=Decimal("0.2"), max_orders_per_minute=1, max_order_notional=Decimal(10)
    )
    assert judged(order("1", Side.SELL), account, bound).verdict is RiskVerdict.DENY
    closing = replace(account, exits=frozenset({"BTC/USDT"}))
    assert judged(order("1", Side.SELL), closing, bound).passed == order("1", Side.SELL)
    assert (
        judged(order("1", Side.SELL), replace(closing, locks={"BTC": "deposit"}), bound).verdict
        is RiskVerdict.DENY
    )


def test_breached_loss_flattens_everything_where_the_limit_says_so() -> None:
    """The rule closes every held symbol. Without `flatten` it closes none."""
    account = context(
        positions={"BTC/USDT": Decimal(1), "ETH/USDT": Decimal(2)},
        history=RiskHistory(peak=Decimal(2000)),
    )
    harsh = limits(drawdown=LossLimit(limit=Decimal("0.2"), state="halted", flatten=True))
    assert [(word.rule, word.symbol) for word in positions_to_close(account, harsh)] == [
        ("drawdown", "BTC/USDT"),
        ("drawdown", "ETH/USDT"),
    ]
    assert positions_to_close(account, WIDE) == ()


def test_entry_is_the_average_paid_for_what_is_held() -> None:
    """Sells leave the average, and a position that was closed starts again. A fee in the base asset
    makes the rest dearer.
    """

    def fill(side: Side, quantity: str, price: int, fee: str = "0") -> Fill:
        return Fill(
            "", "", "BTC/USDT", side, Decimal(quantity), Decimal(price), Decimal(fee), "BTC", SLOT
        )

    bought = [fill(Side.BUY, "1", 100), fill(Side.BUY, "1", 200), fill(Side.SELL, "1", 500)]
    closed = [*bought, fill(Side.SELL, "1", 500)]
    again = [*closed, fill(Side.BUY, "2", 80, "0.4")]
    for fills, price in ((bought, 150), (again, 100)):
        assert entry_prices(cost_bases(fills)) == {"BTC/USDT": Decimal(price)}
    assert cost_bases(closed) == {}


def test_marks_rise_with_the_price_and_are_forgotten_with_the_position() -> None:
    """The high only rises. A position whose stop fired keeps when that was, and its high as long as
    something of it can be sold.
    """
    marks = {"BTC/USDT": PositionMark(Decimal(120)), "ETH/USDT": PositionMark(Decimal(90))}
    prices = {"BTC/USDT": Decimal(110), "ETH/USDT": Decimal(95)}
    after = advanced_marks(marks, {"BTC/USDT": Decimal(1)}, prices, {})
    assert after == {"BTC/USDT": PositionMark(Decimal(120))}
    stopped = advanced_marks(
        marks, {"ETH/USDT": Decimal(1)}, prices, {"BTC/USDT": SLOT, "ETH/USDT": SLOT}
    )
    assert stopped == {
        "BTC/USDT": PositionMark(None, SLOT),
        "ETH/USDT": PositionMark(Decimal(95), SLOT),
    }


def test_day_of_a_slot_at_midnight_is_the_one_that_ends() -> None:
    """The day of a daily slot is the one that ends, not the one that has just begun."""
    midnight = datetime(2024, 3, 2, tzinfo=UTC)
    memory = AccountMemory(ACTIVE)
    for days, equity in ((-2, 900), (-1, 1000), (0, 950)):
        memory.note(midnight + timedelta(days=days), Decimal(equity), {})
    assert memory.history(midnight).day_start == 1000
    assert memory.history(midnight + timedelta(minutes=1)).day_start == 950
    assert memory.history(midnight).peak == 1000


def test_every_reason_is_kept_as_a_verdict_with_both_quantities() -> None:
    """The record holds the wanted quantity, the passed one, and each rule's reason."""
    approved = review(
        [order("5")], context(), limits(max_order_notional=Decimal(300), max_weight=Decimal("0.4"))
    )
    assert [(v.verdict, v.rule, v.wanted, v.passed) for v in approved.verdicts] == [
        (RiskVerdict.SHRINK, "max_order_notional", 5, 3),
        (RiskVerdict.SHRINK, "max_weight", 5, 3),
    ]
