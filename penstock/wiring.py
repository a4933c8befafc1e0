"""The only file that chooses concrete adapters: from settings to a Platform whose parts are made on first use.

Heavy libraries (MLflow, Great Expectations) are imported when their part is first used, so that the trading path
never pays for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.adapters.exchanges.ccxt import CcxtExchange, Credentials
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
from penstock.data.checks import BoundsGate, CheckGate
from penstock.ports import Exchange, MarketData, Notifier
from penstock.settings import Settings, secret
from penstock.stack import running

if TYPE_CHECKING:  # these import MLflow or Great Expectations
    from penstock.adapters.expectations import ExpectationsGate
    from penstock.adapters.mlflow.registry import MlflowRegistry
    from penstock.adapters.mlflow.tracking import MlflowTracker


class Platform:
    """Everything a step of the pipeline needs, chosen by the settings. Close it to return what it holds."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self.settings = settings
        self.database_url = database_url

    @property
    def exchange_name(self) -> str:
        """The name under which this environment's bars and account are kept."""
        return self.settings.environment.exchange

    @property
    def account(self) -> str:
        return self.settings.environment.account

    @property
    def home(self) -> Path:
        return self.settings.home

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
