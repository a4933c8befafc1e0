"""What a wrong or unreachable database URL leads to, and what no URL can change."""

from urllib.parse import quote

import pytest

from penstock.adapters.stores.postgres import address_of, connect
from penstock.adapters.stores.postgres.connection import Database
from penstock.core.errors import StoreError, StoreUnavailableError
from tests.servers import DatabaseServers


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://user:geheim@host/name",
        "sqlite:///penstock.db",
        "postgresql://user:geheim@127.0.0.1:notaport/name",
        "postgresql://user:geheim@127.0.0.1:99999/name",
        "postgresql://user:geheim@127.0.0.1:1/name",
        "postgresql://user:geh%zzeim@127.0.0.1:1/name",
    ],
)
def test_unusable_url_gives_one_sentence_without_the_password(url: str) -> None:
    """Every wrong URL ends in a StoreError that names a remedy and never the password."""
    with pytest.raises(StoreError) as refused:
        connect(url)
    said = str(refused.value)
    assert "PENSTOCK_DATABASE_URL" in said or "postgresql://user:password@host" in said
    assert "geh" not in said
    assert "\n" not in said


def test_drivers_of_other_libraries_are_understood() -> None:
    """A URL copied from SQLAlchemy's settings means the same server."""
    plain, copied = (
        address_of(f"postgresql{driver}://me@host:5433/name") for driver in ("", "+psycopg")
    )
    assert plain == copied == "me@host:5433/name"


def test_server_and_url_cannot_make_a_commit_forgettable(
    servers: DatabaseServers,
) -> None:
    """An order leaves on a commit: on disk and in UTC, whatever the server's defaults or the URL's
    options say.
    """
    with servers.opened() as (url, database):
        with database.dedicated() as connection:
            # the server is shared with other tests, this database not
            name = connection.info.dbname
            for setting in ("synchronous_commit = off", "timezone = 'Europe/Berlin'"):
                connection.execute(
                    f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {setting}".encode()
                )
        asked = quote("-c lock_timeout=7s -c synchronous_commit=off")
        names = (
            "synchronous_commit",
            "timezone",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
        )
        for address, wait in (
            (url, "30s"),
            (f"{url}{'&' if '?' in url else '?'}options={asked}", "7s"),
        ):
            with connect(address) as again, again.reading() as connection:
                shown = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in names]
            assert shown == [("on",), ("UTC",), (wait,), ("2min",)]


def test_statements_that_leave_together_are_one_transaction(servers: DatabaseServers) -> None:
    """An error of one of them leaves nothing of the others, and the connection serves the next."""
    with servers.opened() as (_, database):

        def add(*numbers: int) -> None:
            with database.together() as connection:
                for number in numbers:
                    connection.execute("INSERT INTO line VALUES (%s)", [number])

        def add_without_the_one_before() -> None:
            with database.together() as connection:
                connection.execute("INSERT INTO line VALUES (2, 1)")

        def add_and_fail() -> None:
            with database.transaction() as connection:
                connection.execute("INSERT INTO line VALUES (3)")
                raise ZeroDivisionError

        with database.transaction() as connection:
            connection.execute(
                """CREATE TABLE line (
                    n integer PRIMARY KEY,
                    after integer REFERENCES line DEFERRABLE INITIALLY DEFERRED)"""
            )
        with pytest.raises(StoreError, match="duplicate key"):
            add(1, 1, 2)
        with pytest.raises(StoreError, match="foreign key"):  # COMMIT itself fails
            add_without_the_one_before()
        with pytest.raises(ZeroDivisionError):
            add_and_fail()
        add(4)
        with database.reading() as connection:
            assert connection.execute("SELECT n FROM line").fetchall() == [(4,)]


@pytest.mark.parametrize("fetches", [True, False])
def test_connection_that_is_lost_before_the_commit_is_an_error(
    servers: DatabaseServers, fetches: bool
) -> None:
    """Nobody may take what was not committed for committed: an order would leave on it."""
    with servers.opened() as (_, database):

        def add_and_lose_the_connection() -> None:
            with database.together() as connection:
                added = connection.execute("INSERT INTO line VALUES (1) RETURNING n")
                if fetches:
                    assert added.fetchone() == (1,)
                lost = connection.info.backend_pid
                with database.dedicated() as other:
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", [lost])

        with database.transaction() as connection:
            connection.execute("CREATE TABLE line (n integer)")
        with pytest.raises(StoreUnavailableError):
            add_and_lose_the_connection()
        with database.reading() as connection:
            assert connection.execute("SELECT n FROM line").fetchall() == []


@pytest.mark.parametrize("fetches", [True, False])
def test_transaction_whose_process_sleeps_is_ended_by_the_server(
    servers: DatabaseServers, fetches: bool
) -> None:
    """A trader that is stopped between its statements and COMMIT must not keep the lease's row
    locked for ever, whether or not it has fetched rows.
    """
    with servers.opened() as (url, database):
        limit = quote("-c idle_in_transaction_session_timeout=500ms -c lock_timeout=20s")
        with database.transaction() as connection:
            connection.execute("CREATE TABLE line (n integer PRIMARY KEY)")
            connection.execute("INSERT INTO line VALUES (1)")

        def update_and_sleep(sleeper: Database) -> None:
            with sleeper.together() as connection:
                updated = connection.execute("UPDATE line SET n = 2 RETURNING n")
                if fetches:
                    assert updated.fetchone() == (2,)
                not_begun = (
                    "SELECT FROM pg_stat_activity WHERE pid = %s AND query NOT LIKE 'UPDATE%%'"
                )
                with database.reading() as other:
                    while other.execute(not_begun, [connection.info.backend_pid]).fetchone():
                        pass
                with database.transaction() as other:  # waits until the server has ended it
                    other.execute("UPDATE line SET n = 3 WHERE n = 1")

        with (
            connect(f"{url}{'&' if '?' in url else '?'}options={limit}") as sleeper,
            pytest.raises(StoreUnavailableError, match="cannot be used"),
        ):
            update_and_sleep(sleeper)
        with database.reading() as connection:
            assert connection.execute("SELECT n FROM line").fetchall() == [(3,)]
