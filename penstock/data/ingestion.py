"""From a venue to the store: resume at the watermark, read, check, and commit everything about a
chunk in one transaction.

Backfill and incremental are one code: history is read in chunks, and each chunk resumes from the
watermark exactly as a new run would, so that a run killed at any point loses at most one chunk. A
gap that the venue itself has is reported, never filled in. What is wrong with a row, and what is
too much of it, is decided in penstock.data.checks and penstock.data.bounds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches

import polars as pl

from penstock.core.clock import MachineClock
from penstock.core.errors import DataError, UnknownSymbolError, VenueError
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import CheckBounds, CheckGate, CheckVerdict, verdict_frame
from penstock.data.checks import CheckedBars, check_symbol, missing_ranges
from penstock.data.paging import Stretch, ask_again, read_stretch, retrying
from penstock.data.policy import IngestPolicy
from penstock.ports import BarBatch, BarStore, MarketData, TaskRunner


@dataclass(frozen=True)
class IngestProgress:
    """How far one symbol is, in bars of its range. `total` is fixed at the start."""

    symbol: str
    done: int
    total: int


@dataclass(frozen=True)
class IngestReport:
    """What one ingestion of one symbol did. Rows are counted over all chunks; `failure` is "" where
    it went well.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    new: int = 0
    revised: int = 0
    unchanged: int = 0
    quarantined: int = 0
    held_back: int = 0
    gaps: int = 0
    missing: int = 0
    seconds: float = 0.0
    watermark: datetime | None = None
    warnings: tuple[CheckVerdict, ...] = field(default=())
    failure: str = ""

    @property
    def ok(self) -> bool:
        return not self.failure


OnProgress = Callable[[IngestProgress], None]


def ingest_symbol(
    market: MarketData,
    store: BarStore,
    exchange: str,
    symbol: str,
    timeframe: Timeframe,
    policy: IngestPolicy,
    gate: CheckGate,
    now: datetime | None = None,
    on_progress: OnProgress | None = None,
    bounds: CheckBounds | None = None,
    *,
    clock: MachineClock,
) -> IngestReport:
    """Bring one symbol up to its newest bar that is closed at `now` (by default the venue's own
    time).

    `bounds` steer the checks of single rows; the gate has its own copy for whole batches. Raises
    DataError where a batch breaks a bound of severity error (its verdicts and refused rows are
    recorded, none of its bars), VenueError where the venue does not answer after all tries,
    UnknownSymbolError at once, and StoreError. Chunks committed before an error stay.
    """
    checks = bounds or CheckBounds()
    run = _Run(market, store, exchange, symbol, timeframe, policy, gate, checks, clock)
    began = clock.elapsed_seconds()
    now = now if now is not None else retrying(market.now, policy, clock=clock)
    watermark = store.watermarks(exchange, timeframe).get(symbol)
    report = IngestReport(exchange, symbol, timeframe, watermark=watermark)
    first, until = policy.first_open(timeframe, watermark), timeframe.last_closed_open(now)
    tell = _teller(symbol, timeframe, first, until, on_progress)
    cursor, counted = first, None if policy.reread else watermark
    while cursor <= until:
        report, newest = run.chunk(cursor, until, now, report, counted, tell)
        if newest is None:
            break
        following = policy.resume_open(timeframe, newest)
        cursor, counted = following if following > cursor else newest + timeframe.duration, newest
    tell(until)
    return replace(report, seconds=clock.elapsed_seconds() - began)


def ingest_universe(
    market: MarketData,
    store: BarStore,
    exchange: str,
    symbols: Sequence[str],
    timeframe: Timeframe,
    policy: IngestPolicy,
    gate: CheckGate,
    now: datetime | None = None,
    on_progress: OnProgress | None = None,
    bounds: CheckBounds | None = None,
    register: bool = True,
    *,
    clock: MachineClock,
    runner: TaskRunner,
) -> list[IngestReport]:
    """Ingest several symbols, `policy.workers` at a time; return their reports in the order of
    `symbols`.

    Bad data, an unknown symbol or a silent venue fails that symbol only, in its report. A database
    that fails ends the run with StoreError. `register` asks the venue for its instruments first and
    saves those of `symbols`; the minute path, which has done so already, leaves it out.
    `on_progress` is called from the working threads.
    """
    unknown = (
        register_instruments(market, store, exchange, symbols, policy, clock=clock)
        if register
        else {}
    )
    instant = now if now is not None else retrying(market.now, policy, clock=clock)

    def one(symbol: str) -> IngestReport:
        began = clock.elapsed_seconds()
        try:
            if symbol in unknown:
                raise unknown[symbol]
            return ingest_symbol(
                market,
                store,
                exchange,
                symbol,
                timeframe,
                policy,
                gate,
                instant,
                on_progress,
                bounds,
                clock=clock,
            )
        except (DataError, VenueError) as error:
            seconds = clock.elapsed_seconds() - began
            return IngestReport(exchange, symbol, timeframe, seconds=seconds, failure=str(error))

    return runner.map(one, symbols, at_once=policy.workers, name="ingest")


def register_instruments(
    market: MarketData,
    store: BarStore,
    exchange: str,
    symbols: Sequence[str],
    policy: IngestPolicy,
    *,
    clock: MachineClock,
) -> dict[str, UnknownSymbolError]:
    """Save the venue's rules of `symbols`; return the error of each symbol that the venue does not
    list.
    """
    listed = retrying(market.instruments, policy, clock=clock)
    store.save_instruments(exchange, [listed[symbol] for symbol in symbols if symbol in listed])
    return {
        symbol: _unknown(exchange, symbol, listed) for symbol in symbols if symbol not in listed
    }


def report_frame(reports: Sequence[IngestReport]) -> pl.DataFrame:
    """Return reports as a table, one row a symbol, as artifacts and the command line show it."""
    return pl.DataFrame(
        {
            "symbol": [r.symbol for r in reports],
            "new": [r.new for r in reports],
            "revised": [r.revised for r in reports],
            "unchanged": [r.unchanged for r in reports],
            "quarantined": [r.quarantined for r in reports],
            "gaps": [r.gaps for r in reports],
            "missing": [r.missing for r in reports],
            "seconds": [round(r.seconds, 2) for r in reports],
            "warnings": ["; ".join(str(w) for w in r.warnings) for r in reports],
            "failure": [r.failure for r in reports],
        }
    )


@dataclass(frozen=True)
class _Run:
    """What stays the same over the chunks of one symbol."""

    market: MarketData
    store: BarStore
    exchange: str
    symbol: str
    timeframe: Timeframe
    policy: IngestPolicy
    gate: CheckGate
    bounds: CheckBounds
    clock: MachineClock

    def chunk(
        self,
        since: datetime,
        until: datetime,
        now: datetime,
        report: IngestReport,
        counted: datetime | None,
        tell: Callable[[datetime], None],
    ) -> tuple[IngestReport, datetime | None]:
        """Read, check and commit one chunk; return the report so far and the newest bar, or None
        where history ends.

        Gaps count where they are newer than `counted`: older ones were reported when they were
        first read.
        """
        stretch = read_stretch(
            self.market,
            self.symbol,
            self.timeframe,
            since,
            until,
            self.policy,
            tell,
            clock=self.clock,
        )
        context = self._context(since, report.watermark)
        checked = self._check_and_repair(stretch, now, until, context)
        report = self._commit(checked, self.gate.judge(checked.metrics), report)
        gaps = missing_ranges(checked.good, self.timeframe)
        if counted is not None:
            gaps = gaps.filter(pl.col("start") > counted)
        report = replace(
            report, gaps=report.gaps + gaps.height, missing=report.missing + int(gaps["bars"].sum())
        )
        return report, None if stretch.ended or checked.good.is_empty() else checked.good["ts"][-1]

    def _context(self, since: datetime, watermark: datetime | None) -> pl.DataFrame | None:
        """Return the stored bars just before `since`: what jumps and absurd prints are measured
        against.
        """
        if watermark is None:
            return None
        start = since - self.bounds.jump_window * self.timeframe.duration
        return self.store.read_bars(self.exchange, self.timeframe, [self.symbol], start, since)

    def _check_and_repair(
        self, stretch: Stretch, now: datetime, until: datetime, context: pl.DataFrame | None
    ) -> CheckedBars:
        checked = self._check(stretch.rows, stretch.ended, now, until, context)
        gaps = missing_ranges(checked.good, self.timeframe)
        found = ask_again(
            self.market,
            self.symbol,
            self.timeframe,
            gaps,
            stretch.rows,
            self.policy,
            clock=self.clock,
        )
        if found.is_empty():
            return checked
        return self._check(pl.concat([stretch.rows, found]), stretch.ended, now, until, context)

    def _check(
        self,
        rows: pl.DataFrame,
        ended: bool,
        now: datetime,
        until: datetime,
        context: pl.DataFrame | None,
    ) -> CheckedBars:
        """Check the rows. Before the end of history there is no staleness to tell."""
        checked = check_symbol(rows, self.symbol, self.timeframe, now, self.bounds, until, context)
        if ended:
            return checked
        return replace(
            checked, metrics=checked.metrics.with_columns(stale_bars=pl.lit(None, dtype=pl.Int64))
        )

    def _commit(
        self, checked: CheckedBars, verdicts: list[CheckVerdict], report: IngestReport
    ) -> IngestReport:
        """Store the chunk and add it to the report; on a verdict that stops, store what it is based
        on and raise DataError.
        """
        stops = [verdict for verdict in verdicts if verdict.stops]
        bars = checked.good.clear() if stops else checked.good
        newest: datetime | None = bars["ts"][-1] if bars.height else None
        watermark = max((w for w in (report.watermark, newest) if w is not None), default=None)
        record = verdict_frame(verdicts)
        batch = BarBatch(
            self.exchange, self.symbol, self.timeframe, bars, checked.quarantined, record, watermark
        )
        written = self.store.save_batch(batch)
        if stops:
            raise DataError(
                f"{self.symbol} {self.timeframe.value} on {self.exchange} stopped: "
                + "; ".join(map(str, stops))
            )
        return replace(
            report,
            new=report.new + written.new,
            revised=report.revised + written.revised,
            unchanged=report.unchanged + written.unchanged,
            quarantined=report.quarantined + written.quarantined,
            held_back=checked.held.height,
            watermark=watermark,
            warnings=(*report.warnings, *(verdict for verdict in verdicts if not verdict.success)),
        )


def _teller(
    symbol: str,
    timeframe: Timeframe,
    first: datetime,
    until: datetime,
    on_progress: OnProgress | None,
) -> Callable[[datetime], None]:
    total = max(0, (until - first) // timeframe.duration + 1)

    def tell(newest: datetime) -> None:
        if on_progress is not None:
            done = (newest - first) // timeframe.duration + 1
            on_progress(IngestProgress(symbol, max(0, min(done, total)), total))

    return tell


def _unknown(exchange: str, symbol: str, listed: Mapping[str, object]) -> UnknownSymbolError:
    close = get_close_matches(symbol.upper(), list(listed), n=3)
    hint = (
        f"did you mean {', '.join(close)}?"
        if close
        else f"it lists {len(listed)} others, written like BTC/USDT"
    )
    return UnknownSymbolError(f"{exchange} does not list the symbol '{symbol}': {hint}")
