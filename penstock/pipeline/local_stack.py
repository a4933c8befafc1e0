"""Bring the local stack up and take it down, and serve the practice exchange alone."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from penstock.core.actors import Actor
from penstock.core.errors import ConfigError
from penstock.core.machine import SYSTEM_CLOCK
from penstock.pipeline.use_case import use_case
from penstock.practice.candles import ParquetCandles
from penstock.practice.clock import ClockSpec, real_clock, sped_up_clock, stepped_clock
from penstock.practice.server import AccountSpec, PracticeConfig, serve
from penstock.practice.synthetic import SyntheticCandles
from penstock.settings import Settings, StackSecret, stack_secret
from penstock.simulation.fill_model import FillModel
from penstock.stack import (
    Addresses,
    StackError,
    StackPorts,
    Supervisor,
    require_servers,
    running,
    start_in_background,
)
from penstock.wiring import embedded_server, sibling_databases

_START_TIMEOUT_SECONDS = 180
#: Four children are given ten seconds each to end, then the database.
_STOP_TIMEOUT_SECONDS = 90
#: Fixed, because other ends would generate other candles.
_SYNTHETIC_SPAN = (datetime(2021, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class RunningStack:
    """The stack of a home folder."""

    home: Path
    """The home folder."""
    addresses: Addresses
    """Where its parts answer."""
    was_running: bool = False
    """Whether it ran before the call."""


@dataclass(frozen=True)
class StoppedStack:
    """A home folder from which no stack runs any more."""

    home: Path
    """The home folder."""
    was_running: bool
    """Whether one ran before the call."""


@dataclass(frozen=True)
class PracticeRequest:
    """A practice exchange to be served on 127.0.0.1."""

    port: int
    """The port; 0 takes a free one."""
    candles: Path | None = None
    """A folder of Parquet files; without it the candles are made up."""
    start: datetime | None = None
    """The venue's time at the start; without it now."""
    speed: float = 1.0
    """The venue's seconds per real second; 0 is a clock that only steps on request."""
    cash: float = 100_000
    """The quote balance of each account."""


@use_case
def start_stack(settings: Settings, actor: Actor, ports: StackPorts) -> RunningStack:
    """Start the stack in the background, unless it runs already, and return once it answers.

    Raises StackError with the log's name where it does not come up.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    found = running(settings.home)
    if found is not None:
        return RunningStack(settings.home, found[1], was_running=True)
    require_servers(practice=settings.process.env == "practice")
    log = settings.home / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    options = [
        *("--prefect-port", str(ports.prefect)),
        *("--mlflow-port", str(ports.mlflow)),
        *("--practice-port", str(ports.practice)),
    ]
    with log.open("ab") as file:
        child = start_in_background(
            [sys.executable, "-m", "penstock", "up", "--foreground", *options],
            {**settings.variables, "PENSTOCK_ENV": settings.process.env},
            file,
        )
    return RunningStack(settings.home, _wait_for_stack(settings, child.poll, log))


@use_case
def run_stack(
    settings: Settings,
    actor: Actor,
    ports: StackPorts,
    on_ready: Callable[[RunningStack], None],
) -> RunningStack:
    """Run the stack in this process until it is interrupted or ended; call `on_ready` once it
    answers. Where it runs already, that is returned at once.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    found = running(settings.home)
    if found is not None:
        return RunningStack(settings.home, found[1], was_running=True)
    return _supervise(settings, ports, on_ready)


@use_case
def stop_stack(settings: Settings, actor: Actor) -> StoppedStack:
    """Stop the supervisor of this home, and with it everything it started. The data stays."""
    found = running(settings.home)
    if found is None:
        return StoppedStack(settings.home, was_running=False)
    supervisor = psutil.Process(found[0])
    supervisor.terminate()
    if not _has_ended(supervisor, SYSTEM_CLOCK.elapsed_seconds() + _STOP_TIMEOUT_SECONDS):
        raise StackError(
            f"the supervisor (process {found[0]}) has not ended within {_STOP_TIMEOUT_SECONDS} s: "
            f"read {settings.home / 'logs' / 'supervisor.log'}, then stop the stack again, or end "
            f"it with 'kill -9 {found[0]}'"
        )
    return StoppedStack(settings.home, was_running=True)


@use_case
def serve_practice(
    settings: Settings, actor: Actor, request: PracticeRequest, on_ready: Callable[[str], None]
) -> None:
    """Serve the practice exchange in this process until it is interrupted; `on_ready` is called
    with its URL.
    """
    quote = settings.universe.quote
    accounts = tuple(
        AccountSpec(key, secret, {quote: f"{request.cash:f}"})
        for key, secret in settings.practice_keys().values()
    )
    source = (
        ParquetCandles(request.candles)
        if request.candles
        else SyntheticCandles(settings.universe.listed, *_SYNTHETIC_SPAN)
    )
    journal = settings.home / "practice" / "journal.sqlite"
    journal.parent.mkdir(parents=True, exist_ok=True)
    model = FillModel.of(settings.costs)
    config = PracticeConfig(
        source,
        _clock_of(request),
        accounts,
        model,
        journal=journal,
        port=request.port,
        control_token=stack_secret(settings.home, StackSecret.PRACTICE).get_secret_value(),
    )
    serve(config, on_ready=on_ready)


def _has_ended(process: psutil.Process, deadline: float) -> bool:
    """Wait for the end of a process that may not be our child. A zombie has ended."""
    while SYSTEM_CLOCK.elapsed_seconds() < deadline:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        SYSTEM_CLOCK.sleep(0.1)
    return False


def _clock_of(request: PracticeRequest) -> ClockSpec:
    speed = request.speed
    if speed < 0:
        raise ConfigError(
            f"speed {speed:g}: venue time cannot run backwards; use 0 for a stepped clock"
        )
    at = request.start or SYSTEM_CLOCK.now()
    if speed == 0:
        return stepped_clock(at)
    return real_clock() if request.start is None and speed == 1 else sped_up_clock(at, speed)


def _supervise(
    settings: Settings, ports: StackPorts, on_ready: Callable[[RunningStack], None]
) -> RunningStack:
    configured, own_server = settings.process.database_url, None
    if configured is None:
        own_server = embedded_server(settings)
        own_server.start()
        database_url: Callable[[str], str] = own_server.database_url
    else:
        database_url = sibling_databases(configured.get_secret_value())

    def keep_database() -> None:
        if own_server is not None and not own_server.running:
            own_server.start()

    supervisor = Supervisor(settings, ports, database_url)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop_watching())
    stack = RunningStack(settings.home, supervisor.addresses)
    try:
        supervisor.start()
        on_ready(stack)
        supervisor.watch(keep_database)
    finally:
        supervisor.stop()
        if own_server is not None:
            own_server.stop()
    return stack


def _wait_for_stack(settings: Settings, poll: Callable[[], int | None], log: Path) -> Addresses:
    deadline = SYSTEM_CLOCK.elapsed_seconds() + _START_TIMEOUT_SECONDS
    while SYSTEM_CLOCK.elapsed_seconds() < deadline:
        found = running(settings.home)
        if found is not None:
            return found[1]
        if poll() is not None:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            reason = last[0] if last else "its log is empty"
            raise StackError(f"the stack did not start: {reason}; read {log}")
        SYSTEM_CLOCK.sleep(0.3)
    raise StackError(f"the stack did not come up within {_START_TIMEOUT_SECONDS} s: read {log}")
