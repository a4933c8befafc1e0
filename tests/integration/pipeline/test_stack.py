"""The local stack for real: database, Prefect server and worker, MLflow and the practice exchange,
up and down again.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import State

import tasks.trading
from flows.rebalance_portfolio import rebalance_portfolio
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.pipeline.slots import _ingest, list_slots, trade_slot
from penstock.practice.faults import Fault, FaultKind
from tests.forked import ForkedPrograms
from tests.integration.pipeline.conftest import ACTOR, Place

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """A stack in a folder of its own, with a small universe. The commands that a user types drive
    it.
    """

    def __init__(self, folder: Path, programs: ForkedPrograms) -> None:
        self.programs = programs
        self.home = folder / "home"
        configs = Path(shutil.copytree(ROOT / "configs", folder / "configs"))
        universe = configs / "universe.yaml"
        kept = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
        lines = [
            line
            for line in universe.read_text().splitlines()
            if not re.match(r"  - \w+/USDT", line) or line[4:] in kept
        ]
        recent = (datetime.now(UTC) - timedelta(days=6)).date().isoformat()
        text = "\n".join(lines).replace("2021-01-01", "2025-06-01").replace("2026-10-01", recent)
        universe.write_text(text + "\n")
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PENSTOCK_", "PREFECT_"))
        }
        self.environment = {
            **clean,
            "PENSTOCK_HOME": str(self.home),
            "PENSTOCK_CONFIGS": str(configs),
        }
        self.ports = {name: free_port() for name in ("prefect", "mlflow", "practice")}
        self.api = f"http://127.0.0.1:{self.ports['prefect']}/api"

    def run(self, *command: str, timeout: float = 240) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env={**self.environment, "PREFECT_API_URL": self.api},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def command(self, *arguments: str) -> str:
        """Run a command that ends by itself, and leaves no process behind."""
        environment = {**self.environment, "PREFECT_API_URL": self.api}
        done = self.programs.run("penstock", *arguments, environment=environment, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self) -> str:
        ports = [f"--{name}-port={port}" for name, port in self.ports.items()]
        return self.run("penstock", "up", *ports)

    def runs(self, **state: Any) -> list[dict[str, Any]]:
        """Return the flow runs in a state, as the server tells them."""
        answer = httpx.post(
            f"{self.api}/flow_runs/filter",
            json={"flow_runs": {"state": state}, "limit": 100},
            trust_env=False,
        )
        return list(answer.json())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, forked: ForkedPrograms) -> Iterator[Stack]:
    """A running stack; whatever happens, nothing of it is left at the end."""
    stack = Stack(tmp_path_factory.mktemp("stack"), forked)
    try:
        stack.up()
        yield stack
    finally:
        stack.run("penstock", "down")
        EmbeddedPostgres(stack.home / "postgres").destroy()


def test_schedules_produce_scheduled_runs(stack: Stack) -> None:
    """Deploying is not enough: the server's scheduler must plan runs, which wrong library versions
    silently prevent.
    """
    deadline = 40
    for _ in range(deadline * 2):
        planned = {run["name"] for run in stack.runs(type={"any_": ["SCHEDULED"]})}
        if planned:
            return
        time.sleep(0.5)
    pytest.fail(f"no run was scheduled within {deadline} s")


def test_deployed_ingest_completes_in_the_worker_and_leaves_its_artifact(stack: Stack) -> None:
    """A run that a user starts completes in the worker, and its table says what came in."""
    stack.run(
        "prefect", "deployment", "run", "ingest-bars/ingest-1d", "--watch", "--watch-timeout=180"
    )
    found = httpx.post(
        f"{stack.api}/artifacts/latest/filter",
        json={"artifacts": {"key": {"any_": ["ingest-1d"]}}},
        trust_env=False,
    )
    (artifact,) = found.json()
    rows = json.loads(artifact["data"])
    assert {row["symbol"] for row in rows} == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}
    assert all(int(row["new"]) > 300 for row in rows)


def test_commands_follow_the_running_stack(stack: Stack) -> None:
    """A command that names no environment works on the environment of the stack."""
    said = stack.command("status")
    assert "practice" in said
    assert "already running" in stack.up()


def test_minute_service_trades_a_slot_that_shows_as_a_flow_run(stack: Stack) -> None:
    """Minute bars lead to a promoted model and to a slot traded at its close. The slot has its own
    run in the Prefect server.
    """
    for command in (
        "ingest -t 1m",
        "research --study practice-minute --trials 2",
        "promote --study practice-minute",
    ):
        stack.command(*command.split())
    said = stack.command("trade", "-p", "practice-minute", "--slots", "1")
    (line,) = [line for line in said.splitlines() if line.startswith("slot ")]
    lateness = float(re.search(r"late\s+([\d.]+) s", line).group(1))  # type: ignore[union-attr]
    assert lateness < 20, line
    assert ": done, 2 orders sent, 2 fills" in line
    slots = [
        run
        for run in stack.runs(type={"any_": ["COMPLETED"]})
        if run["name"].startswith("practice-minute-20")
    ]
    assert len(slots) == 1


def test_slot_that_fails_does_not_keep_a_newer_one_from_being_traded(
    stack: Stack, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue fails the older slot: its task fails, and so does the flow's run. The newer slot is
    traded.
    """
    portfolios = place.platform.settings.process.configs / "portfolio.yaml"
    catching_up = "max_lateness_minutes: 720\n  missed_slots: run_all"
    portfolios.write_text(
        portfolios.read_text().replace("max_lateness_minutes: 720", catching_up, 1)
    )
    trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    place.tomorrow()
    _ingest(place.platform, "daily", place.tomorrow())
    monkeypatch.setattr(tasks.trading, "worker_platform", lambda: place.platform)
    # as often as a read is tried
    place.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/account", times=4))
    with temporary_settings({PREFECT_API_URL: stack.api}):
        state: State[object] = rebalance_portfolio("daily", return_state=True)
    assert state.is_failed()
    found = list_slots(place.platform, ACTOR, "daily")
    assert [row.status for row in found] == ["done", "failed", "done"]
    assert "HTTP 503" in found[1].reason
    assert [title for title, _ in place.alerts] == [
        "practice-daily: slot 2024-06-02 00:00 was not finished"
    ]


def test_worker_that_is_killed_is_started_again(stack: Stack) -> None:
    """The supervisor replaces a child that dies."""
    supervisor = psutil.Process(json.loads((stack.home / "stack.json").read_text())["pid"])

    def worker() -> psutil.Process | None:
        alive = [child for child in supervisor.children() if child.status() != psutil.STATUS_ZOMBIE]
        return next((child for child in alive if "worker" in child.cmdline()), None)

    first = worker()
    assert first is not None
    first.kill()
    for _ in range(60):
        again = worker()
        if again is not None and again.pid != first.pid:
            return
        time.sleep(0.25)
    pytest.fail("the worker was not started again within 15 s")


def test_practice_exchange_that_is_killed_answers_again(stack: Stack) -> None:
    """The supervisor starts the venue again beside the running stack, whose database its children
    name themselves.
    """
    supervisor = psutil.Process(json.loads((stack.home / "stack.json").read_text())["pid"])
    (venue,) = [child for child in supervisor.children() if "exchange" in child.cmdline()]
    venue.kill()
    venue.wait(10)
    for _ in range(120):
        try:
            if (
                httpx.get(
                    f"http://127.0.0.1:{stack.ports['practice']}/api/v3/ping", trust_env=False
                ).status_code
                == 200
            ):
                return
        except httpx.HTTPError:
            time.sleep(0.25)
    pytest.fail(
        "the practice exchange did not answer within 30 s: "
        + (stack.home / "logs" / "practice-exchange.log").read_text()
    )


def test_down_leaves_no_process(stack: Stack) -> None:
    """Everything that was started ends, the database too."""
    supervisor = psutil.Process(json.loads((stack.home / "stack.json").read_text())["pid"])
    family = [supervisor, *supervisor.children(recursive=True)]
    said = stack.run("penstock", "down")
    assert "their supervisor have ended" in " ".join(said.split())
    assert not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE, (
        "down came back before it had ended"
    )
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [process.cmdline() for process in alive] == []
    assert not EmbeddedPostgres(stack.home / "postgres").running
