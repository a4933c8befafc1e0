"""Keeps every look at data, and counts them. The rules of counting are in penstock.core.looks."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from penstock.adapters.stores.postgres.connection import Database
from penstock.core.actors import Actor, Channel
from penstock.core.looks import BarRange, Exposure, Look, LookKind, RecordedLook
from penstock.core.timeframes import Timeframe

#: Looks whose bars overlap a range: BarRange.overlaps, as a condition.
_OVERLAPS = """l.venue = %(venue)s AND l.timeframe = %(seconds)s AND l.symbols && %(symbols)s
    AND l.first_bar < %(end)s AND l.last_bar + %(duration)s > %(first)s"""


class PostgresResearchJournal:
    """ResearchJournal on TimescaleDB or plain PostgreSQL. No row is ever removed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, look: Look) -> int:
        """Insert a look and return its number."""
        bars = look.bars
        with self._database.transaction() as connection:
            row = connection.execute(
                """INSERT INTO look (at, asked_by, channel, kind, about, venue, timeframe, symbols,
                       first_bar, last_bar, dataset_hash)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
                [
                    look.at,
                    look.by.name,
                    look.by.channel.value,
                    look.kind.value,
                    look.about,
                    bars.venue,
                    bars.timeframe.seconds,
                    list(bars.symbols),
                    bars.first,
                    bars.last,
                    look.dataset_hash,
                ],
            ).fetchone()
        assert row is not None  # RETURNING
        return int(row[0])

    def add(self, number: int, configurations: Collection[str]) -> None:
        """Insert the configurations that a look tries, in one statement."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO look_configuration (look_id, configuration)
                   SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING""",
                [number, sorted(set(configurations))],
            )

    def end(self, number: int, trials: int, best: Mapping[str, float]) -> None:
        """Set the figures of a look that has ended."""
        figures = json.dumps({name: repr(float(value)) for name, value in best.items()})
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE look SET trials = %s, best = %s WHERE id = %s", [trials, figures, number]
            )

    def tried(self, bars: BarRange) -> int:
        """Count the distinct configurations on overlapping bars."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"""SELECT count(DISTINCT c.configuration)
                    FROM look l JOIN look_configuration c ON c.look_id = l.id
                    WHERE {_OVERLAPS}""",  # noqa: S608 - a constant
                _range(bars),
            ).fetchone()
        return 0 if row is None else int(row[0])

    def exposure(self, bars: BarRange) -> Exposure:
        """Return the largest share of `bars` that each configuration has seen."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"""SELECT c.configuration,
                        max(least(l.last_bar + %(duration)s, %(end)s)
                            - greatest(l.first_bar, %(first)s)),
                        max(l.last_bar + %(duration)s)
                    FROM look l JOIN look_configuration c ON c.look_id = l.id
                    WHERE {_OVERLAPS} GROUP BY c.configuration""",  # noqa: S608 - a constant
                _range(bars),
            ).fetchall()
        whole = bars.end - bars.first
        shares = {str(each): seen / whole for each, seen, _ in rows}
        return Exposure(shares, max((until for *_, until in rows), default=None))

    def newest(self, most: int) -> Sequence[RecordedLook]:
        """Return the newest looks."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT at, asked_by, channel, kind, about, venue, timeframe, symbols, first_bar,
                       last_bar, dataset_hash, trials, best,
                       (SELECT count(*) FROM look_configuration c WHERE c.look_id = l.id)
                   FROM look l ORDER BY id DESC LIMIT %s""",
                [most],
            ).fetchall()
        return [_read(*row) for row in rows]


def _range(bars: BarRange) -> dict[str, Any]:
    return {
        "venue": bars.venue,
        "seconds": bars.timeframe.seconds,
        "symbols": list(bars.symbols),
        "first": bars.first,
        "end": bars.end,
        "duration": bars.timeframe.duration,
    }


def _read(
    at: datetime,
    by: str,
    channel: str,
    kind: str,
    about: str,
    venue: str,
    seconds: int,
    symbols: list[str],
    first: datetime,
    last: datetime,
    dataset_hash: str,
    trials: int | None,
    best: dict[str, str] | None,
    configurations: int,
) -> RecordedLook:
    timeframe = next(each for each in Timeframe if each.seconds == seconds)
    bars = BarRange(venue, timeframe, tuple(symbols), first, last)
    look = Look(LookKind(kind), bars, dataset_hash, about, Actor(by, Channel(channel)), at)
    figures = {name: float(value) for name, value in (best or {}).items()}
    return RecordedLook(look, configurations, trials, figures)
