"""A trader of parent orders that can be killed. It reads trials as JSON lines and runs each in a
forked process.

Run as `python worker.py`. The ports are wrapped here so that a trial can name the call at which its
process kills itself. Waiting steps the venue's clock.
"""

import gc
import json
import os
import signal
import sys
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.adapters.stores.postgres import (
    PostgresControlStore,
    PostgresLedger,
    PostgresParentOrderStore,
    connect,
)
from penstock.core.clock import VenueClock
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.proposals import SeenBar
from penstock.execution.algorithms import Style
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.monitoring.log_output import send_logs
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.ports import Exchange, Venues
from penstock.practice.control import PracticeControl
from penstock.risk.limits import RiskLimits

_STYLES: TypeAdapter[Style] = TypeAdapter(Style)
#: Writes, and calls of the venue that change it. A trial kills before or after the n-th of them.
CALLS = (
    "plan_orders",
    "write_ahead",
    "record_event",
    "record_events",
    "book_fill",
    "book_fills",
    "begin_work",
    "submit",
    "cancel",
)


class Killable:
    """A port whose calls are counted together with those of the others; the process dies at the one
    asked for.
    """

    passed = 0
    kill_at: int | None = None

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._port, name)
        if name not in CALLS:
            return call

        def counted(*args: Any, **more: Any) -> Any:
            self._cross()
            result = call(*args, **more)
            self._cross()
            return result

        return counted

    @staticmethod
    def _cross() -> None:
        Killable.passed += 1
        if Killable.passed == Killable.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def run(trial: dict[str, Any]) -> dict[str, Any]:
    """Rebalance as the trial asks. Return the result's figures and how many calls were counted."""
    Killable.passed, Killable.kill_at = 0, trial["kill_at"]
    account, slot = trial["account"], datetime.fromisoformat(trial["slot"])
    exchange, venues = exchange_of(trial)
    controls = [PracticeControl(url) for url in trial["venues"].values()]
    with connect(trial["database"], max_connections=2) as database:
        control_store = PostgresControlStore(database)

        def pause(seconds: float) -> None:
            for control in controls:
                control.step(seconds=seconds)

        session = AccountSession(
            account=account,
            exchange_name="practice",
            quote="USDT",
            exchange=exchange,
            ledger=Killable(PostgresLedger(database)),  # type: ignore[arg-type]
            parent_orders=Killable(PostgresParentOrderStore(database)),  # type: ignore[arg-type]
            control_store=control_store,
            clock=VenueClock(exchange.now, SYSTEM_CLOCK),
            kill_switch=KillSwitch(account, control_store, clock=SYSTEM_CLOCK),
            policy=ExecutionPolicy(
                visibility_delay_seconds=0.5,
                poll_seconds=5,
                follow_timeout_seconds=10,
                lease_wait_seconds=0,
            ),
            pause=pause,
            machine_clock=SYSTEM_CLOCK,
            runner=THREADS,
            ids=RANDOM_IDS,
            venues=venues,
            style=_STYLES.validate_python(trial["style"] or {"algorithm": "market"}),
        )

        def decide(version: str) -> PortfolioTargets:
            return PortfolioTargets(
                version,
                trial["weights"],
                {},
                {s: SeenBar(slot, p) for s, p in trial["closes"].items()},
            )

        limits = RiskLimits.model_validate(
            {"max_gross": 1, "max_weight": 1, "price_collar": None, **trial["limits"]}
        )
        report = rebalance(
            session, RebalanceInputs(slot, "trend/1", decide, RebalancePolicy(), limits)
        )
    figures: dict[str, Any] = {
        "status": report.status,
        "reason": report.reason,
        "sent": report.sent,
        "resumed": report.resumed,
    }
    figures |= {
        "already_done": report.already_done,
        "breaks": len(report.breaks),
        "calls": Killable.passed,
    }
    figures |= {"alerts": report.alerts, "rules": sorted({word.rule for word in report.findings})}
    return {**figures, "skipped": {each.symbol: each.reason for each in report.skipped}}


def exchange_of(trial: dict[str, Any]) -> tuple[Exchange, Venues | None]:
    """Return the trial's account: at one venue, or at several as one, each watched by itself."""
    accounts: dict[str, Any] = {
        name: Killable(
            CcxtExchange(
                "binance",
                trial["account"],
                "secret",
                base_url=url,
                rate_limit_ms=0,
                read_attempts=1,
            )
        )
        for name, url in trial["venues"].items()
    }
    if len(accounts) == 1:
        (only,) = accounts.values()
        return only, None
    several = SeveralVenues(accounts, {name: Decimal(fee) for name, fee in trial["fees"].items()})
    return several, several


def main() -> None:
    gc.freeze()  # what the forks share is not theirs to sweep: it would be copied page by page
    gc.disable()
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                answer = run(json.loads(line))
            except Exception as error:  # noqa: BLE001 - whatever it was, the test shows it
                answer = {"error": f"{type(error).__name__}: {error}"}
            os.write(writer, json.dumps(answer, default=str).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"killed": killed, **(json.loads(said) if said else {})}), flush=True)


if __name__ == "__main__":
    send_logs("warning")
    main()
