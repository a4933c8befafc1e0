"""What does the ledger cost? Orders through Penstock against a bare ccxt loop on the same practice
exchange. Events per second are measured too.

Run: python benchmarks/ledger_orders.py. Everything runs on this machine, side by side, with a
durable database (fsync on).
"""

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.postgres import (
    PostgresControlStore,
    PostgresLedger,
    PostgresParentOrderStore,
    connect,
    migrate,
)
from penstock.core.bars import BARS_SCHEMA
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderType,
    Phase,
    Side,
    client_order_id,
)
from penstock.core.timeframes import Timeframe
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.lease import LeaseKeeper, take_lease
from penstock.execution.orders.submit import place
from penstock.execution.orders.track import OrderTracker
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.practice.candles import GivenCandles
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.simulation.fill_model import FillModel

SYMBOLS = [f"C{n:02d}/USDT" for n in range(20)]
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def candles() -> GivenCandles:
    rows = [
        (symbol, TODAY + timedelta(days=day), *(10.0,) * 4, 1e12)
        for symbol in SYMBOLS
        for day in range(-2, 2)
    ]
    return GivenCandles({Timeframe.D1: pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")})


def intents(account: str, slot: datetime, symbols: list[str]) -> list[OrderIntent]:
    return [
        OrderIntent(
            OrderRequest(
                client_order_id(account, "bench/1", slot, symbol, Phase.BUYS, 0, 0),
                symbol,
                Side.BUY,
                OrderType.MARKET,
                Decimal(1),
            ),
            phase=Phase.BUYS,
            child=0,
            attempt=0,
            strategy_version="bench/1",
            target_weight=0.05,
            reference_price=Decimal(10),
        )
        for symbol in symbols
    ]


def bare_seconds(exchange: CcxtExchange) -> float:
    """Send the orders with ccxt alone: no ledger, no ids, nothing remembered."""
    start = time.perf_counter()
    for symbol in SYMBOLS:
        exchange.client.create_order(symbol, "market", "buy", "1")
    return time.perf_counter() - start


def penstock_seconds(
    session: AccountSession, keeper: LeaseKeeper, slot: datetime
) -> tuple[float, float]:
    """Return the seconds until every order is acknowledged and recorded, and until every fill is
    booked.
    """
    rebalance = session.ledger.start_rebalance(keeper.lease, slot, "bench/1")
    orders = intents(session.account, slot, SYMBOLS)
    start = time.perf_counter()
    reports = place(session, keeper, rebalance, orders)
    acknowledged = time.perf_counter() - start
    follower = OrderTracker(session, keeper, datetime.now(UTC))
    left = follower.follow(
        session.ledger.orders(session.account, rebalance_id=rebalance.id), reports, 30
    )
    assert len(reports) == len(SYMBOLS)
    assert not left
    return acknowledged, time.perf_counter() - start


def events_per_second(
    session: AccountSession, keeper: LeaseKeeper, orders: int, batch: int
) -> float:
    """Return durable order events per second of one writer: SUBMIT and ACCEPT of each order, one
    commit for `batch` events.
    """
    slot = TODAY - timedelta(days=365 + batch)
    rebalance = session.ledger.start_rebalance(keeper.lease, slot, "bench/1")
    planned = intents(session.account, slot, [f"X{n}/USDT" for n in range(orders)])
    session.ledger.plan_orders(keeper.lease, rebalance.id, planned)
    start = time.perf_counter()
    for first in range(0, orders, batch):
        names = [order.request.client_order_id for order in planned[first : first + batch]]
        for kind in (OrderEventKind.SUBMIT, OrderEventKind.ACCEPT):
            session.ledger.record_events(
                keeper.lease, [OrderEvent(name, kind, slot) for name in names]
            )
    return 2 * orders / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=30, help="rounds of 20 orders, bare and Penstock in turn"
    )
    parser.add_argument(
        "--senders", type=int, default=1, help="requests of one phase under way at once"
    )
    arguments = parser.parse_args()
    rounds, senders = arguments.rounds, arguments.senders
    accounts = tuple(AccountSpec(name, "secret", {"USDT": "1e9"}) for name in ("bare", "bench"))
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        practice = PracticeServer(
            candles(), accounts=accounts, limits=UNLIMITED, fill_model=FillModel(participation=None)
        )
        try:
            with practice, connect(server.start()) as database:
                migrate(database)
                bare = CcxtExchange(
                    "binance", "bare", "secret", base_url=practice.url, rate_limit_ms=0
                )
                ours = CcxtExchange(
                    "binance", "bench", "secret", base_url=practice.url, rate_limit_ms=0
                )
                ledger, control_store = PostgresLedger(database), PostgresControlStore(database)
                ledger.open_account("bench", "practice", "USDT")
                switch = KillSwitch("bench", control_store, clock=SYSTEM_CLOCK)
                policy = ExecutionPolicy(lease_ttl_seconds=600, senders=senders)
                session = AccountSession(
                    account="bench",
                    exchange_name="practice",
                    quote="USDT",
                    exchange=ours,
                    ledger=ledger,
                    parent_orders=PostgresParentOrderStore(database),
                    control_store=control_store,
                    clock=SYSTEM_CLOCK,
                    kill_switch=switch,
                    policy=policy,
                    pause=SYSTEM_CLOCK.sleep,
                    machine_clock=SYSTEM_CLOCK,
                    runner=THREADS,
                    ids=RANDOM_IDS,
                )
                keeper = take_lease(ledger, "bench", 600, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS)
                assert keeper is not None
                for exchange in (bare, ours):
                    exchange.instruments()
                loops, acknowledged, booked = [], [], []
                for n in range(rounds):
                    loops.append(bare_seconds(bare))
                    ack, whole = penstock_seconds(session, keeper, TODAY - timedelta(hours=n))
                    acknowledged.append(ack)
                    booked.append(whole)
                singly = events_per_second(session, keeper, 400, 1)
                together = events_per_second(session, keeper, 4000, len(SYMBOLS))
        finally:
            server.destroy()
    loop, ack, whole = (statistics.median(times) for times in (loops, acknowledged, booked))
    to_ack, to_end = (
        statistics.median(ours / bare for ours, bare in zip(times, loops, strict=True))
        for times in (acknowledged, booked)
    )
    print(
        f"20 market orders, median of {rounds} rounds, bare and ours in turn, {senders} at once, "
        "database durable"
    )
    print(
        f"  bare ccxt loop                     {loop * 1e3:7.1f} ms  {20 / loop:6.0f} orders/s   "
        "1.00x"
    )
    print(
        f"  Penstock, acknowledged + recorded  {ack * 1e3:7.1f} ms  {20 / ack:6.0f} orders/s   "
        f"{to_ack:.2f}x"
    )
    print(
        f"  Penstock, fills booked too         {whole * 1e3:7.1f} ms  "
        f"{20 / whole:6.0f} orders/s   {to_end:.2f}x"
    )
    print(
        f"  ledger alone, one commit per phase {together:7.0f} durable order events/s "
        "(one writer, 20 events per commit)"
    )
    print(f"  ledger alone, one commit per event {singly:7.0f} durable order events/s (one writer)")


if __name__ == "__main__":
    main()
