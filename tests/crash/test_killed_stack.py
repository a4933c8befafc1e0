"""The real local stack: each part and the supervisor itself are killed, at rest and while starting.
Nothing stays behind, nothing is lost, and what is said of it is true.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.server_home import ServerUser, server_home
from penstock.stack import Phase, Step, noted_stack
from penstock.stack.children import is_free
from penstock.stack.processes import Identity, marked
from tests.forked import ForkedPrograms
from tests.real_stack import ROOT, Stack

pytestmark = pytest.mark.soak
PARTS = ("practice-exchange", "prefect-server", "mlflow-server", "worker", "database")
SEED = 20261128
#: Supervisors that are killed while they start.
STARTS = 6


class Channel(BaseHTTPRequestHandler):
    """A channel of alerts that keeps their titles."""

    titles: list[str] = []  # noqa: RUF012 - one per test run

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.titles.append(json.loads(self.rfile.read(length))["title"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, forked: ForkedPrograms) -> Iterator[Stack]:
    """A stack whose alerts go to a channel."""
    channel = HTTPServer(("127.0.0.1", 0), Channel)
    threading.Thread(target=channel.serve_forever, daemon=True).start()
    stack = Stack(tmp_path_factory.mktemp("stack"), forked)
    stack.environment["PENSTOCK_NOTIFY_URLS"] = f"json://127.0.0.1:{channel.server_port}/"
    try:
        yield stack
    finally:
        stack.command("down")
        EmbeddedPostgres(stack.home / "postgres").destroy()
        channel.shutdown()


def wait(what: str, condition: object, seconds: float = 600) -> float:
    """Wait until `condition` holds, and return how long that took."""
    assert callable(condition)
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - began


def ask(stack: Stack, *arguments: str) -> tuple[int, str]:
    """Run a command that may fail. Return its code and its words, without tables' lines."""
    environment = {**stack.environment, "COLUMNS": "400"}
    done = stack.programs.run("penstock", *arguments, environment=environment, timeout=240)
    return done.returncode, done.stdout + done.stderr


def postmaster(stack: Stack) -> Identity:
    """Return the database's process."""
    folder = server_home(stack.home / "postgres", ServerUser.choose())
    found = Identity.of(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
    assert found is not None
    return found


def process_of(stack: Stack, name: str) -> Identity:
    if name == "database":
        return postmaster(stack)
    (found,) = (part.process for part in stack.note.parts if part.name == name)
    assert found is not None
    return found


def left(stack: Stack) -> list[str]:
    """Return what runs of the stack: processes, listeners, the database."""
    found = [name for name, processes in marked(stack.home).items() for _ in processes]
    found += [name for name, port in stack.ports.items() if not is_free(port)]
    return found + (["database"] if EmbeddedPostgres(stack.home / "postgres").running else [])


def bars(said: str) -> list[str]:
    """Return the lines of `penstock status` about stored bars."""
    return [line for line in said.splitlines() if "/USDT" in line and "1d" in line]


def test_every_part_is_killed_and_then_the_supervisor(stack: Stack) -> None:
    """Each part comes back with an alert and a line of the doctor. Of a killed supervisor `status`
    says what lives, `up` replaces it, `down` ends it; the database and its bars stay.
    """
    stack.up(timeout=900)
    stack.command("ingest", "-t", "1d")
    stored = bars(ask(stack, "status")[1])
    assert len(stored) == 3
    slowest = 0.0
    for name in PARTS:
        before, old = len(Channel.titles), process_of(stack, name)
        os.kill(old.pid, signal.SIGKILL)

        def is_back(name: str = name, old: Identity = old) -> bool:
            (part,) = (part for part in stack.note.parts if part.name == name)
            return part.deaths == 1 and part.step is Step.UP

        slowest = max(slowest, wait(f"{name} is back", is_back))
        assert process_of(stack, name) != old
        wait("its alert", lambda before=before: len(Channel.titles) > before)
        assert Channel.titles[before:] == [f"stack: {name} has ended"]
        code, said = ask(stack, "doctor")
        assert code == 0, said
        assert f"{name} was started again" in said
    assert bars(ask(stack, "status")[1]) == stored

    # held by SIGSTOP, it starts nothing again: what is dead is said
    supervisor, worker = stack.note.supervisor, process_of(stack, "worker")
    os.kill(supervisor.pid, signal.SIGSTOP)
    os.kill(worker.pid, signal.SIGKILL)
    code, said = ask(stack, "doctor")
    assert code == 1
    assert "is held by SIGSTOP" in said
    assert f"dead: worker (process {worker.pid})" in ask(stack, "status")[1]
    assert "already running" in stack.up_again()  # it lets the supervisor go on
    wait("the worker is back", lambda: process_of(stack, "worker") != worker)

    note, database = stack.note, postmaster(stack)
    os.kill(supervisor.pid, signal.SIGKILL)
    wait("the supervisor's end", lambda: not supervisor.alive)
    code, said = ask(stack, "status")
    assert said.startswith("environment practice")
    assert f"its supervisor (process {supervisor.pid}) has died; alive: database" in said
    assert bars(said) == stored
    code, said = ask(stack, "doctor")
    assert code == 1
    assert "has died" in said
    assert "this command works with practice" in ask(stack, "breaks")[1]
    said = stack.up(timeout=900)
    assert "ended what it had left running: worker" in " ".join(said.split())
    assert not [part.name for part in note.parts if part.alive]
    assert postmaster(stack) == database
    assert bars(ask(stack, "status")[1]) == stored
    wait("its alert", lambda: "stack: its supervisor had ended" in Channel.titles)

    # everything is killed, the database too
    note = stack.note
    for victim in (note.supervisor, process_of(stack, "prefect-server"), postmaster(stack)):
        os.kill(victim.pid, signal.SIGKILL)
    wait("its end", lambda: not note.supervisor.alive)
    said = stack.command("down")
    assert "stopped what had lost its supervisor" in said
    assert left(stack) == []
    assert "nothing is running" in stack.command("down")
    assert "environment paper" in ask(stack, "status")[1]
    stack.up(timeout=900)
    assert bars(ask(stack, "status")[1]) == stored
    assert "their supervisor have ended" in stack.command("down")
    assert left(stack) == []
    print(f"{len(PARTS)} parts killed, each back within {slowest:.0f} s; 3 supervisors killed")


def test_supervisors_that_are_killed_while_they_start(stack: Stack) -> None:
    """Whatever they had reached, the next one replaces it, and `down` leaves nothing."""
    moments = random.Random(SEED)
    for number in range(STARTS):
        with open(os.devnull, "wb") as nowhere:
            up = subprocess.Popen(
                [sys.executable, "-m", "penstock", "up", *stack.options],
                env=dict(stack.environment),
                cwd=ROOT,
                stdout=nowhere,
                stderr=nowhere,
            )
        steps = moments.randint(0, 5)

        def reached(steps: int = steps) -> bool:
            note = noted_stack(stack.home)
            done = note.parts if note is not None and note.supervised else ()
            return len([part for part in done if part.step is Step.UP]) >= steps and bool(done)

        wait(f"{steps} steps", reached)
        time.sleep(moments.random() * 2)
        os.kill(stack.note.supervisor.pid, signal.SIGKILL)
        up.kill() if number % 2 else up.wait(120)
        up.wait()
    stack.up(timeout=900)
    assert stack.note.phase is Phase.RUNNING
    assert ask(stack, "doctor")[0] == 0
    stack.command("down")
    assert left(stack) == []
    print(f"{STARTS} supervisors killed while they started; the next one came up, nothing is left")
