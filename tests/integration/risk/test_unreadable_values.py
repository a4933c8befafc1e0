"""What cannot be read makes equity unknown, never smaller: a suspended symbol, a delisted one, a
new name, an asset without a market, wrong prints, coins that left. All over the wire of the
practice exchange.

The account of 100,000 buys 20% BTC, 20% ETH and 30% SOL with a fee of 0.1%, and has 99,930 then.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.core.bars import BARS_SCHEMA
from penstock.core.breaks import BreakKind
from penstock.core.errors import StoreError
from penstock.core.halts import TradingState
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.execution.algorithms import Twap
from penstock.execution.rebalance.result import RebalanceResult
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.limits import LossLimit, RiskLimits
from penstock.simulation.paper import PaperExchange
from tests.integration.practice_account import AT_LAST_PRICE, BARS, PRICES, SLOT, Account

WEIGHTS: dict[str, float | None] = {"BTC/USDT": 0.2, "ETH/USDT": 0.2, "SOL/USDT": 0.3}
KEEP: dict[str, float | None] = dict.fromkeys(WEIGHTS)
EQUITY = Decimal(99_930)
LIMITS = RiskLimits()
#: Sells everything at a loss that a missing 30% would be.
FLATTENING = LIMITS.model_copy(
    update={
        "drawdown": LossLimit(limit=Decimal("0.2"), state="halted", flatten=True),
        "daily_loss": LossLimit(limit=Decimal("0.05"), state="reduce_only", flatten=True),
    }
)


@pytest.fixture
def held(opened: Callable[..., Account]) -> Account:
    """The account after its first slot."""
    account = opened(fill_model=AT_LAST_PRICE)
    report = account.trade(WEIGHTS, LIMITS)
    assert report.equity_after == pytest.approx(EQUITY, abs=1)
    assert len(report.fills) == 3
    return account


def state_of(account: Account) -> TradingState:
    return account.session.control_store.trading_state(account.session.account).state


def traded(report: RebalanceResult) -> set[tuple[str, Side]]:
    return {(order.request.symbol, order.request.side) for order in report.orders}


def recorded(account: Account) -> list[float]:
    """Return the equity on record, oldest first."""
    history = account.session.control_store.equity_history(account.session.account)
    return [float(equity) for equity in history["equity"].to_list()]


def require_untouched(account: Account, report: RebalanceResult) -> None:
    """Require the right equity, no order, and an account that trades on."""
    assert report.equity_after == pytest.approx(EQUITY, abs=1)
    assert report.orders == ()
    assert state_of(account) is TradingState.ACTIVE
    assert recorded(account)[-1] == pytest.approx(float(EQUITY), abs=1)


@pytest.mark.parametrize("limits", [LIMITS, FLATTENING], ids=["shipped", "flattening"])
def test_suspended_symbol_keeps_its_value_and_locks_itself_only(
    held: Account, limits: RiskLimits
) -> None:
    """SOL, 30% of the account, goes to status BREAK and no price moves: 99,930, no order, ACTIVE.
    SOL is locked and the report says so. The others trade, and SOL does again when it is back.
    """
    held.control.suspend("SOL/USDT")
    report = held.trade(WEIGHTS, limits)
    require_untouched(held, report)
    assert [(each.subject, each.kind) for each in report.breaks] == [
        ("SOL/USDT", BreakKind.INSTRUMENT_CHANGED)
    ]
    said = {each.symbol: each.reason for each in report.skipped}
    assert "last known price 120" in said["SOL/USDT"]
    moved = held.trade({**WEIGHTS, "ETH/USDT": 0.1, "SOL/USDT": 0.0}, limits)
    assert traded(moved) == {("ETH/USDT", Side.SELL)}
    held.control.end_suspensions()
    back = held.trade({**KEEP, "SOL/USDT": 0.0}, limits)
    assert (back.breaks, traded(back)) == ((), {("SOL/USDT", Side.SELL)})


def test_suspended_symbol_counts_in_the_limits_on_exposure(held: Account) -> None:
    """70% are held, 30% of it in a suspended coin. 80% is the most, so BTC grows by 10%, not by
    40%.
    """
    held.control.suspend("SOL/USDT")
    report = held.trade({**KEEP, "BTC/USDT": 0.5}, LIMITS)
    bought = sum(fill.notional for fill in report.fills)
    assert bought == pytest.approx(Decimal(10_000), rel=Decimal("0.02"))
    assert {found.rule for found in report.findings} >= {"max_gross"}


def test_resting_order_of_a_suspended_symbol_does_not_fill(held: Account) -> None:
    """What the candles have of the suspended time did not trade."""
    held.direct.create_order("UP/USDT", "market", "buy", 10)
    order = held.direct.create_order("UP/USDT", "limit", "sell", 1, 105)
    held.control.suspend("UP/USDT")
    held.control.step(seconds=timedelta(days=3))
    assert held.direct.fetch_order(order["id"], "UP/USDT")["status"] == "open"
    held.control.end_suspensions()
    assert held.direct.fetch_order(order["id"], "UP/USDT")["status"] == "open"
    held.control.step(seconds=timedelta(days=2))
    assert held.direct.fetch_order(order["id"], "UP/USDT")["status"] == "closed"


def test_delisted_symbol_keeps_its_value(held: Account) -> None:
    """The venue has no answer about SOL any more: it counts at the last known price."""
    held.control.delist("SOL/USDT")
    require_untouched(held, held.trade(WEIGHTS, FLATTENING))


def test_paper_account_with_an_order_in_a_delisted_symbol_can_be_read(held: Account) -> None:
    """The order waits. The others fill, and the balances are what they are."""
    paper = PaperExchange(held.session.exchange, balances={"USDT": Decimal(1_000)})
    for name, symbol, price in (("a", "SOL/USDT", 100), ("b", "ETH/USDT", 2_000)):
        quantity = Decimal("0.1")
        order = OrderRequest(name, symbol, Side.BUY, OrderType.LIMIT, quantity, Decimal(price))
        assert paper.submit(order).state is OrderState.OPEN
    held.control.delist("SOL/USDT")
    paper.instruments()
    assert paper.balances() == {"USDT": 1_000}
    held.control.print_price("ETH/USDT", 1_900)
    assert paper.balances()["ETH"] > 0
    assert [report.symbol for report in paper.open_orders()] == ["SOL/USDT"]


def test_delisted_symbol_outside_the_universe_counts_at_its_last_trade(held: Account) -> None:
    """No strategy has a bar of it: what the account traded at last is its last known price."""
    held.seen = {symbol: PRICES[symbol] for symbol in ("BTC/USDT", "ETH/USDT")}
    held.control.delist("SOL/USDT")
    report = held.trade({"BTC/USDT": 0.2, "ETH/USDT": 0.2}, FLATTENING)
    require_untouched(held, report)


def rename(account: Account, old: str, new: str) -> None:
    """Have the venue call an asset by another name."""
    quantity = account.session.exchange.balances()[old]
    account.control.delist(f"{old}/USDT")
    account.control.correct(account.key, old, -quantity)
    account.control.correct(account.key, new, quantity)


def test_renamed_asset_keeps_its_value(held: Account) -> None:
    """SOL is called NEW: both are breaks, nothing is sold, and nothing is a loss."""
    rename(held, "SOL", "NEW")
    report = held.trade(WEIGHTS, FLATTENING)
    require_untouched(held, report)
    assert {each.subject for each in report.breaks} >= {"SOL", "NEW"}


def test_renamed_asset_at_a_venue_without_transfers_is_no_withdrawal(held: Account) -> None:
    """A lack is called a withdrawal there. The market is gone too, so equity is unknown: nothing is
    traded, no limit acts, and the alert asks for a new name.
    """
    held.session.exchange.client.has["fetchDeposits"] = False  # type: ignore[attr-defined]
    rename(held, "SOL", "NEW")
    report = held.trade(WEIGHTS, FLATTENING)
    assert report.orders == ()
    assert report.equity_after is None
    assert state_of(held) is TradingState.ACTIVE
    assert any("new name" in alert for alert in report.alerts)
    assert len(recorded(held)) == 1


def test_asset_of_which_no_price_is_known_makes_equity_unknown(
    opened: Callable[..., Account],
) -> None:
    """Nothing is bought until the policy says that it counts nothing."""
    account = opened(balances={"USDT": 100_000, "XYZ": 500}, fill_model=AT_LAST_PRICE)
    report = account.trade(WEIGHTS, LIMITS)
    assert report.orders == ()
    assert report.equity_after is None
    assert recorded(account) == []
    assert any("XYZ/USDT" in alert and "uncounted_assets" in alert for alert in report.alerts)
    named = account.trade(WEIGHTS, LIMITS, RebalancePolicy(uncounted_assets=("XYZ",)))
    assert len(named.fills) == 3
    assert named.equity_after == pytest.approx(EQUITY, abs=1)


@pytest.mark.parametrize("printed", ["75000", "25000", "1", "-5", "0", "NaN", "Infinity", "none"])
@pytest.mark.parametrize("limits", [LIMITS, FLATTENING], ids=["shipped", "flattening"])
def test_wrong_print_is_not_believed(held: Account, printed: str, limits: RiskLimits) -> None:
    """BTC is at 50,000, its bid and ask say so, and one ticker prints something else. ETH is sold
    whole, as decided. Nothing else is traded, no limit acts, and the wrong equity is not recorded.
    What is no price is refused. Bid and ask agree with the close then, and all is traded.
    """
    held.control.print_price("BTC/USDT", printed)
    targets = {"BTC/USDT": 0.1, "ETH/USDT": 0.0, "SOL/USDT": 0.2, "UP/USDT": 0.1}
    report = held.trade(targets, limits)
    if printed in ("75000", "25000", "1"):
        assert traded(report) == {("ETH/USDT", Side.SELL)}
        assert report.equity_after is None
        assert len(recorded(held)) == 1
        assert any("BTC/USDT: the last price is" in alert for alert in report.alerts)
    else:
        sold = {(symbol, Side.SELL) for symbol in WEIGHTS}
        assert traded(report) == sold | {("UP/USDT", Side.BUY)}
    assert state_of(held) is TradingState.ACTIVE
    held.control.clear_prices()
    after = held.trade({**KEEP, "UP/USDT": None}, limits)
    assert after.orders == ()
    assert state_of(held) is TradingState.ACTIVE
    rise = 1_000 if ("UP/USDT", Side.BUY) in traded(report) else 0
    assert recorded(held)[-1] == pytest.approx(float(EQUITY) + rise, abs=70)


def test_affected_symbol_waits_but_an_operator_gets_out_of_it(
    opened: Callable[..., Account],
) -> None:
    """A strategy's exit at a price in doubt is not sent. An operator's flatten is, whatever the
    ticker prints: at a price of 1 the position would look like crumbs.
    """
    held = opened(fill_model=AT_LAST_PRICE)
    held.trade({"BTC/USDT": 0.3}, LIMITS)
    held.control.print_price("BTC/USDT", 1)
    report = held.trade({"BTC/USDT": 0.0}, LIMITS)
    assert report.orders == ()
    assert ("unknown_equity", "BTC/USDT") in {(each.rule, each.symbol) for each in report.findings}
    held.session.control_store.set_trading_state(
        held.session.account, TradingState.HALTED, "get out", "ada", held.slots[-1], flatten=True
    )
    flat = held.trade(KEEP, LIMITS)
    assert traded(flat) == {("BTC/USDT", Side.SELL)}
    assert held.session.exchange.balances().get("BTC", Decimal(0)) < Decimal("0.0001")


def test_work_over_time_waits_while_a_price_is_in_doubt(held: Account) -> None:
    """BTC is bought in four slices. After the first one ETH prints half its price for 15 seconds:
    nothing leaves meanwhile, and the rest leaves afterwards.
    """
    submit, sent = held.session.exchange.submit, []
    waited, is_wrong = 0.0, False

    def submit_then_print(order: Any) -> Any:
        nonlocal is_wrong
        assert not is_wrong, "sent while a price was in doubt"
        sent.append(order.quantity)
        if len(sent) == 1:
            held.control.print_price("ETH/USDT", 1250)
            is_wrong = True
        return submit(order)

    def pause(seconds: float) -> None:
        nonlocal waited, is_wrong
        held.control.step(seconds=seconds)
        waited += seconds
        if is_wrong and waited >= 15:
            held.control.clear_prices()
            is_wrong = False

    object.__setattr__(held.session.exchange, "submit", submit_then_print)
    style = Twap(duration_seconds=40, slices=4)
    held.session = replace(held.session, style=style, pause=pause)
    report = held.trade({**KEEP, "BTC/USDT": 0.3}, LIMITS)
    assert sum(sent) == pytest.approx(Decimal("0.2"), abs=Decimal("0.002"))
    assert len(sent) == 3
    assert sent[1] == pytest.approx(2 * sent[0], rel=Decimal("0.01"))
    assert {found.rule for found in report.findings} == {"unknown_equity"}


STOPS = LIMITS.model_copy(
    update={"stop_loss": Decimal("0.05"), "trailing_stop": Decimal("0.08"), "daily_loss": None}
)


def test_stop_does_not_act_on_a_single_wrong_print(held: Account) -> None:
    """A print 12% under the price is inside the collar, and bid and ask do not confirm it. One that
    they confirm is a true price, and the stop acts.
    """
    held.control.print_price("ETH/USDT", 2200)
    assert held.trade(KEEP, STOPS).orders == ()
    held.control.show_book("ETH/USDT", 2199, 2201)
    assert traded(held.trade(KEEP, STOPS)) == {("ETH/USDT", Side.SELL)}


def test_wrong_print_is_no_high_for_a_trailing_stop(held: Account) -> None:
    """A print 15% above the price, then the price again: it never fell 8% from a high."""
    held.control.print_price("ETH/USDT", 2875)
    assert held.trade(KEEP, STOPS).orders == ()
    held.control.clear_prices()
    assert held.trade(KEEP, STOPS).orders == ()


def test_wrong_print_inside_the_collar_moves_no_equity(held: Account) -> None:
    """Equity is 99,930 at a print of BTC 15% too high, and no later slot takes it for a loss."""
    held.control.print_price("BTC/USDT", 57_500)
    require_untouched(held, held.trade(KEEP, FLATTENING))
    held.control.clear_prices()
    require_untouched(held, held.trade(KEEP, FLATTENING))


def test_coins_in_an_earn_programme_are_named_and_never_written_off(held: Account) -> None:
    """Two thirds of the SOL go to Simple Earn: equity stays 99,930 and nothing is traded. The break
    names them and what to do, and cannot be accepted. Back, they are traded.
    """
    lent = held.session.exchange.balances()["SOL"] * 2 / 3
    held.control.earn(held.key, "SOL", lent)
    report = held.trade(WEIGHTS, FLATTENING)
    require_untouched(held, report)
    (found,) = report.breaks
    assert (found.subject, found.kind) == ("SOL", BreakKind.EARN_BALANCE)
    assert "are in Binance Simple Earn as LDSOL" in found.detail
    assert not found.changes
    with pytest.raises(StoreError, match="redeemed at the venue"):
        held.accept("SOL")
    held.control.earn(held.key, "SOL", -lent)
    back = held.trade({**KEEP, "SOL/USDT": 0.0}, LIMITS)
    assert (back.breaks, traded(back)) == ((), {("SOL/USDT", Side.SELL)})


def test_earn_balances_of_a_new_account_are_named(opened: Callable[..., Account]) -> None:
    """What is lent from the start is in no balance and makes nothing unknown. An alert names it."""
    account = opened(balances={"USDT": 100_000, "SOL": 50}, fill_model=AT_LAST_PRICE)
    account.control.earn(account.key, "SOL", 50)
    report = account.trade(WEIGHTS, LIMITS)
    assert report.equity_after == pytest.approx(EQUITY, abs=1)
    assert any("50 SOL are in Binance Simple Earn as LDSOL" in alert for alert in report.alerts)


def test_reserve_of_an_asset_is_kept_whatever_is_wanted(held: Account) -> None:
    """2 ETH are kept: a target of zero and a flattening sell what is above them, and the account is
    then done.
    """
    policy = RebalancePolicy(keep={"ETH": Decimal(2)})
    sold = held.trade({**KEEP, "ETH/USDT": 0.0}, LIMITS, policy)
    assert traded(sold) == {("ETH/USDT", Side.SELL)}
    assert held.session.exchange.balances()["ETH"] == pytest.approx(Decimal(2), abs=Decimal("0.01"))
    again = held.trade({**KEEP, "ETH/USDT": 0.0}, LIMITS, policy)
    assert again.orders == ()
    assert {s.symbol: s.reason for s in again.skipped}["ETH/USDT"] == "2 are kept as a reserve"


def test_coins_under_an_open_withdrawal_are_no_equity_and_no_loss(held: Account) -> None:
    """Two thirds of the SOL are withdrawn, 20% of the account: equity is what is left, and no limit
    acts before the break is accepted or after.
    """
    sol = held.session.exchange.balances()["SOL"]
    gone = (sol * 2 / 3).quantize(Decimal(1))
    held.control.withdraw(held.key, "SOL", gone)
    report = held.trade(KEEP, FLATTENING)
    assert [(each.subject, each.kind) for each in report.breaks] == [("SOL", BreakKind.WITHDRAWAL)]
    assert report.equity_after == pytest.approx(EQUITY - gone * 120, abs=1)
    assert (report.orders, state_of(held)) == ((), TradingState.ACTIVE)
    assert held.accept("SOL", "paid out").breaks == ()
    after = held.trade(KEEP, FLATTENING)
    assert (after.orders, state_of(held)) == ((), TradingState.ACTIVE)


def test_break_is_not_accepted_at_a_price_in_doubt(held: Account) -> None:
    """The value that an acceptance books would look like a gain or a loss for ever."""
    held.control.withdraw(held.key, "SOL", 50)
    held.trade(KEEP, LIMITS)
    held.control.print_price("SOL/USDT", 360)
    with pytest.raises(StoreError, match="in doubt"):
        held.accept("SOL", "paid out")
    held.control.clear_prices()
    assert held.accept("SOL", "paid out").breaks == ()
    (accepted,) = held.session.control_store.acceptances(held.session.account)
    assert accepted.value == pytest.approx(Decimal(-6_000), abs=10)


def test_first_day_has_a_daily_loss_too(opened: Callable[..., Account]) -> None:
    """The account begins at 10:00 and is 7.5% lower at noon: it buys nothing more that day."""
    account = opened(fill_model=AT_LAST_PRICE)
    account.slots[:] = [SLOT + timedelta(hours=10)]
    account.trade({"BTC/USDT": 0.5}, LIMITS)
    account.slots[-1] = SLOT + timedelta(hours=12)
    account.control.print_price("BTC/USDT", 42_500)
    account.control.show_book("BTC/USDT", 42_490, 42_510)
    report = account.trade({"BTC/USDT": None, "ETH/USDT": 0.2}, LIMITS)
    assert report.orders == ()
    assert {found.rule for found in report.findings} == {"daily_loss"}


def at(day: int, symbol: str, opening: float) -> pl.DataFrame:
    """Return the usual bars, in which one symbol's bar of one day opens elsewhere."""
    row = (symbol, SLOT + timedelta(days=day), *(opening,) * 4, 1e9)
    wrong = (pl.col("symbol") == symbol) & (pl.col("ts") == row[1])
    return pl.concat([BARS.filter(~wrong), pl.DataFrame([row], BARS_SCHEMA, orient="row")])


def test_reduction_that_bid_and_ask_confirm_passes_far_from_the_close(
    opened: Callable[..., Account],
) -> None:
    """SOL opens at 90, 25% under its close, with bid and ask beside it. Its exit is sent and no
    other coin is sold for it. To buy more of it is still denied.
    """
    account = opened(at(1, "SOL/USDT", 90.0))
    account.trade(WEIGHTS, LIMITS)
    more = account.trade({**KEEP, "SOL/USDT": 0.0}, LIMITS)
    assert traded(more) == {("SOL/USDT", Side.SELL)}
    assert more.fills[0].price == pytest.approx(Decimal(90), rel=Decimal("0.01"))
    assert more.findings == ()


def test_buy_far_from_the_close_stays_denied(opened: Callable[..., Account]) -> None:
    """The same opening, and a target above what is held."""
    account = opened(at(1, "SOL/USDT", 90.0))
    account.trade(WEIGHTS, LIMITS)
    more = account.trade({**KEEP, "SOL/USDT": 0.45}, LIMITS)
    assert more.orders == ()
    assert "price_collar" in {found.rule for found in more.findings}


def test_venue_of_several_that_pauses_a_symbol_takes_nothing_from_equity(
    opened: Callable[..., Account],
) -> None:
    """Half of everything is at each of two venues. One pauses SOL, then the other does too: 99,930
    each time and no order.
    """
    first, second = (
        opened(balances=HALF, fill_model=AT_LAST_PRICE),
        opened(balances=HALF, fill_model=AT_LAST_PRICE),
    )
    account = _at_both(first, second)
    before = account.trade(KEEP, FLATTENING)
    assert before.equity_after == pytest.approx(Decimal(100_000), abs=1)
    for paused in (first, second):
        paused.control.suspend("SOL/USDT")
        second.control.step(to=account.slots[-1] + timedelta(seconds=2))
        report = account.trade({"BTC/USDT": 0.2, "ETH/USDT": 0.2, "SOL/USDT": 0.3}, FLATTENING)
        assert report.equity_after == pytest.approx(Decimal(100_000), abs=1)
        assert report.orders == ()
        assert state_of(account) is TradingState.ACTIVE


HALF: Mapping[str, Any] = {
    "USDT": 15_000,
    "BTC": Decimal("0.2"),
    "ETH": 4,
    "SOL": 125,
}


def _at_both(first: Account, second: Account) -> Account:
    """Return the first account, at both venues."""
    venues = {"one": first.session.exchange, "two": second.session.exchange}
    assert all(isinstance(venue, CcxtExchange) for venue in venues.values())
    both = SeveralVenues(venues, dict.fromkeys(venues, Decimal(10)))  # type: ignore[arg-type]
    object.__setattr__(first.session, "exchange", both)
    object.__setattr__(first.session, "venues", both)
    return first
