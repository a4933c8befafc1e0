"""Practice exchanges in processes forked from one that has imported the libraries already.

Starting one takes half a second of imports otherwise, and the suites start hundreds. Each still is
a process of its own that reads its configuration from standard input and ends when that closes.
"""

import importlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
#: Imported before the first fork. Nothing of it starts a thread.
_PRELOADED = (
    "polars",
    "numpy",
    "pydantic",
    "starlette.applications",
    "uvicorn",
    "uvicorn.lifespan.off",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "penstock.practice.app",
    "penstock.practice.book",
    "penstock.practice.filters",
    "penstock.practice.matching",
    "penstock.practice.public_api",
    "penstock.practice.server",
    "penstock.practice.synthetic",
    "penstock.practice.venue",
)


class ForkedVenue:
    """A venue's process: what PracticeServer uses of `subprocess.Popen`."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self._ended = False

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended. Its parent keeps the exit code, so this says 0."""
        if not self._ended:
            try:
                end = os.pidfd_open(self.pid)
            except ProcessLookupError:
                self._ended = True
                return 0
            try:
                if not select.select([end], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("practice exchange", timeout or 0)
            finally:
                os.close(end)
            self._ended = True
        return 0

    def _signal(self, number: signal.Signals) -> None:
        if not self._ended:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                self._ended = True


class ForkedVenues:
    """One process that forks practice exchanges, started when the first is asked for."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def start(self) -> ForkedVenue:
        """Fork a process that will serve the configuration written to its standard input."""
        read, configuration = os.pipe()
        answer, write = os.pipe()
        with self._lock:
            if self._server is None:
                self._server = subprocess.Popen(
                    [sys.executable, str(Path(__file__))],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            ours = f"/proc/{os.getpid()}/fd"
            print(f"{ours}/{read} {ours}/{write}", file=self._server.stdin, flush=True)
            pid = int(self._server.stdout.readline())
        os.close(read)
        os.close(write)
        return ForkedVenue(pid, os.fdopen(configuration, "wb"), os.fdopen(answer, "rb"))

    def stop(self) -> None:
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()
            self._server.wait(20)


def _fork_venues() -> None:
    """Fork a venue for each line of standard input and answer with its process id."""
    sys.path.insert(0, str(ROOT))
    for name in _PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a venue ended
    for line in sys.stdin:
        configuration, answer = (
            os.open(path, flags)
            for path, flags in zip(line.split(), (os.O_RDONLY, os.O_WRONLY), strict=True)
        )
        child = os.fork()
        if child == 0:
            _become_venue(configuration, answer)
        os.close(configuration)
        os.close(answer)
        print(child, flush=True)
    os._exit(0)


def _become_venue(configuration: int, answer: int) -> None:
    """Serve in this process until it ends, as `python -m penstock.practice.server` does."""
    from penstock.practice.server import _serve_for_owner

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(configuration, 0)
    os.dup2(answer, 1)
    os.close(configuration)
    os.close(answer)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - what the parent has read ahead is not ours
    try:
        _serve_for_owner()
    finally:
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    _fork_venues()
