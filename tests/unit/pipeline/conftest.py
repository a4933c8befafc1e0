"""The platform with an account, a registry and a stepped clock in memory. Its database does not
answer: nothing that is not in memory is reached, and no bar is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from penstock.core.actors import Actor, Channel
from penstock.core.ids import CountedIds
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.session import AccountSession
from penstock.promotion.evidence import Evidence
from penstock.promotion.gate import CandidateStatus, GateDecision
from penstock.promotion.records import Judgement
from penstock.research.engine.costs import Costs
from penstock.settings import Process, Settings
from penstock.testing.instruments import SLOT
from penstock.testing.memory_promotions import MemoryPromotionStore
from penstock.testing.memory_registry import MemoryRegistry
from penstock.testing.memory_rollbacks import MemoryRollbackRecord
from penstock.testing.world import World, make_world
from penstock.wiring import Platform
from strategies.inverse_volatility import InverseVolatility
from tests.unit.promotion.conftest import METRICS

ROOT = Path(__file__).resolve().parents[3]
ACTOR = Actor("tester", Channel.CLI)
ACCOUNT = "practice-daily"
MODEL = "daily-portfolio"


@dataclass
class KeptAlerts:
    """A Notifier that keeps what it is given."""

    sent: list[tuple[str, str]] = field(default_factory=list)

    def notify(self, title: str, body: str) -> bool:
        self.sent.append((title, body))
        return True


class MemoryPlatform(Platform):
    """A platform that trades the account in memory."""

    world: World

    def session(self, portfolio: str) -> AccountSession:
        account = self.environment.account_of(portfolio).name
        switch = KillSwitch(account, self.world.control_store, clock=self.world.clock)
        return replace(self.world.session, account=account, kill_switch=switch)


@dataclass
class Place:
    """The platform, what it works on, and the alerts that it sent."""

    platform: MemoryPlatform
    world: World
    registry: MemoryRegistry
    record: MemoryPromotionStore
    alerts: list[tuple[str, str]]

    def register(self, lookback_bars: int = 30, exchange: str = "practice") -> str:
        """Register a version that is not judged yet, and return its number."""
        days = [datetime(2023, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
        evidence = Evidence(
            strategy="inverse_volatility",
            params={"lookback_bars": lookback_bars},
            search_id="search-1",
            dataset_hash="d" * 64,
            timeframe=Timeframe.D1,
            symbols=("BTC/USDT",),
            costs=Costs(),
            initial_cash=10_000.0,
            trial_count=50,
            deflated_sharpe=0.97,
            in_sample=METRICS,
            in_sample_end=days[0],
            out_of_sample_start=days[1],
            out_of_sample_end=days[2],
        )
        run = self.registry.record_run(InverseVolatility, evidence, exchange)
        return self.registry.register(run, MODEL).version

    def promoted(self, lookback_bars: int = 30, exchange: str = "practice") -> str:
        """Make a new version the champion, on record as passed, and return its number."""
        number = self.register(lookback_bars, exchange)
        content_hash = self.registry.load_candidate(MODEL, number).version.tags["content_hash"]
        gate = GateDecision(CandidateStatus.CHAMPION, ())
        self.record.save_judgement(Judgement(MODEL, number, content_hash, gate, SLOT, "ana"))
        self.registry.move_alias(MODEL, "champion", number)
        return number

    def ended(
        self, slot: datetime, status: RebalanceStatus = RebalanceStatus.DONE, version: str = "v"
    ) -> None:
        """Put a slot into the ledger as an earlier run left it."""
        ledger = self.world.ledger
        lease = ledger.acquire_lease(ACCOUNT, "earlier", 60)
        assert lease is not None
        row = ledger.start_rebalance(lease, slot, version)
        ledger.end_rebalance(lease, row.id, status)
        ledger.release_lease(lease)

    def rows(self) -> dict[datetime, tuple[RebalanceStatus, str]]:
        """Status and reason of every slot on record."""
        return {slot: (row.status, row.reason) for slot, row in self.world.ledger.slots.items()}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Tracebacks of errors that tests cause are not drawn: that takes longer than the tests."""
    with capture_logs():
        yield


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An account in memory that never had a slot, two seconds after SLOT."""
    return make_place(tmp_path, ROOT / "configs")


@pytest.fixture
def empty_place(tmp_path: Path) -> Place:
    """The same where no symbol is traded yet at SLOT: nothing is ingested, nothing is decided."""
    configs = tmp_path / "configs"
    configs.mkdir()
    for path in (ROOT / "configs").glob("*.yaml"):
        (configs / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    universe = {
        "quote": "USDT",
        "symbols": [{"symbol": "BTC/USDT", "from": "2025-01-01"}],
        "timeframes": {"1d": {"start": "2021-01-01"}},
    }
    (configs / "universe.yaml").write_text(yaml.safe_dump(universe), encoding="utf-8")
    return make_place(tmp_path, configs)


def make_place(home: Path, configs: Path) -> Place:
    world = make_world()
    world.ledger.account = ACCOUNT
    settings = Settings(Process(home=home, configs=configs, env="practice"))
    platform = MemoryPlatform(
        settings,
        "postgresql://penstock@127.0.0.1:1/penstock",
        machine_clock=world.clock,
        ids=CountedIds(),
        runner=world.session.runner,
    )
    record, alerts = MemoryPromotionStore(), KeptAlerts()
    registry = MemoryRegistry(record)
    platform.world = world
    vars(platform).update(
        ledger=world.ledger,
        control_store=world.control_store,
        clock=world.clock,
        market=world.venue,
        ingest_market=world.venue,
        registry=registry,
        promotions=record,
        rollbacks=MemoryRollbackRecord(),
        notifier=alerts,
    )
    return Place(platform, world, registry, record, alerts.sent)
