"""One supervised process: how it is started, checked and ended, with all that it started."""

import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from penstock.core.errors import PenstockError
from penstock.core.machine import SYSTEM_CLOCK


class StackError(PenstockError):
    """A part of the local stack did not come up; the message names its log."""


@dataclass
class Child:
    """One supervised process."""

    name: str
    """The name in messages, and of its log."""
    command: list[str]
    """The command that starts it."""
    environment: Mapping[str, str]
    """Its environment variables: all that it gets."""
    health_url: str | None
    """An address that answers once it is ready; None where it has none."""
    log: Path
    """The file that its output is appended to."""
    process: subprocess.Popen[bytes] | None = None
    """The process, once it was started."""

    def start(self) -> None:
        """Start the process in its own session. Its output is appended to its log."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait_until_healthy(self, timeout_seconds: float) -> None:
        """Return once the process answers; raise StackError where it dies or does not answer."""
        deadline = SYSTEM_CLOCK.elapsed_seconds() + timeout_seconds
        while self.health_url and SYSTEM_CLOCK.elapsed_seconds() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            if answers(self.health_url):
                return
            SYSTEM_CLOCK.sleep(0.25)
        if self.health_url:
            raise StackError(
                f"{self.name} did not answer within {timeout_seconds:.0f} s: read {self.log}"
            )

    def stop(self, grace_seconds: float = 10) -> None:
        """End the process and all that it started: by SIGTERM, and by SIGKILL after the grace."""
        if self.process is None:
            return
        try:
            family = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with _ignored(subprocess.TimeoutExpired):
            self.process.wait(grace_seconds)
        survivors: list[subprocess.Popen[bytes] | psutil.Process] = [self.process, *family]
        for survivor in survivors:
            with _ignored(psutil.NoSuchProcess, ProcessLookupError):
                survivor.kill()


@contextmanager
def _ignored(*errors: type[BaseException]) -> Iterator[None]:
    try:
        yield
    except errors:
        return


def answers(url: str) -> bool:
    """Return whether a server on this machine answers there without an error of its own."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment is not for loopback
            return session.get(url, timeout=2).status_code < 500
    except requests.RequestException:
        return False


def require_free(port: int, what: str, option: str) -> None:
    """Raise StackError where another program listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StackError(
                f"port {port} for {what} is taken by another program: stop it, or choose another "
                f"with {option}"
            ) from None
