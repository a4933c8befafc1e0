"""A migrated database of every tier that this machine can run, shared by the suites of a session."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from penstock.adapters.stores.embedded import TIMESCALE_SETTINGS, EmbeddedPostgres
from penstock.adapters.stores.postgres import (
    Database,
    PostgresControlStore,
    PostgresLedger,
    connect,
    create_database,
    migrate,
)
from penstock.core.leases import Lease

ROOT = Path(__file__).resolve().parents[2]
_NOT_DURABLE = {"fsync": "off"}  # these servers live for one session


def _timescale_binaries() -> Path:
    binaries = Path(os.environ.get("PENSTOCK_TEST_TIMESCALE_BIN", ROOT / ".timescaledb" / "bin"))
    if not (binaries / "postgres").is_file():
        pytest.skip("no TimescaleDB on this machine: `make timescaledb` makes one")
    return binaries


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Returns the URL of a tier's server. Each is started once, however often the tests turn from
    one tier to another.
    """

    with ExitStack() as running:

        @cache
        def url(tier: str) -> str:
            if tier == "timescale":
                if "PENSTOCK_TEST_TIMESCALE_URL" not in os.environ:
                    pytest.skip(
                        "set PENSTOCK_TEST_TIMESCALE_URL to a TimescaleDB with the timescale licence (see deploy/compose.yaml)"
                    )
                return os.environ["PENSTOCK_TEST_TIMESCALE_URL"]
            binaries, settings = (
                (None, {}) if tier == "plain" else (_timescale_binaries(), TIMESCALE_SETTINGS)
            )
            server = EmbeddedPostgres(
                tmp_path_factory.mktemp(tier), binaries, {**settings, **_NOT_DURABLE}
            )
            running.callback(server.destroy)
            return server.start()

        yield url


@pytest.fixture(scope="session", params=["plain", "apache", "timescale"])
def server_url(request: pytest.FixtureRequest, started: Callable[[str], str]) -> str:
    """The URL of a server of one tier."""
    return started(request.param)


@pytest.fixture(scope="session")
def new_database_url(server_url: str) -> Callable[[], str]:
    """Makes an empty database and returns its URL."""
    return lambda: create_database(server_url, f"test_{secrets.token_hex(6)}")


@pytest.fixture(scope="session")
def migrated() -> Callable[[str], str]:
    """Returns the URL of the one migrated database that a server has in this session."""

    @cache
    def url(server_url: str) -> str:
        url = create_database(server_url, f"test_{secrets.token_hex(6)}")
        with connect(url) as database:
            migrate(database)
        return url

    return url


@pytest.fixture(scope="session")
def database_url(server_url: str, migrated: Callable[[str], str]) -> str:
    """The URL of the session's migrated database."""
    return migrated(server_url)


@pytest.fixture(scope="session")
def database(database_url: str) -> Iterator[Database]:
    """The session's migrated database. Tests keep apart by the names of their venue and account."""
    with connect(database_url) as database:
        yield database


@pytest.fixture
def name() -> str:
    """A venue or account that no other test uses."""
    return f"name-{secrets.token_hex(6)}"


@pytest.fixture
def ledger(database: Database) -> PostgresLedger:
    return PostgresLedger(database)


@pytest.fixture
def control_store(database: Database) -> PostgresControlStore:
    return PostgresControlStore(database)


@pytest.fixture
def writer(ledger: PostgresLedger, name: str) -> Lease:
    """The right to write for the account called `name`, which is opened."""
    ledger.open_account(name, "practice", "USDT")
    lease = ledger.acquire_lease(name, "test", 600)
    assert lease is not None
    return lease
