"""A venue, a database and a parent of killable traders for the crash tests, all real processes."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.stores.postgres import Database, PostgresLedger
from penstock.core.accounting import changes_of
from penstock.core.bars import BARS_SCHEMA
from penstock.core.timeframes import Timeframe
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.simulation.fill_model import FillModel
from penstock.testing.risk import switched_off
from tests.fills import counted
from tests.servers import DatabaseServers

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
PRICES = {
    "BTC": 50000.0,
    "ETH": 2500.0,
    "BNB": 400.0,
    "SOL": 120.0,
    "ADA": 0.6,
    "XRP": 0.55,
    "LTC": 80.0,
    "DOT": 8.0,
}
POLICY = {
    "visibility_delay_seconds": 0.2,
    "poll_seconds": 0.05,
    "lease_wait_seconds": 0,
    "trade_comparison_seconds": 3600,  # as shipped; the races compare at once
}
#: Rules that would change what is traded are off: here the machinery is under test, not the limits.
LIMITS = {"max_gross": 1, "max_weight": 1} | switched_off("price_collar", "max_order_notional")
#: How far a weight may be from its target: the no-trade band (0.005) and a lot.
REACHED = 0.0075


@dataclass(frozen=True)
class Scenario:
    """What one account has (by asset) and shall have (weights by base asset)."""

    opening: Mapping[str, str]
    weights: Mapping[str, float]


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed: every symbol is sold, bought or closed, with both kinds among
    the eight.
    """
    chance = random.Random(seed)
    bases = list(PRICES)
    chance.shuffle(bases)
    held, bought, closed = bases[:3], bases[3:7], bases[7:]
    opening = {"USDT": str(chance.randint(8000, 12000))}
    opening |= {base: _units(base, chance.uniform(4000, 6000)) for base in held}
    opening |= {base: _units(base, chance.uniform(1000, 2000)) for base in closed}
    weights = {base: chance.uniform(0.02, 0.08) for base in held} | dict.fromkeys(closed, 0.0)
    weights |= {base: chance.uniform(0.08, 0.16) for base in bought}
    return Scenario(opening, {base: round(weights[base], 4) for base in PRICES})


def _units(base: str, notional: float) -> str:
    return (
        f"{notional / PRICES[base]:.3f}" if PRICES[base] > 1 else f"{notional / PRICES[base]:.0f}"
    )


def candles() -> GivenCandles:
    rows = [
        (f"{base}/USDT", SLOT + timedelta(days=day), *(price,) * 4, 1e12)
        for base, price in PRICES.items()
        for day in range(-3, 2)
    ]
    return GivenCandles({Timeframe.D1: pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")})


@dataclass(frozen=True)
class Whole:
    """What venue and ledger show of one account after its slot ended. All but `reached` are zero or
    empty when all is well.
    """

    duplicates: int
    lost: int
    doubled: int
    differing: tuple[str, ...]
    unfinished: int
    untold: int
    reached: bool

    @property
    def is_whole(self) -> bool:
        return self == Whole(0, 0, 0, (), 0, 0, True)


@dataclass
class Stage:
    """Runs trials and looks at what they left, at the venue and in the ledger."""

    venue: str
    database_url: str
    database: Database
    trader: "subprocess.Popen[str]"
    control: PracticeControl = field(init=False)
    limits: Mapping[str, object] = field(default_factory=lambda: dict(LIMITS))

    def __post_init__(self) -> None:
        self.control = PracticeControl(self.venue)

    def open(self, account: str, scene: Scenario) -> None:
        self.control.create_account(account, "secret", scene.opening)

    def trial(self, account: str, scene: Scenario, **details: Any) -> dict[str, Any]:
        """Return a run of the slot; `strike_at` is the boundary at which the process is killed, or
        stopped with `stop`.
        """
        return {
            "venue": self.venue,
            "database": self.database_url,
            "account": account,
            "slot": SLOT.isoformat(),
            "version": "trend/1",
            "strike_at": None,
            "stop": False,
            "steps_clock": False,
            "receive_window_ms": 10_000,
            "policy": POLICY,
            "style": {"algorithm": "market"},
            "limits": self.limits,
            "weights": {f"{base}/USDT": weight for base, weight in scene.weights.items()},
            "closes": {f"{base}/USDT": price for base, price in PRICES.items()},
            **details,
        }

    def start(self, trials: Sequence[dict[str, Any]]) -> list[int]:
        """Fork the trials, each a process of its own, and return their ids."""
        return list(self._order("start", list(trials)))

    def wait(self, process: int) -> dict[str, Any]:
        """Return the end of a trial, or that it stopped."""
        return dict(self._order("wait", process))

    def resume(self, process: int) -> None:
        self._order("resume", process)

    def run(self, account: str, scene: Scenario, **details: Any) -> dict[str, Any]:
        return self.wait(self.start([self.trial(account, scene, **details)])[0])

    def _order(self, order: str, argument: Any) -> Any:
        assert self.trader.stdin is not None
        assert self.trader.stdout is not None
        print(json.dumps([order, argument]), file=self.trader.stdin, flush=True)
        return json.loads(self.trader.stdout.readline())

    def let_lease_run_out(self, account: str) -> None:
        """Stand in for waiting: the holder is dead or asleep, and its lease ends."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE lease SET expires_at = '-infinity' WHERE account = %s", [account]
            )

    def offer_again(self, account: str) -> int:
        """Offer every booked fill to the ledger once more, as a venue that lists a trade again.
        Return how many it took.
        """
        lease = self.ledger.acquire_lease(account, "offers again", 60)
        assert lease is not None, f"{account}: its lease is still held"
        taken = len(self.ledger.book_fills(lease, self.ledger.fills(account)))
        self.ledger.release_lease(lease)
        return taken

    @property
    def ledger(self) -> PostgresLedger:
        return PostgresLedger(self.database)

    @cached_property
    def _watcher(self) -> CcxtExchange:
        return CcxtExchange("binance", "watcher", "secret", base_url=self.venue, rate_limit_ms=0)

    def exchange(self, account: str) -> CcxtExchange:
        """Return the venue as the account sees it. One session serves all accounts: the key is
        changed.
        """
        self._watcher.client.apiKey = account
        return self._watcher

    def inspect(self, account: str, scene: Scenario) -> Whole:
        """Compare the venue's own books with the ledger, and both with the opening balances and the
        targets.
        """
        exchange, ledger = self.exchange(account), self.ledger
        exchange.instruments() if not exchange.client.markets else None
        symbols = [f"{base}/USDT" for base in PRICES]
        orders = [len(exchange.client.fetch_orders(symbol, None, 1000)) for symbol in symbols]
        at_venue = counted(fill for symbol in symbols for fill in exchange.fills(symbol, SLOT))
        booked = counted(ledger.fills(account))
        sums = {asset: Decimal(quantity) for asset, quantity in scene.opening.items()}
        for fill in ledger.fills(account):
            for asset, change in changes_of(fill).items():
                sums[asset] = sums.get(asset, Decimal(0)) + change
        positions, balances = dict(ledger.balances(account)), dict(exchange.balances())
        differing = {
            a
            for a in {*sums, *positions, *balances}
            if not sums.get(a, 0) == positions.get(a, 0) == balances.get(a, 0)
        }
        return Whole(
            duplicates=sum(max(0, count - 1) for count in orders),
            lost=(at_venue - booked).total(),
            doubled=(booked - at_venue).total(),
            differing=tuple(sorted(differing)),
            unfinished=sum(not order.state.is_final for order in ledger.orders(account)),
            untold=self._untold(account),
            reached=self._reached(positions, scene),
        )

    def rows(self, account: str) -> dict[str, list[str]]:
        """Return every row of the account in every table, with the transaction that wrote it. A row
        that is written again shows too.
        """
        with self.database.transaction() as connection:
            tables = connection.execute(
                "SELECT table_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND column_name = 'account'"
            ).fetchall()
            chosen = {
                name: f"SELECT t.xmin::text || t::text FROM {name} t WHERE account = %s"  # noqa: S608
                for (name,) in tables
            }
            chosen["order_event"] = (
                "SELECT t.xmin::text || t::text FROM order_event t "
                "JOIN orders USING (client_order_id) WHERE account = %s"
            )
            return {
                name: sorted(row for (row,) in connection.execute(text.encode(), [account]))
                for name, text in chosen.items()
            }

    def _untold(self, account: str) -> int:
        """Return how many breaks, and states that a rule has set, no alert is on record of."""
        with self.database.transaction() as connection:
            row = connection.execute(
                """SELECT (SELECT count(*) FROM account_break AS b
                           WHERE account = %(account)s
                             AND NOT EXISTS (SELECT FROM alert WHERE break_id = b.id))
                        + (SELECT count(*) FROM trading_state
                           WHERE account = %(account)s AND set_by LIKE 'risk rule%%')
                        - (SELECT count(*) FROM alert
                           WHERE account = %(account)s AND title LIKE 'the account is set to%%')""",
                {"account": account},
            ).fetchone()
        assert row is not None
        return int(row[0])

    def _reached(self, positions: Mapping[str, Decimal], scene: Scenario) -> bool:
        values = {base: float(positions.get(base, 0)) * price for base, price in PRICES.items()}
        equity = sum(values.values()) + float(positions["USDT"])
        return all(abs(values[base] / equity - scene.weights[base]) < REACHED for base in PRICES)


@pytest.fixture(scope="session")
def make_scenario() -> Any:
    """Returns the scenario of a seed."""
    return scenario


@pytest.fixture(scope="session")
def stage(
    servers: DatabaseServers,
) -> Iterator[Stage]:
    clock = stepped_clock(SLOT + timedelta(seconds=2))
    practice = PracticeServer(
        candles(), clock, fill_model=FillModel(participation=None), limits=UNLIMITED
    )
    script = Path(__file__).with_name("trader.py")
    command = [sys.executable, str(script)]
    with (
        servers.opened() as (url, database),
        practice,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as trader,
    ):
        yield Stage(practice.url, url, database, trader)
        assert trader.stdin is not None
        trader.stdin.close()
