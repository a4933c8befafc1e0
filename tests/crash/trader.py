"""A parent that has imported everything and forks the processes that trade. The crash tests kill,
stop and race those.

Run as `python trader.py` by the crash tests; it reads orders as JSON lines and answers each with
one. Every trial is a process of its own with its own database connections and HTTP session. None of
these exists before the fork. The process dies or stops by a signal from inside the write or the
request that the trial names. Production code has no hook for it. The parent watches the commit of
every database transaction that wrote something, and every HTTP request.
"""

import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
import requests
from pydantic import TypeAdapter

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.http_adapter import VenueAdapter
from penstock.adapters.stores.postgres import (
    PostgresControlStore,
    PostgresLedger,
    PostgresParentOrderStore,
    connect,
)
from penstock.core.clock import VenueClock
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.orders import OrderReport, OrderRequest
from penstock.core.proposals import SeenBar
from penstock.execution.algorithms import Style
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.monitoring.log_output import send_logs
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.practice.control import PracticeControl
from penstock.risk.limits import RiskLimits

_STYLES: TypeAdapter[Style] = TypeAdapter(Style)
_IN_TRANSACTION = psycopg.pq.TransactionStatus.INTRANS
_STORE = os.path.join("adapters", "stores")


class Counter:
    """Numbers the boundaries of a run: two per durable write or request (before, after). It strikes
    at the given one.
    """

    def __init__(self, strike_at: int | None, with_signal: int) -> None:
        self.strike_at = strike_at
        self.signal = with_signal
        self.names: list[str] = []
        self._lock = threading.Lock()

    def cross(self, name: str) -> None:
        with self._lock:
            self.names.append(name)
            due = len(self.names) == self.strike_at
        if due:
            os.kill(os.getpid(), self.signal)

    def watch(self) -> None:
        """Count from now on, in this process, every commit that makes something durable and every
        request.
        """
        commit, send = psycopg.Connection.commit, VenueAdapter.send
        execute, leave = psycopg.Connection.execute, psycopg.Pipeline.__exit__
        leaving: dict[int, str] = {}

        def counted_commit(connection: "psycopg.Connection[Any]") -> None:
            is_open = connection.info.transaction_status == _IN_TRANSACTION
            name = self._write(connection) if is_open else None
            if name is None:
                return commit(connection)
            self.cross(f"before {name}")
            commit(connection)
            return self.cross(f"after {name}")

        def counted_execute(connection: "psycopg.Connection[Any]", query: Any, *rest: Any) -> Any:
            name = self._write(connection) if query == "COMMIT" else None
            if name is not None:  # all before it is done by now, and it leaves with the pipeline
                self.cross(f"before {name}")
                leaving[id(connection)] = name
            return execute(connection, query, *rest)

        def counted_leave(pipeline: Any, *details: Any) -> None:
            name = leaving.pop(id(pipeline._conn), None)
            leave(pipeline, *details)
            if name is not None:
                self.cross(f"after {name}")

        def counted_send(
            adapter: VenueAdapter, request: requests.PreparedRequest, **options: Any
        ) -> requests.Response:
            name = f"{request.method} {urlsplit(str(request.url)).path}"
            self.cross(f"before {name}")
            answer = send(adapter, request, **options)
            self.cross(f"after {name}")
            return answer

        psycopg.Connection.commit = counted_commit  # type: ignore[assignment,method-assign]
        psycopg.Connection.execute = counted_execute  # type: ignore[assignment,method-assign]
        psycopg.Pipeline.__exit__ = counted_leave  # type: ignore[assignment,method-assign]
        VenueAdapter.send = counted_send  # type: ignore[assignment,method-assign]

    def _write(self, connection: "psycopg.Connection[Any]") -> str | None:
        """Return what this commit makes durable, named by the store's method that wrote it; None
        for a mere read.
        """
        row = connection.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()
        if row is None or not row[0]:
            return None
        frame, name = sys._getframe(), "write"
        while frame.f_back is not None:
            frame = frame.f_back
            code = frame.f_code
            if (
                _STORE in code.co_filename
                and not code.co_filename.endswith("connection.py")
                and code.co_name[0] != "_"
            ):
                name = code.co_name
        return f"commit of {name}"


class WatchedExchange(CcxtExchange):
    """Counts the moment before an order is signed as well: who sleeps there must not send when he
    wakes.
    """

    counter: Counter

    def submit(self, order: OrderRequest) -> OrderReport:
        self.counter.cross("before submit")
        return super().submit(order)


def pause_of(trial: dict[str, Any]) -> Callable[[float], None]:
    """Return how to wait. Either the venue's stepped clock moves, or the wait is very short (only
    the number of looks matters).
    """
    if not trial["steps_clock"]:
        return lambda _: time.sleep(0.005)
    control = PracticeControl(trial["venue"])
    return lambda seconds: (control.step(seconds=seconds), None)[1]


def run(trial: dict[str, Any], ready: Callable[[], None]) -> dict[str, Any]:
    """Rebalance as the trial asks. Return the result's figures and every boundary crossed."""
    counter = Counter(trial["strike_at"], signal.SIGSTOP if trial["stop"] else signal.SIGKILL)
    counter.watch()
    slot = datetime.fromisoformat(trial["slot"])
    exchange = WatchedExchange(
        "binance", trial["account"], "secret", base_url=trial["venue"], rate_limit_ms=0
    )
    exchange.counter = counter
    exchange.client.options["recvWindow"] = trial["receive_window_ms"]
    with connect(trial["database"], max_connections=4) as database:
        control_store = PostgresControlStore(database)
        session = AccountSession(
            account=trial["account"],
            exchange_name="practice",
            quote="USDT",
            exchange=exchange,
            ledger=PostgresLedger(database),
            parent_orders=PostgresParentOrderStore(database),
            control_store=control_store,
            clock=VenueClock(exchange.now, SYSTEM_CLOCK),
            kill_switch=KillSwitch(trial["account"], control_store, clock=SYSTEM_CLOCK),
            policy=ExecutionPolicy(**trial["policy"]),
            pause=pause_of(trial),
            style=_STYLES.validate_python(trial["style"]),
            machine_clock=SYSTEM_CLOCK,
            runner=THREADS,
            ids=RANDOM_IDS,
        )

        def decide(version: str) -> PortfolioTargets:
            seen = {symbol: SeenBar(slot, trial["closes"][symbol]) for symbol in trial["weights"]}
            return PortfolioTargets(version, trial["weights"], {}, seen)

        limits = RiskLimits.model_validate(trial["limits"])
        inputs = RebalanceInputs(slot, trial["version"], decide, RebalancePolicy(), limits)
        ready()
        report = rebalance(session, inputs)
    return {
        "status": report.status,
        "reason": report.reason,
        "sent": report.sent,
        "version": report.portfolio_version,
        "already_done": report.already_done,
        "breaks": len(report.breaks),
        "boundaries": counter.names,
    }


@dataclass
class Child:
    """A forked trial and the pipe on which it says how it ended."""

    pid: int
    said: int


class Parent:
    """Forks trials and tells what became of them."""

    def __init__(self) -> None:
        self.children: dict[int, Child] = {}

    def start(self, trials: list[dict[str, Any]]) -> list[int]:
        """Fork all trials; where they are several, all begin to rebalance at the same moment."""
        gate, opener = os.pipe()
        started = [self._fork(trial, gate, opener) for trial in trials]
        for child in started:
            os.read(child.said, 1)  # it is connected, or it has ended
        os.close(opener)
        os.close(gate)
        self.children |= {child.pid: child for child in started}
        return [child.pid for child in started]

    def _fork(self, trial: dict[str, Any], gate: int, opener: int) -> Child:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writer)
            return Child(pid, reader)
        os.close(reader)
        os.close(opener)

        def ready() -> None:
            os.write(writer, b" ")
            os.read(gate, 1)

        try:
            answer = run(trial, ready)
        except Exception as error:  # noqa: BLE001 - whatever it was, the test shows it
            answer = {"error": f"{type(error).__name__}: {error}"}
        # the first byte is the gate's, if it was not read yet
        os.write(writer, b" " + json.dumps(answer, default=str).encode())
        os._exit(0)

    def wait(self, pid: int) -> dict[str, Any]:
        """Wait until the trial ends or stops; return its answer, with `killed` and `stopped`."""
        _, status = os.waitpid(pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            return {"killed": False, "stopped": True}
        child = self.children.pop(pid)
        with os.fdopen(child.said, "rb") as pipe:
            said = pipe.read().strip()
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        return {"killed": killed, "stopped": False, **(json.loads(said) if said else {})}

    def resume(self, pid: int) -> bool:
        os.kill(pid, signal.SIGCONT)
        return True


def main() -> None:
    # a connection that the server ended is part of the test
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    gc.freeze()  # what the forks share is not theirs to sweep: it would be copied page by page
    gc.disable()
    parent = Parent()
    for line in sys.stdin:
        order, argument = json.loads(line)
        print(json.dumps(getattr(parent, order)(argument)), flush=True)


if __name__ == "__main__":
    send_logs("warning")
    main()
