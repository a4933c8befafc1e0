"""Everything that a step of the pipeline needs, each part made on first use.

Heavy libraries (MLflow, Great Expectations) are imported when their part is first used: trading
does not need them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import polars as pl

from penstock.adapters.exchanges.bars_market import BarsMarketData
from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.adapters.notifications import AppriseNotifier, LogNotifier
from penstock.adapters.stores.postgres import (
    Database,
    PostgresAlertOutbox,
    PostgresBarStore,
    PostgresControlStore,
    PostgresLedger,
    PostgresLedgerHistory,
    PostgresParentOrderStore,
    PostgresPromotionStore,
    PostgresResearchJournal,
    PostgresRollbackRecord,
    PostgresTrialStore,
    connect,
    migrate,
)
from penstock.core.actors import Actor
from penstock.core.clock import CachedClock, Clock, MachineClock, VenueClock
from penstock.core.ids import IdSource
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import BoundsGate, CheckGate, DocumentingGate
from penstock.execution.algorithms.styles import Vwap
from penstock.execution.algorithms.volume import VolumeProfile, flat_profile, stored_profile
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.session import AccountSession, ExecutionPolicy, VolumeProfiles
from penstock.ports import (
    AlertOutbox,
    BackgroundTask,
    BarInventory,
    BarStore,
    ControlStore,
    Exchange,
    Ledger,
    LedgerHistory,
    MarketData,
    Notifier,
    ResearchJournal,
    TaskRunner,
    TrialStore,
)
from penstock.promotion.records import CandidateRegistry, PromotionStore, SearchTracker
from penstock.promotion.rollback import RollbackRecord
from penstock.research.engine.costs import Costs
from penstock.research.journal import LookRecorder
from penstock.settings import Environment, Settings, StackSecret, stack_secret
from penstock.simulation.fill_model import FillModel
from penstock.simulation.paper import PaperExchange
from penstock.stack import read_stack, with_login
from penstock.wiring.databases import database_url, embedded_server
from penstock.wiring.venue_accounts import VenueAccounts


class Platform:
    """Everything a step of the pipeline needs, chosen by the settings. Thread-safe once its parts
    are made.
    """

    def __init__(
        self,
        settings: Settings,
        database_url: str,
        *,
        machine_clock: MachineClock = SYSTEM_CLOCK,
        ids: IdSource = RANDOM_IDS,
        runner: TaskRunner = THREADS,
    ) -> None:
        self.settings = settings
        self.database_url = database_url
        self.machine_clock = machine_clock
        self.ids = ids
        self.runner = runner
        #: The last delivery of each account's alerts, and the elapsed seconds when it began.
        self.deliveries: dict[str, tuple[BackgroundTask, float]] = {}
        #: The venues' public sides, and what opens the accounts there.
        self.venue_accounts = VenueAccounts(settings, machine_clock=machine_clock, runner=runner)
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
        """While this file exists, no process with this home sends an order."""
        return kill_switch_file(self.settings)

    @cached_property
    def _database(self) -> Database:
        database = connect(self.database_url)
        migrate(database)
        return database

    def open_database(self) -> str:
        """Connect to the database and bring its schema up to date, once. Return kind and address of
        the server, without the password.

        Raises StoreError where it cannot be reached. Other parts open it by themselves.
        """
        return self._database.describe()

    @cached_property
    def bars(self) -> BarStore:
        return PostgresBarStore(self._database)

    @cached_property
    def bar_inventory(self) -> BarInventory:
        """What is stored of the bars, for reports."""
        return PostgresBarStore(self._database)

    @cached_property
    def ledger(self) -> Ledger:
        return PostgresLedger(self._database)

    @cached_property
    def ledger_history(self) -> LedgerHistory:
        """The ledger's past: accounts as they were, and the proof of what the ledger shows."""
        return PostgresLedgerHistory(self._database)

    @cached_property
    def control_store(self) -> ControlStore:
        return PostgresControlStore(self._database)

    @cached_property
    def outbox(self) -> AlertOutbox:
        return PostgresAlertOutbox(self._database)

    @cached_property
    def promotions(self) -> PromotionStore:
        return PostgresPromotionStore(self._database)

    @cached_property
    def rollbacks(self) -> RollbackRecord:
        return PostgresRollbackRecord(self._database)

    @cached_property
    def trials(self) -> TrialStore:
        """The trials of searches: an interrupted one goes on."""
        return PostgresTrialStore(self._database)

    @cached_property
    def research_journal(self) -> ResearchJournal:
        """Every look at the bars."""
        return PostgresResearchJournal(self._database)

    def look_recorder(self, actor: Actor) -> LookRecorder:
        """Return the journal for one who looks at this environment's bars: `journal=` of a search
        and of a backtest.
        """
        return LookRecorder(self.research_journal, actor, self.exchange_name, self.machine_clock)

    @cached_property
    def market(self) -> MarketData:
        """The venue's public side: no keys."""
        return self.venue_accounts.market

    @cached_property
    def ingest_market(self) -> MarketData:
        """The venue's public side for ingestion, which tries again by itself: `ingest.attempts`."""
        return self.venue_accounts.market_at(self.environment.market, read_attempts=1)

    @cached_property
    def clock(self) -> Clock:
        """The venue's clock where it may differ from ours (the practice exchange), else the
        machine's.
        """
        if not self.venue_accounts.address(self.environment.market):
            return self.machine_clock
        return VenueClock(self.market.now, self.machine_clock)

    @cached_property
    def gate(self) -> DocumentingGate:
        """The formal gate of the flows: Great Expectations, with Data Docs."""
        from penstock.adapters.expectations import ExpectationsGate

        return ExpectationsGate(self.settings.checks)

    @cached_property
    def quick_gate(self) -> CheckGate:
        """The gate of the minute path: the same bounds, without Great Expectations' import."""
        return BoundsGate(self.settings.checks)

    @cached_property
    def tracking_uri(self) -> str:
        """The configured MLflow server, the one that `penstock up` runs, or a database file in the
        home folder.
        """
        from penstock.adapters.mlflow.connection import local_tracking_uri

        if self.settings.process.mlflow_url:
            return self.settings.process.mlflow_url
        found = read_stack(self.home)
        if found is None or not found.serves("mlflow-server"):
            return local_tracking_uri(self.home)
        auth = stack_secret(self.home, StackSecret.MLFLOW).get_secret_value()
        return with_login(found.addresses.mlflow, auth)

    @property
    def tracking_address(self) -> str:
        """Where MLflow is reached, without user names and passwords: what may be printed."""
        from penstock.adapters.mlflow.connection import without_password

        return without_password(self.tracking_uri)

    @cached_property
    def registry(self) -> CandidateRegistry:
        from penstock.adapters.mlflow.registry import MlflowRegistry

        return MlflowRegistry(self.tracking_uri, self.promotions)

    def tracker(self, experiment: str) -> SearchTracker:
        """Return the tracker of an experiment; each study has its own."""
        from penstock.adapters.mlflow.tracking import MlflowTracker

        return MlflowTracker(
            self.tracking_uri, experiment, self.promotions, clock=self.machine_clock
        )

    @cached_property
    def notifier(self) -> Notifier:
        return chosen_notifier(self.settings)

    def exchange(self, portfolio: str) -> Exchange:
        """Return the account that a portfolio trades, at the venue or on paper."""
        if portfolio not in self._exchanges:
            self._exchanges[portfolio] = self.venue_accounts.exchange(portfolio)
        return self._exchanges[portfolio]

    def session(self, portfolio: str) -> AccountSession:
        """Return what execution needs to trade a portfolio's account."""
        account, exchange = self.environment.account_of(portfolio), self.exchange(portfolio)
        settings = self.settings.portfolio(portfolio)
        clock, pause = self.clock, self.machine_clock.sleep
        if isinstance(clock, VenueClock):
            cached = CachedClock(clock, self.machine_clock)
            clock, pause = cached, cached.pause
        return AccountSession(
            account=account.name,
            exchange_name="+".join(sorted(account.venues)) or self.exchange_name,
            quote=self.settings.universe.quote,
            exchange=exchange,
            ledger=self.ledger,
            parent_orders=PostgresParentOrderStore(self._database),
            control_store=self.control_store,
            clock=clock,
            kill_switch=self.kill_switch(portfolio),
            policy=ExecutionPolicy(
                max_lateness_seconds=settings.max_lateness_minutes * 60,
                senders=self.environment.senders,
                trade_comparison_seconds=self.environment.trade_comparison_minutes * 60,
                visibility_delay_seconds=self.venue_accounts.visibility_delay(portfolio),
                refusal_lag_seconds=self.venue_accounts.refusal_lag(portfolio),
            ),
            venues=exchange if isinstance(exchange, SeveralVenues) else None,
            style=settings.execution,
            volume_profiles=self._volume_profiles(portfolio),
            machine_clock=self.machine_clock,
            pause=pause,
            runner=self.runner,
            ids=self.ids,
        )

    def kill_switch(self, portfolio: str) -> KillSwitch:
        """Return what stops new orders of a portfolio's account."""
        account = self.environment.account_of(portfolio).name
        return KillSwitch(
            account, self.control_store, self.kill_switch_file, clock=self.machine_clock
        )

    def rehearsal_account(
        self, bars: pl.DataFrame, timeframe: Timeframe, costs: Costs, clock: Clock, cash: Decimal
    ) -> Exchange:
        """Return a paper account with `cash` over given bars (BARS_SCHEMA), seen at the clock's
        time, with these costs.
        """
        market = BarsMarketData({timeframe: bars}, None, clock)
        return PaperExchange(market, FillModel.of(costs), {self.settings.universe.quote: cash})

    def _volume_profiles(self, portfolio: str) -> VolumeProfiles | None:
        """Return what tells the volume by time of day; None where the style does not need it."""
        style = self.settings.portfolio(portfolio).execution
        if not isinstance(style, Vwap):
            return None
        days = style.profile_days
        return lambda symbol, slot: self._volume_profile(symbol, slot, days)

    def _volume_profile(self, symbol: str, slot: datetime, days: int) -> VolumeProfile:
        """Return a symbol's volume by time of day, from the shortest bars that are kept of it."""
        universe = self.settings.universe
        kept = [
            timeframe
            for timeframe in universe.timeframes
            if symbol in universe.symbols_of(timeframe)
        ]
        if not kept:
            return flat_profile()
        shortest = min(kept, key=lambda timeframe: timeframe.seconds)
        return stored_profile(self.bars, self.exchange_name, symbol, shortest, slot, days)

    def close(self) -> None:
        """Give the database's connections back."""
        if "_database" in self.__dict__:
            self._database.close()


@contextmanager
def open_platform(settings: Settings) -> Iterator[Platform]:
    """Open the platform; where no database is configured the embedded one is started, and stopped
    again if we started it.
    """
    with database_url(settings) as url:
        platform = Platform(settings, url)
        try:
            yield platform
        finally:
            platform.close()


@contextmanager
def account_switch(settings: Settings, portfolio: str) -> Iterator[KillSwitch]:
    """Yield the kill switch of a portfolio's account while its database is open. Where no database
    was made yet the file alone counts, and none is made.
    """
    if settings.process.database_url is not None or embedded_server(settings).exists:
        with open_platform(settings) as platform:
            yield platform.kill_switch(portfolio)
        return
    account, file = settings.environment.account_of(portfolio).name, kill_switch_file(settings)
    yield KillSwitch(account, file=file, clock=SYSTEM_CLOCK)


def chosen_notifier(settings: Settings) -> Notifier:
    """Return the channels that PENSTOCK_NOTIFY_URLS names; without any the log alone."""
    urls = settings.process.notify_urls.get_secret_value().split()
    return AppriseNotifier(urls) if urls else LogNotifier()


def kill_switch_file(settings: Settings) -> Path:
    """Return the file that halts every account of this home folder."""
    return settings.home / "HALT"
