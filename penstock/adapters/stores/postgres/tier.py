"""The three kinds of server that the stores work on, and how they are told apart."""

from enum import StrEnum
from typing import Any

import psycopg


class Tier(StrEnum):
    """What the server offers."""

    TIMESCALE = "timescale"
    """TimescaleDB with all features."""
    APACHE = "apache"
    """TimescaleDB with the features of its Apache licence."""
    PLAIN = "plain"
    """PostgreSQL without TimescaleDB."""

    @property
    def has_hypertables(self) -> bool:
        return self is not Tier.PLAIN


def detect_tier(connection: psycopg.Connection[Any]) -> Tier:
    """Return the tier of the connected database.

    The extension must exist in it: the licence setting alone does not count.
    """
    row = connection.execute(
        """SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
                  current_setting('timescaledb.license', true)"""
    ).fetchone()
    if row is None or row[0] is None:
        return Tier.PLAIN
    return Tier.TIMESCALE if row[1] == "timescale" else Tier.APACHE


def can_become_timescale(connection: psycopg.Connection[Any]) -> bool:
    """Return whether the server has loaded TimescaleDB and only CREATE EXTENSION is missing."""
    row = connection.execute(
        """SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
                  AND current_setting('shared_preload_libraries') LIKE '%timescaledb%'
                  AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"""
    ).fetchone()
    return bool(row and row[0])
