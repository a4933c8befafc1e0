"""Days of minute slots with everything that goes wrong in a year: errors, 429s, outages, kills, the
kill switch, and a venue that shows what is not so.

Ten symbols all change their weight every five minutes. One call in a hundred fails (5xx before and
after, a reset, an answer that is no JSON). One in five hundred gets a 429. The database and the
venue stop and come back, and the worker is killed by SIGKILL and restarted. The kill switch is set,
by file and by database in turn, while orders leave. Symbols are suspended, tickers print wrong
prices, bars come late, lists come in short pages, and the venue refuses orders
(tests.soak.situations). At the end every slot has to be accounted for, the books must agree to the
last digit, and no order may have followed from a bad read (tests.soak.truth).

    make days

It runs in parts of PENSTOCK_SOAK_MINUTES (30, of real time). With PENSTOCK_SOAK_HOME, a folder, a
part goes on where the one before ended, until PENSTOCK_SOAK_DAYS (7) are over. Each part is judged
with all before it. PENSTOCK_SOAK_SEED changes what happens when; another seed needs another folder.
A slice is part of the ordinary tests.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.stores.postgres import (
    Database,
    PostgresControlStore,
    PostgresLedger,
    connect,
)
from penstock.core.accounting import changes_of
from penstock.core.order_records import OrderRecord
from penstock.core.orders import OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.practice.faults import Fault, FaultKind
from tests.fills import counted
from tests.soak.long_run import ACCOUNT, CASH, FIRST, REFUSALS, SEED, SYMBOLS, Soak
from tests.soak.situations import MINUTE, PRINTS, TRADES_PAGE
from tests.soak.truth import Journal, TruePrices, Truth, read_arranged

pytestmark = pytest.mark.slow

DAYS = float(os.environ.get("PENSTOCK_SOAK_DAYS", "7"))
MINUTES = float(os.environ.get("PENSTOCK_SOAK_MINUTES", "30"))
HOME = os.environ.get("PENSTOCK_SOAK_HOME", "")
#: Memory is compared from here on in the longest life of a worker: before, caches fill.
_WARM_SLOTS = 60
#: What a slice must have met at least once.
_EACH = (
    "suspended while held",
    "suspended while wanted",
    "late bars",
    "candle lists in pages",
    "trade lists in pages",
    *(f"print {kind}" for kind in PRINTS),
)


@pytest.fixture
def soak_of(tmp_path: Path) -> Iterator[Callable[..., Soak]]:
    """Makes a soak, and ends whatever runs. What is kept at `home` can be gone on with."""
    made: list[tuple[Soak, bool]] = []

    def make(
        days: float, block: int, cut_every: int, refused: dict[str, Any], home: str = ""
    ) -> Soak:
        soak = Soak(Path(home).resolve() if home else tmp_path, days, block, cut_every, refused)
        made.append((soak, bool(home)))
        return soak

    yield make
    for soak, keep in made:
        soak.close(keep=keep)


def troubles(soak: Soak) -> list[Callable[[], None]]:
    """Return one simulated day's troubles in a random order, with quiet stretches between them."""
    day = (
        [soak.kill_worker] * 3
        + [soak.take_database_away, soak.take_venue_away]
        + [soak.throw_kill_switch] * 15
    )
    soak.chance.shuffle(day)
    return day


@dataclass(frozen=True)
class Account:
    """What the ledger and the venue say at the end."""

    statuses: Counter[str]
    holes: int
    silent: int
    lost: int
    doubled: int
    unread: int
    """Trades that the venue has and its list, read in short pages, has not."""
    equal: bool
    orders: int
    fills: int
    last: datetime
    findings: Sequence[str]
    """What followed from a bad read."""
    judged: Counter[str]


def account_of(soak: Soak) -> Account:
    """Compare ledger, venue and truth after the last slot, with the venue behaving."""
    exchange = CcxtExchange("binance", "key", "secret", base_url=soak.venue.url, rate_limit_ms=0)
    trades = {"method": "GET", "path": "/api/v3/myTrades", "rows": TRADES_PAGE}
    soak.control.arm(Fault(kind=FaultKind.SHORT_PAGES, **trades))
    at_venue = [fill for symbol in SYMBOLS for fill in exchange.fills(symbol, FIRST)]
    with connect(soak.server.url) as database:
        ledger = PostgresLedger(database)
        slots = list(ledger.rebalances(ACCOUNT, limit=10**7))
        booked = list(ledger.fills(ACCOUNT))
        positions = dict(ledger.balances(ACCOUNT))
        orders = ledger.orders(ACCOUNT)
        truth = truth_of(soak, database)
    slot_of = {slot.id: slot.slot for slot in slots}
    judge_ledger(truth, orders, slot_of)
    truth.count([slot.slot for slot in slots if slot.status is RebalanceStatus.DONE])
    sums = {"USDT": CASH}
    for fill in booked:
        for asset, change in changes_of(fill).items():
            sums[asset] = sums.get(asset, Decimal(0)) + change
    last = max(slot.slot for slot in slots)
    known = {slot.slot for slot in slots}
    missing = [n for n in range((last - FIRST) // MINUTE + 1) if FIRST + n * MINUTE not in known]
    venue, ours = counted(at_venue), counted(booked)
    return Account(
        statuses=Counter(slot.status.value for slot in slots),
        holes=len(missing),
        silent=sum(slot.status is not RebalanceStatus.DONE and not slot.reason for slot in slots),
        lost=(venue - ours).total(),
        doubled=(ours - venue).total(),
        unread=len(truth.journal.trades) - len(at_venue),
        equal=positions
        == dict(exchange.balances())
        == {asset: quantity for asset, quantity in sums.items() if quantity},
        orders=len(orders),
        fills=len(booked),
        last=last,
        findings=truth.findings,
        judged=truth.judged,
    )


def truth_of(soak: Soak, database: Database) -> Truth:
    """Return the truth, with what it finds in the venue's journal and in what risk has recorded."""
    truth = Truth(
        SYMBOLS,
        TruePrices(soak.candles),
        soak.situations,
        Journal.read(soak.folder / "journal.jsonl", SYMBOLS),
        read_arranged(soak.record),
    )
    truth.judge_orders()
    history = PostgresControlStore(database).equity_history(ACCOUNT)
    recorded = zip(history["at"].to_list(), history["equity"].to_list(), strict=True)
    truth.judge_equity({at: Decimal(str(equity)) for at, equity in recorded})
    with database.reading() as connection:
        states = connection.execute(
            "SELECT at, state, reason FROM trading_state WHERE set_by NOT IN ('soak')"
        ).fetchall()
        closings = connection.execute(
            "SELECT slot, symbol, rule, reason FROM risk_verdict WHERE verdict = 'close'"
        ).fetchall()
    truth.findings += [f"the account left ACTIVE: {row}" for row in states]
    truth.findings += [f"a stop or limit closed a position: {row}" for row in closings]
    return truth


def judge_ledger(
    truth: Truth, orders: Sequence[OrderRecord], slot_of: Mapping[int, datetime]
) -> None:
    """Look at orders that the venue did not take: refused ones, and those of suspended symbols."""
    taken = {order.client_order_id for order in truth.journal.orders}
    by_group = Counter((slot_of[order.rebalance_id], order.request.symbol) for order in orders)
    truth.judged["trade lists in pages"] = sum(n > TRADES_PAGE for n in by_group.values())
    for order in orders:
        slot, symbol = slot_of[order.rebalance_id], order.request.symbol
        if symbol in truth.situation(slot).suspended:
            truth.findings.append(f"{slot}: an order of {symbol}, suspended, was planned")
        if order.state is OrderState.REJECTED:
            truth.judged["orders recorded as rejected"] += 1
            if order.request.client_order_id in taken:
                truth.findings.append(f"{slot}: called refused, and the venue has it: {order}")


def growth(soak: Soak) -> tuple[int, float]:
    """Return how many slots the longest life had after warming up, and by what factor its memory
    grew over them.
    """
    longest = max((life.rss[_WARM_SLOTS:] for life in soak.lives), key=len)
    edge = max(1, len(longest) // 10)
    if not longest:
        return 0, 1.0
    return len(longest), (sum(longest[-edge:]) / edge) / (sum(longest[:edge]) / edge)


def p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def run_soak(soak: Soak, minutes: float, slots_between: float) -> Account:
    """Run until the days are over or the time is up. Then let the worker finish, and print the
    figures.
    """
    started = time.monotonic()
    deadline = started + minutes * 60
    soak.begin()
    soak.hear_slots(1, 60)
    pending: list[Callable[[], None]] = []
    while not soak.finished and time.monotonic() < deadline:
        pending = pending or troubles(soak)
        soak.hear_slots(
            round(soak.chance.expovariate(1 / slots_between)), deadline - time.monotonic()
        )
        if not soak.finished:
            pending.pop()()
            soak.keep()
    return conclude(soak, started)


def conclude(soak: Soak, started: float) -> Account:
    """Bring the last slot to its end without faults, and print the figures."""
    soak.count_refusals()
    soak.control.clear_faults()
    soak.hear_slots(1, 60)
    soak.end()
    settle(soak)
    found = account_of(soak)
    soak.tally.seconds += time.monotonic() - started
    soak.keep()
    tally, (slots, factor) = soak.tally, growth(soak)
    days = ((found.last - FIRST) / MINUTE + 1) / 1440
    accounted = ", ".join(f"{count} {status}" for status, count in sorted(found.statuses.items()))
    thrown = tally.stop_seconds or [0.0]
    seen = ", ".join(f"{count} {name}" for name, count in sorted(found.judged.items()))
    print(
        f"\nsoak: {days:.2f} of {soak.days:g} simulated days, {found.statuses.total()} minute "
        f"slots ({accounted}; {found.holes} unaccounted for, {found.silent} without a reason), "
        f"{len(SYMBOLS)} symbols, {found.orders} orders, {found.fills} fills, "
        f"{found.lost} lost and {found.doubled} doubled, ledger = venue: {found.equal}; "
        f"{len(found.findings)} trades, equities, stops or halts from a bad read among {seen}, "
        f"refused {dict(tally.refusals)}; "
        f"{tally.kills} kills of the worker, {tally.outages['database']} database and "
        f"{tally.outages['venue']} venue outages, errors gone on after {dict(tally.errors)}; "
        f"memory x{factor:.3f} over {slots} slots of one life; kill switch thrown "
        f"{len(tally.stop_seconds)} times, the last order left after p50 "
        f"{sorted(thrown)[len(thrown) // 2]:.3f} s, p99 {p99(thrown):.3f} s; seed {SEED}, "
        f"{tally.seconds:.0f} s in {tally.parts} parts"
    )
    return found


def settle(soak: Soak) -> None:
    """Let one more worker bring the slot that was cut short to its end, and no further."""
    with connect(soak.server.url) as database:
        newest = PostgresLedger(database).rebalances(ACCOUNT, limit=1)[0]
    soak.set_last(newest.slot)
    soak.finished = False
    soak.start_worker()
    until = time.monotonic() + 60
    while not soak.finished and time.monotonic() < until:
        soak.hear(0.1)
    assert soak.finished, "the last slot did not end within a minute"


def require_sound(soak: Soak, found: Account) -> None:
    assert (found.holes, found.silent, found.lost, found.doubled) == (0, 0, 0, 0), found
    assert found.unread == 0, f"{found.unread} trades are on no page"
    assert set(found.statuses) <= {"done", "skipped", "failed"}, found.statuses
    assert found.equal, "ledger and venue differ"
    shown = "\n".join(found.findings[:20])
    assert not found.findings, f"{len(found.findings)} from a bad read:\n{shown}"
    assert p99(soak.tally.stop_seconds or [0.0]) < 1, soak.tally.stop_seconds


def has_met_all(soak: Soak) -> bool:
    """Return whether every situation was met by a slot that was traded to its end."""
    met = [soak.situations.at(slot) for slot in soak.traded]
    return (
        any(each.suspended for each in met)
        and any(each.late for each in met)
        and any(each.paged for each in met)
        and {kind for each in met for kind in each.prints.values()} == set(PRINTS)
        and max(soak.traded.values()) > TRADES_PAGE + len(SYMBOLS)
    )


def test_an_hour_of_trouble_leaves_every_slot_accounted_for(soak_of: Callable[..., Soak]) -> None:
    """A slice: a kill, an outage of each kind, the kill switch, and each bad read at least once."""
    started = time.monotonic()
    soak = soak_of(0.06, block=10, cut_every=2, refused={"nth": [1, 8]})
    soak.begin()
    for trouble in (
        soak.kill_worker,
        soak.take_database_away,
        soak.throw_kill_switch,
        soak.take_venue_away,
    ):
        soak.hear_slots(5, 20)
        trouble()
    soak.throw_kill_switch()
    for _ in range(40):
        if has_met_all(soak):
            break
        soak.hear_slots(1, 20)
    found = conclude(soak, started)
    require_sound(soak, found)
    assert not [each for each in _EACH if not found.judged[each]], found.judged
    assert not REFUSALS.keys() - soak.tally.refusals.keys(), soak.tally.refusals


@pytest.mark.soak
def test_days_of_minute_slots_leave_ledger_and_venue_equal(soak_of: Callable[..., Soak]) -> None:
    """Days of it: every slot accounted for, no fill lost or doubled, nothing from a bad read,
    memory flat, the kill switch within a second.
    """
    soak = soak_of(DAYS, block=20, cut_every=3, refused={"probability": 0.002}, home=HOME)
    found = run_soak(soak, MINUTES, slots_between=60)
    require_sound(soak, found)
    slots, factor = growth(soak)
    assert slots < 200 or factor < 1.1, f"memory grew by {factor:.2f} over {slots} slots"
