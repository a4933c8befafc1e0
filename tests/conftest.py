"""Fixtures for every suite: where the real candles are, and a database of one's own."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings

if TYPE_CHECKING:
    from tests.forked import ForkedPrograms
    from tests.servers import DatabaseServers

ROOT = Path(__file__).resolve().parent.parent

# How long one example takes says more about the machine's load than about the code.
settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")


def pytest_configure(config: pytest.Config) -> None:
    """Under `-s` a proof prints its one line, without the log of the slots it trades."""
    if config.getoption("capture") == "no":
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none is left over at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def candles_dir() -> Path:
    """The folder of real candles; tests that need it skip where it is absent."""
    folder = Path(
        os.environ.get("PENSTOCK_TEST_CANDLES", ROOT.parent / "shared" / "data" / "candles")
    )
    if not folder.is_dir():
        pytest.skip(
            f"no real candles at {folder}: set PENSTOCK_TEST_CANDLES to a folder of Parquet files "
            "to run this"
        )
    return folder


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[DatabaseServers]":
    """The session's PostgreSQL servers, each started when it is first asked for."""
    from tests.servers import DatabaseServers

    running = DatabaseServers(tmp_path_factory.mktemp("servers"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ForkedPrograms]":
    """Runs programs, each in a process of its own that need not import the libraries again."""
    from tests.forked import ForkedPrograms

    programs = ForkedPrograms(tmp_path_factory.mktemp("forked"))
    yield programs
    programs.stop()


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database file, to be copied: to make one takes seconds.

    MLflow made it. The workers share the first one that is ready.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = shared / "mlflow-template" / "mlflow.db"
    if not made.exists():
        from penstock.adapters.mlflow.connection import connect, local_tracking_uri

        folder = tmp_path_factory.mktemp("mlflow-template")
        connect(local_tracking_uri(folder)).search_registered_models()
        made.parent.mkdir(exist_ok=True)
        # Whole or not at all, for other workers.
        (folder / "mlflow.db").rename(made)
    return made


@pytest.fixture(scope="session", autouse=True)
def _forked_venues() -> Iterator[None]:
    """Every PracticeServer is forked from a process that has imported what it needs."""
    from penstock.practice import server
    from tests.forked_venues import ForkedVenues

    venues = ForkedVenues()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "start_process", venues.start)
        yield
    venues.stop()
