"""An operator with more than one account. A command that names none says which other account is
halted or locked.
"""

from collections.abc import Set as AbstractSet
from decimal import Decimal

import pytest
import yaml

from penstock.core.halts import TradingState
from penstock.pipeline.halts import halt_trading
from penstock.pipeline.slots import trade_slot
from tests.integration.pipeline.conftest import ACTOR, Place, penstock, said

OTHER = "practice-strict-minute"


@pytest.fixture
def both(place: Place) -> Place:
    """The accounts of the portfolios daily and minute, each with both coins; minute trades days
    here.
    """
    key, secret = (
        place.environment[f"PENSTOCK_PRACTICE_MINUTE_{part}"] for part in ("KEY", "SECRET")
    )
    place.control.create_account(key, secret, {"USDT": 100_000})
    file = place.platform.settings.process.configs / "portfolio.yaml"
    portfolios = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**portfolios, "minute": portfolios["daily"]}))
    slot = place.tomorrow()
    for portfolio in ("daily", "minute"):
        outcome = trade_slot(place.platform, ACTOR, portfolio, slot)
        assert not outcome.failed, outcome.line()
        assert held(place, portfolio) == {"BTC", "ETH"}
    return place


def held(place: Place, portfolio: str) -> AbstractSet[str]:
    """The coins of which a portfolio's account has a lot or more."""
    exchange = place.platform.exchange(portfolio)
    listed = exchange.instruments()
    coins = {asset: quantity for asset, quantity in exchange.balances().items() if asset != "USDT"}
    return {
        asset for asset, quantity in coins.items() if listed[f"{asset}/USDT"].round_lots(quantity)
    }


def lock_eth_of_minute(place: Place) -> None:
    place.control.correct(place.environment["PENSTOCK_PRACTICE_MINUTE_KEY"], "ETH", Decimal(1))


def test_flatten_of_all_sells_at_every_account_and_answers_for_each(both: Place) -> None:
    """A locked coin of an account that was not named is left. The output names that account's
    commands, and the exit code is 1.
    """
    lock_eth_of_minute(both)
    done = penstock(both, "halt", "--flatten", "--reason", "drill")
    assert done.returncode == 1, done.stdout
    assert (held(both, "daily"), held(both, "minute")) == (set(), {"ETH"})
    assert f"{OTHER} (portfolio minute):" in done.stdout
    first, *endings = done.stdout.splitlines()
    for account in ("practice-daily", OTHER, "practice-first-day", "practice-minute"):
        assert f"{account} (portfolio " in first, "each is said by name"
    assert first.count(") halted") == 4
    ended = "\n".join(endings)
    assert "practice-minute (" not in ended, "it was never traded: nothing there is ours"
    (last,) = [line for line in done.stderr.splitlines() if line.startswith("not finished")]
    assert last.startswith(f"not finished: {OTHER}: ETH/USDT is still held, locked by a break")
    assert "`penstock accept-break ETH -p minute --reason ...`" in last
    said(both, "accept-break", "ETH", "-p", "minute", "--reason", "credited by the venue")
    # flattening is a slot: at the same instant it is the one that was done
    both.control.step(seconds=60)
    said(both, "halt", "--flatten", "--reason", "drill")
    assert (held(both, "daily"), held(both, "minute")) == (set(), set())
    assert "still halted" not in said(both, "resume", "--reason", "over")


def test_halt_and_resume_are_for_every_account_and_with_a_portfolio_for_one(both: Place) -> None:
    """A halt that names nobody stops all. Resuming lifts that one; what an operator or a limit has
    set on one account stays, and is named.
    """
    store, at = both.platform.control_store, both.platform.machine_clock.now()
    by_limit = (TradingState.REDUCE_ONLY, "drawdown of 21%", "risk rule drawdown", at)
    store.set_trading_state("practice-daily", *by_limit)
    text = said(both, "halt", "--reason", "drill")
    assert "trades on" not in text
    for name in ("practice-daily", OTHER):
        assert store.trading_state(name).state is TradingState.HALTED
    text = said(both, "resume", "--reason", "over")
    assert (
        "still halted: practice-daily (portfolio daily) is reduce_only (drawdown of 21%): "
        "`penstock resume -p daily --reason ...`"
    ) in text
    assert store.trading_state("practice-daily").state is TradingState.REDUCE_ONLY
    assert store.trading_state(OTHER).state is TradingState.ACTIVE
    said(both, "halt", "--reason", "drill")
    text = said(both, "resume", "-p", "daily", "--reason", "looked at it")
    assert (
        f"still halted: {OTHER} (portfolio minute) is halted (drill): `penstock resume --reason"
        in text
    )
    assert "still halted" not in said(both, "resume", "--reason", "over")


def test_resuming_in_one_environment_lifts_no_halt_of_another_unasked(both: Place) -> None:
    """Practice and real money may share a ledger: a halt of all is lifted for the other only by a
    command that says so.
    """
    both.platform.ledger.open_account("real-daily", "binance", "USDT")
    said(both, "halt", "--reason", "the venue fails")
    refused = penstock(both, "resume", "--reason", "practice goes on")
    assert refused.returncode == 1
    assert "real-daily of another environment" in refused.stderr
    assert "`penstock resume --all --reason ...`" in refused.stderr
    store = both.platform.control_store
    assert store.trading_state("real-daily").state is TradingState.HALTED
    said(both, "resume", "--all", "--reason", "over for all")
    assert store.trading_state("real-daily").state is TradingState.ACTIVE


def test_account_without_keys_does_not_keep_the_others_from_being_sold(both: Place) -> None:
    """The named account cannot be opened. The output says so, the exit code is 1, and the other
    account is flat.
    """
    both.environment = {**both.environment, "PENSTOCK_PRACTICE_DAILY_SECRET": ""}
    done = penstock(both, "halt", "--flatten", "--reason", "drill")
    assert done.returncode == 1
    assert "PENSTOCK_PRACTICE_DAILY_SECRET is empty" in done.stderr
    assert (held(both, "daily"), held(both, "minute")) == ({"BTC", "ETH"}, set())


def test_foreign_exception_at_one_account_does_not_keep_the_others_from_being_ended(
    both: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library fails on the answer of the first: that stands in its ending, and the second is
    ended.
    """

    def broken() -> None:
        raise ZeroDivisionError("in a library")

    monkeypatch.setattr(both.platform.exchange("daily"), "open_orders", broken)
    done = halt_trading(both.platform, ACTOR, None, "drill", cancel=True)
    daily, minute = done.endings
    assert daily.error.startswith("ZeroDivisionError: in a library")
    assert minute.is_finished


def test_command_without_a_portfolio_names_the_account_that_it_should_have_named(
    both: Place,
) -> None:
    """Halted, locked, or trading on elsewhere: each is one line with the command to paste."""
    lock_eth_of_minute(both)
    assert penstock(both, "reconcile", "-p", "minute").returncode == 1
    text = said(both, "breaks")
    assert "none that the last comparison found" in text
    assert f"{OTHER} (portfolio minute) has 1: `penstock breaks -p minute`" in text
    text = said(both, "halt", "-p", "minute", "--reason", "who is that")
    assert (
        "practice-daily (portfolio daily) trades on: `penstock halt -p daily --reason ...`" in text
    )
    text = said(both, "resume", "--reason", "a guess")
    assert (
        f"still halted: {OTHER} (portfolio minute) is halted (who is that): "
        "`penstock resume -p minute --reason ...`"
    ) in text
    text = said(both, "status")
    assert text.startswith("environment practice (PENSTOCK_ENV says so)\n")
    assert f"ETH of {OTHER}: ask the venue" in text
    assert "`penstock accept-break ETH -p minute --reason ...`" in text
    assert "`penstock resume -p minute --reason ...`" in text


def test_status_says_which_environment_it_shows_and_how_to_see_the_one_that_traded(
    both: Place,
) -> None:
    """After the stack is down, a plain status shows paper. It says so first, and names the
    environment with accounts.
    """
    both.environment = {
        name: value for name, value in both.environment.items() if name != "PENSTOCK_ENV"
    }
    first, second, *_ = said(both, "status").splitlines()
    assert first.startswith(
        "environment paper (the default: PENSTOCK_ENV is not set, and no stack runs from "
    )
    assert (
        second
        == "this ledger has accounts of practice too: `PENSTOCK_ENV=practice penstock status`"
    )
