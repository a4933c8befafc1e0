"""Brings a database's schema up to date by numbered SQL files. Each is applied once, though several
processes may try.

A file is `NNNN_name.sql`, or `NNNN_name.timescale.sql` beside `NNNN_name.plain.sql` where the tiers
differ. Numbers start at 1 and have no gap. After a release a file is never edited: its checksum is
kept in the database, and a difference is an error. A change is a new file with the next number.

The first chain of migrations was squashed before the first release. `baseline.sql` brings a
database of that chain to what the files make of an empty one.
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
from penstock.core.errors import SchemaError, StoreError

FOLDER = Path(__file__).parent / "migrations"
_BASELINE = FOLDER / "baseline.sql"
#: So many files stand for the first chain; later ones are applied after the baseline.
_SQUASHED = 6
_LOCK = 7_360_712  # any number that nothing else on the server uses for an advisory lock

#: The first chain. It is known by the checksum of its first file. By layout: the checksum of all
#: files (a line "number checksum" for each).
_CHAIN_BEGINS = "52010730d83b6a9796afb3312b809b90acbd0b0dcc97042183634657a6e3770e"
_CHAINS = {
    "plain": "39bd14d984d03685b3abac4f3d612b0a1f6afd0d34476b5d1d62750d1434a77c",
    "timescale": "af23420bcec21045967888a9ac6ef3c599baea284c4e92d75c400fdb29e84b6b",
}


@dataclass(frozen=True)
class Migration:
    """One file of the folder."""

    number: int
    """Its number."""
    name: str
    """What it adds."""
    layout: str
    """"timescale" or "plain"; "" where the file serves both."""
    text: str
    """The SQL."""

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def title(self) -> str:
        return f"{self.number:04d}_{self.name}"


@dataclass(frozen=True)
class AppliedMigration:
    """A row of schema_migration."""

    number: int
    name: str
    layout: str
    checksum: str


def migrate(database: Database, folder: Path = FOLDER) -> Sequence[str]:
    """Apply what is missing and return the names of what was applied.

    Several processes may migrate at once: one works, the others wait and then find nothing to do.
    On a server that has TimescaleDB loaded, the extension is created in a database that has no
    schema yet. A database of the first chain gets `baseline.sql` before anything else.

    Raises StoreError where an applied file was edited, or a number is missing below one that was
    applied. It is raised too where this version does not know a migration of the database, and
    where the folder's numbers have a gap.
    """
    migrations = read_migrations(folder)
    with database.dedicated() as connection, _locked(connection):
        connection.execute(
            """CREATE TABLE IF NOT EXISTS schema_migration (
                   number integer PRIMARY KEY, name text NOT NULL, layout text NOT NULL,
                   checksum text NOT NULL,
                   applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
        )
        applied = _applied(connection)
        layout = _layout(connection, applied)
        chosen = [migration for migration in migrations if migration.layout in {"", layout}]
        done = []
        if _is_first_chain(applied, layout):
            _take_baseline(connection, chosen, layout)
            applied = _applied(connection)
            done = ["baseline"]
        _refuse_other_histories(chosen, applied)
        missing = [migration for migration in chosen if migration.number not in applied]
        for migration in missing:
            _apply(connection, migration, layout)
    database.detect_tier_again()
    return [*done, *(migration.name for migration in missing)]


def read_migrations(folder: Path = FOLDER) -> Sequence[Migration]:
    """Return the migrations of a folder by number. Raises StoreError where the numbers of a layout
    are not 1, 2, 3 and so on.
    """
    found = []
    for path in sorted(folder.glob("[0-9]*.sql")):
        stem, _, layout = path.stem.partition(".")
        number, _, name = stem.partition("_")
        found.append(Migration(int(number), name, layout, path.read_text(encoding="utf-8")))
    for layout in ("plain", "timescale"):
        numbers = [each.number for each in found if each.layout in {"", layout}]
        if numbers != list(range(1, len(numbers) + 1)):
            raise StoreError(
                f"the migrations in {folder} for {layout} are numbered {numbers}: they must be "
                "1, 2, 3 and so on without a gap; give the newest the next number"
            )
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


def _applied(connection: psycopg.Connection[Any]) -> Mapping[int, AppliedMigration]:
    """Return every applied migration by its number."""
    rows = connection.execute(
        "SELECT number, name, layout, checksum FROM schema_migration ORDER BY number"
    ).fetchall()
    return {row[0]: AppliedMigration(*row) for row in rows}


def _layout(connection: psycopg.Connection[Any], applied: Mapping[int, AppliedMigration]) -> str:
    """Return the layout that the database was made with, or choose one for a new database."""
    if applied:
        return next(iter(applied.values())).layout
    if can_become_timescale(connection):
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    return "timescale" if detect_tier(connection).has_hypertables else "plain"


def _is_first_chain(applied: Mapping[int, AppliedMigration], layout: str) -> bool:
    """Return whether the database was made by the first chain; StoreError where it is not whole."""
    if 1 not in applied or applied[1].checksum != _CHAIN_BEGINS:
        return False
    lines = "\n".join(f"{each.number} {each.checksum}" for each in applied.values())
    if hashlib.sha256(lines.encode()).hexdigest() != _CHAINS[layout]:
        raise SchemaError(
            "the database has migrations of an earlier version, up to "
            f"{max(applied):04d}_{applied[max(applied)].name}, and not all of that version's, or "
            "others: migrate it with the version that made it, then with this one"
        )
    return True


def _take_baseline(
    connection: psycopg.Connection[Any], chosen: Sequence[Migration], layout: str
) -> None:
    """Bring a database of the first chain to what the first six migrations make of an empty one."""
    try:
        with connection.transaction():
            connection.execute(_BASELINE.read_bytes())
            connection.execute("DELETE FROM schema_migration")
            for migration in chosen[:_SQUASHED]:
                _note(connection, migration, layout)
    except psycopg.Error as error:
        raise _failed("baseline", error) from error


def _refuse_other_histories(
    chosen: Sequence[Migration], applied: Mapping[int, AppliedMigration]
) -> None:
    """Raise StoreError where the database was not made by these files in their order."""
    by_number = {migration.number: migration for migration in chosen}
    for each in applied.values():
        known = by_number.get(each.number)
        if known is None:
            raise StoreError(
                f"the database has migration {each.number:04d}_{each.name}, which this version of "
                "Penstock does not know: use the version that applied it, or a later one"
            )
        if known.checksum != each.checksum:
            raise StoreError(
                f"migration {known.title} was edited after it was applied: restore the file and "
                "put the change into a new migration"
            )
    late = [
        number for number in by_number if number not in applied and number < max(applied, default=0)
    ]
    if late:
        raise StoreError(
            f"migration {by_number[late[0]].title} arrived after "
            f"{by_number[max(applied)].title} was applied: give it the next number"
        )


def _apply(connection: psycopg.Connection[Any], migration: Migration, layout: str) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.text.encode())
            _note(connection, migration, layout)
    except psycopg.Error as error:
        raise _failed(migration.title, error) from error


def _note(connection: psycopg.Connection[Any], migration: Migration, layout: str) -> None:
    connection.execute(
        "INSERT INTO schema_migration (number, name, layout, checksum) VALUES (%s, %s, %s, %s)",
        [migration.number, migration.name, layout, migration.checksum],
    )


def _failed(title: str, error: psycopg.Error) -> SchemaError:
    return SchemaError(
        f"migration {title} failed and was rolled back ({error.diag.message_primary or error}): "
        "nothing of it is left; mend the cause and migrate again"
    )
