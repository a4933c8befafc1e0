"""A practice exchange with minute bars and a stepped clock, a real ledger, and a killable worker of
orders.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.stores.postgres import (
    Database,
    PostgresLedger,
    PostgresParentOrderStore,
)
from penstock.core.bars import BARS_SCHEMA
from penstock.core.timeframes import Timeframe
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.simulation.fill_model import FillModel
from tests.servers import DatabaseServers

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
CLOSES = {"BTC/USDT": 50_000.0, "ETH/USDT": 2_500.0, "SOL/USDT": 120.0}
OPENING = {"USDT": "100000", "SOL": "100"}


def candles(
    hours: int = 48, scale: float = 1.0, fall_at: int | None = None, fall: float = 1.0
) -> GivenCandles:
    """Minute bars that move by a few basis points. Each has so little volume that a large child is
    filled in part only.

    `scale` makes all prices higher, for a dearer venue. From the minute `fall_at` on they are
    multiplied by `fall`.
    """
    chance, rows = random.Random(7), []
    for symbol, price in CLOSES.items():
        at = round(price * scale, 2)
        for minute in range(-60, hours * 60):
            at = round(at * fall, 2) if minute == fall_at else at
            following = round(at * chance.uniform(0.9998, 1.0002), 2)
            volume = 30_000 / price
            rows.append(
                (
                    symbol,
                    SLOT + timedelta(minutes=minute),
                    at,
                    max(at, following),
                    min(at, following),
                    following,
                    volume,
                )
            )
            at = following
    return GivenCandles({Timeframe.M1: pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")})


@dataclass
class Stage:
    """Runs trials and looks at what they left, at the venue and in the ledger."""

    venue: str
    database_url: str
    database: Database
    worker: "subprocess.Popen[str]"
    venues: dict[str, str] = field(default_factory=dict)
    fees: dict[str, str] = field(default_factory=dict)
    control: PracticeControl = field(init=False)

    def __post_init__(self) -> None:
        self.venues = self.venues or {"only": self.venue}
        self.control = PracticeControl(self.venue)

    def controls(self) -> dict[str, PracticeControl]:
        return {name: PracticeControl(url) for name, url in self.venues.items()}

    def open(self, account: str, opening: dict[str, dict[str, str]] | None = None) -> datetime:
        """Open a new account at each venue and return its slot. The slot is the next full minute;
        the venues' time moves to it.
        """
        controls = self.controls()
        slot = (
            Timeframe.M1.floor(max(control.now() for control in controls.values()))
            + Timeframe.M1.duration
        )
        for name, control in controls.items():
            control.create_account(account, "secret", OPENING if opening is None else opening[name])
            control.step(to=slot + timedelta(seconds=1))
        return slot

    def wait(self, seconds: float) -> None:
        """Move the venues' time."""
        for control in self.controls().values():
            control.step(seconds=seconds)

    def run(
        self,
        account: str,
        slot: datetime,
        style: dict[str, Any] | None,
        weights: dict[str, float],
        kill_at: int | None = None,
        limits: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run the slot in a process of its own. `kill_at` is the call at which it is killed;
        `limits` are the risk limits.
        """
        trial = {
            "venues": self.venues,
            "fees": self.fees,
            "database": self.database_url,
            "account": account,
            "slot": slot.isoformat(),
            "style": style,
            "weights": weights,
            "closes": CLOSES,
            "kill_at": kill_at,
            "limits": limits or {},
        }
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        print(json.dumps(trial), file=self.worker.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.worker.stdout.readline())
        return answer

    def let_lease_run_out(self, account: str) -> None:
        """Stand in for waiting: the holder is dead, and its lease ends."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE lease SET expires_at = '-infinity' WHERE account = %s", [account]
            )

    @property
    def ledger(self) -> PostgresLedger:
        return PostgresLedger(self.database)

    @property
    def work(self) -> PostgresParentOrderStore:
        return PostgresParentOrderStore(self.database)

    def exchange(self, account: str, venue: str = "") -> CcxtExchange:
        return CcxtExchange(
            "binance",
            account,
            "secret",
            base_url=self.venues.get(venue, self.venue),
            rate_limit_ms=0,
        )

    def weights(self, account: str) -> dict[str, float]:
        held = self.ledger.balances(account)
        values = {
            symbol: held.get(symbol.split("/")[0], Decimal(0)) * Decimal(str(price))
            for symbol, price in CLOSES.items()
        }
        equity = sum(values.values()) + held["USDT"]
        return {symbol: float(value / equity) for symbol, value in values.items()}


@pytest.fixture(scope="session")
def stage(servers: DatabaseServers) -> Iterator[Stage]:
    practice = PracticeServer(candles(), stepped_clock(SLOT), limits=UNLIMITED)
    command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
    with (
        practice,
        servers.opened() as (url, database),
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as worker,
    ):
        yield Stage(practice.url, url, database, worker)
        assert worker.stdin is not None
        worker.stdin.close()


@pytest.fixture
def falling(stage: Stage) -> Iterator[Stage]:
    """The same ledger at another venue. Its time is two minutes before SLOT, and its prices fall by
    15% three minutes after it.
    """
    clock = stepped_clock(SLOT - timedelta(minutes=2))
    practice = PracticeServer(candles(fall_at=3, fall=0.85), clock, limits=UNLIMITED)
    with practice:
        yield Stage(practice.url, stage.database_url, stage.database, stage.worker)


@pytest.fixture(scope="session")
def two_venues(stage: Stage) -> Iterator[Stage]:
    """The same stage with a second venue. Its prices are 10 bps higher, its fee is 6 bps lower, and
    its books are half as deep.
    """
    dearer = PracticeServer(
        candles(scale=1.001),
        stepped_clock(SLOT),
        fill_model=FillModel(taker_fee_bps=Decimal(4), participation=0.5),
        limits=UNLIMITED,
    )
    with dearer:
        venues = {"cheap": stage.venue, "dear": dearer.url}
        yield Stage(
            stage.venue,
            stage.database_url,
            stage.database,
            stage.worker,
            venues,
            {"cheap": "10", "dear": "4"},
        )
