"""Days of minute slots with everything that goes wrong in a year: errors, 429s, outages, kills, and
the kill switch.

Ten symbols all change their weight every five minutes. One call in a hundred fails (5xx before and
after, a reset, an answer that is no JSON). One in five hundred gets a 429. The database and the
venue stop and come back, and the worker is killed by SIGKILL and restarted. The kill switch is set,
by file and by database in turn, while orders leave. At the end every slot has to be accounted for
and the books must agree to the last digit.

    pytest -m soak tests/soak -s

PENSTOCK_SOAK_DAYS (7) and PENSTOCK_SOAK_MINUTES (30, of real time) bound it, whichever ends first.
The printed line says how many simulated days were run. PENSTOCK_SOAK_SEED changes what happens
when. The rebalance is run (lease, recovery, reconciliation, plan, orders, tracking); fetching and
checking bars has tests of its own. A slice is part of the ordinary tests.
"""

import json
import os
import queue
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.postgres import PostgresControlStore, PostgresLedger, connect, migrate
from penstock.core.accounting import changes_of
from penstock.core.halts import TradingState
from penstock.core.orders import Fill
from penstock.core.rebalances import RebalanceStatus
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.practice.synthetic import DEFAULT_SYMBOLS, SyntheticCandles
from penstock.testing.risk import switched_off

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("PENSTOCK_SOAK_SEED", "20240304"))
DAYS = float(os.environ.get("PENSTOCK_SOAK_DAYS", "7"))
MINUTES = float(os.environ.get("PENSTOCK_SOAK_MINUTES", "30"))
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
SYMBOLS = list(DEFAULT_SYMBOLS[:10])
ACCOUNT, CASH = "soak", Decimal(100_000)
#: Rules that would change what is traded are off: here the machinery is under test, not the limits.
LIMITS = {"max_gross": 1, "max_weight": 1} | switched_off("price_collar", "max_order_notional")
#: How long the kill switch stays thrown: everything that leaves in this time was too late.
_HELD_SECONDS = 1.5
_ERRORS = (
    FaultKind.ERROR_BEFORE,
    FaultKind.ERROR_AFTER,
    FaultKind.RESET_AFTER,
    FaultKind.MALFORMED,
)
#: Memory is compared from here on in the longest life of a worker: before, caches fill.
_WARM_SLOTS = 60


@dataclass
class Life:
    """One worker's process, from its start to its end."""

    process: "subprocess.Popen[str]"
    rss: list[int] = field(default_factory=list)


@dataclass
class Soak:
    """Everything that runs, and what was seen of it."""

    folder: Path
    days: float
    port: int
    server: EmbeddedPostgres
    venue: PracticeServer
    chance: random.Random
    lives: list[Life] = field(default_factory=list)
    said: "queue.SimpleQueue[dict[str, Any]]" = field(default_factory=queue.SimpleQueue)
    left: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    slots: int = 0
    finished: bool = False
    kills: int = 0
    outages: Counter[str] = field(default_factory=Counter)
    stop_seconds: list[float] = field(default_factory=list)

    @property
    def switch(self) -> Path:
        return self.folder / "halt"

    @property
    def control(self) -> PracticeControl:
        return PracticeControl(self.venue.url)

    def begin(self) -> None:
        with connect(self.server.url) as database:
            migrate(database)
        self.control.create_account("key", "secret", {"USDT": CASH})
        self._arm()
        settings = {
            "venue": self.venue.url,
            "database": self.server.url,
            "account": ACCOUNT,
            "symbols": SYMBOLS,
            "first": FIRST.isoformat(),
            "last": (FIRST + timedelta(minutes=round(self.days * 1440) - 1)).isoformat(),
            "switch": str(self.switch),
            "limits": LIMITS,
        }
        (self.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        self.start_worker()

    def _arm(self) -> None:
        for n, kind in enumerate(_ERRORS):
            self.control.arm(
                Fault(
                    kind=kind,
                    probability=0.01 / len(_ERRORS),
                    seed=self.chance.randint(0, 2**31) + n,
                )
            )
        self.control.arm(
            Fault(
                kind=FaultKind.RATE_LIMIT,
                probability=0.002,
                seed=self.chance.randint(0, 2**31),
                seconds=0,
            )
        )

    def start_worker(self) -> None:
        command = [
            sys.executable,
            str(Path(__file__).with_name("worker.py")),
            str(self.folder / "settings.json"),
        ]
        life = Life(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        self.lives.append(life)
        threading.Thread(target=self._listen, args=[life], daemon=True).start()

    def _listen(self, life: Life) -> None:
        assert life.process.stdout is not None
        for line in life.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # cut off by a kill
            if "rss" in event:
                life.rss.append(event["rss"])
            self.said.put(event)

    def hear(self, seconds: float) -> None:
        """Take in what the worker says for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                event = self.said.get(timeout=left)
            except queue.Empty:
                return
            if "leaves" in event:
                self.left.append(event["leaves"])
            elif "error" in event:
                self.errors[event["error"]] += 1
            elif "slot" in event:
                self.slots += 1
            self.finished |= bool(event.get("finished"))

    def hear_slots(self, count: int, seconds: float) -> None:
        """Take in what the worker says until `count` more slots have ended, or so long."""
        wanted, until = self.slots + count, time.monotonic() + seconds
        while self.slots < wanted and not self.finished and time.monotonic() < until:
            self.hear(0.05)

    def kill_worker(self) -> None:
        self.lives[-1].process.kill()
        self.lives[-1].process.wait()
        self.kills += 1
        self.start_worker()

    def take_database_away(self) -> None:
        self.server.stop()
        self.hear(0.5)
        self.server.start()
        self.outages["database"] += 1

    def take_venue_away(self) -> None:
        self.venue.kill()
        self.hear(0.5)
        self.venue = venue_at(self.folder, self.port, self.days)
        self.control.step(seconds=180)
        self._arm()
        self.outages["venue"] += 1

    def throw_kill_switch(self) -> None:
        """Halt while orders leave, see when the last one left, and let go."""
        seen = len(self.left)
        until = time.monotonic() + 5
        while len(self.left) == seen and time.monotonic() < until:
            self.hear(0.002)
        by_file = len(self.stop_seconds) % 2 == 0
        if by_file:
            self.switch.write_text("halted drill", encoding="utf-8")
        else:
            self._set(TradingState.HALTED)
        thrown = time.monotonic()
        self.hear(_HELD_SECONDS)
        late = [moment - thrown for moment in self.left if moment > thrown]
        self.stop_seconds.append(max(late, default=0.0))
        if by_file:
            self.switch.unlink()
        else:
            self._set(TradingState.ACTIVE)

    def _set(self, state: TradingState) -> None:
        with connect(self.server.url, max_connections=1) as database:
            PostgresControlStore(database).set_trading_state(
                ACCOUNT, state, "drill", "soak", datetime.now(UTC)
            )

    def end(self) -> None:
        self.lives[-1].process.kill()
        self.lives[-1].process.wait()


def venue_at(folder: Path, port: int, days: float) -> PracticeServer:
    end = FIRST + timedelta(days=int(days) + 3)
    candles = SyntheticCandles(
        symbols=tuple(SYMBOLS), start=FIRST - timedelta(days=1), end=end, seed=SEED
    )
    clock = stepped_clock(FIRST)
    return PracticeServer(
        candles, clock, port=port, limits=UNLIMITED, journal=folder / "journal.jsonl"
    ).start()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def soak_of(tmp_path: Path) -> Iterator[Any]:
    """Makes a soak of so many days, and ends whatever runs."""
    made: list[Soak] = []

    def make(days: float) -> Soak:
        server = EmbeddedPostgres(tmp_path / "database", settings={"fsync": "off"})
        server.start()
        port = free_port()
        made.append(
            Soak(tmp_path, days, port, server, venue_at(tmp_path, port, days), random.Random(SEED))
        )
        return made[-1]

    yield make
    for soak in made:
        for life in soak.lives:
            life.process.kill()
            life.process.wait()
        soak.venue.stop()
        soak.server.destroy()


def troubles(soak: Soak) -> list[Any]:
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
    equal: bool
    orders: int
    fills: int
    last: datetime


def account_of(soak: Soak) -> Account:
    """Compare ledger and venue after the last slot, with the venue behaving."""
    exchange = CcxtExchange("binance", "key", "secret", base_url=soak.venue.url, rate_limit_ms=0)
    with connect(soak.server.url) as database:
        ledger = PostgresLedger(database)
        slots = list(ledger.rebalances(ACCOUNT, limit=10**7))
        booked = list(ledger.fills(ACCOUNT))
        positions = dict(ledger.balances(ACCOUNT))
        orders = len(ledger.orders(ACCOUNT))
    at_venue = [fill for symbol in SYMBOLS for fill in exchange.fills(symbol, FIRST)]
    sums = {"USDT": CASH}
    for fill in booked:
        for asset, change in changes_of(fill).items():
            sums[asset] = sums.get(asset, Decimal(0)) + change
    last = max(slot.slot for slot in slots)
    known = {slot.slot for slot in slots}
    missing = [
        n
        for n in range((last - FIRST) // timedelta(minutes=1) + 1)
        if FIRST + timedelta(minutes=n) not in known
    ]
    venue, ours = Counter(map(_key, at_venue)), Counter(map(_key, booked))
    return Account(
        statuses=Counter(slot.status.value for slot in slots),
        holes=len(missing),
        silent=sum(slot.status is not RebalanceStatus.DONE and not slot.reason for slot in slots),
        lost=(venue - ours).total(),
        doubled=(ours - venue).total(),
        equal=positions
        == dict(exchange.balances())
        == {asset: quantity for asset, quantity in sums.items() if quantity},
        orders=orders,
        fills=len(booked),
        last=last,
    )


def _key(fill: Fill) -> tuple[object, ...]:
    return (
        fill.symbol,
        fill.trade_id,
        fill.client_order_id,
        fill.quantity,
        fill.price,
        fill.fee,
        fill.fee_asset,
    )


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
    pending: list[Any] = []
    while not soak.finished and time.monotonic() < deadline:
        pending = pending or troubles(soak)
        soak.hear_slots(
            round(soak.chance.expovariate(1 / slots_between)), deadline - time.monotonic()
        )
        if not soak.finished:
            pending.pop()()
    soak.control.clear_faults()
    soak.hear_slots(5, 60)
    return conclude(soak, time.monotonic() - started)


def conclude(soak: Soak, seconds: float) -> Account:
    """Bring the last slot to its end and print the figures."""
    soak.end()
    settle(soak)
    found = account_of(soak)
    slots, factor = growth(soak)
    days = ((found.last - FIRST) / timedelta(minutes=1) + 1) / 1440
    accounted = ", ".join(f"{count} {status}" for status, count in sorted(found.statuses.items()))
    thrown = soak.stop_seconds or [0.0]
    print(
        f"\nsoak: {days:.2f} of {soak.days:g} simulated days, {found.statuses.total()} minute "
        f"slots ({accounted}; {found.holes} unaccounted for, {found.silent} without a reason), "
        f"{len(SYMBOLS)} symbols, {found.orders} orders, {found.fills} fills, "
        f"{found.lost} lost and {found.doubled} doubled, ledger = venue: {found.equal}; "
        f"{soak.kills} kills of the worker, {soak.outages['database']} database and "
        f"{soak.outages['venue']} venue outages, errors gone on after {dict(soak.errors)}; "
        f"memory x{factor:.3f} over {slots} slots of one life; kill switch thrown "
        f"{len(soak.stop_seconds)} times, the last order left after p50 "
        f"{sorted(thrown)[len(thrown) // 2]:.3f} s, p99 {p99(thrown):.3f} s; seed {SEED}, "
        f"{seconds:.0f} s"
    )
    return found


def settle(soak: Soak) -> None:
    """Let one more worker bring the slot that was cut short to its end, and no further."""
    settings = json.loads((soak.folder / "settings.json").read_text(encoding="utf-8"))
    with connect(soak.server.url) as database:
        newest = PostgresLedger(database).rebalances(ACCOUNT, limit=1)[0]
    settings["last"] = newest.slot.isoformat()
    (soak.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    soak.finished = False
    soak.start_worker()
    until = time.monotonic() + 60
    while not soak.finished and time.monotonic() < until:
        soak.hear(0.1)
    assert soak.finished, "the last slot did not end within a minute"


def require_sound(soak: Soak, found: Account) -> None:
    assert (found.holes, found.silent, found.lost, found.doubled) == (0, 0, 0, 0), found
    assert set(found.statuses) <= {"done", "skipped", "failed"}, found.statuses
    assert found.equal, "ledger and venue differ"
    assert p99(soak.stop_seconds or [0.0]) < 1, soak.stop_seconds


def test_an_hour_of_trouble_leaves_every_slot_accounted_for(soak_of: Any) -> None:
    """A slice: some minutes with a kill, an outage of each kind and the kill switch."""
    soak, started = soak_of(0.04), time.monotonic()
    soak.begin()
    for trouble in (
        soak.kill_worker,
        soak.take_database_away,
        soak.throw_kill_switch,
        soak.take_venue_away,
    ):
        soak.hear_slots(6, 20)
        trouble()
    soak.throw_kill_switch()
    soak.hear_slots(3, 20)
    soak.control.clear_faults()
    require_sound(soak, conclude(soak, time.monotonic() - started))


@pytest.mark.soak
def test_days_of_minute_slots_leave_ledger_and_venue_equal(soak_of: Any) -> None:
    """Days of it: every slot accounted for, no fill lost or doubled, memory flat, the kill switch
    within a second.
    """
    soak = soak_of(DAYS)
    found = run_soak(soak, MINUTES, slots_between=60)
    require_sound(soak, found)
    slots, factor = growth(soak)
    assert slots < 200 or factor < 1.1, f"memory grew by {factor:.2f} over {slots} slots"
