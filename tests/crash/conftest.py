"""A venue, a database and a killable trader for the crash tests, all real processes."""

import json
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
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.timescale import Database, TimescaleLedger, connect, migrate
from penstock.core.bars import BARS_SCHEMA
from penstock.core.timeframes import Timeframe
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
PRICES = {"BTC": 50000.0, "ETH": 2500.0, "BNB": 400.0, "SOL": 120.0, "ADA": 0.6, "XRP": 0.55, "LTC": 80.0, "DOT": 8.0}
OPENING = {"USDT": "4000", "BTC": "0.1", "ADA": "3000", "LTC": "12"}
WEIGHTS = {"BTC": 0.1, "ETH": 0.2, "BNB": 0.1, "SOL": 0.15, "ADA": 0.0, "XRP": 0.1, "LTC": 0.05, "DOT": 0.15}


def candles() -> GivenCandles:
    rows = [
        (f"{base}/USDT", SLOT + timedelta(days=day), *(price,) * 4, 1e12)
        for base, price in PRICES.items()
        for day in range(-3, 2)
    ]
    return GivenCandles({Timeframe.D1: pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")})


@dataclass
class Stage:
    """Runs trials and looks at what they left, at the venue and in the ledger."""

    venue: str
    database_url: str
    database: Database
    trader: "subprocess.Popen[str]"
    control: PracticeControl = field(init=False)

    def __post_init__(self) -> None:
        self.control = PracticeControl(self.venue)

    def open(self, account: str) -> None:
        self.control.create_account(account, "secret", OPENING)

    def run(self, account: str, kill_at: int | None = None, version: str = "trend/1") -> dict[str, Any]:
        """Run the slot in a process of its own; `kill_at` is the boundary at which it is killed."""
        trial = {
            "venue": self.venue,
            "database": self.database_url,
            "account": account,
            "slot": SLOT.isoformat(),
            "version": version,
            "kill_at": kill_at,
            "weights": {f"{base}/USDT": weight for base, weight in WEIGHTS.items()},
            "closes": {f"{base}/USDT": price for base, price in PRICES.items()},
        }
        assert self.trader.stdin is not None
        assert self.trader.stdout is not None
        print(json.dumps(trial), file=self.trader.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.trader.stdout.readline())
        return answer

    def let_lease_run_out(self, account: str) -> None:
        """Stand in for waiting: the holder is dead, and its lease ends."""
        with self.database.transaction() as connection:
            connection.execute("UPDATE lease SET expires_at = '-infinity' WHERE account = %s", [account])

    @property
    def ledger(self) -> TimescaleLedger:
        return TimescaleLedger(self.database)

    def exchange(self, account: str) -> CcxtExchange:
        return CcxtExchange("binance", account, "secret", base_url=self.venue, rate_limit_ms=0)

    def weights(self, account: str) -> dict[str, float]:
        held = self.ledger.positions(account)
        values = {base: held.get(base, Decimal(0)) * Decimal(str(price)) for base, price in PRICES.items()}
        equity = sum(values.values()) + held["USDT"]
        return {base: float(value / equity) for base, value in values.items()}


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("crash"), settings={"fsync": "off"})
    clock = stepped_clock(SLOT + timedelta(seconds=2))
    practice = PracticeServer(candles(), clock, participation=None, limits=UNLIMITED)
    script = Path(__file__).with_name("trader.py")
    try:
        url = server.start()
        with practice, connect(url) as database:
            migrate(database)
            command = [sys.executable, str(script)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as trader:
                yield Stage(practice.url, url, database, trader)
                assert trader.stdin is not None
                trader.stdin.close()
    finally:
        server.destroy()
