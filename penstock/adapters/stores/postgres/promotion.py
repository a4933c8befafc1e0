"""The record of promotion verdicts: why a version was or was not promoted. The criteria are
penstock.promotion's.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from penstock.adapters.stores.postgres.connection import Database
from penstock.core.bars import TS
from penstock.promotion.criteria import CriterionResult


class PromotionRecord:
    """Verdict rows by model version. Rows are only added: a version that is judged again has both
    judgements.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_verdicts(
        self, model: str, version: str, verdicts: Sequence[CriterionResult], at: datetime, by: str
    ) -> None:
        """Append the verdicts of one judgement, which `by` asked for, all or none."""
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
        """Return version, criterion, passed, value, bound, reason, at, asked_by; in the order in
        which they were given.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT version, criterion, passed, value, bound, reason, at, asked_by
                   FROM promotion_verdict WHERE model = %s AND version = coalesce(%s, version) ORDER BY id""",
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
