"""A portfolio of two coins on a practice exchange whose days are stepped, with alerts that are
kept. No MLflow is started.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from penstock.adapters.stores.postgres import PostgresLedger, connect
from penstock.core.actors import Actor, Channel
from penstock.core.leases import Lease
from penstock.core.strategy import Matrix, Panel
from penstock.execution.session import AccountSession
from penstock.ports import LoadedModel, ModelVersion
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.practice.synthetic import SyntheticCandles
from penstock.settings import Process, Settings
from penstock.wiring import Platform
from strategies.inverse_volatility import InverseVolatility
from tests.forked import Done, ForkedPrograms
from tests.servers import DatabaseServers

ROOT = Path(__file__).resolve().parents[3]
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
FIRST_SLOT = datetime(2024, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
#: Who asks for what these tests do.
ACTOR = Actor("tester", Channel.CLI)


@dataclass
class KeptAlerts:
    """A Notifier that keeps what it is given."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def notify(self, title: str, body: str) -> bool:
        self.said.append((title, body))
        return True


class Deciding(InverseVolatility):
    """The strategy, with something that happens while it decides."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def target_weights(self, panel: Panel) -> Matrix:
        type(self).meanwhile()
        return super().target_weights(panel)


class OneVersion:
    """A Registry with one version of one model."""

    version = ModelVersion("daily-portfolio", "1", "run", ("champion",), {"exchange": "practice"})

    def find(self, name: str, alias_or_version: str) -> ModelVersion | None:
        return self.version

    def versions(self, name: str) -> Sequence[ModelVersion]:
        return [self.version]

    def move_alias(self, name: str, alias: str, version: str) -> None:
        self.version = replace(self.version, aliases=(alias,))

    def load(self, name: str, alias_or_version: str) -> LoadedModel:
        return LoadedModel(self.version, Deciding())


class RememberingLedger(PostgresLedger):
    """The ledger, which knows its newest lease: a test writes what the running rebalance might have
    written.
    """

    newest: Lease

    def acquire_lease(self, account: str, holder: str, ttl_seconds: float) -> Lease | None:
        lease = super().acquire_lease(account, holder, ttl_seconds)
        if lease is not None:
            self.newest = lease
        return lease


class ImpatientPlatform(Platform):
    """A platform whose runs do not wait for an account that is held."""

    #: How many orders leave at once; None for what is configured.
    senders: int | None = None

    def session(self, portfolio: str) -> AccountSession:
        session = super().session(portfolio)
        policy = session.policy.model_copy(
            update={
                "lease_wait_seconds": 0,
                "visibility_delay_seconds": 0.3,
                "poll_seconds": 0.05,
                "senders": self.senders or session.policy.senders,
            }
        )
        return replace(session, policy=policy)


@dataclass
class Place:
    """The platform, its venue, the alerts, and how to go on to the next day."""

    platform: ImpatientPlatform
    control: PracticeControl
    alerts: list[tuple[str, str]]
    ledger: RememberingLedger
    environment: Mapping[str, str]
    programs: ForkedPrograms

    def tomorrow(self) -> datetime:
        """Step to just after the next day's close and return it."""
        slot = (self.control.now() + DAY).replace(hour=0, minute=0, second=0, microsecond=0)
        self.control.step(to=slot + timedelta(seconds=2))
        return slot


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would steer Penstock or Prefect."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PENSTOCK_", "PREFECT_"))
    }


def penstock(place: Place, *arguments: str) -> Done:
    """Run a command as an operator runs it, in the place's environment."""
    environment = {**clean_environment(), **place.environment, "COLUMNS": "300"}
    return place.programs.run("penstock", *arguments, environment=environment)


def said(place: Place, *arguments: str) -> str:
    """Run a command that must succeed and return what it printed."""
    done = penstock(place, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def place(tmp_path: Path, servers: DatabaseServers, forked: ForkedPrograms) -> Iterator[Place]:
    configs = Path(shutil.copytree(ROOT / "configs", tmp_path / "configs"))
    universe = yaml.safe_load((configs / "universe.yaml").read_text())
    universe |= {
        "symbols": ["BTC/USDT", "ETH/USDT"],
        "timeframes": {"1d": {"start": FIRST_DAY.date()}},
    }
    (configs / "universe.yaml").write_text(yaml.safe_dump(universe))
    home = tmp_path / "home"
    made = Settings(Process(home=home, configs=configs, env="practice"))
    key, secret = made.practice_keys()["daily"]
    keys = made.practice_key_variables()
    candles = SyntheticCandles(
        ("BTC/USDT", "ETH/USDT"), FIRST_DAY, datetime(2025, 1, 1, tzinfo=UTC), minutes=False
    )
    accounts = (AccountSpec(key, secret, {"USDT": "100000"}),)
    clock = stepped_clock(FIRST_SLOT - DAY + timedelta(seconds=2))
    try:
        url = servers.migrated()
        with (
            PracticeServer(candles, clock=clock, limits=UNLIMITED, accounts=accounts) as server,
            connect(url) as database,
        ):
            process = Process(
                home=home,
                configs=configs,
                env="practice",
                practice_url=server.url,
                database_url=url,
            )
            platform, alerts = ImpatientPlatform(Settings(process, keys), url), KeptAlerts()
            ledger = RememberingLedger(database)
            vars(platform).update(notifier=alerts, registry=OneVersion(), ledger=ledger)
            environment = {
                "PENSTOCK_HOME": str(home),
                "PENSTOCK_CONFIGS": str(configs),
                "PENSTOCK_ENV": "practice",
                "PENSTOCK_PRACTICE_URL": server.url,
                "PENSTOCK_DATABASE_URL": url,
                **keys,
            }
            control = PracticeControl(server.url)
            yield Place(platform, control, alerts.said, ledger, environment, forked)
            platform.close()
    finally:
        Deciding.meanwhile = staticmethod(lambda: None)
