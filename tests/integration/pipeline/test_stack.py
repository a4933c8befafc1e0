"""The local stack for real: database, Prefect server and worker, MLflow and the practice exchange,
up and down again.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

import tasks.trading
from flows.rebalance_portfolio import rebalance_portfolio
from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.pipeline.slots import _ingest, list_slots, trade_slot
from penstock.practice.faults import Fault, FaultKind
from tests.forked import ForkedPrograms
from tests.integration.pipeline.conftest import ACTOR, OneVersion, Place
from tests.real_stack import Stack, works_as

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, forked: ForkedPrograms) -> Iterator[Stack]:
    """A running stack; whatever happens, nothing of it is left at the end."""
    stack = Stack(tmp_path_factory.mktemp("stack"), forked)
    try:
        stack.up()
        yield stack
    finally:
        stack.command("down")
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
    """A run that a user starts completes in the worker. Its lines are shown as they come, its
    message and its table say what came in.
    """
    said = stack.run(
        "prefect", "deployment", "run", "ingest-bars/ingest-1d", "--watch", "--watch-timeout=180"
    )
    assert "Beginning flow run 'ingest-1d'" in " ".join(said.split())
    ended = [run for run in stack.runs(type={"any_": ["COMPLETED"]}) if run["name"] == "ingest-1d"]
    assert re.fullmatch(
        r"1d: 3 symbols, \d{4,} bars new, 0 revised, 0 quarantined, no gaps",
        ended[0]["state"]["message"],
    )
    found = stack.ask("artifacts/latest", {"artifacts": {"key": {"any_": ["ingest-1d"]}}})
    (artifact,) = found.json()
    rows = json.loads(artifact["data"])
    assert {row["symbol"] for row in rows} == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}
    assert all(int(row["new"]) > 300 for row in rows)


def test_commands_follow_the_running_stack(stack: Stack) -> None:
    """A command that names no environment works on the environment of the stack."""
    said = stack.command("status")
    assert "practice" in said
    assert "already running" in stack.up_again()


#: A page of another site, one of another server on this machine, and one in a sandboxed frame.
FOREIGN = ("https://evil.example", "http://127.0.0.1:9", "null")
#: What a page would do: make a deployment that runs a shell beside the keys.
DEPLOYMENT = {"name": "evil", "flow_id": "00000000-0000-0000-0000-000000000000"}


def test_prefect_refuses_whoever_has_no_auth_string(stack: Stack) -> None:
    """Without the auth string, or with another, 401: for what is read and for what is made. Only
    the health check answers everyone.
    """
    user, _, password = stack.secret("prefect-auth").partition(":")
    version, csrf, made = (
        f"{stack.api}/{path}"
        for path in ("admin/version", "csrf-token?client=page", "deployments/")
    )
    for auth in (None, ("penstock", "guessed")):
        with httpx.Client(auth=auth, trust_env=False) as stranger:
            assert stranger.get(f"{stack.api}/health").status_code == 200
            assert stranger.get(version).status_code == 401
            assert stranger.get(csrf).status_code == 401
            # the CSRF check stands before the password's
            assert stranger.post(made, json=DEPLOYMENT).status_code == 403
    with httpx.Client(auth=(user, password), trust_env=False) as client:
        assert client.get(version).status_code == 200
        token = client.get(csrf).json()["token"]
    headers = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "page"}
    refused = httpx.post(made, json=DEPLOYMENT, headers=headers, trust_env=False)
    assert refused.status_code == 401


@pytest.mark.parametrize("origin", FOREIGN)
def test_prefect_refuses_a_page_of_another_origin(stack: Stack, origin: str) -> None:
    """A browser asks first whether the page may: it may not. What it sends without asking is
    refused for want of a CSRF token, even where the browser knows the password. The page cannot
    read a token. Prefect's own page may all of that.
    """
    user, _, password = stack.secret("prefect-auth").partition(":")
    own = stack.api.removesuffix("/api")
    asking = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,prefect-csrf-token",
    }
    with httpx.Client(auth=(user, password), trust_env=False) as client:
        made = f"{stack.api}/deployments/"
        preflight = client.options(made, headers={"Origin": origin, **asking})
        assert preflight.status_code == 400
        assert "access-control-allow-origin" not in preflight.headers
        form = {"Origin": origin, "Content-Type": "text/plain"}
        simple = client.post(made, content=json.dumps(DEPLOYMENT), headers=form)
        assert simple.status_code == 403
        token = client.get(f"{stack.api}/csrf-token?client=page", headers={"Origin": origin})
        assert "access-control-allow-origin" not in token.headers
        assert client.options(made, headers={"Origin": own, **asking}).status_code == 200
    assert stack.ask("flow_runs", {"limit": 1}, Origin=own).status_code == 200


def test_prefect_shows_the_pages_that_ask_nobody_else(stack: Stack) -> None:
    """A browser is not sent on to the V2 pages: they ask another company's server."""
    page = httpx.get(
        f"http://127.0.0.1:{stack.ports['prefect']}/",
        headers={"Accept": "text/html"},
        trust_env=False,
    )
    assert page.status_code == 200
    assert not page.is_redirect


@pytest.mark.parametrize("path", ["events/in", "logs/out"])
def test_prefect_opens_no_socket_to_a_page(stack: Stack, path: str) -> None:
    """A page may open a WebSocket anywhere. An event starts deployments, and lines have what runs
    say. Without the auth string the server refuses it, or closes it once it hears another.
    """
    address = stack.api.replace("http://", "ws://") + f"/{path}"
    with pytest.raises(InvalidStatus, match="HTTP 403"):
        connect(address, origin=Origin(FOREIGN[0]), proxy=None)
    with connect(address, subprotocols=[Subprotocol("prefect")], proxy=None) as asked:
        asked.send(json.dumps({"type": "auth", "token": "penstock:guessed"}))
        with pytest.raises(ConnectionClosed, match="Invalid token"):
            asked.recv(timeout=10)


def test_mlflow_and_practice_exchange_refuse_whoever_has_no_token(stack: Stack) -> None:
    """Neither answers without its token, nor a page of another origin with it. Venue calls stay as
    a venue has them.
    """
    user, _, password = stack.secret("mlflow-auth").partition(":")
    bearer = {"Authorization": f"Bearer {stack.secret('practice-token')}"}
    listed = f"{stack.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    clock = f"{stack.practice}/practice/clock"
    with httpx.Client(trust_env=False) as client:
        assert client.get(listed).status_code == 401
        assert client.get(stack.mlflow).status_code == 401
        assert client.get(listed, auth=(user, password)).status_code == 200
        assert client.get(clock).status_code == 401
        assert client.get(clock, headers=bearer).status_code == 200
        for origin in FOREIGN:
            page = {"Origin": origin}
            assert client.get(listed, auth=(user, password), headers=page).status_code == 403
            assert client.get(clock, headers={**bearer, **page}).status_code == 403
        assert client.get(f"{stack.practice}/api/v3/ping").status_code == 200


def test_secrets_of_the_stack_are_their_owners_alone(stack: Stack) -> None:
    """The files have mode 0600, and no log has what is in them. The worker has no password of
    Prefect's database, and what `up` prints says where to look and not what is there.
    """
    names = ("prefect-auth", "mlflow-auth", "practice-token")
    assert {(stack.home / name).stat().st_mode & 0o777 for name in names} == {0o600}
    passwords = [stack.secret(name).rpartition(":")[2] for name in names]
    said = stack.up_again()
    assert all(str(stack.home / name) in said.replace("\n", "") for name in names[:2])
    logs = "".join(path.read_text(errors="replace") for path in (stack.home / "logs").iterdir())
    assert not [password for password in passwords if password in said + logs]
    supervisor = psutil.Process(json.loads((stack.home / "stack.json").read_text())["pid"])
    children = supervisor.children()
    (worker,) = (child.environ() for child in children if works_as(child, "--pool"))
    assert worker["PREFECT_API_AUTH_STRING"] == stack.secret("prefect-auth")
    assert not [name for name in worker if name.startswith("PREFECT_SERVER_")]
    assert "NOBODY_NEEDS_THIS" in supervisor.environ()
    for child in children:
        assert "NOBODY_NEEDS_THIS" not in child.environ()
        assert not any(password in " ".join(child.cmdline()) for password in passwords)


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
    assert slots[0]["state"]["message"] == line


def test_slot_that_fails_does_not_keep_a_newer_one_from_being_traded(
    stack: Stack, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue fails the older slot: its task fails, and so does the flow's run. The newer slot is
    traded. A portfolio that never had a champion is left alone.
    """

    class NoVersion(OneVersion):
        def find(self, name: str, alias_or_version: str) -> None:  # type: ignore[override]
            return None

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
    auth = stack.secret("prefect-auth")
    with temporary_settings({PREFECT_API_URL: stack.api, PREFECT_API_AUTH_STRING: auth}):
        state: State[Any] = rebalance_portfolio("daily", return_state=True)
        vars(place.platform).update(registry=NoVersion())
        idle: State[Any] = rebalance_portfolio("first-day", return_state=True)
    assert (idle.name, (idle.message or "")[:14]) == ("Skipped", "nothing trades"), idle.message
    assert state.is_failed()
    assert "HTTP 503" in (state.message or "")
    assert "2024-06-03 00:00: done, " in (state.message or "")
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
        return next((child for child in supervisor.children() if works_as(child, "worker")), None)

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
    (venue,) = [child for child in supervisor.children() if works_as(child, "exchange")]
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
    said = stack.command("down")
    assert "their supervisor have ended" in " ".join(said.split())
    assert not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE, (
        "down came back before it had ended"
    )
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [process.cmdline() for process in alive] == []
    assert not EmbeddedPostgres(stack.home / "postgres").running
