"""A trader that can be killed: reads trials as JSON lines, runs each in a forked process of its own, and says how it ended.

Run as `python trader.py` by the crash tests. Imports are paid once; each trial is a real process with its own connections
and its own HTTP session, killed by SIGKILL from inside the call that the trial names. Production code has no hook for it: the
ports are wrapped here.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.stores.timescale import TimescaleLedger, TimescaleSupervision, connect
from penstock.core.clock import VenueClock
from penstock.core.drafts import SeenBar
from penstock.execution.desk import ExecutionPolicy, TradingDesk
from penstock.execution.rebalance import RebalanceInputs, rebalance
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.kill_switch import KillSwitch
from penstock.risk.limits import RiskLimits

#: Calls that write durably or reach the venue. Reads of the database are left out: nothing changes around them.
BOUNDARIES = {
    "ledger": (
        "open_account",
        "acquire_lease",
        "release_lease",
        "start_rebalance",
        "end_rebalance",
        "record_targets",
        "plan_orders",
        "record_event",
        "book_fill",
        "book_adjustment",
    ),
    "supervision": ("open_break", "close_break", "record_equity"),
    "exchange": ("instruments", "last_prices", "balances", "submit", "find_order", "cancel", "open_orders", "fills"),
}


class Counter:
    """Numbers the boundaries of a run, two a call (before, after), and kills this process at the one asked for."""

    def __init__(self, kill_at: int | None) -> None:
        self.kill_at = kill_at
        self.passed = 0
        self.names: list[str] = []

    def cross(self, name: str) -> None:
        self.passed += 1
        self.names.append(name)
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class Killable:
    """A port whose boundary calls are counted."""

    def __init__(self, port: Any, kind: str, counter: Counter) -> None:
        self._port, self._kind, self._counter = port, kind, counter

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        return self._wrapped(name, attribute) if name in BOUNDARIES[self._kind] else attribute

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._counter.cross(f"before {self._kind}.{name}")
            result = call(*args, **kwargs)
            self._counter.cross(f"after {self._kind}.{name}")
            return result

        return counted


def run(trial: dict[str, Any]) -> dict[str, Any]:
    """Rebalance as the trial says; return what the report said and every boundary crossed."""
    counter = Counter(trial["kill_at"])
    slot = datetime.fromisoformat(trial["slot"])
    exchange = CcxtExchange("binance", trial["account"], "secret", base_url=trial["venue"], rate_limit_ms=0)
    with connect(trial["database"], max_connections=2) as database:
        supervision = TimescaleSupervision(database)
        desk = TradingDesk(
            trial["account"],
            "practice",
            "USDT",
            Killable(exchange, "exchange", counter),
            Killable(TimescaleLedger(database), "ledger", counter),
            Killable(supervision, "supervision", counter),
            VenueClock(exchange.now),
            KillSwitch(trial["account"], supervision),
            ExecutionPolicy(visibility_delay_seconds=0.2, poll_seconds=0.05, lease_wait_seconds=0),
        )

        def decide(version: str) -> PortfolioTargets:
            seen = {symbol: SeenBar(slot, trial["closes"][symbol]) for symbol in trial["weights"]}
            return PortfolioTargets(version, trial["weights"], {}, seen)

        limits = RiskLimits.model_validate({"max_gross": 1, "max_weight": 1})
        inputs = RebalanceInputs(slot, trial["version"], decide, RebalancePolicy(), limits)
        report = rebalance(desk, inputs)
    return {
        "status": report.status,
        "reason": report.reason,
        "sent": report.sent,
        "version": report.portfolio_version,
        "already_done": report.already_done,
        "breaks": len(report.breaks),
        "boundaries": counter.names,
    }


def main() -> None:
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
    main()
