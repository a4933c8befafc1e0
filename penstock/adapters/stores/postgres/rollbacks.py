"""Keeps which strategies were rolled back, and locks the aliases of a model.

What follows from a rollback is for penstock.promotion.rollback.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from penstock.adapters.stores.postgres.connection import Database


class PostgresRollbackRecord:
    """RollbackRecord on TimescaleDB or plain PostgreSQL. Rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def alias_lock(self, model: str) -> Iterator[None]:
        """Hold the one lock of a model's aliases. It ends with the connection, whatever ends it.

        Raises StoreError where another process holds it for longer than the session's lock_timeout.
        """
        # a session's lock on a connection of its own: no transaction is open while aliases move
        with self._database.dedicated() as connection:
            connection.execute(
                "SELECT pg_advisory_lock(hashtextextended('aliases of ' || %s, 0))", [model]
            )
            yield

    def remember(self, model: str, version: str, strategy_hash: str, at: datetime, by: str) -> None:
        """Append a rollback."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO rollback (model, version, strategy_hash, at, asked_by)
                   VALUES (%s, %s, %s, %s, %s)""",
                [model, version, strategy_hash, at, by],
            )

    def rolled_back(self, model: str) -> Mapping[str, str]:
        """Return the newest version that was taken out, by strategy hash."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT strategy_hash, version FROM rollback WHERE model = %s ORDER BY id", [model]
            ).fetchall()
        return {str(each[0]): str(each[1]) for each in rows}
