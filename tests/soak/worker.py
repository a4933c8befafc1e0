"""The worker of the soak: minute slots one after the other, until it is asked to stop or is killed.

Run as `python worker.py SETTINGS` by the soak. It prints one JSON line per event. An event is a
slot that ended, a request that leaves (with the machine's monotonic time), or an error it continues
after. It reads what to do next from the ledger alone, so that one worker continues where another
was killed.
"""

import json
import logging
import os
import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.order_expiry import visibility_delay
from penstock.adapters.stores.postgres import (
    PostgresControlStore,
    PostgresLedger,
    PostgresParentOrderStore,
    connect,
)
from penstock.core.clock import VenueClock
from penstock.core.errors import ConfigError, PenstockError
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.orders import OrderReport, OrderRequest
from penstock.core.proposals import SeenBar
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.monitoring.log_output import send_logs
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.practice.control import PracticeControl
from penstock.risk.limits import RiskLimits

MINUTE = timedelta(minutes=1)
#: A slot that could not be traded within this long of its close is skipped, with the reason.
TOO_LATE_SECONDS = 50.0
_LIGHT, _HEAVY, _HELD_MINUTES = 0.05, 0.10, 5
_speaking = threading.Lock()


def say(**event: Any) -> None:
    with _speaking:
        print(json.dumps(event, default=str), flush=True)


def weights_at(slot: datetime, symbols: list[str]) -> dict[str, float]:
    """Return weights that all change every five minutes, half of them up and half down."""
    turn = int(slot.timestamp()) // 60 // _HELD_MINUTES
    return {symbol: _LIGHT if (turn + n) % 2 else _HEAVY for n, symbol in enumerate(symbols)}


class TimedExchange(CcxtExchange):
    """Says when a request for an order leaves."""

    def submit(self, order: OrderRequest) -> OrderReport:
        say(leaves=time.monotonic(), order=order.client_order_id)
        return super().submit(order)


class Worker:
    """One account's slots. Waiting moves the venue's clock: the soak's days are the venue's."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.symbols: list[str] = settings["symbols"]
        self.first = datetime.fromisoformat(settings["first"])
        self.last = datetime.fromisoformat(settings["last"])
        self.control = PracticeControl(settings["venue"])
        self.exchange = TimedExchange(
            "binance",
            "key",
            "secret",
            base_url=settings["venue"],
            rate_limit_ms=0,
            timeout_seconds=2,
            retry_wait_seconds=0.02,
        )
        self.database = connect(settings["database"])
        self.ledger = PostgresLedger(self.database)
        control_store = PostgresControlStore(self.database)
        account = settings["account"]
        self.session = AccountSession(
            account=account,
            exchange_name="practice",
            quote="USDT",
            exchange=self.exchange,
            ledger=self.ledger,
            parent_orders=PostgresParentOrderStore(self.database),
            control_store=control_store,
            clock=VenueClock(self.exchange.now, SYSTEM_CLOCK),
            kill_switch=KillSwitch(
                account, control_store, Path(settings["switch"]), clock=SYSTEM_CLOCK
            ),
            policy=ExecutionPolicy(
                visibility_delay_seconds=visibility_delay(["binance"]),
                poll_seconds=5,
                max_lateness_seconds=TOO_LATE_SECONDS,
                lease_ttl_seconds=2,
                lease_wait_seconds=6,
            ),
            pause=self.pause,
            machine_clock=SYSTEM_CLOCK,
            runner=THREADS,
            ids=RANDOM_IDS,
        )
        self.limits = RiskLimits.model_validate(settings["limits"])

    def pause(self, seconds: float) -> None:
        self.control.step(seconds=seconds)

    def next_slot(self) -> datetime:
        """Return the slot after the last that ended, or the one that was interrupted."""
        newest = self.ledger.rebalances(self.session.account, limit=1)
        if not newest:
            return self.first
        return newest[0].slot + (
            timedelta(0) if newest[0].status is RebalanceStatus.RUNNING else MINUTE
        )

    def run_slot(self, slot: datetime) -> None:
        """Wait for the slot's close and rebalance; a slot that is late is the rebalance's to
        refuse.
        """
        due = slot + timedelta(seconds=1)
        if self.control.now() < due:
            self.control.step(to=due)

        def decide(version: str) -> PortfolioTargets:
            prices = self.exchange.last_prices(self.symbols)
            seen = {symbol: SeenBar(slot, float(price)) for symbol, price in prices.items()}
            return PortfolioTargets(version, weights_at(slot, self.symbols), {}, seen)

        started = time.monotonic()
        report = rebalance(
            self.session, RebalanceInputs(slot, "soak/1", decide, RebalancePolicy(), self.limits)
        )
        if report.status is not None:
            memory = psutil.Process().memory_info().rss
            say(
                slot=slot,
                status=report.status,
                sent=report.sent,
                took=time.monotonic() - started,
                rss=memory,
            )
        if report.status is RebalanceStatus.SKIPPED and report.reason.startswith("halted"):
            # a halt lasts for some slots, not for all that a machine can skip meanwhile
            time.sleep(0.1)

    def run(self) -> None:
        while True:
            try:
                slot = self.next_slot()
                if slot > self.last:
                    say(finished=True)
                    return
                self.run_slot(slot)
            except (PenstockError, ConfigError) as error:
                say(error=type(error).__name__, text=str(error)[:300])
                time.sleep(0.05)
                self._let_time_pass()

    def _let_time_pass(self) -> None:
        """Trouble takes time: the venue's clock moves on where the venue can be reached."""
        try:
            self.control.step(seconds=3)
        except PenstockError as error:
            say(error=type(error).__name__, text=str(error)[:300])


def main() -> None:
    # outages are what the soak is about
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    while True:
        try:
            worker = Worker(settings)
            break
        except PenstockError as error:
            say(error=type(error).__name__, text=str(error)[:300])
            time.sleep(0.1)
    say(started=os.getpid())
    worker.run()


if __name__ == "__main__":
    send_logs("warning")
    main()
