"""What does a minute slot cost at the ledger, call by call? An account of one day beside an account
of one year.

Run: python benchmarks/ledger_age.py. It takes about a minute, most of it to write the year;
--minutes makes it shorter. Both ledgers are in one database server on this machine and are asked in
turn. Calls that only a person makes (status) may take longer.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.postgres import (
    Database,
    PostgresControlStore,
    PostgresLedger,
    connect,
    create_database,
    migrate,
)

DAY = 1440
END = datetime(2026, 1, 1, 12, tzinfo=UTC)
ACCOUNT = "bench"
SYMBOLS = 10

#: One order per slot, filled at once; ten symbols in turn; two buys for each sell. One order in a
#: thousand expires unfilled.
_FILLED = """
    INSERT INTO rebalance (account, slot, portfolio_version, status, targets)
    SELECT %(name)s, %(start)s + n * interval '1 min', 'v', 'done', '{"S1/USDT": 0.1}'
    FROM generate_series(1, %(minutes)s) n;
    INSERT INTO equity
    SELECT %(name)s, %(start)s + n * interval '1 min', 100000 + n * 7919::bigint %% 1000, 1
    FROM generate_series(1, %(minutes)s) n;
    INSERT INTO orders (client_order_id, account, rebalance_id, symbol, side, type, quantity,
        phase, child, attempt, strategy_version, target_weight, reference_price, state, end_cause,
        filled_quantity, created_at, updated_at)
    SELECT %(name)s || id, %(name)s, id, 'S' || n %% %(symbols)s || '/USDT',
        CASE WHEN n / %(symbols)s %% 3 = 2 THEN 'sell' ELSE 'buy' END, 'market', 1,
        1, 0, 0, 'v', 0.1, 100,
        CASE WHEN n %% 1000 = 1 THEN 'expired' ELSE 'filled' END,
        CASE WHEN n %% 1000 = 1 THEN 'expired' ELSE 'filled' END,
        CASE WHEN n %% 1000 = 1 THEN 0 ELSE 1 END, slot, slot
    FROM (SELECT id, slot, row_number() OVER (ORDER BY slot) AS n
          FROM rebalance WHERE account = %(name)s) numbered;
    INSERT INTO fill
        (account, symbol, trade_id, client_order_id, side, quantity, price, fee, fee_asset, at)
    SELECT account, symbol, sequence::text, client_order_id, side, 1, 100 + sequence %% 17, 0.1,
        'USDT', created_at
    FROM orders WHERE account = %(name)s AND state = 'filled' ORDER BY sequence;
    INSERT INTO balance SELECT %(name)s, 'S' || n, 100 FROM generate_series(0, %(symbols)s - 1) n
"""


@dataclass(frozen=True)
class Aged:
    """A ledger whose account has traded every minute for `minutes`."""

    database: Database
    minutes: int

    @property
    def ledger(self) -> PostgresLedger:
        return PostgresLedger(self.database)

    @property
    def control_store(self) -> PostgresControlStore:
        return PostgresControlStore(self.database)

    def fill(self) -> float:
        """Write the account's past; return the seconds that its first entry prices took, which are
        counted from all fills.
        """
        self.ledger.open_account(ACCOUNT, "practice", "USDT")
        arguments = {
            "name": ACCOUNT,
            "start": END - timedelta(minutes=self.minutes),
            "minutes": self.minutes,
            "symbols": SYMBOLS,
        }
        with self.database.transaction() as connection:
            connection.execute(
                "SET LOCAL statement_timeout = 0; SET LOCAL session_replication_role = replica"
            )
            for statement in _FILLED.split(";"):
                connection.execute(statement.encode(), arguments)
        with self.database.dedicated() as connection:
            connection.execute("SET statement_timeout = 0")
            connection.execute("VACUUM ANALYZE")
        marks = self.control_store.trade_marks(ACCOUNT)
        lease = self.ledger.acquire_lease(ACCOUNT, "benchmark", 60)
        assert lease is not None
        self.control_store.record_compared(lease, {mark.symbol: mark.newest for mark in marks})
        self.ledger.release_lease(lease)
        started = time.perf_counter()
        self.ledger.cost_bases(ACCOUNT)
        return time.perf_counter() - started


def calls(aged: Aged) -> dict[str, Callable[[], Any]]:
    """Return what a slot reads, and what a person reads, by name."""
    ledger, control_store = aged.ledger, aged.control_store
    slot = END + timedelta(minutes=1)
    last = ledger.rebalances(ACCOUNT, limit=1)[0].id
    return {
        "entry prices (stops)": lambda: ledger.cost_bases(ACCOUNT),
        "risk history": lambda: control_store.risk_history(ACCOUNT, slot, slot),
        "trade marks": lambda: control_store.trade_marks(ACCOUNT),
        "slots on record (a day)": lambda: ledger.rebalances(ACCOUNT, limit=DAY),
        "newest 20 slots": lambda: ledger.rebalances(ACCOUNT, limit=20),
        "unfinished orders": lambda: ledger.orders(ACCOUNT, unfinished_only=True),
        "unsettled orders": lambda: ledger.unsettled_orders(ACCOUNT),
        "orders of the slot": lambda: ledger.orders(ACCOUNT, rebalance_id=last),
        "short orders of a symbol": lambda: ledger.short_orders(ACCOUNT, "S1/USDT", 100),
        "fills of a symbol, an hour": lambda: ledger.fills(
            ACCOUNT, "S1/USDT", END - timedelta(hours=1)
        ),
        "beginning": lambda: ledger.beginning(ACCOUNT, "opening balance"),
        "balances": lambda: ledger.balances(ACCOUNT),
        "open breaks": lambda: control_store.open_breaks(ACCOUNT),
        "trading state": lambda: control_store.trading_state(ACCOUNT),
        "acceptances": lambda: control_store.acceptances(ACCOUNT),
        "status: totals": lambda: ledger.totals(ACCOUNT),
        "status: equity curve": lambda: control_store.equity_history(ACCOUNT),
    }


def measured(fresh: Aged, old: Aged, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median milliseconds of each call, fresh and old, asked in turn."""
    figures = {}
    for (name, of_fresh), of_old in zip(calls(fresh).items(), calls(old).values(), strict=True):
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds if "status" not in name else 3):
            for call, times in zip((of_fresh, of_old), taken, strict=True):
                started = time.perf_counter()
                call()
                times.append((time.perf_counter() - started) * 1e3)
        figures[name] = (statistics.median(taken[0]), statistics.median(taken[1]))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--minutes", type=int, default=365 * DAY, help="the age of the old account, in minute slots"
    )
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            url = server.start()
            with (
                connect(create_database(url, "fresh")) as young,
                connect(create_database(url, "old")) as aged,
            ):
                fresh, old = Aged(young, DAY), Aged(aged, arguments.minutes)
                for database in (young, aged):
                    migrate(database)
                fresh.fill()
                started = time.perf_counter()
                first = old.fill()
                written = time.perf_counter() - started
                figures = measured(fresh, old, arguments.rounds)
        finally:
            server.destroy()
    print(
        f"one account, a day of minute slots beside {arguments.minutes} of them "
        f"(written in {written:.0f} s), ms per call, median"
    )
    for name, (before, after) in figures.items():
        print(f"  {name:31} {before:9.2f} {after:9.2f}   {after / before:7.1f}x")
    slot = [times for name, times in figures.items() if "status" not in name]
    before, after = sum(first for first, _ in slot), sum(second for _, second in slot)
    print(
        f"  {'a slot, each of its calls once':31} {before:9.2f} {after:9.2f}   "
        f"{after / before:7.1f}x"
    )
    print(f"  entry prices counted from all fills, once: {first * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
