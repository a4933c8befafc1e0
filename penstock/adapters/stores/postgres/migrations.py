"""Brings a database's schema up to date: numbered SQL files, each applied once, from as many
processes as like.

A file is `NNNN_name.sql`, or `NNNN_name.timescale.sql` beside `NNNN_name.plain.sql` where the tiers
differ. A file that was applied is never edited: its checksum is kept, and a difference is an error.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.connection import Database
from penstock.adapters.stores.postgres.tier import can_become_timescale, detect_tier
from penstock.core.errors import StoreError

FOLDER = Path(__file__).parent / "migrations"
_LOCK = 7_360_712  # any number that nothing else on the server uses for an advisory lock


@dataclass(frozen=True)
class Migration:
    """One file. `layout` is "timescale", "plain", or "" where the file serves both."""

    number: int
    name: str
    layout: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrate(database: Database, folder: Path = FOLDER) -> Sequence[str]:
    """Apply what is missing and return the names of what was applied; StoreError where an applied
    file was edited.

    Several processes may migrate at once: one works, the others wait and then find nothing to do.
    On a server that has TimescaleDB loaded, the extension is created in a database that has no
    schema yet.
    """
    migrations = read_migrations(folder)
    with database.dedicated() as connection, _locked(connection):
        connection.execute(
            """CREATE TABLE IF NOT EXISTS schema_migration (
                   number integer PRIMARY KEY, name text NOT NULL, layout text NOT NULL, checksum text NOT NULL,
                   applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
        )
        applied = _applied(connection)
        layout = _layout(connection, applied)
        chosen = [migration for migration in migrations if migration.layout in {"", layout}]
        _refuse_edited(chosen, applied)
        missing = [migration for migration in chosen if migration.number not in applied]
        for migration in missing:
            _apply(connection, migration, layout)
    database.detect_tier_again()
    return [migration.name for migration in missing]


def pending(database: Database, folder: Path = FOLDER) -> Sequence[str]:
    """Return the names of the migrations that the database still lacks."""
    with database.dedicated() as connection:
        row = connection.execute("SELECT to_regclass('schema_migration') IS NOT NULL").fetchone()
        applied = _applied(connection) if row and row[0] else {}
    return sorted(
        {migration.name for migration in read_migrations(folder) if migration.number not in applied}
    )


def read_migrations(folder: Path = FOLDER) -> Sequence[Migration]:
    """Return the migrations of a folder in the order of their numbers."""
    found = []
    for path in sorted(folder.glob("[0-9]*.sql")):
        stem, _, layout = path.stem.partition(".")
        number, _, name = stem.partition("_")
        found.append(Migration(int(number), name, layout, path.read_text(encoding="utf-8")))
    return found


@contextmanager
def _locked(connection: psycopg.Connection[Any]) -> Iterator[None]:
    connection.execute("SET lock_timeout = 0")  # another process may have long migrations before it
    connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _applied(connection: psycopg.Connection[Any]) -> Mapping[int, tuple[str, str]]:
    """Return layout and checksum of every applied migration, by number."""
    rows = connection.execute("SELECT number, layout, checksum FROM schema_migration").fetchall()
    return {number: (layout, checksum) for number, layout, checksum in rows}


def _layout(connection: psycopg.Connection[Any], applied: Mapping[int, tuple[str, str]]) -> str:
    """Return the layout that the database was made with, or choose one for a new database."""
    if applied:
        return next(iter(applied.values()))[0]
    if can_become_timescale(connection):
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    return "timescale" if detect_tier(connection).has_hypertables else "plain"


def _refuse_edited(chosen: Sequence[Migration], applied: Mapping[int, tuple[str, str]]) -> None:
    for migration in chosen:
        if migration.number in applied and applied[migration.number][1] != migration.checksum:
            raise StoreError(
                f"migration {migration.number:04d}_{migration.name} was edited after it was applied: "
                "restore the file and put the change into a new migration"
            )


def _apply(connection: psycopg.Connection[Any], migration: Migration, layout: str) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.text.encode())
            connection.execute(
                "INSERT INTO schema_migration (number, name, layout, checksum) VALUES (%s, %s, %s, %s)",
                [migration.number, migration.name, layout, migration.checksum],
            )
    except psycopg.Error as error:
        raise StoreError(
            f"migration {migration.number:04d}_{migration.name} failed and was rolled back "
            f"({error.diag.message_primary or error}): "
            "nothing of it is left; mend the cause and run `penstock db migrate` again"
        ) from error
