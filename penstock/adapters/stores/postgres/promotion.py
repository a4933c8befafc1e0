"""Keeps promotion verdicts: why a version was or was not promoted.

The criteria are in penstock.promotion.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from penstock.adapters.stores.postgres.connection import Database
from penstock.core.bars import TS
from penstock.promotion.criteria import CriterionResult


class PostgresPromotionStore:
    """Verdicts by model version. Rows are only added: a version judged twice has both."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_verdicts(
        self, model: str, version: str, verdicts: Sequence[CriterionResult], at: datetime, by: str
    ) -> None:
        """Append the verdicts of one judgement, all or none. `by` is who asked for it."""
        rows = [
            (model, version, v.criterion, v.passed, v.value, v.bound, v.reason, at, by)
            for v in verdicts
        ]
        with self._database.transaction() as connection:
            connection.cursor().executemany(
                """INSERT INTO promotion_verdict
                       (model, version, criterion, passed, value, bound, reason, at, asked_by)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                rows,
            )

    def verdicts(self, model: str, version: str | None = None) -> pl.DataFrame:
        """Return the verdicts on a version (default: on all), the oldest first.

        The columns are version, criterion, passed, value, bound, reason, at and asked_by.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT version, criterion, passed, value, bound, reason, at, asked_by
                   FROM promotion_verdict
                   WHERE model = %s AND version = coalesce(%s, version) ORDER BY id""",
                [model, version],
            ).fetchall()
        text, number = pl.String(), pl.Float64()
        schema = {
            "version": text,
            "criterion": text,
            "passed": pl.Boolean(),
            "value": number,
            "bound": number,
            "reason": text,
            "at": TS,
            "asked_by": text,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")
