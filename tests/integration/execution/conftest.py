"""A real ledger and a real practice exchange behind an account."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from penstock.adapters.exchanges.bars_market import BarsMarketData
from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.stores.postgres import (
    Database,
    PostgresControlStore,
    PostgresLedger,
    PostgresParentOrderStore,
)
from penstock.core.clock import SteppedClock, VenueClock
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.proposals import SeenBar
from penstock.core.timeframes import Timeframe
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.rebalance.run import RebalanceInputs
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.risk.limits import RiskLimits
from penstock.simulation.paper import PaperExchange
from tests.servers import DatabaseServers

CASH = Decimal(100_000)
PATIENCE = ExecutionPolicy(
    visibility_delay_seconds=0.3,
    refusal_lag_seconds=0.1,
    poll_seconds=0.05,
    lease_wait_seconds=0,
    lease_ttl_seconds=60,
)


@dataclass
class Stage:
    """One account at one venue, and the way to move that venue's time."""

    session: AccountSession
    bars: pl.DataFrame
    move_to: Callable[[datetime], None]
    control: PracticeControl | None = None

    def inputs(self, weights: Mapping[str, float | None], slot: datetime) -> RebalanceInputs:
        closes = (
            self.bars.filter(pl.col("ts") < slot)
            .group_by("symbol")
            .agg(pl.col("close").sort_by("ts").last())
        )
        seen = {symbol: SeenBar(slot, close) for symbol, close in closes.iter_rows()}
        limits = RiskLimits(max_gross=Decimal(1), max_weight=Decimal(1), price_collar=None)

        def decide(version: str) -> PortfolioTargets:
            return PortfolioTargets(version, weights, {}, seen)

        return RebalanceInputs(slot, "trend/1", decide, RebalancePolicy(), limits)


@pytest.fixture(scope="session")
def database(
    servers: DatabaseServers,
) -> Iterator[Database]:
    with servers.opened() as (_, database):
        yield database


def session_at(database: Database, exchange: object, clock: object) -> AccountSession:
    account = f"account-{secrets.token_hex(4)}"
    control_store = PostgresControlStore(database)
    return AccountSession(
        account=account,
        exchange_name="practice",
        quote="USDT",
        exchange=exchange,  # type: ignore[arg-type]
        ledger=PostgresLedger(database),
        parent_orders=PostgresParentOrderStore(database),
        control_store=control_store,
        clock=clock,  # type: ignore[arg-type]
        kill_switch=KillSwitch(account, control_store, clock=SYSTEM_CLOCK),
        policy=PATIENCE,
        pause=SYSTEM_CLOCK.sleep,
        machine_clock=SYSTEM_CLOCK,
        runner=THREADS,
        ids=RANDOM_IDS,
    )


@pytest.fixture
def stage_on_practice(database: Database) -> Iterator[Callable[[pl.DataFrame, datetime], Stage]]:
    """Makes a stage whose venue is a practice exchange over daily bars, traded through ccxt."""
    servers: list[PracticeServer] = []

    def make(bars: pl.DataFrame, start: datetime) -> Stage:
        clock = stepped_clock(start + timedelta(seconds=2))
        server = PracticeServer(GivenCandles({Timeframe.D1: bars}), clock, limits=UNLIMITED).start()
        servers.append(server)
        control = PracticeControl(server.url)
        control.create_account("key", "secret", {"USDT": CASH})
        exchange = CcxtExchange(
            "binance",
            "key",
            "secret",
            base_url=server.url,
            rate_limit_ms=0,
            timeout_seconds=1,
            retry_wait_seconds=0.05,
        )
        session = session_at(database, exchange, VenueClock(exchange.now, SYSTEM_CLOCK))
        return Stage(session, bars, lambda slot: _step(control, slot), control)

    yield make
    for server in servers:
        server.stop()


def _step(control: PracticeControl, slot: datetime) -> None:
    control.step(to=slot + timedelta(seconds=2))


@pytest.fixture
def stage_on_paper(database: Database) -> Callable[[pl.DataFrame, datetime], Stage]:
    """Makes a stage whose venue is the paper exchange over the same bars."""

    def make(bars: pl.DataFrame, start: datetime) -> Stage:
        clock = SteppedClock(start + timedelta(seconds=2))
        exchange = PaperExchange(
            BarsMarketData({Timeframe.D1: bars}, None, clock), balances={"USDT": CASH}
        )

        def move(slot: datetime) -> None:
            clock.at = slot + timedelta(seconds=2)

        return Stage(session_at(database, exchange, clock), bars, move)

    return make
