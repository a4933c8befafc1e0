"""A PostgreSQL server of the project's own, with its data in one folder.

Its programs come from a wheel. It listens on loopback, on the port that it had before, with a
generated password. penstock.adapters.stores.postgres decides what is stored in it.

The server outlives the process that started it, and the next `start` finds it again. Both survive
`kill -9` of the other.
"""

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import psycopg

from penstock.adapters.stores.postgres.connection import create_database, has_clients
from penstock.adapters.stores.server_home import (
    ServerUser,
    reachable_binaries,
    server_home,
    wheel_binaries,
)
from penstock.core.errors import StoreError
from penstock.core.machine import SYSTEM_CLOCK, new_secret

_ROLE = "penstock"
_START_ATTEMPTS = 3
_ORPHAN_PATIENCE_SECONDS = 20.0
_ANSWER_SECONDS = 60.0
_PID_LINE, _PORT_LINE = 0, 3  # of postmaster.pid

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "log_min_messages": "warning",
    # A failed statement may have values in it that do not belong in a log.
    "log_min_error_statement": "panic",
}

#: What a server with TimescaleDB's programs (scripts/timescaledb.sh) needs in addition.
TIMESCALE_SETTINGS: Mapping[str, str] = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
}


class EmbeddedPostgres:
    """One server whose data belongs to `folder`. Safe to start from several processes at once."""

    def __init__(
        self, folder: Path, binaries: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """`binaries` is a folder with initdb, pg_ctl and postgres; by default it is the wheel's.

        `settings` are added to the server's configuration.
        """
        self.folder = folder.absolute()
        self._binaries = binaries
        self._settings = {**_SETTINGS, **(settings or {})}
        self._user = ServerUser.choose()

    def start(self) -> str:
        """Return the URL of the database "penstock".

        The server is started where it does not run, and made where it does not exist.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._serve(server_home(self.folder, self._user))
        return self.database_url(_ROLE)

    def stop(self) -> None:
        """Stop the server, and end its connections. It need not be running."""
        self._stop("fast")

    def destroy(self) -> None:
        """Stop the server, and delete all that it stored."""
        self._stop("immediate")
        if self.exists:
            shutil.rmtree(server_home(self.folder, self._user))
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def exists(self) -> bool:
        return (self.folder / "server-home").is_file()

    @property
    def running(self) -> bool:
        return self.exists and self._postmaster(server_home(self.folder, self._user)) is not None

    @property
    def url(self) -> str:
        """The URL of the database "penstock", with its password.

        Raises StoreError where the server was never started.
        """
        port, password = self.folder / "port", self.folder / "password"
        if not port.is_file() or not password.is_file():
            raise StoreError(f"no database was made in {self.folder} yet: start it first")
        keys = f"{_ROLE}:{password.read_text().strip()}"
        return f"postgresql://{keys}@127.0.0.1:{port.read_text().strip()}/{_ROLE}"

    def database_url(self, name: str) -> str:
        """Return the URL of the database called `name`, which is created if missing."""
        return create_database(self.url, name)

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _stop(self, mode: str) -> None:
        if not self.exists:
            return
        with self._locked():
            home = server_home(self.folder, self._user)
            if self._postmaster(home) is not None:
                self._run(
                    home, "pg_ctl", "stop", "-D", str(home / "data"), "-m", mode, "-w", "-t", "60"
                )

    def stop_if_unused(self) -> None:
        """Stop the server, unless another program is connected to it."""
        if self.running and not has_clients(self.url):
            self.stop()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _serve(self, home: Path) -> None:
        """Return once the server answers.

        One that exists may be ending after a kill, or recovering from the last one.
        """
        deadline = SYSTEM_CLOCK.elapsed_seconds() + _ANSWER_SECONDS
        while True:
            if self._postmaster(home) is None:
                self._create(home)
                self._launch(home)
            failure = self._failure_to_answer(home)
            if failure is None:
                return
            if SYSTEM_CLOCK.elapsed_seconds() > deadline:
                raise StoreError(
                    f"the PostgreSQL in {home} runs but does not answer ({failure}): "
                    f"read {home / 'server.log'}"
                )
            SYSTEM_CLOCK.sleep(0.05)

    def _failure_to_answer(self, home: Path) -> str | None:
        """Return why a connection fails, or None.

        The port is read from the server's own file: its starter may have died before noting it.
        """
        try:
            port = (home / "data" / "postmaster.pid").read_text().splitlines()[_PORT_LINE].strip()
            self._note_port(port)
            psycopg.connect(self.url, dbname="postgres", connect_timeout=5).close()
        except (OSError, IndexError, psycopg.OperationalError) as error:
            return " ".join(str(error).split())
        return None

    def _note_port(self, port: str) -> None:
        """Write the port down, whole or not at all: it is read without the lock."""
        noted, fresh = self.folder / "port", self.folder / "port.new"
        if not noted.is_file() or noted.read_text().strip() != port:
            fresh.write_text(f"{port}\n")
            fresh.replace(noted)

    def _postmaster(self, home: Path) -> psutil.Process | None:
        """Return the server's process if it runs.

        A pid file alone proves nothing, because process ids are used again.
        """
        try:
            pid = int((home / "data" / "postmaster.pid").read_text().splitlines()[_PID_LINE])
            process = psutil.Process(pid)
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return None
        return process if _works_in(process, home / "data") else None

    def _create(self, home: Path) -> None:
        """Make the cluster where there is none.

        An initdb that was killed leaves only a folder, which is removed here.

        Each attempt has a folder of its own: the initdb of a killed starter may still write into
        the last one. initdb does not wait for the disk. Only a power cut within seconds of the
        first start matters, and no data is in then.
        """
        if (home / "data" / "PG_VERSION").is_file():
            return
        password = new_secret(24)
        for unfinished in home.glob("data.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        fresh = home / f"data.new-{new_secret(4)}"
        handed_over = home / "initial-password"
        _write_private(handed_over, password)
        self._user.own(handed_over)
        try:
            access = ["-U", _ROLE, "--auth=scram-sha-256", f"--pwfile={handed_over}"]
            self._run(
                home,
                "initdb",
                "-D",
                str(fresh),
                *access,
                "-E",
                "UTF8",
                "--locale=C",
                "--no-instructions",
                "--no-sync",
            )
        finally:
            handed_over.unlink()
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\ninclude 'penstock.conf'\n")
        _write_private(self.folder / "password", password)
        fresh.rename(home / "data")

    def _launch(self, home: Path) -> None:
        data = home / "data"
        _wait_for_orphans(data)
        # no process works in the folder: the file is stale
        (data / "postmaster.pid").unlink(missing_ok=True)
        remembered = self.folder / "port"
        for attempt in range(_START_ATTEMPTS):
            port = _free_port(
                int(remembered.read_text()) if remembered.is_file() and attempt == 0 else 0
            )
            self._configure(data, port)
            try:
                log = str(home / "server.log")
                self._run(home, "pg_ctl", "start", "-D", str(data), "-l", log, "-w", "-t", "60")
            except StoreError:
                if attempt == _START_ATTEMPTS - 1:
                    raise
                continue
            return

    def _configure(self, data: Path, port: int) -> None:
        lines = [
            f"{name} = '{value}'" for name, value in {**self._settings, "port": str(port)}.items()
        ]
        path = data / "penstock.conf"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._user.own(path)

    def _run(self, home: Path, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user.

        Its output goes to a file, because the server would keep a pipe open.
        """
        binaries = reachable_binaries(self._binaries or wheel_binaries(), self._user)
        output = self.folder / f"{program}.log"
        options: dict[str, Any] = dict(self._user.process_options())
        with output.open("wb") as out:
            command = [str(binaries / program), *arguments]
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=home,
                env=_environment(),
                check=False,
                **options,
            )
        if done.returncode:
            raise StoreError(
                f"{program} failed with code {done.returncode}: {_tail(output)} "
                f"{_tail(home / 'server.log')}".strip()
            )


def _environment() -> dict[str, str]:
    """Return the server's environment, without what could change it (PGDATA, PGPORT) and without
    secrets.
    """
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _free_port(wanted: int) -> int:
    """Return `wanted` where nothing listens on it, else a free port."""
    for candidate in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StoreError("no free port on 127.0.0.1: close programs that hold ports and start again")


def _works_in(process: psutil.Process, data: Path) -> bool:
    """Return whether the process is a PostgreSQL of this data folder, its working folder."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data.resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _wait_for_orphans(data: Path) -> None:
    """Wait until the children of a killed server have ended.

    A second server beside them would damage the data.
    """
    deadline = SYSTEM_CLOCK.elapsed_seconds() + _ORPHAN_PATIENCE_SECONDS
    while True:
        orphans = [process.pid for process in psutil.process_iter() if _works_in(process, data)]
        if not orphans:
            return
        if SYSTEM_CLOCK.elapsed_seconds() > deadline:
            raise StoreError(
                f"processes {orphans} of an earlier server still use {data}: "
                "end them and start again"
            )
        SYSTEM_CLOCK.sleep(0.05)


def _tail(path: Path) -> str:
    if not path.is_file():
        return ""
    return " / ".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])
