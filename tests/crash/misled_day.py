"""An account at a venue with bad answers, and what both sides hold at the end of its day.

The account's waiting moves the venue's clock.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.order_expiry import visibility_delay
from penstock.adapters.stores.postgres import (
    PostgresControlStore,
    PostgresLedger,
    PostgresParentOrderStore,
)
from penstock.core.accounting import changes_of
from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import VenueClock
from penstock.core.errors import VenueUnavailableError
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill, OrderReport, OrderRequest, OrderState
from penstock.core.proposals import SeenBar
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.execution.algorithms import Limit
from penstock.execution.kill_switch import KillSwitch
from penstock.execution.rebalance.run import RebalanceInputs, rebalance
from penstock.execution.session import AccountSession, ExecutionPolicy
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.risk.limits import RiskLimits
from tests.fills import counted

FIRST = datetime(2024, 3, 1, tzinfo=UTC)
SYMBOLS = [f"{chr(65 + n) * 3}/USDT" for n in range(20)]
CASH = Decimal(1_000_000)
#: Real seconds after which the client gives up an answer.
TIMEOUT = 0.15
_SLOT_MINUTES = 15


def minute_bars(slots: int, seed: int) -> pl.DataFrame:
    """Return bars that move by a few basis points per minute. Some have too little volume for an
    order.
    """
    chance, rows = random.Random(seed), []
    for symbol in SYMBOLS:
        price = 100.0
        for minute in range(-2, slots * _SLOT_MINUTES + 10):
            following = round(price * chance.uniform(0.999, 1.001), 2)
            low, high = (
                round(min(price, following) - 0.02, 2),
                round(max(price, following) + 0.02, 2),
            )
            volume = chance.choice((40.0, 1e6, 1e6, 1e6))
            rows.append(
                (symbol, FIRST + timedelta(minutes=minute), price, high, low, following, volume)
            )
            price = following
    return pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")


#: Every third slot: an order that rests 2 bps from the market for 130 seconds.
RESTING = Limit(offset_bps=Decimal(-2), max_children=1, reprice_seconds=130)


@dataclass
class Sends:
    """Counts how often each client order id left for the venue, and whose answers were lost."""

    exchange: CcxtExchange
    left: Counter[str] = field(default_factory=Counter)
    lost: set[str] = field(default_factory=set)

    @property
    def twice(self) -> list[str]:
        return [name for name, count in self.left.items() if count > 1]

    def watch(self) -> None:
        submit = self.exchange.submit

        def counted(order: OrderRequest) -> OrderReport:
            self.left[order.client_order_id] += 1
            try:
                return submit(order)
            except VenueUnavailableError:
                self.lost.add(order.client_order_id)
                raise

        self.exchange.submit = counted  # type: ignore[method-assign]


@dataclass
class Day:
    """An account at a venue with bad answers, whose waiting moves the venue's clock."""

    session: AccountSession
    control: PracticeControl
    sends: Sends
    closes: dict[datetime, dict[str, float]]
    limits: RiskLimits

    def trade(self, number: int, may_be_left: bool = False) -> int:
        """Rebalance every symbol to the other of two weights. Repeat, as a flow's retries do, while
        the venue is unreachable.

        Return how many breaks are open at the end. With `may_be_left` breaks and unresolved orders
        may be left.
        """
        slot = FIRST + timedelta(minutes=number * _SLOT_MINUTES)
        self.control.step(to=slot + timedelta(seconds=2))
        heavy = [(index + number) % 2 == 0 for index in range(len(SYMBOLS))]
        weights = {
            symbol: 0.045 if more else 0.02 for symbol, more in zip(SYMBOLS, heavy, strict=True)
        }
        seen = {
            symbol: SeenBar(slot, close)
            for symbol, close in self.closes[slot - timedelta(minutes=1)].items()
        }

        def decide(version: str) -> PortfolioTargets:
            return PortfolioTargets(version, weights, {}, seen)

        session = replace(self.session, style=RESTING) if number % 3 == 2 else self.session
        inputs = RebalanceInputs(slot, "trend/1", decide, RebalancePolicy(), self.limits)
        for _ in range(5):
            try:
                report = rebalance(session, inputs)
            except VenueUnavailableError:
                continue
            left = (
                may_be_left
                and report.status is RebalanceStatus.FAILED
                and "have not ended" in report.reason
            )
            assert left or report.status is RebalanceStatus.DONE, report
            assert may_be_left or not report.breaks, report.breaks
            return len(report.breaks)
        raise AssertionError(f"the slot {slot} did not end in 5 runs")


def make_server(bars: pl.DataFrame) -> PracticeServer:
    return PracticeServer(
        GivenCandles({Timeframe.M1: bars}),
        stepped_clock(FIRST + timedelta(seconds=1)),
        limits=UNLIMITED,
    )


def open_day(
    stage: Any, server: PracticeServer, bars: pl.DataFrame, account: str, poll_seconds: float
) -> Day:
    """Return a day of `account` at the venue, with its books in the stage's database."""
    control = PracticeControl(server.url)
    control.create_account("key", "secret", {"USDT": CASH})
    exchange = CcxtExchange(
        "binance",
        "key",
        "secret",
        base_url=server.url,
        rate_limit_ms=0,
        timeout_seconds=TIMEOUT,
        retry_wait_seconds=0.05,
    )
    sends = Sends(exchange)
    sends.watch()
    control_store = PostgresControlStore(stage.database)

    def pause(seconds: float) -> None:
        control.step(seconds=seconds)

    session = AccountSession(
        account=account,
        exchange_name="practice",
        quote="USDT",
        exchange=exchange,
        ledger=PostgresLedger(stage.database),
        parent_orders=PostgresParentOrderStore(stage.database),
        control_store=control_store,
        clock=VenueClock(exchange.now, SYSTEM_CLOCK),
        kill_switch=KillSwitch(account, control_store, clock=SYSTEM_CLOCK),
        policy=ExecutionPolicy(
            visibility_delay_seconds=visibility_delay(["binance"]),
            poll_seconds=poll_seconds,
            follow_timeout_seconds=130,
            lease_wait_seconds=0,
            senders=4,
        ),
        pause=pause,
        machine_clock=SYSTEM_CLOCK,
        runner=THREADS,
        ids=RANDOM_IDS,
    )
    closes: dict[datetime, dict[str, float]] = {}
    for symbol, ts, close in bars.select("symbol", "ts", "close").iter_rows():
        closes.setdefault(ts, {})[symbol] = close
    return Day(session, control, sends, closes, RiskLimits.model_validate(stage.limits))


@dataclass(frozen=True)
class TopOfBook:
    """What the venue and the ledger hold at the end of the day."""

    orders: list[OrderRecord]
    booked: list[Fill]
    at_venue: list[Fill]
    accepted: set[str]

    @property
    def doubled(self) -> list[tuple[object, ...]]:
        """Decisions of which the venue accepted more than one attempt."""
        counts = Counter(
            (order.rebalance_id, order.request.symbol, order.phase, order.child)
            for order in self.orders
            if order.request.client_order_id in self.accepted
        )
        return [key for key, count in counts.items() if count > 1]

    @property
    def missing(self) -> Counter[tuple[object, ...]]:
        """Trades at the venue that the ledger lacks."""
        return counted(self.at_venue) - counted(self.booked)

    @property
    def surplus(self) -> Counter[tuple[object, ...]]:
        """Fills in the ledger that the venue lacks."""
        return counted(self.booked) - counted(self.at_venue)

    @property
    def wrongly_rejected(self) -> list[OrderRecord]:
        """Orders in REJECTED that the venue has, or that no code of the venue rejected."""
        refused = [order for order in self.orders if order.state is OrderState.REJECTED]
        return [
            order
            for order in refused
            if order.request.client_order_id in self.accepted or '"code":' not in order.reason
        ]


def books_of(day: Day) -> TopOfBook:
    session, journal = day.session, day.control.journal()
    accepted = [entry["order"]["client_id"] for entry in journal if entry["kind"] == "order"]
    fills = [fill for symbol in SYMBOLS for fill in session.exchange.fills(symbol, FIRST)]
    return TopOfBook(
        list(session.ledger.orders(session.account)),
        list(session.ledger.fills(session.account)),
        fills,
        set(accepted),
    )


def assert_whole(day: Day, books: TopOfBook) -> None:
    """One order per decision; every fill is booked once; every order has ended.

    The ledger and the venue are both equal to the sum of the trades.
    """
    assert not day.sends.twice, day.sends.twice[:5]
    assert not books.doubled, books.doubled[:5]
    assert not books.wrongly_rejected, books.wrongly_rejected[:5]
    assert not books.missing, list(books.missing)[:5]
    assert not books.surplus, list(books.surplus)[:5]
    assert all(order.state.is_final for order in books.orders)
    lease = day.session.ledger.acquire_lease(day.session.account, "offers every trade again", 60)
    assert lease is not None
    # what that moved would show below
    assert not day.session.ledger.book_fills(lease, books.at_venue)
    day.session.ledger.release_lease(lease)
    sums = {"USDT": CASH}
    for fill in books.at_venue:
        for asset, change in changes_of(fill).items():
            sums[asset] = sums.get(asset, Decimal(0)) + change
    balances = dict(day.session.exchange.balances())
    assert (
        dict(day.session.ledger.balances(day.session.account))
        == balances
        == {a: q for a, q in sums.items() if q}
    )
