"""Bring bars up to date and say what came in. How one symbol is read, checked and stored is for
penstock.data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.core.actors import Actor
from penstock.core.errors import DataError
from penstock.core.timeframes import Timeframe
from penstock.data.ingestion import (
    IngestReport,
    OnProgress,
    ingest_symbol,
    ingest_universe,
    register_instruments,
)
from penstock.pipeline.use_case import use_case
from penstock.wiring import Platform


@dataclass(frozen=True)
class IngestOutcome:
    """What one run over a timeframe brought in."""

    timeframe: Timeframe
    """The bar length."""
    reports: tuple[IngestReport, ...]
    """One report per symbol."""
    data_docs: Path | None
    """The index page of the checks; None where it was not built."""

    @property
    def failed(self) -> tuple[IngestReport, ...]:
        return tuple(report for report in self.reports if not report.ok)

    @property
    def new_rows(self) -> int:
        return sum(report.new for report in self.reports)

    def summary(self) -> str:
        """Return the run in one sentence."""
        revised, refused = (
            sum(r.revised for r in self.reports),
            sum(r.quarantined for r in self.reports),
        )
        tail = f"; stopped: {', '.join(r.symbol for r in self.failed)}" if self.failed else ""
        gaps, missing = (sum(r.gaps for r in self.reports), sum(r.missing for r in self.reports))
        head = f"{self.timeframe}: {len(self.reports)} symbols, {self.new_rows} bars new"
        lack = f"{gaps} gaps with {missing} bars missing" if gaps else "no gaps"
        return f"{head}, {revised} revised, {refused} quarantined, {lack}{tail}"


@use_case
def symbols_to_ingest(
    platform: Platform, actor: Actor, timeframe: Timeframe, symbols: Sequence[str] | None = None
) -> list[str]:
    """Return the given symbols, or those the universe keeps; save the venue's rules of each.

    What the universe says of their tickers is saved, too: bars of an earlier coin are kept apart.

    Raises UnknownSymbolError for a given symbol that the venue does not list.
    """
    universe = platform.settings.universe
    names = list(symbols or universe.ingested(timeframe))
    policy = universe.policy_of(timeframe)
    unknown = register_instruments(
        platform.ingest_market,
        platform.bars,
        platform.exchange_name,
        names,
        policy,
        universe.series,
        clock=platform.machine_clock,
    )
    if symbols and unknown:
        raise next(iter(unknown.values()))
    return names


@use_case
def ingest_one(platform: Platform, actor: Actor, timeframe: Timeframe, symbol: str) -> IngestReport:
    """Ingest one symbol. A batch that a check stops gives a report with the failure; nothing is
    raised.
    """
    settings = platform.settings
    policy = settings.universe.policy_of(timeframe)
    try:
        return ingest_symbol(
            platform.ingest_market,
            platform.bars,
            platform.exchange_name,
            symbol,
            timeframe,
            policy,
            platform.gate,
            bounds=settings.checks,
            series=settings.universe.series.get(symbol),
            clock=platform.machine_clock,
        )
    except DataError as error:
        return IngestReport(platform.exchange_name, symbol, timeframe, failure=str(error))


@use_case
def ingest_timeframe(
    platform: Platform,
    actor: Actor,
    timeframe: Timeframe,
    symbols: Sequence[str] | None = None,
    on_progress: OnProgress | None = None,
    docs: bool = True,
) -> IngestOutcome:
    """Ingest the universe (or the given symbols) in one timeframe, several symbols at the same
    time.

    Without `docs` the Data Docs are left to a later call, which shows this one's checks too.
    """
    names = symbols_to_ingest(platform, actor, timeframe, symbols)
    reports = ingest_universe(
        platform.ingest_market,
        platform.bars,
        platform.exchange_name,
        names,
        timeframe,
        platform.settings.universe.policy_of(timeframe),
        platform.gate,
        on_progress=on_progress,
        bounds=platform.settings.checks,
        register=False,
        series=platform.settings.universe.series,
        clock=platform.machine_clock,
        runner=platform.runner,
    )
    return conclude_ingest(platform, actor, timeframe, reports, docs)


@use_case
def conclude_ingest(
    platform: Platform,
    actor: Actor,
    timeframe: Timeframe,
    reports: Sequence[IngestReport],
    docs: bool = True,
) -> IngestOutcome:
    """Build the Data Docs of what was judged, if wanted, alert about the symbols that stopped, and
    return the outcome.
    """
    folder = platform.home / "data-docs" / timeframe.value
    index = platform.gate.build_docs(folder, timeframe) if docs else None
    outcome = IngestOutcome(timeframe, tuple(reports), index)
    if outcome.failed:
        lines = [f"{report.symbol}: {report.failure}" for report in outcome.failed]
        stopped = "1 symbol" if len(lines) == 1 else f"{len(lines)} symbols"
        platform.notifier.notify(f"Ingest {timeframe}: {stopped} stopped", "\n".join(lines))
    return outcome
