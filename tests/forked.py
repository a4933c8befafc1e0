"""Runs Python programs in processes forked from one that has imported the libraries already.

Importing them takes a second of work, and the suites run a hundred commands. Each program still has
a process, an environment, a working folder and standard streams of its own.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Imported before the first fork. What reads the environment or starts a thread is not among them.
_PRELOADED = (
    "numpy",
    "polars",
    "psycopg_pool",
    "pydantic_settings",
    "rich.console",
    "rich.markdown",
    "rich.progress",
    "typer.rich_utils",
    "ccxt",
    "httpx",
    "uvicorn",
    "penstock.wiring",
    "penstock.pipeline.halts",
    "penstock.pipeline.ingest",
    "penstock.pipeline.ledger_audit",
    "penstock.pipeline.practice_venue",
    "penstock.pipeline.rebalance",
    "penstock.pipeline.reconcile",
    "penstock.pipeline.slots",
    "penstock.pipeline.status",
    "penstock.practice.app",
    "penstock.practice.server",
    "penstock.stack",
    "mlflow",
    "sqlalchemy.orm",
)


@dataclass(frozen=True)
class Done:
    """How a program ended: its exit code (negative: the signal that killed it) and its output."""

    returncode: int
    stdout: str
    stderr: str


class ForkedPrograms:
    """One process that forks programs, for a session of tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        folder: Path = ROOT,
        timeout: float = 150,
    ) -> Done:
        """Run `python -m module` with the arguments and return how it ended.

        A program that takes longer than `timeout` seconds is killed.
        """
        self._count += 1
        out, err = self._folder / f"{self._count}.out", self._folder / f"{self._count}.err"
        order = {
            "module": module,
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(folder),
            "out": str(out),
            "err": str(err),
            "timeout": timeout,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        return Done(code, out.read_text(), err.read_text())

    def stop(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(20)


def _serve() -> None:
    """Fork a program for each line of standard input and answer with its exit code."""
    sys.path.insert(0, str(ROOT))
    for name in _PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, order["timeout"])
        _, status = os.waitpid(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)  # what the libraries do when an interpreter ends takes seconds


def _become(order: dict[str, object]) -> None:
    """Run the program in this process and end it, as `python -m` would."""
    for stream, path, flags in (
        (0, "/dev/null", os.O_RDONLY),
        (1, str(order["out"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, str(order["err"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(path, flags, 0o600), stream)
    code: object = 1
    try:
        os.chdir(str(order["folder"]))
        os.environ.clear()
        os.environ.update(order["environment"])  # type: ignore[call-overload]
        sys.argv = [str(order["module"]), *order["arguments"]]  # type: ignore[misc]
        import runpy

        runpy.run_module(str(order["module"]), run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:  # noqa: BLE001 - the interpreter would print it and exit with 1
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _serve()
