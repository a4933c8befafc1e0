"""The parts of the real stack: their commands, ports and environments."""

import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from penstock.adapters.stores.postgres.connection import address_of
from penstock.core.extras import extra
from penstock.settings import Settings
from penstock.stack.children import Child, require_free
from penstock.stack.environments import StackEnvironments
from penstock.stack.state import DEPLOYMENTS, Addresses
from penstock.stack.supervisor import StackPlan

WORK_POOL = "penstock"
_HOST = ("--host", "127.0.0.1")


@dataclass(frozen=True)
class StackPorts:
    """The ports of the stack's servers, all on 127.0.0.1."""

    prefect: int = 4200
    mlflow: int = 5000
    practice: int = 8190


def stack_addresses(settings: Settings, ports: StackPorts, database: str = "") -> Addresses:
    """Return where the stack of these settings answers. `database` is its address, once known."""
    configured = settings.process.database_url
    practice = settings.process.env == "practice"
    return Addresses(
        environment=settings.process.env,
        external_database=address_of(configured.get_secret_value()) if configured else "",
        prefect=f"http://127.0.0.1:{ports.prefect}",
        mlflow=f"http://127.0.0.1:{ports.mlflow}",
        database=database,
        practice=f"http://127.0.0.1:{ports.practice}" if practice else "",
    )


def stack_plan(
    settings: Settings, ports: StackPorts, database_url: Callable[[str], str]
) -> StackPlan:
    """Return what the stack of these settings runs.

    `database_url(name)` returns the URL of the database `name`, created if missing. Raises
    StackError where a port is taken.
    """
    addresses = stack_addresses(settings, ports, address_of(database_url("penstock")))
    require_free(ports.prefect, "the Prefect server", "--prefect-port")
    require_free(ports.mlflow, "the MLflow server", "--mlflow-port")
    if addresses.practice:
        require_free(ports.practice, "the practice exchange", "--practice-port")
    environments = StackEnvironments(settings, addresses, database_url)
    child = partial(_child, settings)
    practice = child(
        "practice-exchange",
        ["penstock", "exchange", "serve", "--port", str(ports.practice)],
        environments.practice_exchange(),
        f"{addresses.practice}/api/v3/ping",
        ports.practice,
    )
    prefect = child(
        "prefect-server",
        ["prefect", "server", "start", *_HOST, "--port", str(ports.prefect)],
        environments.prefect_server(),
        f"{addresses.prefect_api}/health",
        ports.prefect,
    )
    # Artifacts have paths: commands without the server read the same database file.
    store = ("--backend-store-uri", f"sqlite:///{settings.home / 'mlflow.db'}")
    artifacts = ("--default-artifact-root", str(settings.home / "mlartifacts"))
    mlflow = child(
        "mlflow-server",
        [
            *("penstock.adapters.mlflow.server", *_HOST, "--port", str(ports.mlflow)),
            *("--workers", "1", *store, *artifacts, "--no-serve-artifacts"),
        ],
        environments.mlflow_server(),
        f"{addresses.mlflow}/health",
        ports.mlflow,
    )
    pool = (WORK_POOL, "--type", "process")
    worker = child(
        "worker",
        ["prefect", "worker", "start", "--pool", *pool, "--name", "local"],
        environments.worker(),
    )
    deploying = environments.deploying()
    deployment = (
        ["prefect", "--no-prompt", "work-pool", "create", *pool, "--overwrite"],
        ["prefect", "--no-prompt", "deploy", "--all"],
    )
    return StackPlan(
        addresses,
        [*([practice] if addresses.practice else []), prefect, mlflow, worker],
        [child(DEPLOYMENTS, command, deploying) for command in deployment],
    )


def _child(
    settings: Settings,
    name: str,
    module: list[str],
    environment: Mapping[str, str],
    health_url: str | None = None,
    port: int | None = None,
) -> Child:
    return Child(
        name, [sys.executable, "-m", *module], environment, health_url, settings.home, port
    )


def require_servers(practice: bool) -> None:
    """Raise MissingExtraError where a server that the stack starts is not installed."""
    servers = {"prefect": "prefect", "research": "mlflow"} | (
        {"practice": "uvicorn"} if practice else {}
    )
    for name, distribution in servers.items():
        with extra(name):
            importlib.metadata.distribution(distribution)
