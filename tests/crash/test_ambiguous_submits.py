"""Submits whose answers are lost, in every way a venue loses them, some of whose orders cannot be seen for a minute.

Time is the venue's: waiting steps its clock. A slice is part of the ordinary tests; `pytest -m soak tests/crash -s` sends
10,000 orders; PENSTOCK_AMBIGUOUS_ORDERS and PENSTOCK_AMBIGUOUS_SEED change that.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.request_age import visibility_delay
from penstock.adapters.stores.timescale import TimescaleLedger, TimescaleSupervision
from penstock.core.accounts import OrderRecord, RebalanceStatus
from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import VenueClock
from penstock.core.drafts import SeenBar
from penstock.core.errors import VenueUnavailableError
from penstock.core.orders import Fill, OrderReport, OrderRequest, OrderState, OrderType
from penstock.core.timeframes import Timeframe
from penstock.execution.desk import ExecutionPolicy, TradingDesk
from penstock.execution.placement import NEVER_ARRIVED
from penstock.execution.rebalance import RebalanceInputs, rebalance
from penstock.execution.reconciliation import changes_of
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.control import PracticeControl
from penstock.practice.faults import Fault, FaultKind
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from penstock.risk.kill_switch import KillSwitch
from penstock.risk.limits import RiskLimits

SLICE = 160
ORDERS = int(os.environ.get("PENSTOCK_AMBIGUOUS_ORDERS", "10000"))
SEED = int(os.environ.get("PENSTOCK_AMBIGUOUS_SEED", "20240303"))
FIRST = datetime(2024, 3, 1, tzinfo=UTC)
SYMBOLS = [f"{chr(65 + n) * 3}/USDT" for n in range(20)]
CASH = Decimal(1_000_000)
#: Real seconds after which the client gives up an answer.
TIMEOUT = 0.15
_SUBMIT, _ORDER = "POST", "/api/v3/order"
_AFTER = (FaultKind.TIMEOUT_AFTER, FaultKind.ERROR_AFTER, FaultKind.RESET_AFTER, FaultKind.MALFORMED)
_BEFORE = (FaultKind.TIMEOUT_BEFORE, FaultKind.ERROR_BEFORE)
#: For how long of the venue's time the orders behind a lost answer cannot be seen.
HIDDEN_SECONDS = (0.0, 5.0, 30.0, 60.0)


def faults(seed: int) -> list[Fault]:
    """Return the day's faults: about half of all submits, and a tenth of all cancellations, get no usable answer."""
    drawn = [
        Fault(kind=kind, method=_SUBMIT, path=_ORDER, probability=0.03, hides_seconds=hidden)
        for kind in _AFTER
        for hidden in HIDDEN_SECONDS
    ]
    drawn += [Fault(kind=kind, method=_SUBMIT, path=_ORDER, probability=0.08) for kind in _BEFORE]
    drawn += [Fault(kind=kind, method="DELETE", path=_ORDER, probability=0.05) for kind in (*_AFTER[:3], *_BEFORE)]
    return [fault.model_copy(update={"seed": seed + n}) for n, fault in enumerate(drawn)]


def minute_bars(slots: int, seed: int) -> pl.DataFrame:
    """Return bars that wander by a few basis points a minute, now and then with too little volume for an order."""
    chance, rows = random.Random(seed), []
    for symbol in SYMBOLS:
        price = 100.0
        for minute in range(-2, slots * _SLOT_MINUTES + 10):
            following = round(price * chance.uniform(0.999, 1.001), 2)
            low, high = round(min(price, following) - 0.02, 2), round(max(price, following) + 0.02, 2)
            volume = chance.choice((40.0, 1e6, 1e6, 1e6))
            rows.append((symbol, FIRST + timedelta(minutes=minute), price, high, low, following, volume))
            price = following
    return pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")


_SLOT_MINUTES = 15
#: Slots with wrong denials, none of whose orders rest: a venue that hides orders for 400 s shows them before the next slot.
_DENIED_SLOTS = (0, 1, 3)
#: Slots after them: the first books what has come to light, the second asks for the last word of an order that it proved.
_CLEARED_SLOTS = (4, 6)


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
    """A desk on a venue with bad answers, whose waiting moves the venue's clock."""

    desk: TradingDesk
    control: PracticeControl
    sends: Sends
    closes: dict[datetime, dict[str, float]]
    limits: RiskLimits

    def trade(self, number: int, breaks_allowed: bool = False) -> int:
        """Rebalance every symbol to the other of two weights; again, as a flow's retries do, while the venue is silent.

        Return how many breaks are open at the end.
        """
        slot = FIRST + timedelta(minutes=number * _SLOT_MINUTES)
        self.control.step(to=slot + timedelta(seconds=2))
        heavy = [(index + number) % 2 == 0 for index in range(len(SYMBOLS))]
        weights = {symbol: 0.045 if more else 0.02 for symbol, more in zip(SYMBOLS, heavy, strict=True)}
        seen = {symbol: SeenBar(slot, close) for symbol, close in self.closes[slot - timedelta(minutes=1)].items()}
        resting = number % 3 == 2
        policy = RebalancePolicy(order_type=OrderType.LIMIT, limit_offset_bps=Decimal(-2)) if resting else RebalancePolicy()

        def decide(version: str) -> PortfolioTargets:
            return PortfolioTargets(version, weights, {}, seen)

        for _ in range(5):
            try:
                report = rebalance(self.desk, RebalanceInputs(slot, "trend/1", decide, policy, self.limits))
            except VenueUnavailableError:
                continue
            assert report.status is RebalanceStatus.DONE, report
            assert breaks_allowed or not report.breaks, report.breaks
            return len(report.breaks)
        raise AssertionError(f"the slot {slot} did not end in 5 runs")


@pytest.fixture
def day_of(stage: Any) -> Iterator[Callable[[int, int], Day]]:
    """Makes a day of so many slots."""
    servers: list[PracticeServer] = []

    def make(slots: int, seed: int) -> Day:
        bars = minute_bars(slots, seed)
        clock = stepped_clock(FIRST + timedelta(seconds=1))
        server = PracticeServer(GivenCandles({Timeframe.M1: bars}), clock, limits=UNLIMITED).start()
        servers.append(server)
        control = PracticeControl(server.url)
        control.create_account("key", "secret", {"USDT": CASH})
        exchange = CcxtExchange(
            "binance", "key", "secret", base_url=server.url, rate_limit_ms=0, timeout_seconds=TIMEOUT, retry_wait_seconds=0.05
        )
        sends = Sends(exchange)
        sends.watch()
        account, supervision = f"ambiguous-{slots}-{seed}", TimescaleSupervision(stage.database)

        def pause(seconds: float) -> None:
            control.step(seconds=seconds)

        desk = TradingDesk(
            account,
            "practice",
            "USDT",
            exchange,
            TimescaleLedger(stage.database),
            supervision,
            VenueClock(exchange.now),
            KillSwitch(account, supervision),
            ExecutionPolicy(
                visibility_delay_seconds=visibility_delay(["binance"]),
                poll_seconds=5,
                follow_timeout_seconds=130,
                lease_wait_seconds=0,
                senders=4,
            ),
            pause=pause,
        )
        closes: dict[datetime, dict[str, float]] = {}
        for symbol, ts, close in bars.select("symbol", "ts", "close").iter_rows():
            closes.setdefault(ts, {})[symbol] = close
        for fault in faults(seed):
            control.arm(fault)
        return Day(desk, control, sends, closes, RiskLimits.model_validate(stage.limits))

    yield make
    for server in servers:
        server.stop()


@dataclass(frozen=True)
class Books:
    """What the venue and the ledger hold at the end of the day."""

    orders: list[OrderRecord]
    booked: list[Fill]
    at_venue: list[Fill]
    accepted: set[str]

    @property
    def doubled(self) -> list[tuple[object, ...]]:
        """Decisions of which the venue accepted more than one attempt."""
        counts = Counter(
            (order.rebalance_id, order.request.symbol, order.leg)
            for order in self.orders
            if order.request.client_order_id in self.accepted
        )
        return [key for key, count in counts.items() if count > 1]

    @property
    def missing(self) -> Counter[tuple[object, ...]]:
        """Trades at the venue that the ledger lacks."""
        return Counter(map(_key, self.at_venue)) - Counter(map(_key, self.booked))

    @property
    def surplus(self) -> Counter[tuple[object, ...]]:
        """Fills in the ledger that the venue lacks."""
        return Counter(map(_key, self.booked)) - Counter(map(_key, self.at_venue))

    @property
    def wrongly_rejected(self) -> list[OrderRecord]:
        """Orders called REJECTED that the venue has, or on nobody's word."""
        refused = [order for order in self.orders if order.state is OrderState.REJECTED]
        return [order for order in refused if order.request.client_order_id in self.accepted or '"code":' not in order.reason]


def books_of(day: Day) -> Books:
    desk, journal = day.desk, day.control.journal()
    accepted = [entry["order"]["client_id"] for entry in journal if entry["kind"] == "order"]
    fills = [fill for symbol in SYMBOLS for fill in desk.exchange.fills(symbol, FIRST)]
    return Books(list(desk.ledger.orders(desk.account)), list(desk.ledger.fills(desk.account)), fills, set(accepted))


def assert_whole(day: Day, books: Books) -> None:
    """One order a decision, every fill booked once, every order at its end, both sides equal to the sum of the trades."""
    assert not day.sends.twice, day.sends.twice[:5]
    assert not books.doubled, books.doubled[:5]
    assert not books.wrongly_rejected, books.wrongly_rejected[:5]
    assert not books.missing, list(books.missing)[:5]
    assert not books.surplus, list(books.surplus)[:5]
    assert all(order.state.is_final for order in books.orders)
    lease = day.desk.ledger.acquire_lease(day.desk.account, "offers every trade again", 60)
    assert lease is not None
    assert not day.desk.ledger.book_fills(lease, books.at_venue)  # what that moved would show below
    day.desk.ledger.release_lease(lease)
    sums = {"USDT": CASH}
    for fill in books.at_venue:
        for asset, change in changes_of(fill).items():
            sums[asset] = sums.get(asset, Decimal(0)) + change
    balances = dict(day.desk.exchange.balances())
    assert dict(day.desk.ledger.positions(day.desk.account)) == balances == {a: q for a, q in sums.items() if q}


def send_ambiguously(day: Day, wanted: int, seed: int) -> None:
    """Trade until `wanted` orders have left, then compare every book."""
    started, number = time.monotonic(), 0
    while sum(day.sends.left.values()) < wanted:
        day.trade(number)
        number += 1
    day.control.clear_faults()
    books = books_of(day)
    late = sum(fill.client_order_id in day.sends.lost for fill in books.booked)
    never = sum(order.reason.startswith(NEVER_ARRIVED) for order in books.orders)
    print(
        f"\nambiguous submits: {sum(day.sends.left.values())} orders in {number} slots (seed {seed}), "
        f"{len(day.sends.lost)} without an answer, of which {never} had never arrived: "
        f"{len(day.sends.twice) + len(books.doubled)} sent twice, {len(books.wrongly_rejected)} REJECTED without the venue's "
        f"word, {late} late fills booked, {books.missing.total()} lost, {books.surplus.total()} doubled, "
        f"{time.monotonic() - started:.0f} s"
    )
    assert_whole(day, books)
    assert len(day.sends.lost) > 0.3 * wanted
    assert late > 0.2 * wanted


def _key(fill: Fill) -> tuple[object, ...]:
    return (fill.symbol, fill.trade_id, fill.client_order_id, fill.quantity, fill.price, fill.fee, fill.fee_asset)


def slots_for(orders: int) -> int:
    """Return slots enough for the orders: now and then a symbol lies within the no-trade band."""
    return orders // len(SYMBOLS) * 5 // 4 + 2


def test_lost_answers_never_send_an_order_twice(day_of: Callable[[int, int], Day]) -> None:
    """A few hundred orders, half of them without an answer: one order a decision, every fill booked, no false break."""
    send_ambiguously(day_of(slots_for(SLICE), SEED), SLICE, SEED)


def believed(stage: Any, account: str) -> int:
    """Return how many times "no such order" was believed of an order."""
    with stage.database.transaction() as connection:
        (count,) = connection.execute(
            """SELECT count(*) FROM order_event JOIN orders USING (client_order_id)
               WHERE account = %s AND order_event.reason LIKE %s""",
            [account, f"{NEVER_ARRIVED}%"],
        ).fetchone()
    return int(count)


@pytest.mark.parametrize("trades_hidden", [0.0, 30.0, 200.0])
def test_order_that_is_denied_for_too_long_is_not_sent_again(
    stage: Any, day_of: Callable[[int, int], Day], trades_hidden: float
) -> None:
    """Filled, its answer lost and its name denied for longer than a denial is doubted: only trades and balances speak of it.

    At once, before the denial is believed, or (balances only) not before another attempt would have left.
    """
    day = day_of(_CLEARED_SLOTS[-1] + 1, SEED + int(trades_hidden))
    day.control.clear_faults()
    for n, kind in enumerate(_AFTER):
        day.control.arm(Fault(kind=kind, method=_SUBMIT, path=_ORDER, probability=0.08, hides_seconds=400, seed=SEED + n))
    day.control.arm(Fault(kind=FaultKind.HIDDEN_TRADES, method="GET", path="/api/v3/myTrades", seconds=trades_hidden))
    breaks = sum(day.trade(number, breaks_allowed=True) for number in _DENIED_SLOTS)
    denied = believed(stage, day.desk.account)
    day.control.clear_faults()
    for number in _CLEARED_SLOTS:
        day.trade(number)
    books = books_of(day)
    print(
        f"\nwrong denials: {sum(day.sends.left.values())} orders, {len(day.sends.lost)} without an answer, {denied} of them "
        f"denied after {day.desk.policy.visibility_delay_seconds:g} s though the venue had them (trades hidden for "
        f"{trades_hidden:g} s): {len(day.sends.twice) + len(books.doubled)} sent twice, {books.missing.total()} lost and "
        f"{books.surplus.total()} doubled fills, {breaks} breaks opened and closed"
    )
    assert_whole(day, books)
    assert denied > 5


@pytest.mark.soak
def test_ten_thousand_lost_answers_never_send_an_order_twice(day_of: Callable[[int, int], Day]) -> None:
    """The same at length."""
    send_ambiguously(day_of(slots_for(ORDERS), SEED), ORDERS, SEED)
