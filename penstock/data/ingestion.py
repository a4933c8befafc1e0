"""How bars get from a venue to the store: read, checked and committed, one chunk per transaction.

A backfill and an incremental run are the same code. History is read in chunks. Each chunk begins at
the watermark, as a new run does. So a run that is killed loses at most one chunk. A gap that the
venue itself has is reported, never filled. penstock.data.checks decides what is wrong with a row,
and penstock.data.bounds how much of it is too much.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from types import MappingProxyType

import polars as pl

from penstock.core.bars import TS
from penstock.core.clock import MachineClock
from penstock.core.errors import DataError, UnknownSymbolError, VenueError
from penstock.core.relistings import Relisting, relistings
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe
from penstock.data.bar_pages import BarRequests, Stretch, ask_again, read_stretch, retrying
from penstock.data.bounds import CheckBounds, CheckGate, CheckVerdict, verdict_frame
from penstock.data.checks import CONFIRMED_WITHIN, CheckedBars, check_symbol, missing_ranges
from penstock.data.history_gaps import missing_before
from penstock.data.ingest_reports import IngestProgress, IngestReport, report_frame
from penstock.data.own_bars import closed_message, own_opens, rows_before
from penstock.data.policy import IngestPolicy
from penstock.ports import BarBatch, BarStore, MarketData, TaskRunner

__all__ = [
    "IngestProgress",
    "IngestReport",
    "OnProgress",
    "ingest_symbol",
    "ingest_universe",
    "register_instruments",
    "report_frame",
]

#: Called with how far a symbol is, after each page.
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
    series: Series | None = None,
    *,
    clock: MachineClock,
) -> IngestReport:
    """Bring one symbol up to its newest bar that is closed at `now`.

    `now` is by default the venue's own time. `bounds` are those of single rows; the gate has its
    own for whole batches. `series` says which bars of which ticker belong to the symbol: by default
    all of its own. Chunks that were committed before an error stay.

    Raises DataError where a batch breaks a bound of severity error. Its verdicts and refused rows
    are recorded, its bars are not. Raises DataError, too, where the ticker may have gone to another
    instrument: the bars from there on are not stored. Raises VenueError where the venue does not
    answer after all tries, UnknownSymbolError at once, and StoreError.
    """
    began = clock.elapsed_seconds()
    now = now if now is not None else retrying(market.now, policy, clock=clock)
    own = series or Series(symbol)
    ask = BarRequests(market, own.ticker, policy, clock, symbol, own.ends is not None)
    run = _SymbolIngestion(ask, store, exchange, own, timeframe, gate, bounds or CheckBounds())
    watermark = store.watermarks(exchange, timeframe).get(symbol)
    report = IngestReport(exchange, symbol, timeframe, watermark=watermark)
    first, until = own_opens(own, timeframe, policy, watermark, now)
    on_page = _progress(symbol, timeframe, first, until, on_progress)
    cursor, counted = first, None if policy.reread else watermark
    while cursor <= until:
        report, newest = run.chunk(cursor, until, now, report, counted, on_page)
        if newest is None:
            break
        following = policy.resume_open(timeframe, newest)
        cursor, counted = following if following > cursor else newest + timeframe.duration, newest
    on_page(until)
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
    series: Mapping[str, Series] = MappingProxyType({}),
    *,
    clock: MachineClock,
    runner: TaskRunner,
) -> list[IngestReport]:
    """Ingest several symbols, `policy.workers` at a time.

    Returns their reports in the order of `symbols`. Bad data, an unknown symbol or a venue that
    does not answer fails that symbol only, in its report. A database that fails ends the run with
    StoreError. With `register` the venue's instruments are read first, and those of `symbols` are
    saved. The minute path has done so already. `series` says what tickers stood for, by symbol.
    `on_progress` is called from the runner's workers.
    """
    unknown = (
        register_instruments(market, store, exchange, symbols, policy, series, clock=clock)
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
                series.get(symbol),
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
    series: Mapping[str, Series] = MappingProxyType({}),
    *,
    clock: MachineClock,
) -> dict[str, UnknownSymbolError]:
    """Save the venue's rules of `symbols`, and what their tickers stood for.

    Returns the error of each symbol that the venue does not list, by symbol. One of which `series`
    says that it ended need not be listed.
    """
    store.save_series(exchange, [series[symbol] for symbol in symbols if symbol in series])
    listed = retrying(market.instruments, policy, clock=clock)
    store.save_instruments(exchange, [listed[symbol] for symbol in symbols if symbol in listed])
    ended = {symbol for symbol, each in series.items() if each.ends is not None}
    return {
        symbol: _unknown(exchange, symbol, listed)
        for symbol in symbols
        if symbol not in listed and symbol not in ended
    }


@dataclass(frozen=True)
class _SymbolIngestion:
    """What stays the same over the chunks of one symbol."""

    ask: BarRequests
    store: BarStore
    exchange: str
    series: Series
    timeframe: Timeframe
    gate: CheckGate
    bounds: CheckBounds

    @property
    def symbol(self) -> str:
        return self.series.name

    def chunk(
        self,
        since: datetime,
        until: datetime,
        now: datetime,
        report: IngestReport,
        counted: datetime | None,
        on_page: Callable[[datetime], None],
    ) -> tuple[IngestReport, datetime | None]:
        """Read, check and commit one chunk.

        Returns the report so far, and the open time of the newest bar, or None where history ends.
        Only gaps newer than `counted` count: older ones were reported when they were first read.
        """
        stretch = read_stretch(self.ask, self.timeframe, since, until, on_page)
        if self.series.ends is not None:
            stretch = replace(stretch, rows=rows_before(stretch.rows, self.series.ends))
        context = self._context(since, report.watermark)
        checked = self._check_and_repair(stretch, now, until, context)
        relisted = self._relisting(checked.good, context)
        if relisted is not None:
            own = rows_before(stretch.rows, relisted.at)
            checked = self._check(own, False, now, until, context)
        gaps = missing_ranges(checked.good, self.timeframe)
        if counted is not None:
            gaps = gaps.filter(pl.col("start") > counted)
        before = missing_before(self.ask, self.timeframe, checked.good, since, counted)
        verdicts = self.gate.judge(checked.metrics)
        if before.bars:
            verdicts = [*verdicts, before.verdict(self.symbol)]
        report = self._commit(checked, verdicts, report)
        if relisted is not None:
            raise DataError(closed_message(self.exchange, self.series.ticker, relisted))
        report = replace(
            report,
            gaps=report.gaps + gaps.height + before.is_gap,
            missing=report.missing + int(gaps["bars"].sum()) + before.bars * before.is_gap,
        )
        return report, None if stretch.ended or checked.good.is_empty() else checked.good["ts"][-1]

    def _context(self, since: datetime, watermark: datetime | None) -> pl.DataFrame | None:
        """Return the stored bars just before `since`, for the checks that need neighbours."""
        if watermark is None:
            return None
        start = since - self.bounds.jump_window * self.timeframe.duration
        return self.store.read_bars(self.exchange, self.timeframe, [self.symbol], start, since)

    def _relisting(self, good: pl.DataFrame, context: pl.DataFrame | None) -> Relisting | None:
        """Return where the ticker may have gone to another instrument; None where nowhere.

        Bars of what the series was formerly are no part of it: an operator has joined them.
        """
        before = good.clear() if context is None else context
        bars = pl.concat([before, good]).unique("ts", keep="last").sort("ts")
        if self.series.starts is not None:
            bars = bars.filter(pl.col("ts") >= pl.lit(self.series.starts).cast(TS))
        return next(iter(relistings(bars, self.timeframe, self.bounds.relisting_ratio)), None)

    def _check_and_repair(
        self, stretch: Stretch, now: datetime, until: datetime, context: pl.DataFrame | None
    ) -> CheckedBars:
        checked = self._check(stretch.rows, stretch.ended, now, until, context)
        gaps = missing_ranges(checked.good, self.timeframe)
        found = ask_again(self.ask, self.timeframe, gaps, stretch.rows)
        rows = stretch.rows if found.is_empty() else pl.concat([stretch.rows, found])
        if not found.is_empty():
            checked = self._check(rows, stretch.ended, now, until, context)
        mid = self._mid() if stretch.ended and checked.held.height else None
        if mid is None:
            return checked
        return self._check(rows, stretch.ended, now, until, context, mid)

    def _mid(self) -> float | None:
        """Return what the venue quotes for the symbol now; None where it quotes nothing.

        A venue that does not answer confirms nothing: the bar waits for the next one. Nor does one
        whose bid and ask are themselves too far from their middle to be confirmed by it.
        """
        if self.ask.ended:
            return None
        try:
            quote = self.ask.market.quotes([self.series.ticker]).get(self.series.ticker)
        except VenueError:
            return None
        if quote is None or quote.half_spread > 1 - 1 / CONFIRMED_WITHIN:
            return None
        return float(quote.mid)

    def _check(
        self,
        rows: pl.DataFrame,
        ended: bool,
        now: datetime,
        until: datetime,
        context: pl.DataFrame | None,
        mid: float | None = None,
    ) -> CheckedBars:
        """Check the rows. Staleness is only measured at the end of history."""
        checked = check_symbol(
            rows, self.symbol, self.timeframe, now, self.bounds, until, context, mid
        )
        if ended:
            return checked
        return replace(
            checked, metrics=checked.metrics.with_columns(stale_bars=pl.lit(None, dtype=pl.Int64))
        )

    def _commit(
        self, checked: CheckedBars, verdicts: list[CheckVerdict], report: IngestReport
    ) -> IngestReport:
        """Store the chunk and add it to the report.

        Where a verdict stops the symbol, only the verdicts and the refused rows are stored, and
        DataError is raised.
        """
        stops = [verdict for verdict in verdicts if verdict.stops]
        bars = checked.good.clear() if stops else checked.good
        newest: datetime | None = bars["ts"][-1] if bars.height else None
        watermark = max((w for w in (report.watermark, newest) if w is not None), default=None)
        record = verdict_frame(verdicts)
        batch = BarBatch(
            self.exchange,
            self.symbol,
            self.timeframe,
            bars,
            checked.quarantined,
            record,
            watermark,
            tuple(checked.held["ts"]),
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


def _progress(
    symbol: str,
    timeframe: Timeframe,
    first: datetime,
    until: datetime,
    on_progress: OnProgress | None,
) -> Callable[[datetime], None]:
    total = max(0, (until - first) // timeframe.duration + 1)

    def on_page(newest: datetime) -> None:
        if on_progress is not None:
            done = (newest - first) // timeframe.duration + 1
            on_progress(IngestProgress(symbol, max(0, min(done, total)), total))

    return on_page


def _unknown(exchange: str, symbol: str, listed: Mapping[str, object]) -> UnknownSymbolError:
    close = _near_symbols(symbol.upper(), listed)
    hint = (
        f"did you mean {', '.join(close)}?"
        if close
        else f"it lists {len(listed)} others, written like BTC/USDT"
    )
    return UnknownSymbolError(f"{exchange} does not list the symbol '{symbol}': {hint}")


def _near_symbols(symbol: str, listed: Mapping[str, object]) -> list[str]:
    """Return up to three listed symbols that may be meant. That the quote is the same makes none
    near: every base is compared with the base alone.
    """
    base, slash, quote = symbol.partition("/")
    if not slash:
        joined = {each.replace("/", ""): each for each in listed}
        return [joined[each] for each in get_close_matches(symbol, list(joined), 3, 0.8)]
    bases = {each.partition("/")[0] for each in listed}
    near = [
        each
        for found in get_close_matches(base, sorted(bases), 3)
        for each in sorted(listed)
        if each.partition("/")[0] == found
    ]
    same_quote = [each for each in near if each.partition("/")[2] == quote]
    return (same_quote or get_close_matches(symbol, near, 3, 0.0))[:3]
