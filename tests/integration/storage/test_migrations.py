"""Migrations: applied once, from several processes at once, and never edited afterwards."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from penstock.adapters.stores.postgres import (
    Database,
    Tier,
    connect,
    create_database,
    migrate,
)
from penstock.adapters.stores.postgres.migrations import FOLDER, read_migrations
from penstock.adapters.stores.postgres.partitions import Partitions
from penstock.core.errors import SchemaError, StoreError
from penstock.interfaces.cli.remedies import error_remedy
from tests.servers import DatabaseServers


@pytest.fixture(scope="module")
def url(servers: DatabaseServers) -> str:
    return servers.url("plain")


@pytest.fixture
def database(url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database."""
    with connect(create_database(url, request.node.name[:60])) as database:
        yield database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may change."""
    return Path(shutil.copytree(FOLDER, tmp_path / "migrations"))


def test_migrations_are_applied_once(database: Database) -> None:
    """The first call applies all in order, the second none."""
    names = [migration.name for migration in read_migrations() if migration.layout in {"", "plain"}]
    assert names[:4] == ["instruments_and_bars", "bar", "ledger", "control"]
    assert migrate(database) == names
    assert migrate(database) == []
    assert database.tier is Tier.PLAIN


def test_numbers_have_no_gap_in_either_layout(folder: Path) -> None:
    """The numbers are 1, 2, 3 and so on, for each tier. A missing or doubled number is an error."""
    last = read_migrations(folder)[-1].number
    skipped = folder / f"{last + 2:04d}_skipped.sql"
    skipped.write_text("SELECT 1")
    with pytest.raises(StoreError, match="without a gap"):
        read_migrations(folder)
    skipped.rename(folder / f"{last:04d}_twin.sql")
    with pytest.raises(StoreError, match="without a gap"):
        read_migrations(folder)
    (folder / f"{last:04d}_twin.sql").rename(folder / f"{last + 1:04d}_one.plain.sql")
    (folder / f"{last + 2:04d}_next.sql").write_text("SELECT 1")
    with pytest.raises(StoreError, match="without a gap"):
        read_migrations(folder)


def test_lower_number_that_arrives_late_is_an_error(database: Database, folder: Path) -> None:
    """A file below one that was applied would make another schema in a new database."""
    migrate(database, folder)
    with database.transaction() as connection:
        connection.execute("DELETE FROM schema_migration WHERE number = 5")
    with pytest.raises(StoreError, match=r"0005_promotion arrived after \d{4}_\w+ was applied"):
        migrate(database, folder)


def test_migration_that_this_version_lacks_is_an_error(database: Database, folder: Path) -> None:
    """An older version does not work on the database of a later one."""
    last = read_migrations(folder)[-1].number
    later = folder / f"{last + 1:04d}_later.sql"
    later.write_text("SELECT 1")
    migrate(database, folder)
    later.unlink()
    with pytest.raises(StoreError, match=r"_later, which this version of Penstock does not know"):
        migrate(database, folder)


def test_edited_migration_is_an_error(database: Database, folder: Path) -> None:
    """Once applied, a file may not change; the message names it and the remedy."""
    migrate(database, folder)
    with (folder / "0003_ledger.sql").open("a") as file:
        file.write("-- a harmless comment\n")
    with pytest.raises(StoreError, match="0003_ledger was edited"):
        migrate(database, folder)


def test_failed_migration_leaves_nothing_and_can_be_mended(
    database: Database, folder: Path
) -> None:
    """A file that fails is rolled back whole, and those before it stay. Once corrected it is
    applied.
    """
    number = read_migrations(folder)[-1].number + 1
    broken = folder / f"{number:04d}_broken.sql"
    broken.write_text("CREATE TABLE half (id int); SELECT 1 / 0;")
    with pytest.raises(StoreError, match="_broken failed"):
        migrate(database, folder)
    broken.write_text("CREATE TABLE half (id int);")
    assert migrate(database, folder) == ["broken"]


def test_database_without_schema_says_how_to_make_one(database: Database) -> None:
    """A store on an empty database says that it must be migrated; the terminal adds the command."""
    with (
        pytest.raises(SchemaError, match="migrate it") as bare,
        database.transaction() as connection,
    ):
        connection.execute("SELECT * FROM bar")
    assert "penstock db migrate" in error_remedy(bare.value)


_MIGRATE = """
import sys
from pathlib import Path
from penstock.adapters.stores.postgres import connect, migrate
print(len(migrate(connect(sys.argv[1]), Path(sys.argv[2]))))
"""


def test_processes_that_migrate_at_once_apply_each_file_once(url: str, folder: Path) -> None:
    """Of three processes one applies everything, slowly, and the others wait and find it done."""
    target = create_database(url, "at_once")
    number = read_migrations(folder)[-1].number + 1
    slow = "CREATE TABLE slow (id int); SELECT pg_sleep(1);"
    (folder / f"{number:04d}_slow.sql").write_text(slow)
    command = [sys.executable, "-c", _MIGRATE, target, str(folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    applied = sorted(int(process.communicate(timeout=60)[0]) for process in processes)
    every = len(
        [migration for migration in read_migrations(folder) if migration.layout in {"", "plain"}]
    )
    assert applied == [0, 0, every]
    with connect(target) as database, database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM schema_migration").fetchone() == (every,)


def test_partitions_are_made_once_by_many_stores(database: Database) -> None:
    """Stores that need the same months at the same time do not collide."""
    migrate(database)
    months = pl.Series([datetime(2024, month, 5, tzinfo=UTC) for month in range(1, 13)])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: Partitions(database).ensure(months), range(4)))
    with database.transaction() as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'bar'::regclass"
        ).fetchone()
    assert found == (12,)
