"""An account with three positions on a practice exchange, its ledger in PostgreSQL, and the means
to disturb either side.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import ccxt
import polars as pl
import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.stores.postgres import (
    Database,
    PostgresControlStore,
    PostgresLedger,
    PostgresParentOrderStore,
)
from penstock.core.bars import BARS_SCHEMA
from penstock.core.breaks import BreakKind
from penstock.core.clock import VenueClock
from penstock.core.leases import Lease
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.order_records import OrderIntent
from penstock.core.orders import OrderEventKind, OrderRequest, OrderType, Phase, Side
from penstock.core.proposals import SeenBar
from penstock.core.timeframes import Timeframe
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.lease import LeaseKeeper, take_lease
from penstock.execution.orders.submit import place
from penstock.execution.orders.track import OrderTracker
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.reconciliation.acceptance import accept_break
from penstock.execution.reconciliation.reconcile import Reconciliation, reconcile
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.risk.limits import RiskLimits
from penstock.simulation.fill_model import FillModel
from tests.servers import DatabaseServers

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
PRICES = {"BTC/USDT": 50_000.0, "ETH/USDT": 2_500.0, "SOL/USDT": 120.0}
WEIGHTS = {"BTC/USDT": 0.3, "ETH/USDT": 0.2, "SOL/USDT": 0.2}
#: Opens a tenth higher every day, and has no weight unless a test gives it one.
RISING = {day: round(100 * 1.1**day, 2) for day in range(-2, 5)}
BARS = pl.DataFrame(
    [
        (symbol, SLOT + timedelta(days=day), *(price,) * 4, 1e9)
        for symbol, price in PRICES.items()
        for day in range(-2, 5)
    ]
    + [
        ("UP/USDT", SLOT + timedelta(days=day), *(price,) * 4, 1e9) for day, price in RISING.items()
    ],
    schema=BARS_SCHEMA,
    orient="row",
)
#: Orders fill at the last price: without costs but the fee, equity is easily worked out.
AT_LAST_PRICE = FillModel(min_slippage_ticks=Decimal(0))
PATIENCE = ExecutionPolicy(
    visibility_delay_seconds=0.3,
    refusal_lag_seconds=0.1,
    poll_seconds=0.01,
    lease_wait_seconds=0,
    follow_timeout_seconds=1,
)


@dataclass
class Account:
    """One account at both of its sides. `direct` is a ccxt client with the same keys: someone
    else's hand.
    """

    session: AccountSession
    control: PracticeControl
    direct: Any
    key: str
    seen: Mapping[str, float] = field(default_factory=lambda: PRICES)
    slots: list[datetime] = field(default_factory=lambda: [SLOT])

    @property
    def ledger(self) -> Any:
        return self.session.ledger

    def own_order(
        self,
        quantity: str,
        price: str | None = None,
        symbol: str = "ETH/USDT",
        followed: bool = True,
    ) -> str:
        """Send a buy of ours outside of a slot, and return its id. Where it is `followed`, track it
        to its end.
        """
        kind, limit = (
            (OrderType.MARKET, None) if price is None else (OrderType.LIMIT, Decimal(price))
        )
        request = OrderRequest(
            secrets.token_hex(16), symbol, Side.BUY, kind, Decimal(quantity), limit
        )
        keeper, newest = (
            self.keeper(),
            self.session.ledger.rebalances(self.session.account, limit=1)[0],
        )
        try:
            reports = place(
                self.session,
                keeper,
                newest,
                [OrderIntent(request, Phase.BUYS, 0, 0, "trend/1", 0.2, limit or Decimal(1))],
            )
            if followed:
                ledger, name = self.session.ledger, request.client_order_id
                OrderTracker(self.session, keeper, newest.slot).follow(
                    ledger.orders_named(self.session.account, [name]), {}, 1
                )
            else:
                self.session.ledger.record_event(
                    keeper.lease,
                    request.client_order_id,
                    OrderEventKind.ACCEPT,
                    self.session.clock.now(),
                    venue_order_id=reports[request.client_order_id].venue_order_id,
                )
        finally:
            keeper.release()
        return request.client_order_id

    def shown_trades(self, symbol: str = "ETH/USDT") -> list[Any]:
        """Return the venue's trades of a symbol since the first slot."""
        return list(self.session.exchange.fills(symbol, SLOT))

    def keeper(self) -> LeaseKeeper:
        keeper = take_lease(
            self.session.ledger, self.session.account, 60, 0, clock=SYSTEM_CLOCK, ids=RANDOM_IDS
        )
        assert keeper is not None
        return keeper

    @contextmanager
    def writer(self) -> Iterator[Lease]:
        """Yield the account's lease, for what a test puts on record by hand."""
        keeper = self.keeper()
        try:
            yield keeper.lease
        finally:
            keeper.release()

    def check(self) -> Reconciliation:
        """Run one reconciliation."""
        keeper = self.keeper()
        try:
            return reconcile(self.session, keeper)
        finally:
            keeper.release()

    def accept(self, subject: str, reason: str = "seen and settled") -> Reconciliation:
        keeper = self.keeper()
        try:
            return accept_break(self.session, keeper, subject, reason, "ada")
        finally:
            keeper.release()

    def found(self) -> dict[str, BreakKind]:
        """Return the kinds of the open breaks by subject after one reconciliation."""
        return {each.subject: each.kind for each in self.check().breaks}

    def trade(
        self,
        weights: Mapping[str, float | None],
        limits: RiskLimits | None = None,
        policy: RebalancePolicy | None = None,
        **targets: Any,
    ) -> RebalanceResult:
        """Rebalance at the next slot; `targets` are what else the strategies say (contributions,
        quotas, bars seen).
        """
        slot = self.slots[-1]
        self.control.step(to=slot + timedelta(seconds=2))
        seen = {symbol: SeenBar(slot, price) for symbol, price in self.seen.items()}
        if (slot - SLOT).days in RISING:
            seen["UP/USDT"] = SeenBar(slot, RISING[(slot - SLOT).days])

        def decide(version: str) -> PortfolioTargets:
            return replace(PortfolioTargets(version, weights, {}, seen), **targets)

        self.slots.append(slot + timedelta(days=1))
        return rebalance(
            self.session,
            RebalanceInputs(
                slot,
                "trend/1",
                decide,
                policy or RebalancePolicy(),
                limits or RiskLimits(price_collar=None),
            ),
        )

    def traded_symbols(self) -> set[str]:
        """Sell a part of everything at the next slot; return the symbols whose orders passed."""
        report = self.trade({symbol: weight / 2 for symbol, weight in WEIGHTS.items()})
        return {order.request.symbol for order in report.orders}


@pytest.fixture(scope="session")
def database(servers: DatabaseServers) -> Iterator[Database]:
    with servers.opened() as (_, database):
        yield database


@pytest.fixture
def contents(database: Database) -> Callable[[], dict[str, tuple[int, str]]]:
    """Tells the number of rows of every table and a hash over them. The lease is left out, because
    every reader takes it.
    """

    def read() -> dict[str, tuple[int, str]]:
        with database.transaction() as connection:
            names = [
                row[0]
                for row in connection.execute(
                    "SELECT table_name FROM information_schema.tables "
                    "WHERE table_schema = 'public' AND table_name <> 'lease'"
                )
            ]
            found = {
                name: connection.execute(
                    (
                        "SELECT count(*), md5(coalesce(string_agg("  # noqa: S608 - from the catalogue
                        f"t::text, '|' ORDER BY t::text), '')) FROM {name} t"
                    ).encode()
                ).fetchone()
                for name in names
            }
        assert len(found) > 15
        return {name: tuple(row) for name, row in found.items() if row is not None}

    return read


@pytest.fixture
def opened(database: Database) -> Iterator[Callable[..., Account]]:
    """Opens accounts that have cash and no position, on these bars and at these terms (see
    PracticeServer).
    """
    servers: list[PracticeServer] = []

    def make(
        bars: pl.DataFrame = BARS,
        seen: Mapping[str, float] = PRICES,
        balances: Mapping[str, Decimal | int] | None = None,
        fill_model: FillModel | None = None,
    ) -> Account:
        clock = stepped_clock(SLOT + timedelta(seconds=2))
        server = PracticeServer(
            GivenCandles({Timeframe.D1: bars}), clock, limits=UNLIMITED, fill_model=fill_model
        ).start()
        servers.append(server)
        control = PracticeControl(server.url)
        control.create_account("key", "secret", balances or {"USDT": 100_000})
        exchange = CcxtExchange(
            "binance",
            "key",
            "secret",
            base_url=server.url,
            rate_limit_ms=0,
            timeout_seconds=2,
            retry_wait_seconds=0.05,
        )
        account, control_store = f"account-{secrets.token_hex(4)}", PostgresControlStore(database)
        session = AccountSession(
            account=account,
            exchange_name="practice",
            quote="USDT",
            exchange=exchange,
            ledger=PostgresLedger(database),
            parent_orders=PostgresParentOrderStore(database),
            control_store=control_store,
            clock=VenueClock(exchange.now, SYSTEM_CLOCK),
            kill_switch=KillSwitch(account, control_store, clock=SYSTEM_CLOCK),
            policy=PATIENCE,
            pause=SYSTEM_CLOCK.sleep,
            machine_clock=SYSTEM_CLOCK,
            runner=THREADS,
            ids=RANDOM_IDS,
        )
        return Account(session, control, _by_hand(server.url), "key", seen)

    yield make
    for server in servers:
        server.stop()


def _by_hand(url: str) -> ccxt.binance:
    """Return a plain ccxt client of the same account."""
    client = CcxtExchange("binance", "key", "secret", base_url=url, rate_limit_ms=0).client
    client.load_markets()
    return client


@pytest.fixture
def account(opened: Callable[[], Account]) -> Account:
    """An account that holds BTC, ETH and SOL."""
    account = opened()
    report = account.trade(WEIGHTS)
    assert len(report.fills) == 3, report
    assert not report.breaks
    return account
