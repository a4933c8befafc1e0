"""The only file that chooses concrete adapters: from settings to a Platform whose parts are made on
first use.

Heavy libraries (MLflow, Great Expectations) are imported when their part is first used: trading
does not need them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import polars as pl

from penstock.adapters.exchanges.bars_market import BarsMarketData
from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.exchanges.order_expiry import age_limit, refusal_lag, visibility_delay
from penstock.adapters.exchanges.recorder import AnswerRecord
from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.adapters.notifications import AppriseNotifier, LogNotifier
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.postgres import (
    Database,
    PostgresAlertOutbox,
    PostgresBarStore,
    PostgresControlStore,
    PostgresLedger,
    PostgresLedgerHistory,
    PostgresParentOrderStore,
    PostgresPromotionStore,
    PostgresRollbackRecord,
    connect,
    create_database,
    migrate,
)
from penstock.core.clock import CachedClock, Clock, MachineClock, VenueClock
from penstock.core.errors import ConfigError
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
    AnswerRecorder,
    BackgroundTask,
    BarInventory,
    BarStore,
    ControlStore,
    DatabaseServer,
    Exchange,
    Ledger,
    LedgerHistory,
    MarketData,
    Notifier,
    TaskRunner,
    VenueAccount,
)
from penstock.promotion.records import CandidateRegistry, PromotionStore, SearchTracker
from penstock.promotion.rollback import RollbackRecord
from penstock.research.engine.costs import Costs
from penstock.settings import (
    AccountSettings,
    Environment,
    MarketSettings,
    Settings,
    StackSecret,
    VenueSettings,
    secret,
    stack_secret,
)
from penstock.simulation.fill_model import FillModel
from penstock.simulation.paper import PaperExchange
from penstock.stack import running, with_login

DATABASE_NAME = "penstock"


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
    def market(self) -> MarketData:
        """The venue's public side: no keys."""
        return self._market_of(self.environment.market)

    @cached_property
    def ingest_market(self) -> MarketData:
        """The venue's public side for ingestion, which tries again by itself: `ingest.attempts`."""
        return self._market_of(self.environment.market, read_attempts=1)

    @cached_property
    def clock(self) -> Clock:
        """The venue's clock where it may differ from ours (the practice exchange), else the
        machine's.
        """
        if not self._base_url:
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
        found = running(self.home)
        if found is None:
            return local_tracking_uri(self.home)
        auth = stack_secret(self.home, StackSecret.MLFLOW).get_secret_value()
        return with_login(found[1].mlflow, auth)

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

        return MlflowTracker(self.tracking_uri, experiment, clock=self.machine_clock)

    @cached_property
    def notifier(self) -> Notifier:
        urls = self.settings.process.notify_urls.get_secret_value().split()
        return AppriseNotifier(urls) if urls else LogNotifier()

    def exchange(self, portfolio: str) -> Exchange:
        """Return the account that a portfolio trades, at the venue or on paper."""
        if portfolio not in self._exchanges:
            self._exchanges[portfolio] = self._open_exchange(portfolio)
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
                visibility_delay_seconds=self.visibility_delay(portfolio),
                refusal_lag_seconds=refusal_lag(self._venue_names(portfolio)),
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

    def visibility_delay(self, portfolio: str) -> float:
        """Return for how many seconds "no such order" is doubted at the portfolio's venues;
        ConfigError where fewer are set.
        """
        return visibility_delay(
            self._venue_names(portfolio), self.environment.visibility_delay_seconds
        )

    def _venue_names(self, portfolio: str) -> set[str]:
        """Return the ccxt names of the portfolio's venues."""
        venues = self.environment.account_of(portfolio).venues.values() or (
            self.environment.market,
        )
        return {venue.ccxt_id for venue in venues}

    def order_age_limits(self) -> dict[str, str | None]:
        """Return, for each venue that an account trades, how it refuses an old order; None where no
        way is known.
        """
        return {market.ccxt_id: age_limit(market.ccxt_id) for market in self.environment.traded}

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

    @property
    def _base_url(self) -> str | None:
        return self._address(self.environment.market)

    def _address(self, market: MarketSettings) -> str | None:
        """Return where a practice exchange answers in the venue's place: the environment's own may
        run elsewhere today.
        """
        own = market.base_url == self.environment.market.base_url
        return (
            (self.settings.process.practice_url or market.base_url)
            if market.base_url and own
            else market.base_url
        )

    def _open_exchange(self, portfolio: str) -> Exchange:
        account = self.environment.account_of(portfolio)
        if self.environment.trading == "venue":
            self.settings.require_consent()
        if not account.venues:
            return self._open_account(portfolio, account.name, self.environment.market, account)
        default = Decimal(str(self.settings.costs.fee_bps))
        fees = {
            name: default if v.taker_fee_bps is None else v.taker_fee_bps
            for name, v in account.venues.items()
        }
        opened = {
            name: self._open_account(portfolio, f"{account.name}-{name}", venue, venue, fees[name])
            for name, venue in account.venues.items()
        }
        return SeveralVenues(opened, fees, runner=self.runner)

    def _open_account(
        self,
        portfolio: str,
        name: str,
        market: MarketSettings,
        keys: AccountSettings | VenueSettings,
        fee_bps: Decimal | None = None,
    ) -> VenueAccount:
        """Return one account at one venue, or on paper with that venue's market data."""
        if self.environment.trading == "paper":
            model = FillModel.of(self.settings.costs)
            return PaperExchange(
                self.market if market == self.environment.market else self._market_of(market),
                model if fee_bps is None else replace(model, taker_fee_bps=fee_bps),
                balances={self.settings.universe.quote: Decimal(str(keys.paper_cash))},
                state_file=self.home / "paper" / f"{name}.json",
                trading_timeframe=self.settings.portfolio(portfolio).timeframe,
            )
        purpose = f"account '{name}'"
        variables = self.settings.variables
        password = None
        if keys.password_env is not None:
            password = secret(variables, keys.password_env, purpose).get_secret_value()
        return CcxtExchange(
            market.ccxt_id,
            secret(variables, keys.api_key_env, purpose).get_secret_value(),
            secret(variables, keys.secret_env, purpose).get_secret_value(),
            password=password,
            live=market.is_real,
            base_url=self._address(market),
            proxy=market.proxy,
            clock=self.machine_clock,
        )

    def _market_of(self, market: MarketSettings, read_attempts: int = 2) -> MarketData:
        return CcxtMarketData(
            market.ccxt_id,
            sandbox=market.sandbox,
            base_url=self._address(market),
            proxy=market.proxy,
            read_attempts=read_attempts,
            clock=self.machine_clock,
        )


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


def sibling_databases(url: str) -> Callable[[str], str]:
    """Return a function that gives the URL of a named database on the server of `url`. It makes a
    missing one. Penstock's own is the one that `url` names.
    """
    return lambda name: url if name == DATABASE_NAME else create_database(url, name)


def public_market(ccxt_id: str) -> MarketData:
    """Return the public side of a venue by its ccxt name: no keys, and no configuration."""
    return CcxtMarketData(ccxt_id)


@dataclass(frozen=True)
class RecordedAccount:
    """An account at one venue whose answers are recorded."""

    exchange: VenueAccount
    """The account."""
    recorder: AnswerRecorder
    """What records its answers."""
    clock: MachineClock
    """The machine's clock."""
    ids: IdSource
    """Names its orders."""


def recorded_account(
    settings: Settings, portfolio: str, venue: str, about: Sequence[str]
) -> RecordedAccount:
    """Return the portfolio's account at its venue, or at the one of several that is named.

    It needs no database. `about` are the assets that will be traded: lists of all symbols are
    recorded for these alone. Raises ConfigError where the account is on paper.
    """
    account = settings.environment.account_of(portfolio)
    market: MarketSettings = account.venues[venue] if venue else settings.environment.market
    keys = account.venues[venue] if venue else account
    platform = Platform(settings, "")
    exchange = platform._open_account(portfolio, account.name, market, keys)
    if not isinstance(exchange, CcxtExchange):
        raise ConfigError(f"account '{account.name}' is on paper: no venue answers")
    client = exchange.client
    secrets = [client.apiKey, client.secret, client.password]
    recorder = AnswerRecord(exchange.session, secrets, about, clock=platform.machine_clock)
    return RecordedAccount(exchange, recorder, platform.machine_clock, platform.ids)


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


def kill_switch_file(settings: Settings) -> Path:
    """Return the file that halts every account of this home folder."""
    return settings.home / "HALT"


def embedded_server(settings: Settings) -> DatabaseServer:
    """Return the embedded PostgreSQL of this home folder."""
    if settings.home.exists() and not settings.home.is_dir():
        raise ConfigError(f"PENSTOCK_HOME = {settings.home} is a file: name a folder")
    return EmbeddedPostgres(settings.home / "postgres")
