"""prefect.yaml: every entrypoint loads for real, takes its parameters, and its schedules are read
as meant.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import Flow, load_flow_from_entrypoint

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def load(deployment: dict[str, Any]) -> Flow[Any, Any]:
    return load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_entrypoint_loads_without_a_placeholder(deployment: dict[str, Any]) -> None:
    """A placeholder would deploy and then fail in the worker: the real flow must import here."""
    assert isinstance(load(deployment), Flow)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_parameters_fit_the_flow(deployment: dict[str, Any]) -> None:
    """A deployment's parameters are the flow's own, with values it accepts."""
    flow = load(deployment)
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    flow.validate_parameters(deployment["parameters"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_runs_one_at_a_time_on_utc_schedules(deployment: dict[str, Any]) -> None:
    """Two runs of one deployment never overlap, and a schedule says its time zone."""
    assert deployment["concurrency_limit"]["limit"] == 1
    assert deployment["schedules"]
    assert all(
        schedule["timezone"] == "UTC" and schedule["slug"] for schedule in deployment["schedules"]
    )


def test_every_flow_file_is_deployed() -> None:
    """A flow that nothing schedules is forgotten: each file has a deployment."""
    deployed = {deployment["entrypoint"].split(":")[0] for deployment in DEPLOYMENTS}
    assert deployed == {f"flows/{path.name}" for path in (ROOT / "flows").glob("[a-z]*.py")}


def test_minute_service_is_revived_as_shipped() -> None:
    """Nobody has to switch on what starts the minute service again after it has ended."""
    (service,) = [each for each in DEPLOYMENTS if each["name"] == "trade-minutes"]
    (revive,) = service["schedules"]
    assert (revive["slug"], revive["cron"], revive["active"]) == ("revive", "*/5 * * * *", True)
