"""Which database serves a platform: the configured one, or the embedded one of its home folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.postgres import create_database
from penstock.core.errors import ConfigError
from penstock.ports import DatabaseServer
from penstock.settings import Settings

DATABASE_NAME = "penstock"


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Yield the URL of the configured database, or of the embedded one while it runs."""
    configured = settings.process.database_url
    if configured is not None:
        yield configured.get_secret_value()
        return
    server = embedded_server(settings)
    was_running = server.running
    server.start()
    try:
        yield server.database_url(DATABASE_NAME)
    finally:
        if not was_running:
            server.stop_if_unused()


def sibling_databases(url: str) -> Callable[[str], str]:
    """Return a function that gives the URL of a named database on the server of `url`. It makes a
    missing one. Penstock's own is the one that `url` names.
    """
    return lambda name: url if name == DATABASE_NAME else create_database(url, name)


def embedded_server(settings: Settings) -> DatabaseServer:
    """Return the embedded PostgreSQL of this home folder."""
    if settings.home.exists() and not settings.home.is_dir():
        raise ConfigError(f"PENSTOCK_HOME = {settings.home} is a file: name a folder")
    return EmbeddedPostgres(settings.home / "postgres")
