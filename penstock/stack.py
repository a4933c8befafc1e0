"""The local stack: database, practice exchange, MLflow server, Prefect server and worker as children of one supervisor.

Decides what runs, in which order and with which settings. The supervisor starts a child again when it dies, and ends
them all when it is ended. For machines with Docker, compose.yaml does the same.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import httpx
import psutil

from penstock.core.errors import PenstockError
from penstock.settings import Settings, practice_key_variables

WORK_POOL = "penstock"
_RESTART_PAUSE_SECONDS = 2.0


class StackError(PenstockError):
    """A part of the local stack did not come up; the message names its log."""


@dataclass(frozen=True)
class Addresses:
    """Where the stack answers, and for which environment. `practice` is "" where another venue is configured."""

    environment: str
    prefect: str
    mlflow: str
    database: str
    practice: str

    @property
    def prefect_api(self) -> str:
        return f"{self.prefect}/api"


@dataclass(frozen=True)
class StackPorts:
    prefect: int = 4200
    mlflow: int = 5000
    practice: int = 8190


@dataclass
class Child:
    """One supervised process: how to start it, and how to see that it answers."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    health_url: str | None
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process in its own session, output appended to its log."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait_until_healthy(self, timeout_seconds: float) -> None:
        """Return once the process answers; raise StackError when it dies or stays silent."""
        deadline = time.monotonic() + timeout_seconds
        while self.health_url and time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            if _answers(self.health_url):
                return
            time.sleep(0.25)
        if self.health_url:
            raise StackError(f"{self.name} did not answer within {timeout_seconds:.0f} s: read {self.log}")

    def stop(self, grace_seconds: float = 10) -> None:
        """End the process and everything it started: SIGTERM first, SIGKILL after the grace."""
        if self.process is None:
            return
        try:
            family = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with _ignored(subprocess.TimeoutExpired):
            self.process.wait(grace_seconds)
        survivors: list[subprocess.Popen[bytes] | psutil.Process] = [self.process, *family]
        for survivor in survivors:
            with _ignored(psutil.NoSuchProcess, ProcessLookupError):
                survivor.kill()


@contextmanager
def _ignored(*errors: type[BaseException]) -> Iterator[None]:
    try:
        yield
    except errors:
        return


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def _require_free(port: int, what: str, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StackError(
                f"port {port} for {what} is taken by another program: stop it, or choose another with {option}"
            ) from None


def state_file(home: Path) -> Path:
    return home / "stack.json"


def running(home: Path) -> tuple[int, Addresses] | None:
    """Return the supervisor's process id and the addresses of the stack that runs from `home`, or None."""
    path = state_file(home)
    if not path.is_file():
        return None
    state = json.loads(path.read_text(encoding="utf-8"))
    pid = int(state.pop("pid"))
    started = float(state.pop("started"))
    try:
        alive = abs(psutil.Process(pid).create_time() - started) < 2
    except psutil.NoSuchProcess:
        alive = False
    if not alive:
        return None
    try:
        return pid, Addresses(**state)
    except TypeError:
        raise StackError(f"another version of Penstock runs from {home} (process {pid}): end it with 'kill {pid}'") from None


def follow_running_stack() -> None:
    """Make this process work with the stack that runs from its home, if one does: its environment, servers and keys.

    What the caller's environment says already is left alone.
    """
    process = Settings().process
    found = running(process.home.resolve())
    if found is None:
        return
    addresses = found[1]
    theirs = {"PENSTOCK_ENV": addresses.environment, "PREFECT_API_URL": addresses.prefect_api}
    if addresses.practice:
        theirs |= {"PENSTOCK_PRACTICE_URL": addresses.practice, **practice_key_variables(process.home)}
    for name, value in theirs.items():
        os.environ.setdefault(name, value)


class Supervisor:
    """Starts the children in order, deploys, and keeps them running until told to stop."""

    def __init__(self, settings: Settings, ports: StackPorts, database_url: Callable[[str], str], deploy: bool = True) -> None:
        """`database_url(name)` gives the URL of the database called `name`, created where it is missing."""
        self.home = settings.home
        self.ports = ports
        self.deploy = deploy
        self.logs = self.home / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.addresses = Addresses(
            environment=settings.process.env,
            prefect=f"http://127.0.0.1:{ports.prefect}",
            mlflow=f"http://127.0.0.1:{ports.mlflow}",
            database=_without_password(database_url("penstock")),
            practice=f"http://127.0.0.1:{ports.practice}" if settings.process.env == "practice" else "",
        )
        self._environment = self._child_environment(settings, database_url)
        self.children = self._make_children()
        self._stopping = False

    def start(self) -> None:
        """Start everything and return once it answers and the deployments exist."""
        _require_free(self.ports.prefect, "the Prefect server", "--prefect-port")
        _require_free(self.ports.mlflow, "the MLflow server", "--mlflow-port")
        if self.addresses.practice:
            _require_free(self.ports.practice, "the practice exchange", "--practice-port")
        *servers, worker = self.children
        for child in servers:
            child.start()
        for child in servers:
            child.wait_until_healthy(120)
        if self.deploy:
            self._deploy()
        worker.start()
        self._write_state()

    def watch(self, keep_database: Callable[[], object]) -> None:
        """Keep the children running until `stop_watching` is called (by a signal handler).

        `keep_database` starts the database again where it has died, and does nothing where it runs.
        """
        while not self._stopping:
            keep_database()
            for child in self.children:
                if child.process is not None and child.process.poll() is not None and not self._stopping:
                    with child.log.open("a", encoding="utf-8") as log:
                        log.write(f"\n{child.name} ended with code {child.process.returncode}; starting it again\n")
                    time.sleep(_RESTART_PAUSE_SECONDS)
                    child.start()
            time.sleep(0.5)

    def stop_watching(self) -> None:
        self._stopping = True

    def stop(self) -> None:
        """End the children, the worker first."""
        self._stopping = True
        for child in reversed(self.children):
            child.stop()
        state_file(self.home).unlink(missing_ok=True)

    def _child_environment(self, settings: Settings, database_url: Callable[[str], str]) -> dict[str, str]:
        prefect_database = database_url("prefect").replace("postgresql://", "postgresql+asyncpg://", 1)
        return {
            **os.environ,
            "PENSTOCK_HOME": str(self.home),
            "PENSTOCK_CONFIGS": str(settings.process.configs.resolve()),
            "PENSTOCK_ENV": settings.process.env,
            "PENSTOCK_DATABASE_URL": database_url("penstock"),
            "PENSTOCK_MLFLOW_URL": self.addresses.mlflow,
            "PENSTOCK_PRACTICE_URL": self.addresses.practice,
            **practice_key_variables(self.home),
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_API_URL": self.addresses.prefect_api,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect_database,
            "PREFECT_SERVER_UI_API_URL": "/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_WORKER_PREFETCH_SECONDS": "25",
            "PREFECT_WORKER_QUERY_SECONDS": "5",
            "DO_NOT_TRACK": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "NUMBA_CACHE_DIR": str(self.home / "numba"),
        }

    def _make_children(self) -> list[Child]:
        python = [sys.executable, "-m"]
        api = self.addresses.prefect_api
        # Artifacts by path, not through the server: commands without the server read the same database file.
        mlflow_store = [
            *("--backend-store-uri", f"sqlite:///{self.home / 'mlflow.db'}"),
            *("--default-artifact-root", str(self.home / "mlartifacts"), "--no-serve-artifacts"),
        ]
        host = ["--host", "127.0.0.1"]
        children = [
            self._child(
                "prefect-server",
                [*python, "prefect", "server", "start", *host, "--port", str(self.ports.prefect)],
                f"{api}/health",
            ),
            self._child(
                "mlflow-server",
                [*python, "mlflow", "server", *host, "--port", str(self.ports.mlflow), "--workers", "1", *mlflow_store],
                f"{self.addresses.mlflow}/health",
            ),
        ]
        if self.addresses.practice:
            serve = [*python, "penstock", "exchange", "serve", "--port", str(self.ports.practice)]
            children.insert(0, self._child("practice-exchange", serve, f"{self.addresses.practice}/api/v3/ping"))
        worker = [*python, "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", "local"]
        return [*children, self._child("worker", worker, None)]

    def _child(self, name: str, command: list[str], health_url: str | None) -> Child:
        return Child(name, command, self._environment, health_url, self.logs / f"{name}.log")

    def _deploy(self) -> None:
        prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
        self._run([*prefect, "work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"])
        self._run([*prefect, "deploy", "--all"])

    def _run(self, command: list[str]) -> None:
        log = self.logs / "deploy.log"
        with log.open("ab") as out:
            done = subprocess.run(command, env=self._environment, stdout=out, stderr=out, check=False)
        if done.returncode:
            raise StackError(f"'{' '.join(command[2:])}' failed with code {done.returncode}: read {log}")

    def _write_state(self) -> None:
        me = psutil.Process()
        state = {"pid": me.pid, "started": me.create_time(), **asdict(self.addresses)}
        temporary = state_file(self.home).with_suffix(".tmp")
        temporary.write_text(json.dumps(state), encoding="utf-8")
        temporary.replace(state_file(self.home))


def start_in_background(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the supervisor detached from this terminal."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _without_password(url: str) -> str:
    head, separator, tail = url.rpartition("@")
    if not separator:
        return url
    scheme, _, credentials = head.partition("://")
    return f"{scheme}://{credentials.partition(':')[0]}@{tail}"
