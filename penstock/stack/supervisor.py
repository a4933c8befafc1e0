"""The supervisor: what runs, in which order and with which settings."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from penstock.adapters.stores.postgres.connection import address_of
from penstock.core.extras import extra
from penstock.core.machine import SYSTEM_CLOCK
from penstock.settings import Settings
from penstock.stack.children import Child, StackError, require_free
from penstock.stack.environments import StackEnvironments
from penstock.stack.state import Addresses, forget_state, write_state

WORK_POOL = "penstock"
_RESTART_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class StackPorts:
    """The ports of the stack's servers, all on 127.0.0.1."""

    prefect: int = 4200
    mlflow: int = 5000
    practice: int = 8190


class Supervisor:
    """Starts the children in order, deploys, and keeps them running until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        ports: StackPorts,
        database_url: Callable[[str], str],
        deploy: bool = True,
    ) -> None:
        """`database_url(name)` returns the URL of the database `name`, created if missing."""
        self.home = settings.home
        self.ports = ports
        self.deploy = deploy
        self.logs = self.home / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        configured = settings.process.database_url
        self.addresses = Addresses(
            environment=settings.process.env,
            external_database=address_of(configured.get_secret_value()) if configured else "",
            prefect=f"http://127.0.0.1:{ports.prefect}",
            mlflow=f"http://127.0.0.1:{ports.mlflow}",
            database=address_of(database_url("penstock")),
            practice=f"http://127.0.0.1:{ports.practice}"
            if settings.process.env == "practice"
            else "",
        )
        self._environments = StackEnvironments(settings, self.addresses, database_url)
        self.children = self._make_children()
        self._stopping = False

    def start(self) -> None:
        """Start all; return once the servers answer and the deployments exist."""
        require_free(self.ports.prefect, "the Prefect server", "--prefect-port")
        require_free(self.ports.mlflow, "the MLflow server", "--mlflow-port")
        if self.addresses.practice:
            require_free(self.ports.practice, "the practice exchange", "--practice-port")
        *servers, worker = self.children
        for child in servers:
            child.start()
        for child in servers:
            child.wait_until_healthy(120)
        if self.deploy:
            self._deploy()
        worker.start()
        write_state(self.home, self.addresses)

    def watch(self, keep_database: Callable[[], object]) -> None:
        """Keep the children running until `stop_watching` is called, by a signal handler.

        `keep_database` starts the database again where it has died.
        """
        while not self._stopping:
            keep_database()
            for child in self.children:
                if (
                    child.process is not None
                    and child.process.poll() is not None
                    and not self._stopping
                ):
                    with child.log.open("a", encoding="utf-8") as log:
                        log.write(
                            f"\n{child.name} ended with code {child.process.returncode}; "
                            "starting it again\n"
                        )
                    SYSTEM_CLOCK.sleep(_RESTART_PAUSE_SECONDS)
                    child.start()
            SYSTEM_CLOCK.sleep(0.5)

    def stop_watching(self) -> None:
        """Let `watch` return."""
        self._stopping = True

    def stop(self) -> None:
        """End the children, the worker first."""
        self._stopping = True
        for child in reversed(self.children):
            child.stop()
        forget_state(self.home)

    def _make_children(self) -> list[Child]:
        python = [sys.executable, "-m"]
        api = self.addresses.prefect_api
        # Artifacts have paths: commands without the server read the same database file.
        mlflow_store = [
            *("--backend-store-uri", f"sqlite:///{self.home / 'mlflow.db'}"),
            *("--default-artifact-root", str(self.home / "mlartifacts"), "--no-serve-artifacts"),
        ]
        host = ["--host", "127.0.0.1"]
        children = [
            self._child(
                "prefect-server",
                [*python, "prefect", "server", "start", *host, "--port", str(self.ports.prefect)],
                self._environments.prefect_server(),
                f"{api}/health",
            ),
            self._child(
                "mlflow-server",
                [
                    *python,
                    "penstock.adapters.mlflow.server",
                    *host,
                    "--port",
                    str(self.ports.mlflow),
                    "--workers",
                    "1",
                    *mlflow_store,
                ],
                self._environments.mlflow_server(),
                f"{self.addresses.mlflow}/health",
            ),
        ]
        if self.addresses.practice:
            serve = [*python, "penstock", "exchange", "serve", "--port", str(self.ports.practice)]
            children.insert(
                0,
                self._child(
                    "practice-exchange",
                    serve,
                    self._environments.practice_exchange(),
                    f"{self.addresses.practice}/api/v3/ping",
                ),
            )
        worker = [
            *python,
            "prefect",
            "worker",
            "start",
            "--pool",
            WORK_POOL,
            "--type",
            "process",
            "--name",
            "local",
        ]
        return [*children, self._child("worker", worker, self._environments.worker(), None)]

    def _child(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        health_url: str | None,
    ) -> Child:
        return Child(name, command, environment, health_url, self.logs / f"{name}.log")

    def _deploy(self) -> None:
        prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
        self._run([*prefect, "work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"])
        self._run([*prefect, "deploy", "--all"])

    def _run(self, command: list[str]) -> None:
        log = self.logs / "deploy.log"
        with log.open("ab") as out:
            done = subprocess.run(
                command,
                env=self._environments.deploying(),
                stdout=out,
                stderr=out,
                check=False,
            )
        if done.returncode:
            raise StackError(
                f"'{' '.join(command[2:])}' failed with code {done.returncode}: read {log}"
            )


def require_servers(practice: bool) -> None:
    """Raise MissingExtraError where a server that the stack starts is not installed."""
    servers = {"prefect": "prefect", "research": "mlflow"} | (
        {"practice": "uvicorn"} if practice else {}
    )
    for name, distribution in servers.items():
        with extra(name):
            importlib.metadata.distribution(distribution)


def start_in_background(
    command: list[str], environment: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start the supervisor detached from this terminal, in the given environment."""
    return subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
