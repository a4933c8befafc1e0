"""Starting and stopping the practice exchange.

`serve` runs it in the foreground. PracticeServer runs it in a process of its own, which ends with
the process that started it.
"""

import base64
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol

from penstock.core.clock import MachineClock
from penstock.core.errors import ConfigError, PenstockError, VenueUnavailableError
from penstock.core.extras import extra
from penstock.core.ids import IdSource
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK
from penstock.practice.candles import CandleSource
from penstock.practice.clock import ClockSpec, VenueTime, real_clock
from penstock.practice.faults import Fault
from penstock.practice.limits import LimitSpec
from penstock.simulation.fill_model import FillModel

if TYPE_CHECKING:
    from penstock.practice.app import PracticeApp

HOST = "127.0.0.1"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class AccountSpec:
    """An account that exists from the start."""

    api_key: str
    """The key that names the account."""
    secret: str = field(repr=False)
    """The key that signs its requests."""
    balances: dict[str, str] = field(default_factory=dict)
    """Its opening balances by asset, as decimal texts."""


@dataclass(frozen=True)
class PracticeConfig:
    """The configuration of a practice exchange."""

    candles: CandleSource
    """The candles that it serves."""
    clock: ClockSpec = field(default_factory=real_clock)
    """How its time runs."""
    accounts: tuple[AccountSpec, ...] = ()
    """The accounts that exist from the start."""
    fill_model: FillModel = field(default_factory=FillModel)
    """What trading costs."""
    limits: LimitSpec = field(default_factory=LimitSpec)
    """Its rate limits."""
    faults: tuple[Fault, ...] = ()
    """The faults that are armed from the start."""
    exchange_info: Path | None = None
    """A saved exchangeInfo answer with the symbols' rules; None derives them from the candles."""
    journal: Path | None = None
    """The file that keeps the state across restarts; None keeps it in memory."""
    port: int = 0
    """The port; 0 for any free one."""
    control_token: str = field(default="", repr=False)
    """What control calls must bring; "" asks for nothing."""


def build_app(
    config: PracticeConfig,
    *,
    machine_clock: MachineClock = SYSTEM_CLOCK,
    ids: IdSource = RANDOM_IDS,
) -> "PracticeApp":
    """Return the ASGI application. Raises DataError where candles or files cannot be read."""
    from penstock.practice.app import PracticeApp
    from penstock.practice.book import TopOfBook
    from penstock.practice.faults import Faults
    from penstock.practice.filters import rules_of
    from penstock.practice.limits import Limiter
    from penstock.practice.market import PracticeMarket
    from penstock.practice.matching import MatchingEngine
    from penstock.practice.public_api import PublicApi
    from penstock.practice.venue import PracticeVenue
    from penstock.simulation.journal import Journal

    table = config.candles.load()
    market = PracticeMarket.of(table)
    rules = rules_of(market.table, market.listings, config.exchange_info)
    venue = PracticeVenue(
        Journal(config.journal), VenueTime(config.clock, machine_clock=machine_clock)
    )
    for spec in config.accounts:
        venue.open_account(
            spec.api_key, spec.secret, {asset: Decimal(q) for asset, q in spec.balances.items()}
        )
    venue.journal.commit()
    engine = MatchingEngine(market, rules, venue, config.fill_model)
    public = PublicApi(
        TopOfBook(market, rules, config.fill_model), rules, venue.time, config.limits
    )
    limiter = Limiter(config.limits, machine_clock)
    return PracticeApp(
        engine,
        public,
        limiter,
        Faults(config.faults),
        ids=ids,
        control_token=config.control_token,
    )


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        # a client that knows the address may connect before the event loop runs
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"the practice exchange cannot listen on {HOST}:{port} ({error.strerror}): "
            "give another port"
        ) from None
    return listener


def serve(config: PracticeConfig, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until interrupted. Calls `on_ready(url)` once the candles are loaded."""
    with extra("practice"):
        import uvicorn

    listener = _bind(config.port)
    app = build_app(config)
    if on_ready is not None:
        on_ready(f"http://{HOST}:{listener.getsockname()[1]}")
    settings = uvicorn.Config(
        app,
        log_level="critical",
        lifespan="off",
        access_log=False,
        ws="none",
        timeout_keep_alive=600,  # an idle client's connection must not close under its next order
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(settings).run(sockets=[listener])


class ServerProcess(Protocol):
    """What PracticeServer uses of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    @property
    def stdin(self) -> IO[bytes] | None: ...
    @property
    def stdout(self) -> IO[bytes] | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...


def start_process() -> ServerProcess:
    """Start a process that serves the configuration it reads from standard input.

    The tests replace this function: they fork a process that has imported the libraries already.
    """
    command = [sys.executable, "-m", "penstock.practice.server"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class PracticeServer:
    """A practice exchange in a process of its own, from `start` to `stop` or as a context.

    It answers at `url`. The process ends when this one does, even where this one is killed.
    """

    def __init__(
        self,
        candles: CandleSource,
        clock: ClockSpec | None = None,
        port: int = 0,
        *,
        fill_model: FillModel | None = None,
        accounts: tuple[AccountSpec, ...] = (),
        limits: LimitSpec | None = None,
        faults: tuple[Fault, ...] = (),
        exchange_info: Path | None = None,
        journal: Path | None = None,
        control_token: str = "",
    ) -> None:
        self.config = PracticeConfig(
            candles,
            clock or real_clock(),
            accounts,
            fill_model or FillModel(),
            limits or LimitSpec(),
            faults,
            exchange_info,
            journal,
            port,
            control_token,
        )
        self._process: ServerProcess | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The address ("http://127.0.0.1:40123"); VenueUnavailableError while it does not run."""
        if not self._url:
            raise VenueUnavailableError(
                "the practice exchange does not run: call start() or use it as a context"
            )
        return self._url

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> "PracticeServer":
        """Start the server and return once it listens. Raises PenstockError where it cannot."""
        if self._process is not None:
            return self
        self._process = start_process()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(base64.b64encode(pickle.dumps(self.config)) + b"\n")
        self._process.stdin.flush()
        watchdog = threading.Timer(_START_SECONDS, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline().decode().strip()
        watchdog.cancel()
        if not line.startswith("http://"):
            self.stop()
            raise PenstockError(
                f"the practice exchange did not start: {line or 'it ended without a message'}"
            )
        self._url = line
        return self

    def stop(self) -> None:
        """Stop the server; stopping twice changes nothing."""
        process, self._process, self._url = self._process, None, ""
        if process is None:
            return
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        """End the server as kill -9 does."""
        if self._process is not None:
            self._process.kill()
        self.stop()

    def __enter__(self) -> "PracticeServer":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _serve_for_owner() -> None:
    """Serve the configuration read from standard input; end when the owner closes it."""
    config: PracticeConfig = pickle.loads(base64.b64decode(sys.stdin.buffer.readline()))

    def end_with_owner() -> None:
        import os

        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_owner, daemon=True).start()
    try:
        serve(config, on_ready=lambda url: print(url, flush=True))
    except PenstockError as error:
        print(str(error).replace("\n", " "), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    _serve_for_owner()
