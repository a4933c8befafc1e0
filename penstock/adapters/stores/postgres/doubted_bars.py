"""Rows of bars that were in doubt: table doubted_bar."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from penstock.core.doubts import DoubtedBar
from penstock.core.timeframes import Timeframe


def write_doubts(
    connection: psycopg.Connection[Any],
    held: Sequence[datetime],
    instrument_id: int,
    timeframe: Timeframe,
    at: datetime,
) -> None:
    """Record that bars are held back since `at`. One that was held back before stays as it is."""
    if held:
        connection.execute(
            """INSERT INTO doubted_bar (instrument_id, timeframe, ts, held_at)
               SELECT %s, %s, ts, %s FROM unnest(%s::timestamptz[]) AS ts ON CONFLICT DO NOTHING""",
            [instrument_id, timeframe.seconds, at, list(held)],
        )


def doubts_of(
    connection: psycopg.Connection[Any], exchange: str, timeframe: Timeframe, symbols: Sequence[str]
) -> list[DoubtedBar]:
    """Return the bars that were held back and are stored now.

    A revision does not make a bar known later.
    """
    rows = connection.execute(
        """SELECT symbol, ts, least(bar.known_at, (
               SELECT min(known_from) FROM bar_revision AS earlier
               WHERE (earlier.instrument_id, earlier.timeframe, earlier.ts)
                     = (bar.instrument_id, bar.timeframe, bar.ts)))
           FROM doubted_bar JOIN bar USING (instrument_id, timeframe, ts)
           JOIN instrument ON instrument.id = instrument_id
           WHERE exchange = %s AND timeframe = %s AND symbol = ANY(%s) ORDER BY symbol, ts""",
        [exchange, timeframe.seconds, list(symbols)],
    ).fetchall()
    return [DoubtedBar(*row) for row in rows]
