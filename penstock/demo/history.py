"""What the demo replays: which candles, which symbols, and on which day trading begins."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from penstock.core.errors import DataError
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.timeframes import Timeframe
from penstock.data.bar_pages import BarRequests, read_stretch
from penstock.data.policy import IngestPolicy
from penstock.ports import MarketData
from penstock.practice.candles import CandleSource, CandleTable, ParquetCandles
from penstock.practice.series import BarSeries
from penstock.practice.synthetic import SyntheticCandles

HISTORY = timedelta(days=3 * 365 + 1)
MIN_SYMBOLS = 10
MAX_SYMBOLS = 16
HOURLY_SYMBOLS = 2
_HOURLY_HISTORY = timedelta(days=90)
_SHORTEST_VENUE_HISTORY = timedelta(days=16 * 30)
_END_OF_TIME = 1 << 62
_SYNTHETIC_START = datetime(2022, 1, 1, tzinfo=UTC)
_SYNTHETIC_LIVE = datetime(2025, 6, 1, tzinfo=UTC)
_SYNTHETIC_END = datetime(2027, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DemoHistory:
    """The candles to replay."""

    source: CandleSource
    """Where they are read from."""
    described: str
    """What they are, for people."""
    symbols: tuple[str, ...]
    """The symbols with daily candles."""
    hourly: tuple[str, ...]
    """The symbols with hourly candles too."""
    start: datetime
    """Open time of the first daily candle."""
    hourly_start: datetime
    """Open time of the first hourly candle."""
    live: datetime
    """The first slot that is traded."""
    days: int
    """How many daily slots are traded."""

    @property
    def slots(self) -> tuple[datetime, ...]:
        return tuple(self.live + timedelta(days=day) for day in range(self.days))


def synthetic_history(symbols: tuple[str, ...], days: int) -> DemoHistory:
    """Return the generator's history: candles that are made up, the same ones on every machine."""
    source = SyntheticCandles(symbols, start=_SYNTHETIC_START, end=_SYNTHETIC_END, minutes=False)
    live = _SYNTHETIC_LIVE
    hourly = symbols[:HOURLY_SYMBOLS]
    return DemoHistory(
        source,
        "made-up candles",
        symbols,
        hourly,
        _SYNTHETIC_START,
        live - _HOURLY_HISTORY,
        live,
        days,
    )


def parquet_history(
    folder: Path, preferred: tuple[str, ...], days: int, shortest: timedelta = HISTORY
) -> DemoHistory:
    """Return a history of the candle files in `folder`: the newest days that enough symbols have,
    `preferred` symbols first.

    Up to three years of history are used. Raises DataError where fewer than ten symbols have
    `shortest` of daily candles, or fewer than two have hourly ones.
    """
    source = ParquetCandles(folder)
    table = source.load()
    live = _last_complete_run(table, days, _hourly_end(table))
    start = max(live - HISTORY, min(_begin(table, Timeframe.D1, MIN_SYMBOLS), live - shortest))
    hourly_start = max(
        live - _HOURLY_HISTORY, min(_begin(table, Timeframe.H1, HOURLY_SYMBOLS), live)
    )
    chosen = _with_history(table, Timeframe.D1, start, live + timedelta(days=days))
    if len(chosen) < MIN_SYMBOLS:
        raise DataError(
            f"{folder}: {len(chosen)} symbols have daily candles from {start:%Y-%m-%d} "
            f"to {live + timedelta(days=days):%Y-%m-%d}; "
            f"the demo needs {MIN_SYMBOLS}"
        )
    rank = {symbol: place for place, symbol in enumerate(preferred)}
    symbols = tuple(sorted(chosen, key=lambda symbol: rank.get(symbol, len(rank)))[:MAX_SYMBOLS])
    with_hours = set(_with_history(table, Timeframe.H1, hourly_start, live + timedelta(days=days)))
    hourly = tuple(symbol for symbol in symbols if symbol in with_hours)[:HOURLY_SYMBOLS]
    if len(hourly) < HOURLY_SYMBOLS:
        raise DataError(
            f"{folder}: {len(hourly)} symbols have hourly candles from {hourly_start:%Y-%m-%d} on; "
            f"the demo needs {HOURLY_SYMBOLS}"
        )
    narrowed = ParquetCandles(
        folder, symbols=tuple(sorted({*symbols, *hourly})), timeframes=(Timeframe.D1, Timeframe.H1)
    )
    return DemoHistory(
        narrowed, f"candles of {folder}", symbols, hourly, start, hourly_start, live, days
    )


def venue_history(
    venue: str, market: MarketData, symbols: tuple[str, ...], days: int, folder: Path
) -> DemoHistory:
    """Return a history of real candles, fetched from a venue's public side into `folder` and then
    replayed from there.

    Some venues give only their newest few hundred bars: sixteen months of daily ones are enough
    here.
    """
    listed = market.instruments()
    chosen = [symbol for symbol in symbols if symbol in listed]
    end = Timeframe.D1.floor(market.now())
    folder.mkdir(parents=True, exist_ok=True)
    for timeframe, names, start in (
        (Timeframe.D1, chosen, end - HISTORY - timedelta(days=days + 1)),
        (Timeframe.H1, chosen[:HOURLY_SYMBOLS], end - _HOURLY_HISTORY - timedelta(days=days + 1)),
    ):
        for symbol in names:
            path = folder / f"{venue}__{symbol.replace('/', '-')}__{timeframe}.parquet"
            if not path.exists():
                ask = BarRequests(market, symbol, IngestPolicy(), SYSTEM_CLOCK)
                stretch = read_stretch(
                    ask, timeframe, start, end - timeframe.duration, lambda _: None
                )
                _write(stretch.rows, venue, timeframe, path)
    return parquet_history(folder, symbols, days, shortest=_SHORTEST_VENUE_HISTORY)


def _write(bars: pl.DataFrame, venue: str, timeframe: Timeframe, path: Path) -> None:
    labelled = bars.select(
        pl.lit(venue).alias("exchange"),
        "symbol",
        pl.lit(timeframe.value).alias("timeframe"),
        pl.exclude("symbol"),
    )
    draft = path.with_suffix(".partial")
    labelled.write_parquet(draft)
    draft.replace(path)


def _begin(table: CandleTable, timeframe: Timeframe, symbols: int) -> datetime:
    """Return the first instant at which that many symbols have candles; datetime.max where fewer
    have.
    """
    firsts = sorted(
        _opens(series[timeframe])[0] for series in table.values() if timeframe in series
    )
    return (
        datetime.fromtimestamp(firsts[symbols - 1] / 1000, UTC)
        if len(firsts) >= symbols
        else datetime.max.replace(tzinfo=UTC)
    )


def _hourly_end(table: CandleTable) -> int:
    """Return the time (ms) up to which enough symbols have hourly candles; 0 where too few have
    any.
    """
    ends = sorted(
        (_opens(series[Timeframe.H1])[-1] for series in table.values() if Timeframe.H1 in series),
        reverse=True,
    )
    return (
        ends[HOURLY_SYMBOLS * 2 - 1] if len(ends) >= HOURLY_SYMBOLS * 2 else ends[-1] if ends else 0
    )


def _last_complete_run(table: CandleTable, days: int, end: int) -> datetime:
    """Return the first slot of the newest run of days before `end` (ms). Enough symbols have every
    daily candle of the run.

    The run has one day more than is traded: the bar before the first slot is what it decides on.
    """
    opens = [
        at
        for series in table.values()
        if Timeframe.D1 in series
        for at in _opens(series[Timeframe.D1])
        if at < end
    ]
    if not opens:
        raise DataError(
            "the folder has no daily candles, or no hourly ones beside them: the demo needs both"
        )
    days_seen = (
        pl.Series(opens).value_counts(name="symbols").rename({"": "at"}).sort("at", descending=True)
    )
    most = days_seen["symbols"].max()
    needed = max(MIN_SYMBOLS, min(MAX_SYMBOLS, most // 2))  # type: ignore[operator]  # whole
    step, run, later = Timeframe.D1.seconds * 1000, 0, None
    for at, symbols in days_seen.iter_rows():
        follows = later is None or later - at == step
        run = (run + 1 if follows else 1) if symbols >= needed else 0
        later = at
        if run == days + 1:
            return datetime.fromtimestamp(at / 1000, UTC) + timedelta(days=1)
    raise DataError(
        f"the folder has no {days + 1} days in a row with daily candles of {needed} symbols"
    )


def _with_history(
    table: CandleTable, timeframe: Timeframe, start: datetime, end: datetime
) -> list[str]:
    """Return the symbols with at least 98% of the bars of [start, end), most complete first, then
    by name.
    """
    expected = (end - start) / timeframe.duration
    bounds = round(start.timestamp() * 1000), round(end.timestamp() * 1000)
    have = {
        symbol: len(series[timeframe].window(*bounds))
        for symbol, series in table.items()
        if timeframe in series
    }
    return [
        symbol
        for symbol, count in sorted(have.items(), key=lambda item: (-item[1], item[0]))
        if count >= 0.98 * expected
    ]


def _opens(series: BarSeries) -> list[int]:
    """Return the open times (ms) of a series that ends."""
    opens: list[int] = series.window(0, _END_OF_TIME).ts.tolist()
    return opens
