"""The only file that chooses concrete adapters: from settings to a Platform whose parts are made on first use.

Heavy libraries (MLflow, Great Expectations) are imported when their part is first used, so that the trading path
never pays for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.exchanges.paper import PaperExchange
from penstock.adapters.notifiers import AppriseNotifier, LogNotifier
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.timescale import (
    Database,
    PromotionRecord,
    TimescaleBarStore,
    TimescaleLedger,
    TimescaleSupervision,
    connect,
    migrate,
)
from penstock.core.clock import Clock, SystemClock, VenueClock
from penstock.core.errors import ConfigError
from penstock.data.bounds import BoundsGate
from penstock.execution.desk import ExecutionPolicy, TradingDesk
from penstock.ports import Exchange, MarketData, Notifier
from penstock.risk.kill_switch import KillSwitch
from penstock.settings import Environment, Settings, secret
from penstock.stack import running

if TYPE_CHECKING:  # these import MLflow or Great Expectations
    from penstock.adapters.expectations import ExpectationsGate
    from penstock.adapters.mlflow.registry import MlflowRegistry
    from penstock.adapters.mlflow.tracking import MlflowTracker

DATABASE_NAME = "penstock"


class Platform:
    """Everything a step of the pipeline needs, chosen by the settings. Thread-safe once its parts are made."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self.settings = settings
        self.database_url = database_url
        self.wall_clock: Clock = SystemClock()
        self._exchanges: dict[str, Exchange] = {}

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def environment(self) -> Environment:
        return self.settings.environment

    @property
    def exchange_name(self) -> str:
        """The name under which this environment's bars and accounts are kept."""
        return self.environment.exchange

    @property
    def kill_switch_file(self) -> Path:
        """While this file exists, nobody who works with this home sends an order."""
        return self.home / "HALT"

    @cached_property
    def database(self) -> Database:
        database = connect(self.database_url)
        migrate(database)
        return database

    @cached_property
    def bars(self) -> TimescaleBarStore:
        return TimescaleBarStore(self.database)

    @cached_property
    def ledger(self) -> TimescaleLedger:
        return TimescaleLedger(self.database)

    @cached_property
    def supervision(self) -> TimescaleSupervision:
        return TimescaleSupervision(self.database)

    @cached_property
    def promotions(self) -> PromotionRecord:
        return PromotionRecord(self.database)

    @cached_property
    def market(self) -> MarketData:
        """The venue's public side: no keys."""
        market = self.environment.market
        # ingestion tries again by itself, and longer
        return CcxtMarketData(market.ccxt_id, sandbox=market.sandbox, base_url=self._base_url, read_attempts=2)

    @cached_property
    def clock(self) -> Clock:
        """The venue's clock where it may differ from ours (the practice exchange), else the machine's."""
        return VenueClock(self.market.now) if self._base_url else SystemClock()

    @cached_property
    def gate(self) -> "ExpectationsGate":
        """The formal gate of the flows: Great Expectations, with Data Docs."""
        from penstock.adapters.expectations import ExpectationsGate

        return ExpectationsGate(self.settings.checks)

    @cached_property
    def quick_gate(self) -> BoundsGate:
        """The gate of the minute path: the same bounds, without Great Expectations' import."""
        return BoundsGate(self.settings.checks)

    @cached_property
    def tracking_uri(self) -> str:
        """The configured MLflow server, the one that `penstock up` runs, or a database file in the home folder."""
        from penstock.adapters.mlflow.connection import local_tracking_uri

        if self.settings.process.mlflow_url:
            return self.settings.process.mlflow_url
        found = running(self.home)
        return found[1].mlflow if found else local_tracking_uri(self.home)

    @cached_property
    def registry(self) -> "MlflowRegistry":
        from penstock.adapters.mlflow.registry import MlflowRegistry

        return MlflowRegistry(self.tracking_uri)

    def tracker(self, experiment: str) -> "MlflowTracker":
        """Return the tracker of an experiment: one a study."""
        from penstock.adapters.mlflow.tracking import MlflowTracker

        return MlflowTracker(self.tracking_uri, experiment)

    @cached_property
    def notifier(self) -> Notifier:
        urls = self.settings.process.notify_urls.get_secret_value().split()
        return AppriseNotifier(urls) if urls else LogNotifier()

    def exchange(self, portfolio: str) -> Exchange:
        """Return the account that a portfolio trades, at the venue or on paper."""
        if portfolio not in self._exchanges:
            self._exchanges[portfolio] = self._open_exchange(portfolio)
        return self._exchanges[portfolio]

    def desk(self, portfolio: str) -> TradingDesk:
        """Return what execution needs to trade a portfolio's account."""
        account = self.environment.account_of(portfolio).name
        lateness = self.settings.portfolio(portfolio).max_lateness_minutes * 60
        return TradingDesk(
            account=account,
            exchange_name=self.exchange_name,
            quote=self.settings.universe.quote,
            exchange=self.exchange(portfolio),
            ledger=self.ledger,
            supervision=self.supervision,
            clock=self.clock,
            kill_switch=KillSwitch(account, self.supervision, self.kill_switch_file),
            policy=ExecutionPolicy(max_lateness_seconds=lateness),
        )

    def close(self) -> None:
        """Give the database's connections back."""
        if "database" in self.__dict__:
            self.database.close()

    @property
    def _base_url(self) -> str | None:
        configured = self.environment.market.base_url
        return (self.settings.process.practice_url or configured) if configured else None

    def _open_exchange(self, portfolio: str) -> Exchange:
        account = self.environment.account_of(portfolio)
        if self.environment.trading == "paper":
            costs = self.settings.costs
            return PaperExchange(
                self.market,
                fee_bps=str(costs.fee_bps),
                slippage_bps=str(costs.slippage_bps),
                balances={self.settings.universe.quote: Decimal(str(account.paper_cash))},
                state_file=self.home / "paper" / f"{account.name}.json",
                trading_timeframe=self.settings.portfolio(portfolio).timeframe,
            )
        purpose = f"account '{account.name}'"
        return CcxtExchange(
            self.environment.market.ccxt_id,
            secret(account.api_key_env, purpose).get_secret_value(),
            secret(account.secret_env, purpose).get_secret_value(),
            live=self.environment.is_real_venue,
            base_url=self._base_url,
        )


@contextmanager
def open_platform(settings: Settings | None = None) -> Iterator[Platform]:
    """Open the platform; where no database is configured the embedded one is started, and stopped again if we started it."""
    chosen = settings if settings is not None else Settings()
    with database_url(chosen) as url:
        platform = Platform(chosen, url)
        try:
            yield platform
        finally:
            platform.close()


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Yield the URL of the configured database, or of the embedded one while it runs."""
    configured = settings.process.database_url
    if configured is not None:
        yield configured.get_secret_value()
        return
    server = embedded_server(settings)
    was_running = server.running
    server.start()
    try:
        yield server.database_url(DATABASE_NAME)
    finally:
        if not was_running:
            server.stop_if_unused()


def embedded_server(settings: Settings) -> EmbeddedPostgres:
    """Return the embedded PostgreSQL of this home folder."""
    if settings.home.exists() and not settings.home.is_dir():
        raise ConfigError(f"PENSTOCK_HOME = {settings.home} is a file: name a folder")
    return EmbeddedPostgres(settings.home / "postgres")
