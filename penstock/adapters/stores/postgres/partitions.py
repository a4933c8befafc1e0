"""Monthly partitions of the table bar on plain PostgreSQL, made just before they are needed.

TimescaleDB makes its chunks itself: nothing is done there.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl
from psycopg import sql

from penstock.adapters.stores.postgres.connection import Database

_LOCK = 7_360_713


class Partitions:
    """Makes partitions, and remembers which exist."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[str] = set()
        self._native: bool | None = None

    def ensure(self, ts: pl.Series) -> None:
        """Make the partition of every month in `ts` that lacks one, in a transaction of its own.

        A partition is made as a table of its own and then attached. Readers and other writers wait
        for no lock of that.
        """
        months = [
            month.replace(tzinfo=UTC)
            for month in ts.dt.replace_time_zone(None).dt.truncate("1mo").unique().sort()
        ]
        missing = [month for month in months if _name(month) not in self._known]
        if not missing or not self._is_native():
            return
        with self._database.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            rows = connection.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'bar'::regclass"
            )
            existing = {name for (name,) in rows}
            for month in missing:
                if _name(month) not in existing:
                    for statement in _statements(month):
                        connection.execute(statement)
        self._known |= {_name(month) for month in missing}

    def _is_native(self) -> bool:
        if self._native is None:
            with self._database.transaction() as connection:
                row = connection.execute(
                    "SELECT relkind = 'p' FROM pg_class WHERE oid = 'bar'::regclass"
                ).fetchone()
            self._native = bool(row and row[0])
        return self._native


def _name(month: datetime) -> str:
    return f"bar_{month:%Y_%m}"


def _statements(month: datetime) -> Iterator[sql.Composed]:
    table = sql.Identifier(_name(month))
    following = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
    yield sql.SQL("CREATE TABLE {} (LIKE bar INCLUDING ALL)").format(table)
    yield sql.SQL("ALTER TABLE bar ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
        table, sql.Literal(month), sql.Literal(following)
    )
