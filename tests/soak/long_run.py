"""What runs in a soak: a venue, a database, a worker that is killed and started again.

A soak lives in a folder. Where the folder has one already, it goes on where it ended.
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
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.postgres import PostgresControlStore, connect, migrate
from penstock.core.halts import TradingState
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.practice.synthetic import DEFAULT_SYMBOLS, SyntheticCandles
from penstock.simulation.fill_model import FillModel
from penstock.testing.risk import switched_off
from tests.soak.situations import TRADES_PAGE, Situations, note

SEED = int(os.environ.get("PENSTOCK_SOAK_SEED", "20240304"))
ROOT = Path(__file__).resolve().parents[2]
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
SYMBOLS = list(DEFAULT_SYMBOLS[:10])
ACCOUNT, CASH = "soak", Decimal(100_000)
#: Limits that a believed wrong print would breach, and no true price of the seed. A position is 15%
#: of equity at most: at half its price the day has lost 7.5%, and the position 50%.
LIMITS = {
    "max_gross": 1,
    "max_weight": 1,
    "daily_loss": {"limit": 0.06, "state": "reduce_only", "flatten": True},
    "stop_loss": 0.3,
    "trailing_stop": 0.3,
    "take_profit": 0.45,
} | switched_off(
    "price_collar", "max_order_notional", "daily_loss", "stop_loss", "trailing_stop", "take_profit"
)
#: Trading so often at a usual fee would lose a fifth of the account every day.
FEES = FillModel(taker_fee_bps=Decimal("0.2"))
#: What a venue says of an order that it refuses: no funds, a filter, no permission.
REFUSALS = {
    "-2010": (400, "Account has insufficient balance for requested action."),
    "-1013": (400, "Filter failure: LOT_SIZE"),
    "-2015": (401, "Invalid API-key, IP, or permissions for action."),
}
_ORDER_PATH = "/api/v3/order"
#: How long the kill switch stays thrown: everything that leaves in this time was too late.
_HELD_SECONDS = 1.5
_ERRORS = (
    FaultKind.ERROR_BEFORE,
    FaultKind.ERROR_AFTER,
    FaultKind.RESET_AFTER,
    FaultKind.MALFORMED,
)


@dataclass
class Life:
    """One worker's process, from its start to its end."""

    process: "subprocess.Popen[str]"
    rss: list[int] = field(default_factory=list)


@dataclass
class Tally:
    """What was done to a soak, over all its parts."""

    parts: int = 0
    kills: int = 0
    seconds: float = 0
    outages: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    stop_seconds: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Tally":
        """Return the tally of the parts before."""
        if not path.exists():
            return cls()
        kept = json.loads(path.read_text(encoding="utf-8"))
        counters = {name: Counter(kept[name]) for name in ("outages", "errors", "refusals")}
        return cls(**{**kept, **counters})


@dataclass
class Soak:
    """Everything that runs, and what was seen of it."""

    folder: Path
    days: float
    block: int
    cut_every: int
    """Of blocks of situations: see tests.soak.situations."""
    refused: dict[str, Any]
    """Which orders the venue refuses, for each of REFUSALS: fields of Fault."""
    port: int = 0
    lives: list[Life] = field(default_factory=list)
    said: "queue.SimpleQueue[dict[str, Any]]" = field(default_factory=queue.SimpleQueue)
    left: list[float] = field(default_factory=list)
    slots: int = 0
    traded: dict[datetime, int] = field(default_factory=dict)
    """How many orders were sent, by slot that was traded to its end."""
    finished: bool = False

    def __post_init__(self) -> None:
        self.tally = Tally.read(self.folder / "tally.json")
        self.tally.parts += 1
        self.chance = random.Random(f"{SEED}/{self.tally.parts}")
        self.server = EmbeddedPostgres(self.folder / "database", settings={"fsync": "off"})
        self.server.start()
        self.port = free_port()
        self.venue = self._venue_from(FIRST)

    @property
    def switch(self) -> Path:
        return self.folder / "halt"

    @property
    def record(self) -> Path:
        """Which minutes were arranged when."""
        return self.folder / "arranged.jsonl"

    @property
    def control(self) -> PracticeControl:
        return PracticeControl(self.venue.url)

    @property
    def candles(self) -> SyntheticCandles:
        start, end = FIRST - timedelta(days=1), FIRST + timedelta(days=int(self.days) + 3)
        return SyntheticCandles(symbols=tuple(SYMBOLS), start=start, end=end, seed=SEED)

    @property
    def situations(self) -> Situations:
        return Situations(SYMBOLS, FIRST, SEED, self.block, self.cut_every)

    def _venue_from(self, start: datetime) -> PracticeServer:
        """Start the venue with what its journal has, at `start` or later."""
        return PracticeServer(
            self.candles,
            stepped_clock(start),
            port=self.port,
            fill_model=FEES,
            limits=UNLIMITED,
            journal=self.folder / "journal.jsonl",
        ).start()

    def begin(self) -> None:
        """Start the first worker, or go on where the part before ended."""
        with connect(self.server.url) as database:
            migrate(database)
        self.control.create_account("key", "secret", {"USDT": CASH})
        self._arm()
        last = FIRST + timedelta(minutes=round(self.days * 1440) - 1)
        self.set_last(last)
        self.start_worker()

    def set_last(self, last: datetime) -> None:
        """Let workers that are started from now on end after the slot `last`."""
        settings = {
            "venue": self.venue.url,
            "database": self.server.url,
            "account": ACCOUNT,
            "symbols": SYMBOLS,
            "first": FIRST.isoformat(),
            "last": last.isoformat(),
            "switch": str(self.switch),
            "limits": LIMITS,
            "seed": SEED,
            "block": self.block,
            "cut_every": self.cut_every,
            "record": str(self.record),
            "candles_from": self.candles.start.isoformat(),
            "candles_to": self.candles.end.isoformat(),
        }
        (self.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")

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
        for code, (status, text) in REFUSALS.items():
            body = json.dumps({"code": int(code), "msg": text})
            strikes = {"seed": self.chance.randint(0, 2**31), **self.refused}
            if "nth" in strikes:
                strikes["nth"] = [n + len(code) for n in strikes["nth"]]
            self.control.arm(
                Fault(
                    kind=FaultKind.REFUSAL,
                    method="POST",
                    path=_ORDER_PATH,
                    body=body,
                    body_status=status,
                    **strikes,
                )
            )
        # The last one: only where nothing else strikes.
        trades = {"method": "GET", "path": "/api/v3/myTrades", "rows": TRADES_PAGE}
        self.control.arm(Fault(kind=FaultKind.SHORT_PAGES, **trades))

    def count_refusals(self) -> None:
        """Take in what the venue has refused since faults were armed."""
        for fault in self.control.faults():
            if fault["kind"] == FaultKind.REFUSAL:
                self.tally.refusals[str(json.loads(fault["body"])["code"])] += fault["struck"]

    def start_worker(self) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.soak.worker",
            str(self.folder / "settings.json"),
        ]
        life = Life(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
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
                self.tally.errors[event["error"]] += 1
            elif "slot" in event:
                self.slots += 1
                if event["status"] == "done":
                    self.traded[datetime.fromisoformat(event["slot"])] = event["sent"]
            self.finished |= bool(event.get("finished"))

    def hear_slots(self, count: int, seconds: float) -> None:
        """Take in what the worker says until `count` more slots have ended, or so long."""
        wanted, until = self.slots + count, time.monotonic() + seconds
        while self.slots < wanted and not self.finished and time.monotonic() < until:
            self.hear(0.05)

    def kill_worker(self) -> None:
        self.lives[-1].process.kill()
        self.lives[-1].process.wait()
        self.tally.kills += 1
        self.start_worker()

    def take_database_away(self) -> None:
        self.server.stop()
        self.hear(0.5)
        self.server.start()
        self.tally.outages["database"] += 1

    def take_venue_away(self) -> None:
        """Take it away for three minutes of its time. Nothing that was wrong is wrong afterwards,
        until the next slot is arranged.
        """
        self.count_refusals()
        back = self.control.now() + timedelta(seconds=180)
        self.venue.kill()
        self.hear(0.5)
        self.venue = self._venue_from(back)
        note(self.record, self.control.now() - timedelta(milliseconds=1), None)
        self._arm()
        self.tally.outages["venue"] += 1

    def throw_kill_switch(self) -> None:
        """Halt while orders leave, see when the last one left, and let go."""
        seen = len(self.left)
        until = time.monotonic() + 5
        while len(self.left) == seen and time.monotonic() < until:
            self.hear(0.002)
        by_file = len(self.tally.stop_seconds) % 2 == 0
        if by_file:
            self.switch.write_text("halted drill", encoding="utf-8")
        else:
            self._set(TradingState.HALTED)
        thrown = time.monotonic()
        self.hear(_HELD_SECONDS)
        late = [moment - thrown for moment in self.left if moment > thrown]
        self.tally.stop_seconds.append(max(late, default=0.0))
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

    def keep(self) -> None:
        """Write down what was done, for the part that follows."""
        (self.folder / "tally.json").write_text(json.dumps(vars(self.tally)), encoding="utf-8")

    def close(self, *, keep: bool) -> None:
        """End whatever runs; delete the data unless it is to be kept."""
        for life in self.lives:
            life.process.kill()
            life.process.wait()
        self.venue.stop()
        if keep:
            self.server.stop()
        else:
            self.server.destroy()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
