"""The PostgreSQL servers of a test session: one of each tier, with a database for whoever asks.

A server is started when it is first asked for. A migrated database is a copy of a template that was
migrated once. TimescaleDB keeps a worker in each of its databases, so there each is migrated.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest

from penstock.adapters.stores.embedded import TIMESCALE_SETTINGS, EmbeddedPostgres
from penstock.adapters.stores.postgres import Database, connect, create_database, migrate

ROOT = Path(__file__).resolve().parent.parent
_TEMPLATE = "penstock_template"
#: These servers live for one session: nothing on them must outlive a power cut.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class DatabaseServers:
    """Servers by tier: "plain" PostgreSQL, "apache" and "timescale" TimescaleDB by its licence.

    A tier that this machine cannot run skips the test that asks for it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.url = cache(self._url)  # the URL of a tier's server
        self._template = cache(self._make_template)
        # the URL of the one database that suites of a tier share
        self.shared = cache(self.migrated)

    def empty(self, tier: str = "plain") -> str:
        """Make an empty database and return its URL."""
        return create_database(self.url(tier), _new_name())

    def migrated(self, tier: str = "plain") -> str:
        """Make a database with Penstock's schema and return its URL."""
        if tier != "plain":
            return _migrated(self.empty(tier))
        server, name = self._template(), _new_name()
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY file_copy".encode()
            )
        return create_database(server, name)

    @contextmanager
    def opened(self, tier: str = "plain") -> Iterator[tuple[str, Database]]:
        """Yield a new migrated database, as (its URL, the open database)."""
        url = self.migrated(tier)
        with connect(url) as database:
            yield url, database

    def stop(self) -> None:
        """Stop the servers and delete what they stored."""
        self._running.close()

    def _url(self, tier: str) -> str:
        if tier == "timescale":
            if "PENSTOCK_TEST_TIMESCALE_URL" not in os.environ:
                pytest.skip(
                    "set PENSTOCK_TEST_TIMESCALE_URL to a TimescaleDB with the timescale licence"
                )
            return os.environ["PENSTOCK_TEST_TIMESCALE_URL"]
        binaries = None if tier == "plain" else _timescale_binaries()
        settings = {} if tier == "plain" else TIMESCALE_SETTINGS
        server = EmbeddedPostgres(self._folder / tier, binaries, {**settings, **NOT_DURABLE})
        self._running.callback(server.destroy)
        return server.start()

    def _make_template(self) -> str:
        """Return the URL of the plain server, which has the template from here on."""
        server = self.url("plain")
        _migrated(create_database(server, _TEMPLATE))
        return server


def _migrated(url: str) -> str:
    with connect(url) as database:
        migrate(database)
    return url


def _new_name() -> str:
    return f"test_{secrets.token_hex(6)}"


def _timescale_binaries() -> Path:
    binaries = Path(os.environ.get("PENSTOCK_TEST_TIMESCALE_BIN", ROOT / ".timescaledb" / "bin"))
    if not (binaries / "postgres").is_file():
        pytest.skip("no TimescaleDB on this machine: `make timescaledb` makes one")
    return binaries
