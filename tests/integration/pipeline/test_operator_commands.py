"""The commands by which an operator ends positions and settles breaks. They run on a practice venue
as an operator runs them.
"""

from decimal import Decimal

import pytest

from penstock.core.halts import TradingState
from penstock.core.orders import OrderRequest, OrderType, Side
from penstock.core.rebalances import RebalanceStatus
from penstock.pipeline.halts import halt_trading
from penstock.pipeline.slots import trade_slot
from penstock.practice.faults import Fault, FaultKind
from tests.integration.pipeline.conftest import ACTOR, Place, penstock, said

ACCOUNT = "practice-daily"


@pytest.fixture
def holding(place: Place) -> Place:
    """An account with both coins, bought in its first slot."""
    trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert sellable(place) == {"BTC", "ETH"}
    place.alerts.clear()
    return place


def balances(place: Place) -> dict[str, Decimal]:
    return dict(place.platform.exchange("daily").balances())


def sellable(place: Place) -> set[str]:
    """The coins of which the account has a lot or more; fees leave it parts of one."""
    exchange = place.platform.exchange("daily")
    listed = exchange.instruments()
    return {
        asset
        for asset, held in balances(place).items()
        if asset != "USDT" and listed[f"{asset}/USDT"].round_lots(held)
    }


def test_halt_flatten_cancels_sells_everything_and_stays_halted(holding: Place) -> None:
    """One command: the working order is cancelled, both coins are sold and booked, and the next
    slot trades nothing.
    """
    exchange = holding.platform.exchange("daily")
    price = exchange.last_prices(["BTC/USDT"])["BTC/USDT"]
    step = exchange.instruments()["BTC/USDT"]
    low = (price / 2).quantize(step.price_tick)
    exchange.submit(
        OrderRequest("by-hand", "BTC/USDT", Side.BUY, OrderType.LIMIT, Decimal("0.01"), low)
    )
    text = said(holding, "halt", "--reason", "drill", "--flatten")
    assert "every account is set to halted; in force now: practice-daily (portfolio daily)" in text
    assert "cancelled 1 working orders" in text
    assert "2 orders sent, 2 fills" in text
    assert text.count("sell ") == 2
    assert not sellable(holding)
    assert holding.ledger.balances(ACCOUNT) == balances(holding)
    again = said(holding, "halt", "--reason", "drill", "--flatten")
    assert "cancelled 0 working orders" in again
    assert not sellable(holding)
    outcome = trade_slot(holding.platform, ACTOR, "daily", holding.tomorrow())
    assert outcome.result is not None
    assert outcome.result.status is RebalanceStatus.SKIPPED
    assert "halted: drill" in outcome.result.reason
    assert "halted" in said(holding, "slots")
    assert "agree" in said(holding, "reconcile")


def test_resumed_account_buys_again_in_its_next_slot(holding: Place) -> None:
    """After the drill the account is free, and its next slot is traded as usual."""
    said(holding, "halt", "--reason", "drill", "--flatten")
    assert "active" in said(holding, "resume", "--reason", "the drill is over")
    outcome = trade_slot(holding.platform, ACTOR, "daily", holding.tomorrow())
    assert outcome.result is not None
    assert outcome.result.status is RebalanceStatus.DONE
    assert sellable(holding) == {"BTC", "ETH"}


def test_flatten_that_the_venue_does_not_answer_is_told_and_done_by_the_next_slot(
    holding: Place,
) -> None:
    """The halt is set all the same, the command ends with code 1, and the account's next slot
    sells.
    """
    holding.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/openOrders"))
    done = penstock(holding, "halt", "--reason", "venue trouble", "--flatten")
    assert done.returncode == 1
    assert "not finished" in done.stderr
    assert "next slot" in done.stderr
    assert holding.platform.control_store.trading_state(ACCOUNT).state is TradingState.HALTED
    assert sellable(holding) == {"BTC", "ETH"}
    holding.control.clear_faults()
    outcome = trade_slot(holding.platform, ACTOR, "daily", holding.tomorrow())
    assert not outcome.failed, outcome.line()
    assert not sellable(holding)


def test_flatten_past_a_locked_coin_is_not_finished_and_says_the_way_out(holding: Place) -> None:
    """The rest is sold. The last line and an alert name the locked coin, which is sold once its
    break is accepted.
    """
    holding.control.correct(holding.environment["PENSTOCK_PRACTICE_DAILY_KEY"], "ETH", Decimal(1))
    (done,) = halt_trading(holding.platform, ACTOR, "daily", "drill", flatten=True).endings
    assert done.flattened is not None
    assert sellable(holding) == {"ETH"}
    assert [held.symbol for held in done.held] == ["ETH/USDT"]
    assert "ETH/USDT is still held" in done.unfinished()
    assert balances(holding)["BTC"] > 0, "fees left a part of a lot, which is nothing to do"
    assert [title for title, _ in holding.alerts] == [f"{ACCOUNT}: 2 things to look at"]
    assert "ETH is locked: balance_mismatch" in holding.alerts[0][1]
    assert "the halt is set, but not finished" in holding.alerts[0][1]
    assert "ETH/USDT is still held" in holding.alerts[0][1]
    rows = [(row["what"], row["symbol"]) for row in done.flattened.rows()]
    assert ("denied", "ETH/USDT") in rows
    assert ("closed", "BTC/USDT") in rows
    assert ("closed", "ETH/USDT") not in rows
    again = penstock(holding, "halt", "--reason", "drill", "--flatten")
    assert again.returncode == 1, again.stdout
    last = again.stderr.splitlines()[-1]
    assert last.startswith(
        f"not finished: {ACCOUNT}: ETH/USDT is still held, locked by a break (balance_mismatch"
    )
    ways = [
        last.index(f"`penstock {way} ")
        for way in ("breaks", "accept-break ETH -p daily", "halt --flatten -p daily")
    ]
    assert ways == sorted(ways)
    outcome = trade_slot(holding.platform, ACTOR, "daily", holding.tomorrow())
    assert outcome.result is not None
    (alert,) = [each for each in outcome.result.alerts if each.startswith("ETH")]
    assert alert.startswith("ETH/USDT is to be closed by kill_switch")
    assert "locked by a break: balance_mismatch" in alert
    said(
        holding, "accept-break", "ETH", "-p", "daily", "--reason", "credited by the venue's support"
    )
    assert "not finished" not in said(
        holding, "halt", "--reason", "drill", "--flatten", "-p", "daily"
    )
    assert not sellable(holding)


def test_accept_break_takes_over_what_the_venue_says_and_unlocks(holding: Place) -> None:
    """A correction by the venue locks one coin; accepted with a reason, the ledger has it, and
    rebuilding agrees.
    """
    key = holding.environment["PENSTOCK_PRACTICE_DAILY_KEY"]
    holding.control.correct(key, "ETH", Decimal(1))
    found = penstock(holding, "reconcile")
    assert (found.returncode, "ETH" in found.stdout) == (1, True), found.stdout + found.stderr
    assert "balance" in said(holding, "breaks")
    text = said(holding, "accept-break", "ETH", "--reason", "credited by the venue's support")
    assert "agree" in text
    assert "none that the last comparison found" in said(holding, "breaks")
    assert "credited by the venue's support" in said(holding, "breaks", "--history")
    assert holding.ledger.balances(ACCOUNT) == balances(holding)
    assert "different" not in said(holding, "ledger", "rebuild", "--check")


def test_accept_break_without_a_break_is_one_clear_sentence(holding: Place) -> None:
    """Nothing is accepted where nothing is locked, and the message names what was asked for."""
    done = penstock(holding, "accept-break", "ETH", "--reason", "a guess")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ETH" in done.stderr
    assert holding.platform.control_store.acceptances(ACCOUNT) == []
