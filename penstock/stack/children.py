"""One supervised process: how it is started, checked and ended, with all that it started."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import requests

from penstock.stack.processes import (
    MARK,
    Identity,
    StackError,
    end,
    family_of,
    listener_on,
    mark_of,
    marked,
)

_GRACE_SECONDS = 10.0


@dataclass
class Child:
    """One supervised process."""

    name: str
    """The name in messages, and of its log."""
    command: list[str]
    """The command that starts it."""
    environment: Mapping[str, str]
    """Its environment variables: all that it gets, but for the mark of its home."""
    health_url: str | None
    """An address that answers once it is ready; None where it has none."""
    home: Path
    """The home of its stack."""
    port: int | None = None
    """The port that it listens on, if any."""
    process: subprocess.Popen[bytes] | None = None
    """The process, once it was started."""
    identity: Identity | None = None
    """That process, told apart from others."""

    @property
    def log(self) -> Path:
        """The file that its output is appended to."""
        return self.home / "logs" / f"{self.name}.log"

    def start(self) -> None:
        """Start the process in its own session. Its output is appended to its log, if that can be
        opened.

        A server's port is freed first: what a killed one had started may still listen.
        """
        if self.port is not None:
            end(marked(self.home).get(self.name, ()), 0)
        with output_to(self.log) as out:
            self.process = subprocess.Popen(
                self.command,
                env={**self.environment, MARK: mark_of(self.name, self.home)},
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.identity = Identity.of(self.process.pid)

    @property
    def alive(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def answers(self) -> bool:
        """Whether it is ready, as far as it can be asked."""
        return self.health_url is None or answers(self.health_url)

    @property
    def reason(self) -> str:
        """How the process ended."""
        code = self.process.poll() if self.process is not None else None
        how = "never started" if code is None else f"exit code {code}"
        if code is not None and code < 0:
            how = f"killed by {_signal_name(-code)}"
        # what it had started itself may listen still: it is ended before the next start
        own = marked(self.home).get(self.name)
        if self.port is not None and not own and not is_free(self.port):
            how += f"; port {self.port} is taken by {listener_on(self.port)}"
        return how

    def stop(self) -> None:
        """End the process and all that it started: by SIGTERM, and by SIGKILL after the grace."""
        if self.process is None or self.identity is None:
            return
        family = family_of(self.identity)
        end([*family, *marked(self.home).get(self.name, ())], _GRACE_SECONDS)
        self.process.poll()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def output_to(log: Path) -> IO[bytes]:
    """Return the log, opened to append to; nothing's file where it cannot be opened."""
    try:
        return log.open("ab")
    except OSError:  # a full disk
        return open(os.devnull, "ab")


def make_logs(home: Path) -> Path:
    """Return the folder of the stack's logs, made if missing. Raises StackError where it cannot
    be.
    """
    logs = home / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"{logs} cannot be made: {error.strerror}") from None
    return logs


def answers(url: str) -> bool:
    """Return whether a server on this machine answers there without an error of its own."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment is not for loopback
            return session.get(url, timeout=2).status_code < 500
    except requests.RequestException:
        return False


def is_free(port: int) -> bool:
    """Return whether nothing listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_free(port: int, what: str, option: str) -> None:
    """Raise StackError where another program listens on the port."""
    if not is_free(port):
        raise StackError(
            f"port {port} for {what} is taken by {listener_on(port)}: stop it, or choose another "
            f"with {option}"
        )
