"""The files for Docker, as far as they can be tested without it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from penstock.adapters.stores.postgres import Database
from tests.servers import DatabaseServers

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/penstock.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def database(
    servers: DatabaseServers,
) -> Iterator[Database]:
    with servers.opened() as (_, database):
        yield database


def test_every_variable_stands_in_the_example() -> None:
    """Whoever copies .env.example sees every value that compose.yaml asks for."""
    asked = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE))
    offered = set(
        re.findall(
            r"^([A-Z_]+)=", (DEPLOY / ".env.example").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert asked == offered


def test_ports_are_bound_to_loopback() -> None:
    """No service is reachable from another machine."""
    services = yaml.safe_load(COMPOSE)["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_servers_ask_for_a_password_and_answer_no_foreign_page() -> None:
    """Prefect and MLflow have the same passwords as the worker that talks to them. Prefect answers
    its own page alone, and MLflow is started behind Penstock's check.
    """
    services = yaml.safe_load(COMPOSE)["services"]
    server, mlflow, worker = (
        services[name]["environment"] for name in ("prefect-server", "mlflow", "worker")
    )
    assert server["PREFECT_SERVER_API_AUTH_STRING"].startswith("${PREFECT_AUTH:?")
    assert worker["PREFECT_API_AUTH_STRING"] == "${PREFECT_AUTH}"
    assert server["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    origins = server["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert origins == ["http://127.0.0.1:4200", "http://localhost:4200"]
    assert services["mlflow"]["command"][:3] == ["python", "-m", "penstock.adapters.mlflow.server"]
    assert mlflow["PENSTOCK_MLFLOW_AUTH"].startswith("penstock:${MLFLOW_PASSWORD:?")
    assert worker["PENSTOCK_MLFLOW_URL"] == "http://penstock:${MLFLOW_PASSWORD}@mlflow:5000"
    keys = [name for name in (*server, *mlflow) if name.startswith("BINANCE_")]
    assert not keys


def test_mounted_files_exist() -> None:
    """Docker would make an empty folder of a missing one."""
    mounts = [
        volume
        for service in yaml.safe_load(COMPOSE)["services"].values()
        for volume in service.get("volumes", [])
    ]
    local = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert local
    assert all((DEPLOY / path).exists() for path in local)


def test_image_holds_no_commons_clause() -> None:
    """The image installs the pins of `make setup`, and vectorbt is not among them."""
    image = _pins(DEPLOY / "requirements.lock")
    assert image.items() <= _pins(ROOT / "requirements.lock").items()
    assert {"prefect", "great-expectations", "optuna", "mlflow"} <= image.keys()
    assert "vectorbt" not in image
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (.*requirements.*) \./$", dockerfile, re.MULTILINE)
    assert copied == ["requirements-uv.lock deploy/requirements.lock"]


def _pins(lock: Path) -> dict[str, str]:
    return dict(
        re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    )


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_dashboard_query_fits_the_schema(
    database: Database, panel: dict[str, list[dict[str, str]]]
) -> None:
    """Every panel's SQL runs on a migrated database."""
    with database.transaction() as connection:
        for target in panel["targets"]:
            connection.execute(_filled_in(target["rawSql"]).encode())


@pytest.mark.parametrize(
    "variable", DASHBOARD["templating"]["list"], ids=lambda variable: variable["name"]
)
def test_dashboard_variable_fits_the_schema(database: Database, variable: dict[str, str]) -> None:
    """Every drop-down's SQL runs on a migrated database."""
    with database.transaction() as connection:
        connection.execute(_filled_in(variable["query"]).encode())


def _filled_in(query: str) -> str:
    """Grafana's macros and variables as Grafana would put them."""
    query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '2025-01-01' AND '2026-01-01'", query)
    return (
        query.replace("$timeframe", "60")
        .replace("$account", "a")
        .replace("$exchange", "x")
        .replace("$symbol", "BTC/USDT")
    )
