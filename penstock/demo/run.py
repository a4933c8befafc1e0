"""The demo's steps, in the order of the pipeline. Each step is the use case that the command line
and the flows call too.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from penstock.core.actors import Actor
from penstock.core.errors import ConfigError
from penstock.core.timeframes import Timeframe
from penstock.demo.configuration import CASH, demo_settings, write_configuration
from penstock.demo.events import (
    CandlesWanted,
    DemoForgotten,
    IngestBegan,
    OnEvent,
    ProofEvaluated,
    SearchBegan,
    StepBegan,
    StepEnded,
    TradingBegan,
    TrialDone,
)
from penstock.demo.history import DemoHistory, parquet_history, synthetic_history, venue_history
from penstock.demo.summary import PORTFOLIO, DemoResult, result_of
from penstock.pipeline.comparison import Period, compare_with_backtest
from penstock.pipeline.ingest import IngestOutcome, ingest_timeframe
from penstock.pipeline.positions import list_positions
from penstock.pipeline.promote import PromotionOutcome, promote_candidate
from penstock.pipeline.reconcile import reconcile_account
from penstock.pipeline.research import ResearchOutcome, planned_trials, run_research
from penstock.pipeline.slots import SlotOutcome, trade_slot
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.promotion.criteria import CRITERIA
from penstock.promotion.gate import GateDecision, judge
from penstock.settings import Settings, StackSecret, practice_keys, stack_secret
from penstock.simulation.fill_model import FillModel
from penstock.wiring import Platform, embedded_server, open_platform, public_market

#: A rebalance starts this long after the day's close.
_START_AFTER_SECONDS = 5


@dataclass(frozen=True)
class DemoRequest:
    """Which demo is wanted. Without `candles` and `exchange` the candles are made up."""

    candles: Path | None = None
    """A folder of Parquet files to replay."""
    exchange: str | None = None
    """The venue (a ccxt name) to fetch candles from."""
    days: int = 30
    """How many daily rebalances are traded."""
    trials: int = 80
    """Trials of the search, shared by all strategies."""
    fresh: bool = False
    """Whether what an earlier demo of the same history left is deleted first."""


def run_demo(
    settings: Settings, actor: Actor, request: DemoRequest, on_event: OnEvent = lambda _: None
) -> DemoResult:
    """Run the whole pipeline and return what came of it. A second run finds everything done and
    sends nothing.

    Raises ConfigError where candles are wanted from two places, DataError where there are too few.
    """
    history = _history(settings, request, on_event)
    home = settings.home / "demo" / _name_of(history)
    if request.fresh:
        _forget(settings, home, on_event)
    configs = write_configuration(settings.process.configs, home, history, request.trials)
    with _practice(history, home, settings) as (server, control):
        own = demo_settings(settings, home, configs, server.url)
        with open_platform(own) as platform:
            return _Demo(platform, actor, control, history, on_event).run(settings)


@dataclass
class _Demo:
    """One run of the demo, and how long each step took."""

    platform: Platform
    actor: Actor
    control: PracticeControl
    history: DemoHistory
    on_event: OnEvent
    took: dict[str, float] = field(default_factory=dict)

    def run(self, template: Settings) -> DemoResult:
        platform, actor = self.platform, self.actor
        with self._step(
            "ingest",
            f"{len(self.history.symbols)} symbols daily, {len(self.history.hourly)} hourly",
        ):
            ingested = [self._ingest(each, docs=False) for each in (Timeframe.D1, Timeframe.H1)]
        with self._step("research", "snapshot, search, track in MLflow"):
            research = self._research()
        with self._step("promote", "gate and registry"):
            promotion = promote_candidate(platform, actor, PORTFOLIO, research.run_id)
        with self._step("trade", f"{self.history.days} daily rebalances on stepped days"):
            slots = self._trade()
        with self._step("reconcile", "ledger against venue"):
            ended = self._step_to_end()
            reconciled = reconcile_account(platform, actor, PORTFOLIO)
            period = Period(self.history.slots, Decimal(CASH))
            drift = compare_with_backtest(platform, PORTFOLIO, period)
        return result_of(
            platform,
            self.history,
            ingested=ingested,
            ingested_at_end=ended,
            research=research,
            promotion=promotion,
            project_decision=_project_decision(template, promotion),
            slots=slots,
            reconciled=reconciled,
            drift=drift,
            took=self.took,
            holdings=list_positions(platform, actor, PORTFOLIO),
        )

    @contextmanager
    def _step(self, name: str, what: str) -> Iterator[None]:
        self.on_event(StepBegan(name, what))
        started = self.platform.machine_clock.elapsed_seconds()
        yield
        self.took[name] = self.platform.machine_clock.elapsed_seconds() - started
        self.on_event(StepEnded(name, self.took[name]))

    def _ingest(self, timeframe: Timeframe, docs: bool) -> IngestOutcome:
        self.on_event(IngestBegan(timeframe))
        outcome = ingest_timeframe(
            self.platform, self.actor, timeframe, on_progress=self.on_event, docs=docs
        )
        self.on_event(outcome)
        return outcome

    def _research(self) -> ResearchOutcome:
        total = planned_trials(self.platform, self.actor, PORTFOLIO, None, None)
        self.on_event(SearchBegan(total))
        outcome = run_research(
            self.platform,
            self.actor,
            PORTFOLIO,
            end=self.history.live,
            on_trial=lambda _: self.on_event(TrialDone()),
            on_evaluation=lambda done, total: self.on_event(ProofEvaluated(done, total)),
        )
        self.on_event(outcome)
        return outcome

    def _trade(self) -> list[SlotOutcome]:
        self.on_event(TradingBegan(len(self.history.slots)))
        outcomes = []
        for slot in self.history.slots:
            if self.control.now() < slot:
                self.control.step(to=slot)
                self.control.step(seconds=_START_AFTER_SECONDS)
            outcomes.append(trade_slot(self.platform, self.actor, PORTFOLIO, slot))
            self.on_event(outcomes[-1])
        return outcomes

    def _step_to_end(self) -> list[IngestOutcome]:
        """Close the last slot's bar, so that its close can mark the equity, and ingest what passed
        meanwhile. The Data Docs show the checks of the whole run.
        """
        end = self.history.slots[-1] + Timeframe.D1.duration
        if self.control.now() < end:
            self.control.step(to=end)
        return [self._ingest(each, docs=True) for each in (Timeframe.D1, Timeframe.H1)]


def _history(settings: Settings, request: DemoRequest, on_event: OnEvent) -> DemoHistory:
    symbols, days = settings.universe.symbols, request.days
    if request.candles is not None and request.exchange is not None:
        raise ConfigError(
            f"candles are wanted from {request.candles} and from {request.exchange}, which exclude "
            "each other: they come from one place"
        )
    if request.candles is not None:
        return parquet_history(request.candles.expanduser(), symbols, days)
    if request.exchange is not None:
        on_event(CandlesWanted(request.exchange, len(symbols)))
        folder = settings.home / "candles" / request.exchange
        market = public_market(request.exchange)
        return venue_history(request.exchange, market, symbols, days, folder)
    return synthetic_history(symbols, days)


def _name_of(history: DemoHistory) -> str:
    """Return the folder of a history. Other candles, days or symbols have another folder and
    account.
    """
    text = f"{history.described}|{history.symbols}|{history.live.isoformat()}|{history.days}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _forget(settings: Settings, home: Path, on_event: OnEvent) -> None:
    """Delete what an earlier demo in `home` left, its database included."""
    if home.exists():
        process = settings.process.model_copy(update={"home": home})
        embedded_server(Settings(process)).destroy()
        shutil.rmtree(home)
        on_event(DemoForgotten(home))


@contextmanager
def _practice(
    history: DemoHistory, home: Path, template: Settings
) -> Iterator[tuple[PracticeServer, PracticeControl]]:
    """Run the practice exchange with the demo's account; its journal keeps balances and time from
    run to run.
    """
    key, secret = practice_keys(home, [PORTFOLIO])[PORTFOLIO]
    token = stack_secret(home, StackSecret.PRACTICE).get_secret_value()
    server = PracticeServer(
        history.source,
        stepped_clock(history.live),
        fill_model=FillModel.of(template.costs),
        limits=UNLIMITED,  # a venue limits orders per second; here a day passes in one
        accounts=(AccountSpec(key, secret, {template.universe.quote: str(CASH)}),),
        journal=home / "exchange.sqlite",
        control_token=token,
    )
    with server:
        yield server, PracticeControl(server.url, token=token)


def _project_decision(template: Settings, promoted: PromotionOutcome) -> GateDecision:
    """Return what the project's own thresholds say of the version that the demo judged, as the
    first candidate. What was measured of the registered version itself (reproduction, rehearsal)
    is taken over: the demo leaves those bounds as they are.
    """
    own = promoted.promotion.gate.verdicts
    judged_here = {criterion.__name__ for criterion in CRITERIA} | {"beats_champion"}
    further = [verdict for verdict in own if verdict.criterion not in judged_here]
    opened = promoted.promotion.opened
    if opened is None:  # the demo's thresholds are the weaker ones
        return promoted.promotion.gate
    return judge(opened, None, template.promotion(PORTFOLIO), further)
