"""Fixtures for every suite: where the real candles are, and a database of one's own."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from penstock.adapters.stores.postgres import Database

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def candles_dir() -> Path:
    """The folder of real candles; tests that need it skip where it is absent."""
    folder = Path(
        os.environ.get("PENSTOCK_TEST_CANDLES", ROOT.parent / "shared" / "data" / "candles")
    )
    if not folder.is_dir():
        pytest.skip(
            f"no real candles at {folder}: set PENSTOCK_TEST_CANDLES to a folder of Parquet files to run this"
        )
    return folder


@pytest.fixture(scope="session")
def open_database(
    tmp_path_factory: pytest.TempPathFactory,
) -> "Callable[[str], AbstractContextManager[tuple[str, Database]]]":
    """Opens a real server with Penstock's schema in it, as (its URL, the open database). Nothing of
    it is left afterwards.
    """
    from penstock.adapters.stores.embedded import EmbeddedPostgres
    from penstock.adapters.stores.postgres import connect, migrate

    @contextmanager
    def opened(name: str) -> "Iterator[tuple[str, Database]]":
        server = EmbeddedPostgres(
            tmp_path_factory.mktemp(name), settings={"fsync": "off"}
        )  # it lives for one session
        try:
            url = server.start()
            with connect(url) as database:
                migrate(database)
                yield url, database
        finally:
            server.destroy()

    return opened
