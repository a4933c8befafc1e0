"""Keeps the alerts that are still to be sent: see penstock.ports.AlertOutbox.

Their text is made in penstock.core.alerts.
"""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.connection import Database
from penstock.core.alerts import URGENT, Alert
from penstock.core.breaks import Break, BreakKind

#: The most alerts that are handed over at once, urgent ones first. The next call gets the others.
_MOST_AT_ONCE = 100

#: Rows that another process is sending are skipped. A process that dies or hangs loses its claim
#: with its session.
_CLAIM = """
    SELECT alert.id, title, body, made_at,
           subject, kind, detail, ledger_value, venue_value, closed_at IS NOT NULL
    FROM alert LEFT JOIN account_break ON account_break.id = break_id
    WHERE alert.account = %s AND sent_at IS NULL
    ORDER BY starts_with(title, %s) DESC, alert.id LIMIT %s FOR UPDATE OF alert SKIP LOCKED
"""
#: Most often there is none: one statement finds that out, where a transaction takes three.
_ANY = "SELECT FROM alert WHERE account = %s AND sent_at IS NULL LIMIT 1"


class PostgresAlertOutbox:
    """AlertOutbox on TimescaleDB or plain PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, account: str, alerts: Sequence[Alert]) -> None:
        """Keep alerts that have no cause on record, all or none."""
        if not alerts:
            return
        with self._database.transaction() as connection:
            insert_alerts(connection, account, alerts)

    def deliver(self, account: str, send: Callable[[Sequence[Alert]], bool]) -> int:
        """Hand the account's unsent alerts to `send` in one call.

        They are marked as sent where it returns True. Returns how many were marked.
        """
        with self._database.reading() as connection:
            if connection.execute(_ANY, [account]).fetchone() is None:
                return 0
        with self._database.transaction() as connection:
            rows = connection.execute(_CLAIM, [account, URGENT, _MOST_AT_ONCE]).fetchall()
            if not rows or not send([_alert_of(account, *row[1:]) for row in rows]):
                return 0
            sent = connection.execute(
                "UPDATE alert SET sent_at = clock_timestamp() WHERE id = ANY(%s)",
                [[row[0] for row in rows]],
            )
            return sent.rowcount


def insert_alerts(
    connection: psycopg.Connection[Any], account: str, alerts: Sequence[Alert]
) -> None:
    """Add the alerts, in the transaction of their cause."""
    connection.execute(
        """INSERT INTO alert (account, title, body)
           SELECT %s, title, body
           FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY
               AS line (title, body, n) ORDER BY n""",
        [account, [alert.title for alert in alerts], [alert.body for alert in alerts]],
    )


def _alert_of(
    account: str, title: str, body: str, made_at: Any, subject: str | None, kind: str, *rest: Any
) -> Alert:
    *values, is_over = rest
    found = None if subject is None else Break(account, subject, BreakKind(kind), *values)
    return Alert(title, body, found, is_over, made_at)
