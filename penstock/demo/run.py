"""The demo's steps, in the order of the pipeline. Each step is the function that the command line
and the flows call too.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import track

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.core.errors import ConfigError
from penstock.core.timeframes import Timeframe
from penstock.demo.configuration import CASH, demo_settings, write_configuration
from penstock.demo.summary import DemoResult, print_summary, write_report
from penstock.demo.world import World, parquet_world, synthetic_world, venue_world
from penstock.interfaces.cli.console import bars_progress, trials_progress
from penstock.pipeline.comparison import Period, compare_with_backtest
from penstock.pipeline.ingest import IngestOutcome, ingest_timeframe
from penstock.pipeline.promote import promote_candidate
from penstock.pipeline.reconcile import reconcile_account
from penstock.pipeline.research import ResearchOutcome, planned_trials, run_research
from penstock.pipeline.slots import SlotOutcome, trade_slot
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.promotion.gate import GateDecision, judge
from penstock.settings import Settings, practice_key_variables, practice_keys
from penstock.wiring import Platform, open_platform

PORTFOLIO = "daily"
#: A rebalance starts this long after the day's close.
_START_AFTER_SECONDS = 5


def run_demo(
    out: Console,
    candles: Path | None = None,
    exchange: str | None = None,
    days: int = 30,
    trials: int = 80,
    fresh: bool = False,
) -> None:
    """Run the whole line and print what came of it. Running it again finds everything done and
    sends nothing.
    """
    template = Settings()
    world = _world(out, template, candles, exchange, days)
    home = template.home / "demo" / _name_of(world)
    if fresh:
        _forget(out, home)
    configs = write_configuration(template.process.configs, home, world, trials)
    with _practice(world, home, template) as (server, control):
        settings = demo_settings(home, configs, server.url)
        with open_platform(settings) as platform:
            _Demo(out, platform, control, world).run(template)


@dataclass
class _Demo:
    """One run of the demo: what each step found, and how long it took."""

    out: Console
    platform: Platform
    control: PracticeControl
    world: World
    took: dict[str, float] = field(default_factory=dict)

    def run(self, template: Settings) -> None:
        with self._step(
            "ingest", f"{len(self.world.symbols)} symbols daily, {len(self.world.hourly)} hourly"
        ):
            ingested = [self._ingest(Timeframe.D1), self._ingest(Timeframe.H1)]
        with self._step("research", "snapshot, search, track in MLflow"):
            research = self._research()
        with self._step("promote", "gate and registry"):
            promotion = promote_candidate(self.platform, PORTFOLIO, research.run_id)
        with self._step("trade", f"{self.world.days} daily rebalances on stepped days"):
            slots = self._trade()
        with self._step("reconcile", "ledger against venue"):
            ended = self._step_to_end()
            reconciled = reconcile_account(self.platform, PORTFOLIO)
            drift = compare_with_backtest(
                self.platform, PORTFOLIO, Period(self.world.slots, Decimal(CASH))
            )
        result = DemoResult(
            world=self.world,
            ingested=ingested,
            ingested_at_end=ended,
            research=research,
            promotion=promotion,
            project_verdict=_project_verdict(self.platform, template, promotion.version.version),
            slots=slots,
            reconciled=reconciled,
            drift=drift,
            took=self.took,
        )
        report = write_report(self.platform, result)
        print_summary(self.out, self.platform, result, report)

    @contextmanager
    def _step(self, name: str, what: str) -> Iterator[None]:
        self.out.print(f"[bold]{name:<10}[/] {what} ...")
        started = self.platform.machine_clock.elapsed_seconds()
        yield
        self.took[name] = self.platform.machine_clock.elapsed_seconds() - started
        self.out.print(f"{'':<10} done in {self.took[name]:.1f} s")

    def _ingest(self, timeframe: Timeframe) -> IngestOutcome:
        with bars_progress(self.out) as progress:
            outcome = ingest_timeframe(self.platform, timeframe, on_progress=progress)
        self.out.print(f"{'':<10} {outcome.summary()}")
        return outcome

    def _research(self) -> ResearchOutcome:
        total = planned_trials(self.platform, PORTFOLIO, None, None)
        with trials_progress(self.out, total) as progress:
            outcome = run_research(
                self.platform,
                PORTFOLIO,
                end=self.world.live,
                on_trial=progress,
                on_cut=progress.cut,
            )
        self.out.print(f"{'':<10} {outcome.summary()}")
        return outcome

    def _trade(self) -> list[SlotOutcome]:
        outcomes = []
        for slot in track(self.world.slots, description="slots", console=self.out, transient=True):
            if self.control.now() < slot:
                self.control.step(to=slot)
                self.control.step(seconds=_START_AFTER_SECONDS)
            outcomes.append(trade_slot(self.platform, PORTFOLIO, slot))
        return outcomes

    def _step_to_end(self) -> list[IngestOutcome]:
        """Close the last slot's bar, so that its close can mark the equity, and ingest what passed
        meanwhile.
        """
        end = self.world.slots[-1] + Timeframe.D1.duration
        if self.control.now() < end:
            self.control.step(to=end)
        return [self._ingest(Timeframe.D1), self._ingest(Timeframe.H1)]


def _world(
    out: Console, template: Settings, candles: Path | None, exchange: str | None, days: int
) -> World:
    symbols = template.universe.symbols
    if candles is not None and exchange is not None:
        raise ConfigError(
            "--candles and --exchange exclude each other: candles come from one place"
        )
    if candles is not None:
        return parquet_world(candles.expanduser(), symbols, days)
    if exchange is not None:
        out.print(
            f"fetching candles of {len(symbols)} symbols from {exchange} (kept for the next time) ..."
        )
        return venue_world(
            exchange, CcxtMarketData(exchange), symbols, days, template.home / "candles" / exchange
        )
    return synthetic_world(symbols, days)


def _name_of(world: World) -> str:
    """Return the folder of a world: other candles, days or symbols are another demo with its own
    account.
    """
    text = f"{world.described}|{world.symbols}|{world.live.isoformat()}|{world.days}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _forget(out: Console, home: Path) -> None:
    """Delete what an earlier demo in `home` left, its database included."""
    if home.exists():
        EmbeddedPostgres(home / "postgres").destroy()
        shutil.rmtree(home)
        out.print(f"forgot the earlier demo in {home}")


@contextmanager
def _practice(
    world: World, home: Path, template: Settings
) -> Iterator[tuple[PracticeServer, PracticeControl]]:
    """Run the practice exchange with the demo's account; its journal keeps balances and time from
    run to run.
    """
    key, secret = practice_keys(home)[PORTFOLIO]
    os.environ.update(practice_key_variables(home))
    costs = template.costs
    server = PracticeServer(
        world.source,
        stepped_clock(world.live),
        fee_bps=str(costs.fee_bps),
        slippage_bps=str(costs.slippage_bps),
        limits=UNLIMITED,  # a venue limits orders a second; here a day passes in one
        accounts=(AccountSpec(key, secret, {template.universe.quote: str(CASH)}),),
        journal=home / "exchange.sqlite",
    )
    with server:
        yield server, PracticeControl(server.url)


def _project_verdict(platform: Platform, template: Settings, version: str) -> GateDecision:
    """Return what the project's own thresholds say of the version that the demo let through."""
    name = platform.settings.study(PORTFOLIO).register_as
    return judge(platform.registry.evidence(name, version), None, template.promotion(PORTFOLIO))
