"""Keeps what searches chose and how the gate judged it: which content passed, and why.

The criteria are in penstock.promotion.
"""

from datetime import datetime

import polars as pl

from penstock.adapters.stores.postgres.connection import Database
from penstock.core.bars import TS
from penstock.promotion.criteria import CriterionResult
from penstock.promotion.gate import CandidateStatus
from penstock.promotion.records import Judgement

_PASSED = [CandidateStatus.CHALLENGER.value, CandidateStatus.CHAMPION.value]


class PostgresPromotionStore:
    """Choices of searches, and judgements by model version.

    Rows are only added: a version judged twice has both judgements.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_choice(self, content_hash: str, search_id: str, at: datetime) -> None:
        """Keep the hash of what a search chose, once."""
        with self._database.transaction() as connection:
            connection.execute(
                """INSERT INTO search_choice (content_hash, search_id, at) VALUES (%s, %s, %s)
                   ON CONFLICT (content_hash) DO NOTHING""",
                [content_hash, search_id, at],
            )

    def is_choice(self, content_hash: str) -> bool:
        """Return whether a search chose this content."""
        with self._database.transaction() as connection:
            found = connection.execute(
                "SELECT 1 FROM search_choice WHERE content_hash = %s", [content_hash]
            ).fetchone()
        return found is not None

    def save_judgement(self, judgement: Judgement) -> None:
        """Append a judgement and its verdicts, all or none."""
        model, version, at, by = judgement.model, judgement.version, judgement.at, judgement.by
        with self._database.transaction() as connection:
            row = connection.execute(
                """INSERT INTO promotion_judgement
                       (model, version, content_hash, decision, at, asked_by)
                   VALUES (%s, %s, %s, %s, %s, %s) RETURNING id""",
                [model, version, judgement.content_hash, judgement.gate.decision.value, at, by],
            ).fetchone()
            assert row is not None  # RETURNING
            connection.cursor().executemany(
                """INSERT INTO promotion_verdict (judgement_id, model, version, criterion, passed,
                       value, bound, reason, at, asked_by)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
                [
                    (row[0], model, version, *_columns(verdict), at, by)
                    for verdict in judgement.gate.verdicts
                ],
            )

    def passed_hashes(self, model: str, version: str) -> frozenset[str]:
        """Return the content hashes with which the gate has let a version pass."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT DISTINCT content_hash FROM promotion_judgement
                   WHERE model = %s AND version = %s AND decision = ANY(%s)""",
                [model, version, _PASSED],
            ).fetchall()
        return frozenset(row[0] for row in rows)

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


def _columns(verdict: CriterionResult) -> tuple[str, bool, float | None, float | None, str]:
    return verdict.criterion, verdict.passed, verdict.value, verdict.bound, verdict.reason
