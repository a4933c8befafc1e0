"""Keeps the trials of searches, and lets several processes share one study.

The right to evaluate a batch is a session's advisory lock: it ends with the connection, so with the
process, and no row says that anything is running.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.connection import Database, translated
from penstock.core.trials import StudyTerms, Trial


class PostgresTrialStore:
    """TrialStore on TimescaleDB or plain PostgreSQL. Rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def open_study(self, terms: StudyTerms) -> Iterator["PostgresStudy"]:
        """Begin a study or go on with it, on a connection of its own."""
        with self._database.dedicated() as connection:
            connection.execute(
                """INSERT INTO study (name, strategy, objectives, metrics, trials)
                   VALUES (%s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING""",
                [
                    terms.name,
                    terms.strategy,
                    list(terms.objectives),
                    list(terms.metrics),
                    terms.trials,
                ],
            )
            found = connection.execute(
                "SELECT id FROM study WHERE name = %s", [terms.name]
            ).fetchone()
            assert found is not None  # it was inserted
            yield PostgresStudy(self._database.address, connection, int(found[0]), terms)
            # the server notices the connection's end a moment later
            connection.execute("SELECT pg_advisory_unlock_all()")


class PostgresStudy:
    """One process's view of a study."""

    def __init__(
        self,
        address: str,
        connection: "psycopg.Connection[Any]",
        study_id: int,
        terms: StudyTerms,
    ) -> None:
        self._address = address
        self._connection = connection
        self._id = study_id
        self._terms = terms

    def batches(self, first: int = 0) -> Mapping[int, Sequence[Trial]]:
        """Return the kept trials by batch."""
        with translated(self._address):
            rows = self._connection.execute(
                """SELECT batch, number, params, allowed, "values", figures, took_ms FROM trial
                   WHERE study_id = %s AND batch >= %s ORDER BY number""",
                [self._id, first],
            ).fetchall()
        found: defaultdict[int, list[Trial]] = defaultdict(list)
        for batch, number, params, allowed, values, figures, took_ms in rows:
            metrics = dict(zip(self._terms.metrics, figures, strict=True)) if allowed else {}
            found[batch].append(
                Trial(
                    number, self._terms.strategy, params, allowed, tuple(values), metrics, took_ms
                )
            )
        return found

    def claim(self, batch: int) -> bool:
        """Take the lock of a batch, where nobody has it and it is not kept yet."""
        with translated(self._address):
            row = self._connection.execute(
                "SELECT pg_try_advisory_lock(%s, %s)", [self._id, batch]
            ).fetchone()
            if not row or not row[0]:
                return False
            kept = self._connection.execute(
                "SELECT 1 FROM trial WHERE study_id = %s AND batch = %s LIMIT 1", [self._id, batch]
            ).fetchone()
            if kept is not None:
                self._unlock(batch)
            return kept is None

    def append(self, batch: int, trials: Sequence[Trial]) -> None:
        """Insert the trials of a batch in one transaction, and give its lock back."""
        rows = [
            (
                self._id,
                trial.number,
                batch,
                json.dumps(dict(trial.params)),
                trial.allowed,
                list(trial.values),
                [trial.metrics[name] for name in self._terms.metrics] if trial.allowed else [],
                trial.took_ms,
            )
            for trial in trials
        ]
        with translated(self._address):
            with self._connection.transaction(), self._connection.cursor() as cursor:
                cursor.executemany(
                    """INSERT INTO trial
                           (study_id, number, batch, params, allowed, "values", figures, took_ms)
                       VALUES (%s, %s, %s, %s, %s, %s::float8[], %s::float8[], %s)
                       ON CONFLICT (study_id, number) DO NOTHING""",
                    rows,
                )
            self._unlock(batch)

    def _unlock(self, batch: int) -> None:
        self._connection.execute("SELECT pg_advisory_unlock(%s, %s)", [self._id, batch])
