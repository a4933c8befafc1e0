"""One migrated database per tier that this machine can run, for all suites of a session."""

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
from penstock.core.machine import SYSTEM_CLOCK
from penstock.ports import ControlStore, Ledger
from penstock.testing.memory_control_store import MemoryControlStore
from penstock.testing.memory_ledger import MemoryLedger
from tests.servers import DatabaseServers

_TIERS = ["plain", "apache", "timescale", "memory"]
#: What a test asks for that looks behind the port, into a database: memory has none.
_BEHIND_THE_PORT = {"database", "database_url", "new_database_url"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hold what is kept in memory to every test that asks through the port alone."""
    items[:] = [item for item in items if not _is_out_of_reach(item)]


def _is_out_of_reach(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    if parameters is None or parameters.params.get("tier") != "memory":
        return False
    behind = not _BEHIND_THE_PORT.isdisjoint(getattr(item, "fixturenames", ()))
    return behind or item.get_closest_marker("several_accounts") is not None


@pytest.fixture(scope="session", params=_TIERS)
def tier(request: pytest.FixtureRequest, servers: DatabaseServers) -> str:
    """A tier of PostgreSQL that this machine can run, or what penstock.testing keeps in memory."""
    if request.param != "memory":
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
def ledger(tier: str, request: pytest.FixtureRequest) -> Ledger:
    if tier == "memory":
        return MemoryLedger(SYSTEM_CLOCK)
    return PostgresLedger(request.getfixturevalue("database"))


@pytest.fixture
def control_store(tier: str, ledger: Ledger, request: pytest.FixtureRequest) -> ControlStore:
    if isinstance(ledger, MemoryLedger):
        return MemoryControlStore(ledger)
    return PostgresControlStore(request.getfixturevalue("database"))


@pytest.fixture
def writer(ledger: Ledger, name: str) -> Lease:
    """The right to write for the account called `name`, which is opened."""
    ledger.open_account(name, "practice", "USDT")
    lease = ledger.acquire_lease(name, "test", 600)
    assert lease is not None
    return lease
