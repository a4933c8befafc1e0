"""Submits whose answers are lost, in every way a venue loses them. Some of the orders cannot be
seen for a minute.

Time is the venue's: waiting steps its clock. A slice is part of the ordinary tests; `pytest -m soak
tests/crash -s` sends 10,000 orders. PENSTOCK_AMBIGUOUS_ORDERS and PENSTOCK_AMBIGUOUS_SEED change
number and seed.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from penstock.core.orders import EndCause
from penstock.practice.faults import Fault, FaultKind
from tests.crash.conftest import Stage
from tests.crash.misled_day import (
    SYMBOLS,
    Day,
    assert_whole,
    books_of,
    make_server,
    minute_bars,
    open_day,
)

pytestmark = pytest.mark.slow

SLICE = 60
ORDERS = int(os.environ.get("PENSTOCK_AMBIGUOUS_ORDERS", "10000"))
SEED = int(os.environ.get("PENSTOCK_AMBIGUOUS_SEED", "20240303"))
_SUBMIT, _ORDER = "POST", "/api/v3/order"
_AFTER = (
    FaultKind.TIMEOUT_AFTER,
    FaultKind.ERROR_AFTER,
    FaultKind.RESET_AFTER,
    FaultKind.MALFORMED,
)
_BEFORE = (FaultKind.TIMEOUT_BEFORE, FaultKind.ERROR_BEFORE)
#: The venue's seconds between two looks at the same orders: rarely in the slices, often at length.
RARELY, OFTEN = 15.0, 5.0
#: For how long of the venue's time the orders behind a lost answer cannot be seen.
HIDDEN_SECONDS = (0.0, 5.0, 30.0, 60.0)


def faults(seed: int) -> list[Fault]:
    """Return the day's faults: about half of all submits, and a tenth of all cancellations, get no
    usable answer.
    """
    drawn = [
        Fault(kind=kind, method=_SUBMIT, path=_ORDER, probability=0.03, hides_seconds=hidden)
        for kind in _AFTER
        for hidden in HIDDEN_SECONDS
    ]
    drawn += [Fault(kind=kind, method=_SUBMIT, path=_ORDER, probability=0.08) for kind in _BEFORE]
    drawn += [
        Fault(kind=kind, method="DELETE", path=_ORDER, probability=0.05)
        for kind in (*_AFTER[:3], *_BEFORE)
    ]
    return [fault.model_copy(update={"seed": seed + n}) for n, fault in enumerate(drawn)]


#: Slots with wrong "no such order" answers, none of whose orders rest. A venue that hides orders
#: for 400 s shows them before the next slot.
_DENIED_SLOTS = (0, 1, 3)
#: Slots after them. The first books the trades that show; the second asks for the final state of an
#: order that a trade proved.
_CLEARED_SLOTS = (4, 6)


@pytest.fixture
def day_of(stage: Stage) -> Iterator[Callable[[int, int, float], Day]]:
    """Makes a day of so many slots, with so many seconds between two looks at an order."""
    with ExitStack() as servers:

        def make(slots: int, seed: int, poll_seconds: float) -> Day:
            bars = minute_bars(slots, seed)
            day = open_day(
                stage,
                servers.enter_context(make_server(bars)),
                bars,
                f"ambiguous-{slots}-{seed}",
                poll_seconds,
            )
            for fault in faults(seed):
                day.control.arm(fault)
            return day

        yield make


def send_ambiguously(day: Day, wanted: int, seed: int) -> None:
    """Trade until `wanted` orders have left, then compare every book."""
    started, number = time.monotonic(), 0
    while sum(day.sends.left.values()) < wanted:
        day.trade(number)
        number += 1
    day.control.clear_faults()
    books = books_of(day)
    late = sum(fill.client_order_id in day.sends.lost for fill in books.booked)
    never = sum(order.end_cause is EndCause.NEVER_ARRIVED for order in books.orders)
    print(
        f"\nambiguous submits: {sum(day.sends.left.values())} orders in {number} slots (seed "
        f"{seed}), {len(day.sends.lost)} without an answer, of which {never} had never arrived: "
        f"{len(day.sends.twice) + len(books.doubled)} sent twice, {len(books.wrongly_rejected)} "
        f"REJECTED without the venue's word, {late} late fills booked, "
        f"{books.missing.total()} lost, {books.surplus.total()} doubled, "
        f"{time.monotonic() - started:.0f} s"
    )
    assert_whole(day, books)
    assert len(day.sends.lost) > 0.3 * wanted
    assert late > 0.2 * wanted


def slots_for(orders: int) -> int:
    """Return slots enough for the orders: now and then a symbol lies within the no-trade band."""
    return orders // len(SYMBOLS) * 5 // 4 + 2


def test_lost_answers_never_send_an_order_twice(
    day_of: Callable[[int, int, float], Day],
) -> None:
    """A hundred orders, half of them without an answer: one order per decision, every fill
    booked, no false break.
    """
    send_ambiguously(day_of(slots_for(SLICE), SEED, RARELY), SLICE, SEED)


def believed(stage: Stage, account: str) -> int:
    """Return how many times "no such order" was believed of an order."""
    with stage.database.transaction() as connection:
        row = connection.execute(
            """SELECT count(*) FROM order_event JOIN orders USING (client_order_id)
               WHERE account = %s AND order_event.end_cause = %s""",
            [account, EndCause.NEVER_ARRIVED.value],
        ).fetchone()
    assert row
    return int(row[0])


@pytest.mark.parametrize("trades_hidden", [0.0, 30.0, 200.0])
def test_order_that_is_denied_for_too_long_is_not_sent_again(
    stage: Stage, day_of: Callable[[int, int, float], Day], trades_hidden: float
) -> None:
    """The order is filled and its answer is lost. The venue says "no such order" for longer than
    the visibility delay.

    Trades and balances alone show the order: at once, before the delay is over, or (balances only)
    after it.
    """
    day = day_of(_CLEARED_SLOTS[-1] + 1, SEED + int(trades_hidden), RARELY)
    day.control.clear_faults()
    for n, kind in enumerate(_AFTER):
        day.control.arm(
            Fault(
                kind=kind,
                method=_SUBMIT,
                path=_ORDER,
                probability=0.08,
                hides_seconds=400,
                seed=SEED + n,
            )
        )
    day.control.arm(
        Fault(
            kind=FaultKind.HIDDEN_TRADES,
            method="GET",
            path="/api/v3/myTrades",
            seconds=trades_hidden,
        )
    )
    breaks = sum(day.trade(number, may_be_left=True) for number in _DENIED_SLOTS)
    denied = believed(stage, day.session.account)
    day.control.clear_faults()
    for number in _CLEARED_SLOTS:
        day.trade(number)
    books = books_of(day)
    print(
        f"\nwrong denials: {sum(day.sends.left.values())} orders, {len(day.sends.lost)} without "
        f"an answer, {denied} of them denied after "
        f"{day.session.policy.visibility_delay_seconds:g} s though the venue had them (trades "
        f"hidden for {trades_hidden:g} s): {len(day.sends.twice) + len(books.doubled)} sent "
        f"twice, {books.missing.total()} lost and {books.surplus.total()} doubled fills, "
        f"{breaks} breaks opened and closed"
    )
    assert_whole(day, books)
    assert denied > 5


@pytest.mark.soak
def test_ten_thousand_lost_answers_never_send_an_order_twice(
    day_of: Callable[[int, int, float], Day],
) -> None:
    """The same at length."""
    send_ambiguously(day_of(slots_for(ORDERS), SEED, OFTEN), ORDERS, SEED)
