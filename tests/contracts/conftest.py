"""A migrated database of every tier that this machine can run, shared by the suites of a session."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.adapters.stores.embedded import TIMESCALE_SETTINGS, EmbeddedPostgres
from penstock.adapters.stores.timescale import Database, TimescaleLedger, connect, create_database, migrate
from penstock.core.accounts import Lease

ROOT = Path(__file__).resolve().parents[2]
_NOT_DURABLE = {"fsync": "off"}  # these servers live for one session


def _timescale_binaries() -> Path:
    binaries = Path(os.environ.get("PENSTOCK_TEST_TIMESCALE_BIN", ROOT / ".timescaledb" / "bin"))
    if not (binaries / "postgres").is_file():
        pytest.skip("no TimescaleDB on this machine: `make timescaledb` makes one")
    return binaries


_TIERS = [pytest.param(tier, marks=pytest.mark.xdist_group(f"database-{tier}")) for tier in ("plain", "apache", "timescale")]


@pytest.fixture(scope="session", params=_TIERS)
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of one tier."""
    if request.param == "timescale":
        url = os.environ.get("PENSTOCK_TEST_TIMESCALE_URL")
        if not url:
            pytest.skip("set PENSTOCK_TEST_TIMESCALE_URL to a TimescaleDB with the timescale licence (compose.yaml has one)")
        yield url
        return
    if request.param == "apache":
        server = EmbeddedPostgres(
            tmp_path_factory.mktemp("apache"), _timescale_binaries(), {**TIMESCALE_SETTINGS, **_NOT_DURABLE}
        )
    else:
        server = EmbeddedPostgres(tmp_path_factory.mktemp("plain"), settings=_NOT_DURABLE)
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def new_database_url(server_url: str) -> Callable[[], str]:
    """Makes an empty database and returns its URL."""
    return lambda: create_database(server_url, f"test_{secrets.token_hex(6)}")


@pytest.fixture(scope="session")
def database_url(new_database_url: Callable[[], str]) -> str:
    """The URL of the session's migrated database."""
    url = new_database_url()
    with connect(url) as database:
        migrate(database)
    return url


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
def writer(database: Database, name: str) -> Lease:
    """The right to write for the account called `name`, which is opened."""
    ledger = TimescaleLedger(database)
    ledger.open_account(name, "practice", "USDT")
    lease = ledger.acquire_lease(name, "test", 600)
    assert lease is not None
    return lease
