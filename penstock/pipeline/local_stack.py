"""Bring the local stack up and take it down, and serve the practice exchange alone."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

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
    StackAlerts,
    StackNote,
    StackPorts,
    Step,
    Supervisor,
    bring_up,
    end_stack,
    noted_stack,
    require_servers,
    stack_addresses,
    stack_plan,
    wait_until_none_ends,
)
from penstock.wiring import chosen_notifier, embedded_server, sibling_databases

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
    replaced: tuple[str, ...] = ()
    """What a killed supervisor had left running, and was ended for it."""


@dataclass(frozen=True)
class StoppedStack:
    """A home folder from which no stack runs any more."""

    home: Path
    """The home folder."""
    was_running: bool
    """Whether one ran before the call, with its supervisor."""
    leftovers: tuple[str, ...] = ()
    """What ran without a supervisor, and was ended."""


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


def _ignore(*_: object) -> None:
    """Do nothing."""


@use_case
def start_stack(
    settings: Settings,
    actor: Actor,
    ports: StackPorts,
    on_look: Callable[[StackNote | None], None] = _ignore,
) -> RunningStack:
    """Start the stack in the background, unless it runs already, and return once it answers.

    What a killed supervisor of this home left running is ended first. `on_look` is called with what
    the supervisor has noted, several times per second. Raises StackError with the log's name where
    the stack does not come up.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    require_servers(practice=settings.process.env == "practice")
    options = [
        *("--prefect-port", str(ports.prefect)),
        *("--mlflow-port", str(ports.mlflow)),
        *("--practice-port", str(ports.practice)),
    ]
    brought = bring_up(
        settings.home,
        [sys.executable, "-m", "penstock", "up", "--foreground", *options],
        {**settings.variables, "PENSTOCK_ENV": settings.process.env},
        on_look,
    )
    note = brought.note
    return RunningStack(settings.home, note.addresses, brought.was_running, note.replaced)


@use_case
def run_stack(
    settings: Settings,
    actor: Actor,
    ports: StackPorts,
    on_ready: Callable[[RunningStack], None],
    on_step: Callable[[str, Step], None] = _ignore,
) -> RunningStack:
    """Run the stack in this process until it is interrupted or ended; call `on_ready` once it
    answers. Where it runs already, that is returned at once.

    `on_step` is called whenever a part gets further, or dies.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    wait_until_none_ends(settings.home)
    found = noted_stack(settings.home)
    if found is not None and found.is_up:
        return RunningStack(settings.home, found.addresses, was_running=True)
    configured = settings.process.database_url
    own_server = None if configured else embedded_server(settings)
    supervisor = Supervisor(
        settings.home,
        stack_addresses(settings, ports),
        StackAlerts(chosen_notifier(settings)),
        database=own_server,
        on_step=on_step,
    )
    ends = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        ends.append(signal.SIGHUP)
    for number in ends:
        signal.signal(number, lambda *_: supervisor.stop())
    url_of = (
        own_server.database_url
        if own_server is not None
        else sibling_databases(configured.get_secret_value() if configured else "")
    )
    seen: list[RunningStack] = []

    def ready(note: StackNote) -> None:
        seen.append(RunningStack(settings.home, note.addresses, replaced=note.replaced))
        on_ready(seen[0])

    supervisor.run(lambda: stack_plan(settings, ports, url_of), ready)
    return seen[0]


@use_case
def stop_stack(settings: Settings, actor: Actor) -> StoppedStack:
    """Stop the supervisor of this home, and with it everything it started; also what outlived one
    that was killed. The data stays.
    """

    def stop_database(had_stack: bool) -> None:
        if settings.process.database_url is None:
            server = embedded_server(settings)
            server.stop() if had_stack else server.stop_if_unused()

    ended = end_stack(settings.home, stop_database)
    return StoppedStack(settings.home, ended.was_supervised, ended.leftovers)


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
