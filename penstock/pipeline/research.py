"""Snapshot the bars, search the strategies, track the search. How a search works is for
penstock.research.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from penstock.core.actors import Actor
from penstock.core.errors import NoBarsError
from penstock.core.looks import RecordedLook
from penstock.core.series import series_named
from penstock.data.snapshots import Snapshot, take_snapshot
from penstock.pipeline.trading_costs import study_costs
from penstock.pipeline.use_case import use_case
from penstock.promotion.criteria import (
    CriterionResult,
    PromotionThresholds,
    bounded_memory,
    no_lookahead,
)
from penstock.promotion.evidence import Evidence, gather_evidence
from penstock.research.engine.results import SearchResult, parameters_text
from penstock.research.search.dashboard import write_dashboard_file
from penstock.research.search.runner import search
from penstock.research.search.trials import OnTrial
from penstock.settings import Study
from penstock.wiring import Platform
from strategies import strategy_class

#: Called with the name of each step as it begins.
OnStage = Callable[[str], None]


@dataclass(frozen=True)
class ResearchOutcome:
    """A tracked search."""

    run_id: str
    """Its MLflow run."""
    snapshot: Snapshot
    """Its data."""
    result: SearchResult
    """What it found."""
    evidence: Evidence
    """The evidence for its choice."""

    @property
    def faults(self) -> list[CriterionResult]:
        """What makes the figures of the choice worthless: it sees later bars, or decides otherwise
        when it trades. The gate refuses it.
        """
        verdicts = (
            judge(self.evidence, PromotionThresholds()) for judge in (no_lookahead, bounded_memory)
        )
        return [verdict for verdict in verdicts if not verdict.passed]

    def summary(self) -> str:
        """Return the search in one sentence, with the holdings whose bars ended, after what makes
        it worthless.
        """
        found = self.result
        faults = "".join(
            f"{fault.criterion} FAILED: {found.strategy} {fault.reason}. " for fault in self.faults
        )
        ended = sorted(set(found.in_sample.written_off["symbol"]))
        return (
            f"{faults}best of {found.trial_count} trials on {self.snapshot.rows} bars "
            f"(dataset {found.dataset_hash[:12]}): {found.strategy} "
            f"{parameters_text(found.best_params)}, "
            f"Sharpe {found.in_sample.metrics.sharpe:.2f} in sample (equal weights "
            f"{found.benchmark_in_sample.metrics.sharpe:.2f}), "
            f"deflated Sharpe {found.deflated_sharpe:.3f} after {looks_text(found)}; "
            f"the bars from {found.out_of_sample_start:%Y-%m-%d} on stay closed until the gate; "
            f"run {self.run_id}"
            + (f"; written off, as their bars ended: {', '.join(ended)}" if ended else "")
        )


def looks_text(found: SearchResult) -> str:
    """Return how often somebody has looked at the searched bars, in a few words."""
    if found.looks is None:
        return f"{found.trial_count} trials (no journal counts earlier looks)"
    return f"{found.looks.on_these_bars} looks at these bars, {found.looks.new} of them new"


@use_case
def run_research(
    platform: Platform,
    actor: Actor,
    study_name: str,
    strategies: Sequence[str] | None = None,
    trials: int | None = None,
    end: datetime | None = None,
    on_trial: OnTrial | None = None,
    on_stage: OnStage = lambda _: None,
    on_evaluation: Callable[[int, int], None] = lambda _done, _total: None,
    dashboard: Path | None = None,
) -> ResearchOutcome:
    """Search a study on a fresh snapshot of its bars and record it; return what was found.

    The trials are kept in the database, where an interrupted search goes on, and the look at the
    bars is on the research journal. `end` leaves out bars that open at or after it. `dashboard` is
    a file into which the trials are copied for optuna-dashboard. `on_stage` is called as each step
    begins. `on_evaluation` is called after each evaluation of the leak proof, with how many are
    done and how many there are. Raises NoBarsError where nothing is stored, StrategyError for an
    unknown strategy, SearchError where no trial had allowed parameters.
    """
    study, costs = platform.settings.study(study_name), study_costs(platform, study_name)
    classes = [strategy_class(name) for name in strategies or study.strategies]
    settings = (
        study.search if trials is None else study.search.model_copy(update={"trials": trials})
    )
    on_stage(f"taking a snapshot of the {study.timeframe} bars")
    snapshot = snapshot_of(platform, study, end)
    on_stage(
        f"searching: {settings.trials} trials of {', '.join(each.name for each in classes)} "
        f"on {snapshot.rows:,} bars"
    )
    result = search(
        snapshot.bars(),
        classes,
        costs,
        settings,
        on_trial,
        dataset_hash=snapshot.content_hash,
        timeframe=study.timeframe,
        doubts=snapshot.doubts,
        joins=snapshot.joins,
        store=platform.trials,
        journal=platform.look_recorder(actor),
        runner=platform.runner,
        clock=platform.machine_clock,
    )
    if dashboard is not None:
        write_dashboard_file(result, classes, dashboard)
    on_stage(f"proving that the choice, {result.strategy}, sees no later bars")
    chosen = strategy_class(result.strategy)
    evidence = gather_evidence(
        result,
        chosen,
        snapshot.bars(),
        on_evaluation=on_evaluation,
        doubts=snapshot.doubts,
        joins=snapshot.joins,
    )
    outcome = ResearchOutcome("", snapshot, result, evidence)
    for fault in outcome.faults:
        on_stage(f"{fault.criterion} FAILED: {result.strategy} {fault.reason}")
    if not outcome.faults:
        on_stage("it sees no later bars, and remembers no longer than its warm-up")
    on_stage("recording the search")
    run_id = platform.tracker(study_name).record_search(result, chosen, snapshot, evidence)
    return replace(outcome, run_id=run_id)


@use_case
def planned_trials(
    platform: Platform,
    actor: Actor,
    study_name: str,
    strategies: Sequence[str] | None,
    trials: int | None,
) -> int:
    """Return how many trials `run_research` will run with these arguments."""
    study = platform.settings.study(study_name)
    return (trials or study.search.trials) * len(strategies or study.strategies)


@use_case
def list_looks(platform: Platform, actor: Actor, most: int = 20) -> Sequence[RecordedLook]:
    """Return the newest looks at bars, newest first: who, what, how many trials, best figures."""
    return platform.research_journal.newest(most)


def snapshot_of(platform: Platform, study: Study, end: datetime | None = None) -> Snapshot:
    """Take a snapshot of a study's bars, of the universe's symbols that had begun by `end`.

    Raises NoBarsError where nothing is stored.
    """
    universe = platform.settings.universe
    symbols = [
        name
        for name in universe.symbols_of(study.timeframe)
        if end is None or series_named(universe.series, name).has_begun(end)
    ]
    if not platform.bars.watermarks(platform.exchange_name, study.timeframe):
        raise NoBarsError(platform.exchange_name, study.timeframe.value)
    return take_snapshot(
        platform.bars,
        platform.exchange_name,
        study.timeframe,
        symbols,
        None,
        end,
        platform.home / "snapshots",
    )
