"""A break from start to end by commands alone, and the account's profit over it, on a practice
venue.
"""

import json
import re
from datetime import datetime
from decimal import Decimal

import ccxt
import pytest

from penstock.adapters.stores.postgres.connection import address_of
from penstock.core.amounts import money, to_step
from penstock.core.cost_basis import entry_prices
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.monitoring.positions import LastPrice
from penstock.monitoring.tables import figures_table
from penstock.pipeline.ingest import ingest_timeframe
from penstock.pipeline.positions import list_positions
from penstock.pipeline.report import account_figures, report_account
from penstock.pipeline.slots import trade_slot
from penstock.settings import Settings
from penstock.stack import Addresses, Phase, StackNote
from penstock.stack.processes import Identity
from penstock.stack.state import write_stack
from penstock.wiring import Platform
from tests.integration.pipeline.conftest import ACTOR, Place, penstock, said

ACCOUNT = "practice-daily"


def figures(place: Place) -> dict[str, str]:
    return dict(figures_table(account_figures(place.platform, ACCOUNT)).iter_rows())


def percent(text: str) -> float:
    return float(text.rstrip("%"))


def trade_tomorrow(place: Place) -> datetime:
    """Trade the next day's slot and return it."""
    slot = place.tomorrow()
    outcome = trade_slot(place.platform, ACTOR, "daily", slot)
    assert not outcome.failed, outcome.line()
    return slot


def test_deposit_becomes_a_break_is_accepted_and_unlocks(place: Place) -> None:
    """The runbook's exercise: every command says what the next one is."""
    trade_tomorrow(place)
    held = place.ledger.balances(ACCOUNT)["USDT"]
    text = said(place, "exchange", "deposit", "usdt", "1000")
    assert f"1000 USDT deposited to {ACCOUNT}" in text
    assert f"it has {to_step(held + 1000)} now" in text
    assert "penstock reconcile -p daily" in text
    assert penstock(place, "reconcile", "-p", "daily").returncode == 1
    text = said(place, "breaks", "-p", "daily")
    assert "deposit" in text
    assert "penstock accept-break USDT -p daily --reason" in text
    said(place, "accept-break", "USDT", "-p", "daily", "--reason", "topped up by the owner")
    assert "agree" in said(place, "reconcile")
    assert place.ledger.balances(ACCOUNT)["USDT"] == held + 1000


def test_deposit_and_withdrawal_are_no_performance(place: Place) -> None:
    """One transfer doubles an account and the next more than halves it. Its performance shows the
    market's move, and no more.

    The withdrawal stays unaccepted for a slot: it is no loss then, and no gain once it is accepted.
    """
    trade_tomorrow(place)
    trade_tomorrow(place)
    said(place, "exchange", "deposit", "USDT", "100000")
    assert penstock(place, "reconcile").returncode == 1
    said(place, "accept-break", "USDT", "--reason", "the second half")
    trade_tomorrow(place)
    seen = figures(place)
    assert seen["transfers"].startswith("100,000.00 in, 0.00 out")
    assert abs(percent(seen["return since the first slot"])) < 20
    cash = place.platform.exchange("daily").balances()["USDT"]
    said(place, "exchange", "withdraw", "USDT", f"{cash - 100:f}")
    trade_tomorrow(place)
    pending = figures(place)
    said(place, "accept-break", "USDT", "--reason", "paid out")
    trade_tomorrow(place)
    settled = figures(place)
    equity = place.platform.control_store.equity_history(ACCOUNT)["equity"].to_list()
    assert equity[2] > 1.7 * equity[1]
    assert equity[3] < 0.9 * equity[2]
    for each in (pending, settled):
        assert abs(percent(each["return since the first slot"])) < 20, each
        assert percent(each["deepest fall, by the day"]) < 15, each
    assert re.match(r"100,000\.00 in, [\d,.]+ out", settled["transfers"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("deposit", "UDST", "5"), "'UDST' is none of the universe's assets: BTC, ETH, USDT"),
        (("deposit", "USDT", "much"), "'much' is no amount"),
        (("withdraw", "USDT", "1e9"), "only 100000 is free"),
        (("deposit", "USDT", "5", "-p", "weekly"), "no account for portfolio 'weekly'"),
    ],
)
def test_transfer_that_cannot_be_is_one_clear_sentence(
    place: Place, arguments: tuple[str, ...], sentence: str
) -> None:
    """What was typed wrongly is named, and nothing is moved."""
    done = penstock(place, "exchange", *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert place.platform.exchange("daily").balances() == {"USDT": Decimal(100_000)}


def test_transfer_elsewhere_than_at_the_practice_exchange_is_refused(place: Place) -> None:
    """A paper account has nobody to deposit with. Where the exchange does not run, the message says
    how to start it.
    """
    place.environment = {**place.environment, "PENSTOCK_ENV": "paper"}
    done = penstock(place, "exchange", "deposit", "USDT", "5")
    assert (done.returncode, "environment 'paper' trades on paper" in done.stderr) == (1, True), (
        done.stderr
    )
    place.environment = {
        **place.environment,
        "PENSTOCK_ENV": "practice",
        "PENSTOCK_PRACTICE_URL": "http://127.0.0.1:9",
    }
    done = penstock(place, "exchange", "deposit", "USDT", "5")
    assert (done.returncode, "start it with `penstock up`" in done.stderr) == (1, True), done.stderr


def test_fault_is_armed_strikes_and_is_cleared_by_command(place: Place) -> None:
    """An operator's rehearsal of a venue that answers with errors, seen by the commands that meet
    it.
    """
    trade_tomorrow(place)
    text = said(place, "exchange", "fault", "error_before", "--path", "/api/v3/account")
    assert "error_before strikes any /api/v3/account*, until it is cleared" in text
    assert penstock(place, "reconcile").returncode == 1
    assert re.search(
        r"error_before any /api/v3/account\*: matched \d+ calls, struck [1-9]",
        said(place, "exchange", "faults"),
    )
    assert "no fault is armed" in said(place, "exchange", "faults", "--clear")
    assert "agree" in said(place, "reconcile")


def test_report_before_any_slot_says_that_there_is_none(place: Place) -> None:
    """The report is written, its lack is a sentence, and no log line stands beside it."""
    done = penstock(place, "report")
    assert done.returncode == 0
    assert "not compared with the backtest: practice-daily has traded no slot yet" in done.stdout
    assert not done.stderr.strip()


def test_report_needs_no_keys(place: Place) -> None:
    """Who only looks has no keys: the ledger's figures are reported, and the comparison with the
    backtest is left out.
    """
    trade_tomorrow(place)
    trade_tomorrow(place)
    without_keys = Settings(place.platform.settings.process)
    onlooker = Platform(without_keys, place.environment["PENSTOCK_DATABASE_URL"])
    vars(onlooker).update(registry=place.platform.registry)
    outcome = report_account(onlooker, ACTOR, "daily")
    again = report_account(onlooker, ACTOR, "daily")
    onlooker.close()
    assert outcome.path.is_file()
    assert outcome.figures.totals.slots == {RebalanceStatus.DONE: 2}
    assert "set it before trading" in outcome.not_compared
    assert outcome.not_compared.endswith("Settings.of(follow_stack(os.environ).variables)")
    assert outcome.not_compared in outcome.summary()
    assert again.path != outcome.path, "no report takes the place of another"
    assert outcome.path.is_file()
    assert again.path.is_file()


def test_positions_are_valued_at_the_newest_price_that_is_stored(place: Place) -> None:
    """Their own trade at first, and the next day's close once that is ingested. Value, weight,
    entry and age agree with bars and ledger, in the command and in its JSON.
    """
    slot = trade_tomorrow(place)
    fills = {fill.symbol: fill for fill in place.ledger.fills(ACCOUNT)}
    holdings = list_positions(place.platform, ACTOR, "daily")
    bought, worth = holdings.positions, holdings.equity
    assert worth is not None
    assert {position.symbol for position in bought} == fills.keys()
    for position in bought:
        fill = fills[position.symbol]
        assert position.price == LastPrice(fill.price, fill.at, "fill")
        assert fill.at > slot
        # nothing has moved: what is lost is the fee, which the coins paid
        assert position.unrealised == pytest.approx(-fill.fee * fill.price, abs=Decimal("1e-8"))
    for command in ("status", "positions", "report"):  # all have the figures of the same function
        shown = said(place, command).partition("Positions")[2]
        assert f"equity is {money(worth, 'USDT')} USDT" in " ".join(shown.split()), command
        assert "fill" in shown
    slot = place.tomorrow()
    ingest_timeframe(place.platform, ACTOR, Timeframe.D1)
    record = json.loads(said(place, "positions", "--json"))
    bars = place.platform.bars.read_bars("practice", Timeframe.D1, ["BTC/USDT", "ETH/USDT"])
    closes = dict(bars.group_by("symbol").last().select("symbol", "close").iter_rows())
    entries = entry_prices(place.ledger.cost_bases(ACCOUNT))
    held = {each["symbol"]: each for each in record["positions"]}
    assert held.keys() == entries.keys() == closes.keys()
    for symbol, each in held.items():
        price, quantity = Decimal(str(closes[symbol])), Decimal(each["quantity"])
        assert Decimal(each["price"]) == price
        assert (each["price_source"], each["price_at"]) == ("1d bar", slot.isoformat())
        assert 0 <= each["price_age_seconds"] < 3600
        assert Decimal(each["value"]) == pytest.approx(quantity * price, abs=Decimal("1e-8"))
        gain = quantity * (price - entries[symbol])
        assert Decimal(each["unrealised"]) == pytest.approx(gain, abs=Decimal("1e-8"))
    assert sum(each["weight"] for each in held.values()) + record["cash_weight"] == pytest.approx(1)


def test_status_is_shown_where_the_stacks_registry_is_dead(place: Place) -> None:
    """What lives is said first; models are not known, and the rest is shown."""
    database, nowhere = address_of(place.environment["PENSTOCK_DATABASE_URL"]), "http://127.0.0.1:1"
    addresses = Addresses("practice", database, nowhere, nowhere, "", "")
    me, home = Identity.of_this_process(), place.platform.home
    write_stack(StackNote(home, me, Phase.RUNNING, addresses), home)
    first, second, third, *rest = said(place, "status").splitlines()
    assert first == "environment practice (the stack that runs from this home works with it)"
    assert second == f"stack: supervisor (process {me.pid}) is running"
    assert third == "models are not known: the stack's mlflow-server does not answer"
    assert any("Portfolio daily" in line for line in rest)


def test_account_for_a_foreign_client_is_opened_with_its_keys(place: Place) -> None:
    """The keys that the command shows are those of an account with the cash that was asked for."""
    text = said(place, "exchange", "account", "my-bot", "--cash", "250")
    url, key, secret = (
        re.search(rf"{what} +(\S+)", text).group(1) for what in ("address", "API key", "secret")
    )
    assert "it holds  250 USDT" in text
    client = ccxt.binance({"apiKey": key, "secret": secret})
    for name, path in (("public", "api/v3"), ("private", "api/v3"), ("sapi", "sapi/v1")):
        client.urls["api"][name] = f"{url}/{path}"
    client.urls["api"] |= {name: f"{url}/{name[:4]}/v1" for name in ("fapiPublic", "dapiPublic")}
    held = {asset: total for asset, total in client.fetch_balance()["total"].items() if total}
    assert held == {"USDT": 250}
