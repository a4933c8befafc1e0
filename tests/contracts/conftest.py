"""A migrated database of every tier that this machine can run, shared by the suites of a session."""

import secrets
from collections.abc import Callable, Iterator

import pytest

from penstock.adapters.stores.postgres import (
    Database,
    PostgresControlStore,
    PostgresLedger,
    connect,
)
from penstock.core.leases import Lease
from tests.servers import DatabaseServers

_TIERS = ["plain", "apache", "timescale"]


@pytest.fixture(scope="session", params=_TIERS)
def tier(request: pytest.FixtureRequest, servers: DatabaseServers) -> str:
    """A tier of PostgreSQL that this machine can run."""
    servers.url(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def new_database_url(tier: str, servers: DatabaseServers) -> Callable[[], str]:
    """Makes an empty database and returns its URL."""
    return lambda: servers.empty(tier)


@pytest.fixture(scope="session")
def database_url(tier: str, servers: DatabaseServers) -> str:
    """The URL of the session's migrated database."""
    return servers.shared(tier)


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
