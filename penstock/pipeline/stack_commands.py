"""Bring the local stack up and take it down; serve the practice exchange; run the minute service
from a terminal.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from penstock.core.errors import ConfigError
from penstock.core.machine import SYSTEM_CLOCK
from penstock.practice.candles import ParquetCandles
from penstock.practice.clock import ClockSpec, real_clock, sped_up_clock, stepped_clock
from penstock.practice.matching import Terms
from penstock.practice.server import AccountSpec, PracticeConfig, serve
from penstock.practice.synthetic import SyntheticCandles
from penstock.settings import Settings, practice_keys
from penstock.stack import (
    Addresses,
    StackError,
    StackPorts,
    Supervisor,
    require_servers,
    running,
    start_in_background,
)
from penstock.wiring import embedded_server

_START_TIMEOUT_SECONDS = 180
#: Four children are given ten seconds each to end, then the database.
_STOP_TIMEOUT_SECONDS = 90
#: Fixed, because other ends would generate other candles.
_SYNTHETIC_SPAN = (datetime(2021, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC))


def practice_settings() -> Settings:
    """Return the settings of this process; where PENSTOCK_ENV is not set, those of the practice
    exchange.
    """
    os.environ.setdefault("PENSTOCK_ENV", "practice")
    return Settings()


def bring_up(out: Console, foreground: bool, ports: StackPorts) -> None:
    """Start the stack, in the background unless told otherwise, and print where it answers."""
    settings = practice_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    found = running(settings.home)
    if found is not None:
        out.print("already running:")
        out.print(_addresses_table(found[1], settings))
        return
    require_servers(practice=settings.process.env == "practice")
    if foreground:
        _supervise(out, settings, ports)
        return
    log = settings.home / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    options = [
        "--prefect-port",
        str(ports.prefect),
        "--mlflow-port",
        str(ports.mlflow),
        "--practice-port",
        str(ports.practice),
    ]
    with log.open("ab") as file:
        child = start_in_background(
            [sys.executable, "-m", "penstock", "up", "--foreground", *options], file
        )
    with out.status(
        "starting the database, MLflow, Prefect and a worker (about half a minute) ..."
    ):
        addresses = _wait_for_stack(settings, child.poll, log)
    out.print(_addresses_table(addresses, settings))


def take_down(out: Console) -> None:
    """Stop the supervisor of this home, and with it everything it started."""
    settings = practice_settings()
    found = running(settings.home)
    if found is None:
        out.print(f"nothing is running from {settings.home}")
        return
    supervisor = psutil.Process(found[0])
    supervisor.terminate()
    with out.status("stopping the worker, the servers and the database ..."):
        ended = _has_ended(supervisor, SYSTEM_CLOCK.elapsed_seconds() + _STOP_TIMEOUT_SECONDS)
    if not ended:
        raise StackError(
            f"the supervisor (process {found[0]}) has not ended within {_STOP_TIMEOUT_SECONDS} s: read "
            f"{settings.home / 'logs' / 'supervisor.log'}, then run `penstock down` again, or end it with 'kill -9 {found[0]}'"
        )
    out.print(
        "stopped: the worker, the servers, the database and their supervisor have ended; the data stays"
    )


def _has_ended(process: psutil.Process, deadline: float) -> bool:
    """Wait for a process that may not be our child; one that nobody has waited for yet (a zombie)
    has ended.
    """
    while SYSTEM_CLOCK.elapsed_seconds() < deadline:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        SYSTEM_CLOCK.sleep(0.1)
    return False


def serve_practice(
    out: Console, port: int, candles: Path | None, start: datetime | None, speed: float, cash: float
) -> None:
    """Serve the practice exchange in this process until it is interrupted."""
    settings = practice_settings()
    quote = settings.universe.quote
    keys = practice_keys(settings.home)
    accounts = tuple(
        AccountSpec(key, secret, {quote: f"{cash:f}"}) for key, secret in keys.values()
    )
    source = (
        ParquetCandles(candles)
        if candles
        else SyntheticCandles(settings.universe.symbols, *_SYNTHETIC_SPAN)
    )
    journal = settings.home / "practice" / "journal.sqlite"
    journal.parent.mkdir(parents=True, exist_ok=True)
    costs = settings.costs
    terms = Terms(
        taker_fee_bps=Decimal(str(costs.fee_bps)), slippage_bps=Decimal(str(costs.slippage_bps))
    )
    config = PracticeConfig(
        source, _clock_of(start, speed), accounts, terms, journal=journal, port=port
    )
    shown = f"candles of {candles}" if candles else "synthetic candles"
    serve(config, on_ready=lambda url: out.print(f"practice exchange on {url} with {shown}"))


def _clock_of(start: datetime | None, speed: float) -> ClockSpec:
    if speed < 0:
        raise ConfigError(
            f"--speed {speed:g}: venue time cannot run backwards; use 0 for a stepped clock"
        )
    at = start or SYSTEM_CLOCK.now()
    if speed == 0:
        return stepped_clock(at)
    return real_clock() if start is None and speed == 1 else sped_up_clock(at, speed)


def _supervise(out: Console, settings: Settings, ports: StackPorts) -> None:
    server = embedded_server(settings)
    database_url: Callable[[str], str]
    if settings.process.database_url is None:
        server.start()
        database_url = server.database_url
        keep_database: Callable[[], object] = lambda: None if server.running else server.start()  # noqa: E731
    else:
        keep_database = lambda: None  # noqa: E731
        database_url = _sibling_of(settings.process.database_url.get_secret_value())
    supervisor = Supervisor(settings, ports, database_url)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop_watching())
    try:
        supervisor.start()
        out.print(_addresses_table(supervisor.addresses, settings))
        supervisor.watch(keep_database)
    finally:
        supervisor.stop()
        if settings.process.database_url is None:
            server.stop()


def _sibling_of(url: str) -> Callable[[str], str]:
    """Return a function that gives the URL of another database on the same server, created where it
    is missing.
    """
    from penstock.adapters.stores.postgres import create_database

    return lambda name: url if name == "penstock" else create_database(url, name)


def _wait_for_stack(settings: Settings, poll: Callable[[], int | None], log: Path) -> Addresses:
    deadline = SYSTEM_CLOCK.elapsed_seconds() + _START_TIMEOUT_SECONDS
    while SYSTEM_CLOCK.elapsed_seconds() < deadline:
        found = running(settings.home)
        if found is not None:
            return found[1]
        if poll() is not None:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise StackError(
                f"the stack did not start: {last[0] if last else 'no word'}; read {log}"
            )
        SYSTEM_CLOCK.sleep(0.3)
    raise StackError(f"the stack did not come up within {_START_TIMEOUT_SECONDS} s: read {log}")


def _addresses_table(addresses: Addresses, settings: Settings) -> Table:
    table = Table(title="Penstock is up", title_justify="left", show_header=False)
    table.add_row("Prefect UI", addresses.prefect)
    table.add_row("MLflow UI", addresses.mlflow)
    table.add_row("database", addresses.database)
    if addresses.practice:
        table.add_row("practice exchange", addresses.practice)
    table.add_row("logs", str(settings.home / "logs"))
    table.add_row("try", "prefect deployment ls")
    table.add_row("", "prefect deployment run ingest-bars/ingest-1d --watch")
    table.add_row("stop", "penstock down")
    return table
