"""A stack of cheap real processes under the real supervisor: a server that answers, a worker with a
process of its own, and a database that outlives its starter.

Run as a program with the home, the server's port and optional words, it is the supervisor.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from penstock.stack import Addresses, StackAlerts, StackNote, StackPlan, Supervisor, noted_stack
from penstock.stack.children import Child, is_free
from penstock.stack.processes import Identity
from penstock.stack.state import read_stack

_PYTHON = (sys.executable, "-I", "-S", "-c")
#: Answers any request; what listens is a child of what was started, as with MLflow's server.
_SERVER = (
    "import os, socket, sys, time\n"
    "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()\n"
    "if os.fork(): time.sleep(10_000)\n"
    "while True:\n"
    "    c, _ = s.accept(); c.recv(9999)\n"
    "    c.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'); c.close()\n"
)
_WORKER = "sleep 10000 & exec sleep 10000"
#: Ends only when it is killed.
_STUBBORN = "trap '' TERM; sleep 10000 & wait; wait; sleep 10000"


def addresses_of(port: int) -> Addresses:
    url = f"http://127.0.0.1:{port}"
    return Addresses("practice", "", url, url, "penstock@127.0.0.1:1/penstock", url)


@dataclass
class SleepingDatabase:
    """A DatabaseServer that is a sleeping process with its pid in a file."""

    home: Path

    @property
    def _pid(self) -> Path:
        return self.home / "database.pid"

    @property
    def exists(self) -> bool:
        return self._pid.exists()

    @property
    def identity(self) -> Identity | None:
        return Identity.of(int(self._pid.read_text())) if self.exists else None

    @property
    def running(self) -> bool:
        found = self.identity
        return found is not None and found.alive

    def start(self) -> str:
        if not self.running:
            made = subprocess.Popen(["sleep", "10000"], start_new_session=True)
            self._pid.write_text(str(made.pid))
        return self.database_url("penstock")

    def database_url(self, name: str) -> str:
        return f"postgresql://penstock@127.0.0.1:1/{name}"

    def stop(self) -> None:
        if self.running:
            os.kill(int(self._pid.read_text()), signal.SIGKILL)

    def stop_if_unused(self) -> None:
        self.stop()

    def destroy(self) -> None:
        self.stop()


@dataclass
class FileNotifier:
    """A Notifier that appends titles and bodies to a file. While a file "refuse" is beside it, no
    alert is taken.
    """

    path: Path

    def notify(self, title: str, body: str) -> bool:
        if self.path.with_name("refuse").exists():
            return False
        with self.path.open("a") as file:
            file.write(f"{title}: {body}\n")
        return True


def supervise(home: Path, port: int, *words: str) -> None:
    """Be the supervisor of a cheap stack, until SIGTERM. `words` make a part misbehave."""
    environment = {"PATH": os.environ["PATH"]}

    def child(name: str, command: list[str], *, serves: bool = False) -> Child:
        url = f"http://127.0.0.1:{port}/" if serves else None
        return Child(name, command, environment, url, home, port if serves else None)

    silent = ["sleep", "10000"]
    server = silent if "silent" in words else [*_PYTHON, _SERVER, str(port)]
    worker = ["sh", "-c", _STUBBORN if "stubborn" in words else _WORKER]
    worker = ["sh", "-c", "exit 3"] if "broken" in words else worker
    parts = [child("prefect-server", server, serves=True), child("worker", worker)]
    plan = StackPlan(addresses_of(port), parts, [child("deployments", ["sh", "-c", "exit 0"])])
    alerts = StackAlerts(FileNotifier(home / "alerts.txt"))
    database = SleepingDatabase(home)
    supervisor = Supervisor(home, addresses_of(port), alerts, database=database)
    signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
    supervisor.run(lambda: plan, lambda note: None)


class CheapStack:
    """A cheap stack in a home of its own, from outside."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port = home, port
        self.database = SleepingDatabase(home)
        self._supervisors: list[multiprocessing.process.BaseProcess] = []

    def begin(self, *words: str) -> multiprocessing.process.BaseProcess:
        """Start a supervisor, and wait for nothing."""
        made = multiprocessing.get_context("fork").Process(
            target=supervise, args=(self.home, self.port, *words)
        )
        made.start()
        self._supervisors.append(made)
        return made

    def up(self, *words: str) -> StackNote:
        """Start a supervisor and return its note once all is up."""
        pid = self.begin(*words).pid
        self.wait(lambda: self.note is not None and self.note.is_up)
        assert self.note is not None
        assert self.note.supervisor.pid == pid
        return self.note

    @property
    def note(self) -> StackNote | None:
        return noted_stack(self.home)

    @property
    def alerts(self) -> list[str]:
        path = self.home / "alerts.txt"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def program(self) -> list[str]:
        """The command that is a supervisor of this home."""
        return [sys.executable, "-m", "tests.cheap_stack", str(self.home), str(self.port)]

    def kill_supervisor(self) -> StackNote:
        """Kill the supervisor without a warning, and return what it had noted."""
        note = read_stack(self.home)
        assert note is not None
        os.kill(note.supervisor.pid, signal.SIGKILL)
        self.wait(lambda: not note.supervisor.alive)
        return note

    def wait(self, condition: Callable[[], bool], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.note, self.alerts)
            time.sleep(0.02)

    def processes(self) -> list[psutil.Process]:
        """Return every process that has this home's mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PENSTOCK_STACK_PART", "").endswith(f"@{self.home}"):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def is_gone(self) -> bool:
        """Whether nothing of the stack is left: no process, no listener, no note, no database."""
        return (
            not self.processes()
            and is_free(self.port)
            and self.note is None
            and not self.database.running
        )

    def clean(self) -> None:
        """End whatever a failed test left."""
        for supervisor in self._supervisors:
            supervisor.kill()
            supervisor.join()
        for process in self.processes():
            process.kill()
        self.database.stop()


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
