"""Parent orders and risk. Risk reviews every wave of children against the account as it is then. A
child that fails ends its order.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.breaks import Break, BreakKind
from penstock.core.errors import VenueUnavailableError
from penstock.core.halts import TradingState
from penstock.core.leases import Lease
from penstock.core.orders import OrderState, Side
from penstock.core.rebalances import RebalanceStatus
from penstock.core.risk_records import RiskVerdict
from penstock.core.timeframes import Timeframe
from penstock.execution.algorithms import Twap
from penstock.execution.rebalance.run import rebalance
from penstock.risk.limits import LossLimit, RiskLimits
from penstock.testing.world import World
from tests.unit.execution.algorithms.test_phase_worker import TWAP, Killed, worked

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
BTC, ETH = "BTC/USDT", "ETH/USDT"


def later(world: World, seconds: float, act: Callable[[], object]) -> None:
    """Have `act` happen once while the session waits, so many seconds into the slot's work."""
    pause, begun = world.session.pause, world.clock.now()
    done: list[object] = []

    def wait(length: float) -> None:
        pause(length)
        if not done and (world.clock.now() - begun).total_seconds() >= seconds:
            done.append(act())

    world.session = replace(world.session, pause=wait)


def lock(world: World, found: Break) -> None:
    """Have a break opened by whoever holds the account's lease now."""
    ledger, now = world.ledger, world.clock.now()
    lease = Lease("test", ledger.holder, ledger.token, now + timedelta(minutes=1))
    world.control_store.open_break(lease, found, now)


def move(world: World, symbol: str, factor: str) -> Callable[[], None]:
    def act() -> None:
        world.venue.prices[symbol] *= Decimal(factor)

    return act


def run(
    world: World,
    weights: dict[str, float],
    slot: datetime = SLOT,
    limits: dict[str, Any] | None = None,
) -> Any:
    known = {"max_gross": 1, "max_weight": 1, **(limits or {})}
    return rebalance(
        world.session, replace(world.inputs(weights, slot), limits=RiskLimits.model_validate(known))
    )


def bought(world: World, symbol: str = BTC) -> list[Decimal]:
    return [
        order.quantity
        for order in world.venue.submitted
        if order.symbol == symbol and order.side is Side.BUY
    ]


def verdicts(world: World) -> list[tuple[str, str, RiskVerdict]]:
    return [(said.symbol, said.rule, said.verdict) for said in world.control_store.verdicts]


@pytest.fixture
def world(world: World) -> Any:
    """The world with 10,000 USDT on record for yesterday, its orders worked as four slices, ten
    seconds apart.
    """
    world.control_store.equity[SLOT - timedelta(days=1)] = Decimal(10_000)
    return worked(world, TWAP)


@pytest.mark.parametrize("name", ["daily_loss", "drawdown"])
def test_loss_limit_passed_in_mid_twap_ends_the_buys_and_sets_the_state(
    world: World, name: str
) -> None:
    """Half is bought when the price falls by 15%. Nothing more is sent, the missing quantity is
    recorded, and buys are forbidden.
    """
    later(world, 12, move(world, BTC, "0.85"))
    limit = LossLimit(limit=Decimal("0.05"), state="reduce_only")
    report = run(world, {BTC: 0.9}, limits={"daily_loss": None, "drawdown": None, name: limit})
    kept = world.session.parent_orders.kept  # type: ignore[attr-defined]  # of the store in memory
    parent = next(iter(kept.values())).order
    filled = sum((fill.quantity for fill in world.venue.trades), Decimal(0))
    assert len(bought(world)) == 2
    assert filled / parent.quantity == pytest.approx(Decimal("0.5"), abs=Decimal("0.001"))
    assert world.control_store.halt.state is TradingState.REDUCE_ONLY
    assert world.control_store.halt.by == f"risk rule {name}"
    said = next(word for word in world.control_store.verdicts if word.rule == name)
    assert (said.verdict, said.wanted, said.passed) == (
        RiskVerdict.DENY,
        parent.quantity - filled,
        0,
    )
    assert "the rest of the order is not sent" in said.reason
    assert report.status is RebalanceStatus.FAILED
    assert [order.state for order in report.orders] == [
        OrderState.FILLED,
        OrderState.FILLED,
        OrderState.CANCELED,
    ]
    assert {word.rule for word in report.findings} == {name, "kill_switch"}


def test_loss_limit_without_a_state_denies_each_order_once(world: World) -> None:
    """The account stays active. Each of two orders ends at its own next child, with one verdict,
    and the slot is DONE.
    """
    later(world, 12, move(world, BTC, "0.82"))
    report = run(world, {BTC: 0.7, ETH: 0.25})
    assert (len(bought(world)), len(bought(world, ETH))) == (2, 2)
    assert report.status is RebalanceStatus.DONE
    assert world.control_store.halt.state is TradingState.ACTIVE
    assert sorted(verdicts(world)) == [
        (BTC, "daily_loss", RiskVerdict.DENY),
        (ETH, "daily_loss", RiskVerdict.DENY),
    ]


def test_price_that_falls_less_than_the_limit_changes_nothing(world: World) -> None:
    """The loss is 4% under a limit of 5%. All four children go out, and no rule has a finding."""
    later(world, 12, move(world, BTC, "0.91"))
    report = run(world, {BTC: 0.9})
    assert len(bought(world)) == 4
    assert report.status is RebalanceStatus.DONE
    assert verdicts(world) == []


def test_cash_that_is_in_doubt_in_mid_plan_is_no_loss(world: World) -> None:
    """15% leave the venue unexplained while an order is worked. That is a break, not a loss of the
    day, and the work goes on.
    """
    found = Break("test", "USDT", BreakKind.WITHDRAWAL, "drill")

    def withdraw() -> None:
        world.venue.assets["USDT"] -= 1500
        lock(world, found)

    later(world, 8, withdraw)
    run(world, {BTC: 0.5})
    assert len(bought(world)) == 4
    assert verdicts(world) == []


def test_reduce_only_in_mid_plan_ends_buys(world: World) -> None:
    """An operator allows sells alone: no further child of a buy leaves, and the slot says who and
    why.
    """
    later(
        world,
        12,
        lambda: world.control_store.set_trading_state(
            "test", TradingState.REDUCE_ONLY, "drill", "ada", world.clock.now()
        ),
    )
    report = run(world, {BTC: 0.5})
    assert len(bought(world)) == 2
    assert report.status is RebalanceStatus.FAILED
    assert "drill (set by ada)" in report.reason


def test_reduce_only_in_mid_plan_lets_sells_go_on(world: World) -> None:
    """The same state is set while sells are worked. All four leave, and the buys after them are
    denied.
    """
    run(world, {BTC: 0.9})
    world.clock.at += timedelta(days=1)
    later(
        world,
        12,
        lambda: world.control_store.set_trading_state(
            "test", TradingState.REDUCE_ONLY, "drill", "ada", world.clock.now()
        ),
    )
    report = run(world, {BTC: 0.1, ETH: 0.5}, SLOT + timedelta(days=1))
    assert [order.request.side for order in report.orders] == [Side.SELL] * 4
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert (ETH, "kill_switch", RiskVerdict.DENY) in verdicts(world)


@pytest.mark.parametrize("subject", [BTC, "BTC"])
def test_lock_that_appears_in_mid_plan_ends_that_symbol_alone(world: World, subject: str) -> None:
    """A break opened while two orders are worked ends the one on its symbol. The other is worked to
    its end.
    """
    found = Break("test", subject, BreakKind.BALANCE_MISMATCH, "drill")
    later(world, 12, lambda: lock(world, found))
    report = run(world, {BTC: 0.4, ETH: 0.4})
    assert (len(bought(world)), len(bought(world, ETH))) == (2, 4)
    assert report.status is RebalanceStatus.DONE
    assert verdicts(world) == [(BTC, "locked_instrument", RiskVerdict.DENY)]


@pytest.mark.parametrize("rule", ["stop_loss", "trailing_stop"])
def test_stop_that_fires_in_mid_plan_ends_the_buys_and_the_next_slot_sells(
    world: World, rule: str
) -> None:
    """The position was bought at 50,000; the price is 47,000. No more is bought, the alert names
    what follows, and the next slot closes the position.
    """
    later(world, 12, move(world, BTC, "0.94"))
    report = run(world, {BTC: 0.5}, limits={rule: "0.05"})
    assert len(bought(world)) == 2
    assert verdicts(world) == [(BTC, rule, RiskVerdict.DENY)]
    (alert,) = report.alerts
    assert f"no longer bought by {rule}" in alert
    assert "the next slot closes the position" in alert
    world.clock.at += timedelta(days=1)
    run(world, {BTC: 0.5}, SLOT + timedelta(days=1), limits={rule: "0.05"})
    assert (BTC, rule, RiskVerdict.CLOSE) in verdicts(world)
    assert world.ledger.balances("test").get("BTC", Decimal(0)) < Decimal("0.0001")


@pytest.mark.parametrize(
    ("timeframe", "limits", "sent"),
    [
        (Timeframe.M1, {}, 2),
        (Timeframe.M1, {"max_bar_lag_seconds": 60}, 4),
        (Timeframe.H1, {}, 4),
        (None, {}, 4),
    ],
)
def test_bars_age_while_an_order_is_worked(
    world: World, timeframe: Timeframe | None, limits: dict[str, Any], sent: int
) -> None:
    """The slices are due 45, 55, 65 and 75 s after the slot. Once the next minute's bar has closed,
    what was decided on is stale, and the next slot decides anew.
    """
    world.clock.at = SLOT + timedelta(seconds=45)
    known = RiskLimits.model_validate({"max_gross": 1, "max_weight": 1, **limits})
    report = rebalance(
        world.session, replace(world.inputs({BTC: 0.4}), limits=known, timeframe=timeframe)
    )
    assert report.status is RebalanceStatus.DONE
    assert len(bought(world)) == sent
    assert verdicts(world) == [(BTC, "stale_bars", RiskVerdict.DENY)] * (sent < 4)


def test_concentration_limit_reached_in_mid_plan_cuts_the_last_child(world: World) -> None:
    """The price rises while a third of equity is bought. The child that would pass the limit is cut
    to it and is the last.
    """
    later(world, 12, move(world, BTC, "1.15"))
    run(world, {BTC: 0.33}, limits={"max_weight": "0.33"})
    quantities = bought(world)
    assert len(quantities) == 4
    assert 0 < quantities[-1] < quantities[0] * Decimal("0.6")
    held, price = world.ledger.balances("test"), world.venue.prices[BTC]
    weight = held["BTC"] * price / (held["BTC"] * price + held["USDT"])
    assert Decimal("0.329") < weight <= Decimal("0.33")
    assert verdicts(world) == [(BTC, "max_weight", RiskVerdict.SHRINK)]


def test_slow_sells_that_an_urgent_run_takes_up_are_judged_too(world: World) -> None:
    """A run is killed while it sells and resumed under a stop. A break appears before the next
    slice is due: that slice does not leave.
    """
    run(world, {BTC: 0.9})
    world.clock.at += timedelta(days=1)

    def kill(order: Any) -> None:
        raise Killed

    world.venue.after = kill
    with pytest.raises(Killed):
        run(world, {BTC: 0.1}, SLOT + timedelta(days=1))
    world.venue.after, world.ledger.holder = lambda _: None, ""
    move(world, BTC, "0.95")()
    found = Break("test", BTC, BreakKind.BALANCE_MISMATCH, "drill")
    later(world, 3, lambda: lock(world, found))
    stop = {"stop_loss": "0.04", "daily_loss": None}
    run(world, {BTC: 0.1}, SLOT + timedelta(days=1), limits=stop)
    sold = [order for order in world.venue.submitted if order.side is Side.SELL]
    assert len(sold) == 1
    assert (BTC, "locked_instrument", RiskVerdict.DENY) in verdicts(world)


def test_orders_that_others_sent_count_before_each_child(world: World) -> None:
    """The plan fitted into the day's number of orders. Other orders were sent since, so that its
    third child no longer fits.
    """
    history = world.control_store.risk_history
    others: list[int] = []

    def counted(account: str, slot: datetime, now: datetime) -> Any:
        known = history(account, slot, now)
        return replace(known, orders_today=known.orders_today + len(others))

    world.control_store.risk_history = counted
    later(world, 12, lambda: others.extend(range(2)))
    run(world, {BTC: 0.5}, limits={"max_orders_per_day": 4})
    assert len(bought(world)) == 2
    assert verdicts(world) == [(BTC, "max_orders_per_day", RiskVerdict.DENY)]


def test_price_outside_the_collar_costs_one_piece_its_moment(world: World) -> None:
    """At the third slice the price is 30% off, and nothing is traded on it. With the right price
    the fourth slice makes it up.
    """
    later(world, 22, move(world, BTC, "1.3"))
    later(world, 26, lambda: world.venue.prices.update({BTC: Decimal(50_000)}))
    # slices at 0, 25, 50 and 75 s
    world.session = replace(
        world.session,
        style=Twap(duration_seconds=100, slices=4),
    )
    report = run(world, {BTC: 0.5})
    quantities = bought(world)
    assert len(quantities) == 3
    assert quantities[1] == pytest.approx(2 * quantities[0], abs=Decimal("0.0001"))
    assert report.status is RebalanceStatus.DONE
    assert verdicts(world) == [(BTC, "price_collar", RiskVerdict.DENY)]


def test_quotes_that_cannot_be_read_for_a_while_do_not_end_the_work(world: World) -> None:
    """The venue gives no quotes for two slices. None is sent without quotes, there is one alert,
    and the last slice makes up for them.
    """
    quotes = world.venue.quotes
    silent: list[datetime] = []

    def gone(symbols: Any) -> Any:
        if silent and silent[0] <= world.clock.now() < silent[0] + timedelta(seconds=15):
            raise VenueUnavailableError("no answer in 5 s")
        return quotes(symbols)

    world.venue.quotes = gone
    later(world, 8, lambda: silent.append(world.clock.now()))
    report = run(world, {BTC: 0.5})
    quantities = bought(world)
    assert len(quantities) == 2
    assert quantities[1] == pytest.approx(3 * quantities[0], abs=Decimal("0.0001"))
    assert sum("quotes cannot be read" in alert for alert in report.alerts) == 1


def test_wave_costs_one_read_of_prices_and_waiting_costs_none(world: World) -> None:
    """Two orders of four slices: prices are read once per instant, only where children are due, and
    balances never.
    """
    asked: dict[str, list[datetime]] = {"last_prices": [], "balances": [], "open_orders": []}
    without_quotes = RiskLimits(max_gross=Decimal(1), max_weight=Decimal(1), price_collar=None)
    for name, calls in asked.items():
        call = getattr(world.venue, name)

        def noted(*args: Any, call: Any = call, calls: list[datetime] = calls) -> Any:
            calls.append(world.clock.now())
            return call(*args)

        setattr(world.venue, name, noted)
    rebalance(world.session, replace(world.inputs({BTC: 0.4, ETH: 0.4}), limits=without_quotes))
    sent = sorted({order.created_at for order in world.ledger.book.values()})
    assert len(sent) == 4
    between = {
        name: [at for at in calls if sent[0] < at < sent[-1]] for name, calls in asked.items()
    }
    assert between["last_prices"] == sent[1:-1]
    assert between["balances"] == between["open_orders"] == []
