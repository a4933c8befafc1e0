"""How long does a slot take? From its begin to the last acknowledgement, and to its end, beside a
bare ccxt loop that places the same orders.

Run: python benchmarks/slot.py. Slots of 20 and of 100 symbols are traded with the shipped
configuration against a practice exchange, with a durable database. Each slot sells half of the
symbols in part and buys the others, all by one market order. After each slot the bare loop sends
the same orders for another account at the same exchange. The orders that the exchange has of both
are compared before any time is printed.
Between slots the account is reconciled, as the shipped schedule does each hour.

The practice exchange answers within two milliseconds, and a real venue takes some ten more. So each
size is timed twice: as it is, and with 20 ms added to every request of both.

A slot is the use case that flows and the command line call. Bars are read, a strategy decides,
orders are written ahead, sent and followed, fills are booked, and ledger and venue are compared at
both ends. MLflow is left out: the version is held in memory.
"""

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import ccxt
import polars as pl
import psutil
import requests
import yaml
from practice_orders import bare_ccxt
from requests.adapters import BaseAdapter, HTTPAdapter

from penstock.adapters.stores.embedded import EmbeddedPostgres
from penstock.adapters.stores.postgres import create_database
from penstock.core.actors import Actor, Channel
from penstock.core.bars import BARS_SCHEMA
from penstock.core.orders import OrderReport, OrderRequest
from penstock.core.rebalances import RebalanceStatus
from penstock.core.strategy import FrameStrategy, StrategyParams
from penstock.core.timeframes import Timeframe
from penstock.data.bounds import VERDICT_SCHEMA
from penstock.execution.rebalance.result import RebalanceResult
from penstock.monitoring.log_output import send_logs
from penstock.pipeline.rebalance import rebalance_slot
from penstock.pipeline.reconcile import reconcile_account
from penstock.ports import BarBatch, LoadedModel, ModelVersion
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.settings import Process, Settings
from penstock.simulation.fill_model import FillModel
from penstock.wiring import Platform

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
#: Days before the first slot.
WARM_UP = 40
CASH = Decimal(10_000_000)
ACTOR = Actor("benchmark", Channel.CLI)
BARE = "bare"
"""Key and secret of the bare loop's account."""


class Delayed(HTTPAdapter):
    """Sends a request after some milliseconds, as if the venue were further away."""

    def __init__(self, milliseconds: float, adapter: BaseAdapter) -> None:
        super().__init__()
        self._seconds, self._adapter = milliseconds / 1000, adapter

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        time.sleep(self._seconds)
        return self._adapter.send(*args, **kwargs)


class Alternating(FrameStrategy):
    """Half of the symbols are held high and half low, the other way around the next day."""

    name = "alternating"

    class Params(StrategyParams):
        exposure: float = 0.9

    params: Params

    @property
    def warmup_bars(self) -> int:
        return 2

    def frame_weights(self, bars: pl.DataFrame) -> pl.DataFrame:
        day = pl.col("ts").dt.epoch("d")
        place = pl.col("symbol").rank("dense").cast(pl.Int64)
        is_high = (day + place) % 2 == 0
        share = self.params.exposure / pl.col("symbol").n_unique()
        return bars.select("symbol", "ts", weight=share * pl.when(is_high).then(1.3).otherwise(0.7))


class OneVersion:
    """The registry's one version, in memory."""

    version = ModelVersion("daily-portfolio", "1", "run", ("champion",), {"exchange": "practice"})

    def load(self, _name: str, _alias: str) -> LoadedModel:
        return LoadedModel(self.version, Alternating())


@dataclass
class Acknowledged:
    """Passes orders on to the exchange, and notes when the last answer came."""

    send: Any
    at: float = 0.0

    def __call__(self, order: OrderRequest) -> OrderReport:
        report: OrderReport = self.send(order)
        self.at = time.perf_counter()
        return report


@dataclass
class Round:
    """One slot and the bare loop after it. All figures are seconds."""

    acknowledged: float
    """From the slot's begin to the last acknowledgement."""
    whole: float
    """From the slot's begin to its end."""
    bare: float
    """The bare loop."""
    cpu: float
    """Processor time of the slot in this process."""
    bare_cpu: float
    """Processor time of the bare loop in this process."""


@dataclass
class Scene:
    """A platform and a bare client at one practice exchange."""

    platform: Platform
    control: PracticeControl
    symbols: Sequence[str]
    latency_ms: float
    """What is added to every request, ours and the bare loop's."""
    bare: ccxt.Exchange
    ours: ccxt.Exchange
    """A bare client of the platform's account, which only looks."""
    acknowledged: Acknowledged
    slot: datetime = FIRST + WARM_UP * DAY
    rounds: list[Round] = field(default_factory=list)

    def trade(self) -> RebalanceResult:
        """Trade the next slot, then send its orders with the bare loop."""
        self.control.step(to=self.slot + timedelta(seconds=2))
        cpu, begun = time.process_time(), time.perf_counter()
        result = rebalance_slot(self.platform, ACTOR, "daily", self.slot)
        whole, cpu = time.perf_counter() - begun, time.process_time() - cpu
        self.slot += DAY
        wrong = result.status is not RebalanceStatus.DONE or result.breaks or result.alerts
        if wrong or len(result.orders) != len(self.symbols):
            raise SystemExit(f"not a slot to be timed: {result.summary()}")
        orders = [order.request for order in result.orders]
        bare_cpu, bare_begun = time.process_time(), time.perf_counter()
        for order in orders:
            self.bare.create_order(order.symbol, "market", order.side, str(order.quantity))
        bare, bare_cpu = time.perf_counter() - bare_begun, time.process_time() - bare_cpu
        reconcile_account(self.platform, ACTOR, "daily")
        self.rounds.append(Round(self.acknowledged.at - begun, whole, bare, cpu, bare_cpu))
        return result

    def require_same_orders(self) -> int:
        """Return how many orders each account has; end the program where the two differ."""
        mine, bare = self._orders(self.ours), self._orders(self.bare)
        if mine != bare:
            raise SystemExit(f"the exchange has other orders of ours ({mine}) than bare ({bare})")
        return len(mine)

    def _orders(self, client: ccxt.Exchange) -> list[tuple[str, ...]]:
        parts = ("symbol", "side", "type", "status", "executedQty", "cummulativeQuoteQty")
        return [
            tuple(str(row[part]) for part in parts)
            for symbol in self.symbols
            for row in client.privateGetAllOrders({"symbol": client.market_id(symbol)})
        ]


def candles(symbols: Sequence[str], days: int) -> pl.DataFrame:
    """Return daily bars whose prices move by half a percent from day to day."""
    rows = [
        (symbol, FIRST + day * DAY, *(10.0 + k / 10 + 0.05 * (day % 2),) * 4, 1e12)
        for k, symbol in enumerate(symbols)
        for day in range(WARM_UP + days + 2)
    ]
    return pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")


def settings_of(folder: Path, database: str, symbols: Sequence[str]) -> Settings:
    """Return the shipped settings for the practice exchange, with these symbols."""
    configs = Path(shutil.copytree(CONFIGS, folder / "configs"))
    universe = yaml.safe_load((configs / "universe.yaml").read_text())
    universe |= {"symbols": list(symbols), "timeframes": {"1d": {"start": FIRST.date()}}}
    (configs / "universe.yaml").write_text(yaml.safe_dump(universe))
    home = folder / "home"
    process = Process(home=home, configs=configs, env="practice", database_url=database)
    return Settings(process, Settings(process).practice_key_variables())


@contextmanager
def scene(
    database: EmbeddedPostgres, symbols: Sequence[str], days: int, latency_ms: float = 0.0
) -> Iterator[Scene]:
    """Yield a practice exchange and a platform whose store has the bars of all days."""
    bars = candles(symbols, days)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = create_database(database.start(), f"slots_{len(symbols)}_{latency_ms:.0f}")
        settings = settings_of(folder, url, symbols)
        key, secret = settings.practice_keys()["daily"]
        server = stack.enter_context(
            PracticeServer(
                GivenCandles({Timeframe.D1: bars}),
                stepped_clock(FIRST + (WARM_UP - 1) * DAY),
                accounts=tuple(
                    AccountSpec(name, word, {"USDT": str(CASH)})
                    for name, word in ((key, secret), (BARE, BARE))
                ),
                limits=UNLIMITED,
                fill_model=FillModel(participation=None),
            )
        )
        process = settings.process.model_copy(update={"practice_url": server.url})
        platform = Platform(Settings(process, settings.variables), url)
        stack.callback(platform.close)
        vars(platform).update(registry=OneVersion())
        store(platform, bars)
        exchange: Any = platform.exchange("daily")
        acknowledged = Acknowledged(exchange.submit)
        exchange.submit = acknowledged
        bare, market = bare_ccxt(server.url, BARE, BARE), cast(Any, platform.market)
        if latency_ms:
            for client in (exchange, market, bare):
                adapter = client.session.get_adapter("http://")
                client.session.mount("http://", Delayed(latency_ms, adapter))
        yield Scene(
            platform,
            PracticeControl(server.url),
            symbols,
            latency_ms,
            bare,
            bare_ccxt(server.url, key, secret),
            acknowledged,
        )


def store(platform: Platform, bars: pl.DataFrame) -> None:
    """Store the bars of all days; a decision reads those before its slot."""
    instruments = platform.market.instruments()
    platform.bars.save_instruments(platform.exchange_name, list(instruments.values()))
    for (symbol,), rows in bars.group_by("symbol"):
        refused = rows.clear().with_columns(reason=pl.lit(""))
        platform.bars.save_batch(
            BarBatch(
                platform.exchange_name,
                str(symbol),
                Timeframe.D1,
                rows,
                refused,
                pl.DataFrame(schema=VERDICT_SCHEMA),
                None,
            )
        )


def shown(scene: Scene, orders: int) -> None:
    rounds = scene.rounds[1:]
    bare = statistics.median(each.bare for each in rounds)
    print(
        f"{len(scene.symbols)} symbols, one market order each: median of {len(rounds)} slots, each "
        f"beside a bare loop; {scene.latency_ms:g} ms are added to each request of both; "
        f"the exchange has the same {orders} orders of both"
    )
    print(f"  bare ccxt loop                    {bare * 1e3:8.1f} ms    1.00x")
    for name, times in (
        ("slot to its last acknowledgement", [each.acknowledged for each in rounds]),
        ("the whole slot", [each.whole for each in rounds]),
    ):
        ratios = [took / each.bare for took, each in zip(times, rounds, strict=True)]
        took, ratio = statistics.median(times), statistics.median(ratios)
        print(
            f"  {name:<33} {took * 1e3:8.1f} ms {ratio:7.2f}x   "
            f"(slots between {min(ratios):.2f}x and {max(ratios):.2f}x)"
        )
    ratio = statistics.median(each.cpu / each.bare_cpu for each in rounds)
    cpu = statistics.median(each.cpu for each in rounds)
    print(f"  processor time of this process    {cpu * 1e3:8.1f} ms {ratio:7.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0.0, 20.0])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    send_logs("warning")  # as shipped
    # The database outlives each scene, so it has a folder of its own.
    with tempfile.TemporaryDirectory() as folder:
        database = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            for count, latency in itertools.product(arguments.symbols, arguments.latency_ms):
                symbols = [f"C{n:03d}/USDT" for n in range(count)]
                with scene(database, symbols, arguments.rounds + 1, latency) as found:
                    for _ in range(arguments.rounds + 1):  # the first opens all positions
                        found.trade()
                    shown(found, found.require_same_orders())
        finally:
            database.destroy()
    cores, load = psutil.cpu_count(), os.getloadavg()[0]
    print(f"{cores} cores, load of the last minute {load:.1f}, database durable")


if __name__ == "__main__":
    main()
