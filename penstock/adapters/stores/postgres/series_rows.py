"""Which instruments tickers stood for: rows of the table series, and bars that move to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from penstock.core.bars import PRICE_COLUMNS
from penstock.core.series import Series
from penstock.core.timeframes import Timeframe

_MOVED = ("bar", "bar_revision", "quarantine", "doubted_bar")
_MOVE = """UPDATE {table} SET instrument_id = %(id)s
           WHERE instrument_id = %(source)s AND ts < %(ends)s
           AND (%(starts)s::timestamptz IS NULL OR ts >= %(starts)s)"""
_UNLESS_STORED = """ AND NOT EXISTS (SELECT FROM bar AS own
                   WHERE own.instrument_id = %(id)s AND own.timeframe = bar.timeframe
                   AND own.ts = bar.ts)"""


def write_series(connection: psycopg.Connection[Any], series: Series, instrument_id: int) -> None:
    """Insert or update the row of one series."""
    connection.execute(
        """INSERT INTO series (instrument_id, ticker, starts, ends, formerly, units)
           VALUES (%s, %s, %s, %s, %s, %s)
           ON CONFLICT (instrument_id) DO UPDATE
           SET ticker = excluded.ticker, starts = excluded.starts, ends = excluded.ends,
               formerly = excluded.formerly, units = excluded.units, updated_at = clock_timestamp()
           WHERE (series.ticker, series.starts, series.ends, series.formerly, series.units)
                 IS DISTINCT FROM (excluded.ticker, excluded.starts, excluded.ends,
                                   excluded.formerly, excluded.units)""",
        [instrument_id, series.ticker, series.starts, series.ends, series.formerly, series.units],
    )


def move_bars(
    connection: psycopg.Connection[Any], series: Series, source_id: int, instrument_id: int
) -> None:
    """Move what is stored under the ticker and belongs to `series`, an instrument that ended.

    The caller's transaction makes it all or nothing. A bar that the instrument has already stays.
    """
    for timeframe in Timeframe:
        for number in sorted((source_id, instrument_id)):  # as writers of bars lock them
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [number, timeframe.seconds])
    arguments = {
        "source": source_id,
        "id": instrument_id,
        "starts": series.starts,
        "ends": series.ends,
    }
    for table in _MOVED:
        statement = sql.SQL(_MOVE).format(table=sql.Identifier(table))
        if table == "bar":
            statement += sql.SQL(_UNLESS_STORED)
        connection.execute(statement, arguments)
    connection.execute(
        """INSERT INTO watermark (instrument_id, timeframe, ts)
           SELECT instrument_id, timeframe, max(ts) FROM bar WHERE instrument_id = %(id)s
           GROUP BY instrument_id, timeframe
           ON CONFLICT (instrument_id, timeframe) DO UPDATE
           SET ts = excluded.ts, updated_at = clock_timestamp() WHERE watermark.ts < excluded.ts""",
        arguments,
    )


def read_series(
    connection: psycopg.Connection[Any], exchange: str, symbols: Sequence[str]
) -> Mapping[str, Series]:
    """Return the recorded series of these symbols, and those that they go on with, by symbol.

    A ticker that has always stood for one instrument is left out.
    """
    rows = connection.execute(
        """WITH RECURSIVE wanted AS (
               SELECT symbol, series.* FROM series JOIN instrument ON id = instrument_id
               WHERE exchange = %(exchange)s AND symbol = ANY(%(symbols)s)
               AND num_nonnulls(starts, ends, formerly) > 0
               UNION
               SELECT instrument.symbol, series.* FROM wanted
               JOIN instrument ON instrument.symbol = wanted.formerly AND exchange = %(exchange)s
               JOIN series ON instrument.id = series.instrument_id)
           SELECT symbol, ticker, starts, ends, formerly, units FROM wanted""",
        {"exchange": exchange, "symbols": list(symbols)},
    ).fetchall()
    return {row[0]: Series(*row) for row in rows}


@dataclass(frozen=True)
class Link:
    """A part of a series: bars of one instrument, in whose name and units they are to be shown."""

    symbol: str
    """The symbol under which they are stored."""
    units: float
    """How many of the series' units one of theirs became."""
    start: datetime | None
    """The first open time; None for no bound."""
    end: datetime | None
    """The open time after the last; None for no bound."""
    joined_at: datetime | None
    """Where the series goes on from what it was formerly; None where nothing is before this."""

    def has(self, ts: datetime) -> bool:
        """Return whether a bar that opens at `ts` is in this part."""
        return (self.start is None or self.start <= ts) and (self.end is None or ts < self.end)


def links_of(
    known: Mapping[str, Series],
    name: str,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Link]:
    """Return the parts of a series between two open times, the newest first."""
    links: list[Link] = []
    symbol, units, stop = name, 1.0, end
    while True:
        series = known.get(symbol) or Series(symbol)
        joined_at = None if series.formerly is None else series.starts
        links.append(Link(symbol, units, *own_range(series, start, stop), joined_at))
        if series.formerly is None or (start and series.starts and series.starts <= start):
            return links
        symbol, units = series.formerly, units * series.units
        stop = min((each for each in (series.starts, stop) if each is not None), default=None)


def own_range(
    series: Series, start: datetime | None, end: datetime | None
) -> tuple[datetime | None, datetime | None]:
    """Return the part of [start, end) in which the ticker stood for the instrument."""
    starts = [each for each in (start, series.starts) if each is not None]
    ends = [each for each in (end, series.ends) if each is not None]
    return max(starts, default=None), min(ends, default=None)


def in_units(bars: pl.DataFrame, name: str, units: float) -> pl.DataFrame:
    """Return bars as those of `name`, of which one unit before is `units` now.

    NumPy divides the same number alike wherever it stands, and Polars does not: a snapshot's hash
    must not depend on its range.
    """
    prices = [pl.Series(column, bars[column].to_numpy() / units) for column in PRICE_COLUMNS]
    volume = pl.Series("volume", bars["volume"].to_numpy() * units)
    return bars.with_columns(*prices, volume, symbol=pl.lit(name))
