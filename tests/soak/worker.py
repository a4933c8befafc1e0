"""The worker of the soak: minute slots one after the other, until it is asked to stop or is killed.

Run as `python -m tests.soak.worker SETTINGS` by the soak. It prints one JSON line per event. An
event is a slot that ended, a request that leaves (with the machine's monotonic time), or an error
it continues after. It reads what to do next from the ledger alone, so that one worker continues
where another was killed. Before each slot it arranges what the venue shows wrongly then. A strategy
decides on the venue's own bars.
"""

import json
import logging
import os
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import structlog

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
from penstock.core.late_bars import LATE_BARS, weights_across
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.orders import OrderReport, OrderRequest
from penstock.core.rebalances import RebalanceStatus
from penstock.core.strategy import FrameStrategy, StrategyParams
from penstock.core.timeframes import Timeframe
from penstock.data.bar_pages import BarRequests, read_stretch
from penstock.data.policy import IngestPolicy
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.monitoring.log_output import send_logs
from penstock.portfolio.allocation import PortfolioTargets, allocate
from penstock.portfolio.decision import decide_targets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.ports import LoadedModel
from penstock.ports.registry import ModelVersion
from penstock.practice.control import PracticeControl
from penstock.practice.synthetic import SyntheticCandles
from penstock.risk.limits import RiskLimits
from tests.soak.situations import MINUTE, Situations, Stage, level
from tests.soak.truth import TruePrices

#: A slot that could not be traded within this long of its close is skipped, with the reason.
TOO_LATE_SECONDS = 50.0
_READING = IngestPolicy(attempts=3, backoff_seconds=0.02)
#: As many as a symbol counts for whose bars are late. Short pages have fewer.
_BARS = LATE_BARS + 2
_speaking = threading.Lock()


def say(**event: Any) -> None:
    with _speaking:
        print(json.dumps(event, default=str), flush=True)


class Turns(FrameStrategy):
    """Weights that all change every five minutes: out of the market, light, heavy, in turn.

    A symbol's weight is its level shared out among the symbols that count, as the shipped
    strategies do it: a vanished symbol leaves more to the others, a late one does not.
    """

    name = "turns"

    class Params(StrategyParams):
        symbols: tuple[str, ...] = ()

    params: Params

    @property
    def warmup_bars(self) -> int:
        return 0

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        number = {symbol: n for n, symbol in enumerate(self.params.symbols)}
        levels = [
            level(ts + MINUTE, number[symbol]) for symbol, ts in bars.select("symbol", "ts").rows()
        ]
        scores = bars.select("symbol", "ts", level=pl.Series(levels, dtype=pl.Float64))
        return weights_across(
            scores, pl.col("level") * len(number) / pl.col("level").count().over("ts")
        )


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
        candles = SyntheticCandles(
            symbols=tuple(self.symbols),
            start=datetime.fromisoformat(settings["candles_from"]),
            end=datetime.fromisoformat(settings["candles_to"]),
            seed=settings["seed"],
        )
        self.stage = Stage(
            self.control,
            Situations(
                self.symbols,
                self.first,
                settings["seed"],
                settings["block"],
                settings["cut_every"],
            ),
            Path(settings["record"]),
            TruePrices(candles).at,
        )
        strategy = Turns(Turns.Params(symbols=tuple(self.symbols)))
        self.model = LoadedModel(ModelVersion(strategy.name, "1", "soak", (), {}), strategy)
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
            0 * MINUTE if newest[0].status is RebalanceStatus.RUNNING else MINUTE
        )

    def run_slot(self, slot: datetime) -> None:
        """Wait for the slot's close and rebalance. To refuse a slot that is late is for the
        rebalance.
        """
        self.stage.arrange(slot)
        started = time.monotonic()
        report = rebalance(
            self.session,
            RebalanceInputs(
                slot, "turns/1", lambda _: self.decide(slot), RebalancePolicy(), self.limits
            ),
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

    def decide(self, slot: datetime) -> PortfolioTargets:
        """Read the newest bars, page after page, and decide on them."""
        newest = slot - MINUTE
        stretches = [
            read_stretch(
                BarRequests(self.exchange, symbol, _READING, SYSTEM_CLOCK),
                Timeframe.M1,
                newest - (_BARS - 1) * MINUTE,
                newest,
                lambda _: None,
            )
            for symbol in self.symbols
        ]
        bars = pl.concat([stretch.rows for stretch in stretches])
        targets = decide_targets(self.model, bars, Timeframe.M1, slot, symbols=self.symbols)
        return allocate([targets])

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
                self.stage.in_force = None
                time.sleep(0.05)
                self._let_time_pass()

    def _let_time_pass(self) -> None:
        """Trouble takes time: the venue's clock moves on where the venue can be reached."""
        try:
            self.control.step(seconds=3)
        except PenstockError as error:
            say(error=type(error).__name__, text=str(error)[:300])


def main() -> None:
    # outages and wrong prints are what the soak is about
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
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
