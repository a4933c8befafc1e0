"""A real local stack with a small universe, in a folder of its own."""

import os
import re
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from penstock.stack import StackNote, read_stack
from tests.forked import ForkedPrograms

ROOT = Path(__file__).resolve().parents[1]


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
        # Four hours of minutes at least: the lookahead check decides again at each of them.
        recent = (datetime.now(UTC) - timedelta(hours=4)).date().isoformat()
        text = "\n".join(lines).replace("2021-01-01", "2025-06-01").replace("2026-10-01", recent)
        universe.write_text(text + "\n")
        promotion = configs / "promotion.yaml"
        head, study, bounds = promotion.read_text().partition("practice-minute:\n")
        short = bounds.replace("_days: 1\n", "_days: 0.04\n  min_bars: 200\n")
        promotion.write_text(head + study + short)
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PENSTOCK_", "PREFECT_"))
        }
        self.environment = {
            **clean,
            "NOBODY_NEEDS_THIS": "a secret of another program",
            "PENSTOCK_HOME": str(self.home),
            "PENSTOCK_CONFIGS": str(configs),
        }
        self.ports = {name: free_port() for name in ("prefect", "mlflow", "practice")}
        self.options = [f"--{name}-port={port}" for name, port in self.ports.items()]
        self.api = f"http://127.0.0.1:{self.ports['prefect']}/api"
        self.mlflow = f"http://127.0.0.1:{self.ports['mlflow']}"
        self.practice = f"http://127.0.0.1:{self.ports['practice']}"

    @property
    def note(self) -> StackNote:
        """What the stack's supervisor has noted."""
        found = read_stack(self.home)
        assert found is not None
        return found

    def secret(self, name: str) -> str:
        """Return a secret that the stack made in its home folder."""
        return (self.home / name).read_text()

    def run(self, *command: str, timeout: float = 240) -> str:
        environment = {**self.environment, "PREFECT_API_URL": self.api}
        if command[0] == "prefect":
            environment["PREFECT_API_AUTH_STRING"] = self.secret("prefect-auth")
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env=environment,
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

    def up(self, timeout: float = 240) -> str:
        """Start the stack. Its processes outlive the command and import everything themselves."""
        return self.run("penstock", "up", *self.options, timeout=timeout)

    def up_again(self) -> str:
        """Ask for the stack that runs already, which starts nothing."""
        return self.command("up", *self.options)

    def runs(self, **state: object) -> list[dict[str, Any]]:
        """Return the flow runs in a state, as the server tells them."""
        return list(self.ask("flow_runs", {"flow_runs": {"state": state}, "limit": 100}).json())

    def ask(self, what: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """Ask Prefect's API as its own page does: with the password and a CSRF token."""
        user, _, password = self.secret("prefect-auth").partition(":")
        with httpx.Client(auth=(user, password), trust_env=False) as client:
            token = client.get(f"{self.api}/csrf-token", params={"client": "test"}).json()["token"]
            return client.post(
                f"{self.api}/{what}/filter",
                json=body,
                headers={"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "test", **headers},
            )


def works_as(process: psutil.Process, word: str) -> bool:
    """Whether the process is alive and has `word` in its command line."""
    try:
        return word in process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one too
        return False
