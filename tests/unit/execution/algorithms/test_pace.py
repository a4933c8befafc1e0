"""How many requests of a plan are still to come, and when: never fewer than really leave."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.instruments import Instrument
from penstock.core.order_limits import OrderLimits
from penstock.core.orders import OrderType, Phase, Side
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms import (
    Finished,
    Iceberg,
    Limit,
    MarketStyle,
    Plan,
    Progress,
    Style,
    Twap,
    Wait,
    next_step,
    plan_order,
    requests_ahead,
)
from penstock.execution.algorithms.pieces import piece_count

START = datetime(2024, 3, 1, tzinfo=UTC)
BTC = Instrument(
    "BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"), Decimal(5)
)
ORDER = ProposedOrder("BTC/USDT", Side.BUY, Decimal(1), Decimal(50_000), 0.5, Phase.BUYS)
SLACK = 0.001  # patience is in floats: a moment may be missed by a microsecond


def planned(style: Style) -> Plan:
    return plan_order(ORDER, BTC, style, START)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (MarketStyle(), (0,)),
        (Twap(duration_seconds=40, slices=4), (0, 10, 20, 30)),
        (Twap(duration_seconds=40, slices=4, finish="market"), (0, 10, 20, 30, 40)),
        (Limit(reprice_seconds=15, max_children=3), (0, 15, 30)),
        (
            Iceberg(
                display_fraction=Decimal("0.5"),
                piece_seconds=20,
                duration_seconds=50,
                max_children=4,
            ),
            (0, 0, 0, 20),
        ),
    ],
)
def test_plan_tells_when_its_requests_leave(style: Style, expected: tuple[float, ...]) -> None:
    """Counted before the first one leaves."""
    assert requests_ahead(planned(style), Progress(), timedelta(0), ORDER.price, BTC) == expected


def test_interrupted_plan_counts_what_is_left_and_the_overdue_as_one() -> None:
    """Two of six slices were sent, and a restart took 35 seconds. The slices of 20 and 30 s leave
    as one now, and two follow.
    """
    plan = planned(Twap(duration_seconds=60, slices=6))
    progress = Progress(2, Decimal("0.33"), timedelta(seconds=10))
    assert requests_ahead(plan, progress, timedelta(seconds=35), ORDER.price, BTC) == (0, 5, 15)


def busiest(times: list[float]) -> int:
    """Return the most that any sixty seconds have."""
    return max((sum(at - 60 + SLACK < other <= at for other in times) for at in times), default=0)


styles: st.SearchStrategy[Style] = st.one_of(
    st.builds(
        Limit,
        reprice_seconds=st.integers(1, 60),
        max_children=st.integers(1, 12),
        finish=st.sampled_from(["market"]),
    ),
    st.builds(
        Twap,
        duration_seconds=st.integers(10, 600),
        slices=st.integers(1, 40),
        child_type=st.sampled_from(OrderType),
    ),
    st.builds(
        Iceberg,
        display_fraction=st.decimals("0.05", "1", places=2),
        piece_seconds=st.integers(1, 30),
        duration_seconds=st.integers(10, 600),
        max_children=st.integers(1, 60),
    ),
)


def test_each_piece_of_a_large_child_is_counted() -> None:
    """At most 0.3 at the market: the whole is four requests; of four slices, each at most doubled
    by the rest of those before it, the last may be four.
    """
    small = replace(BTC, limits=OrderLimits(market_quantity=Decimal("0.3")))

    def times(style: Style) -> tuple[float, ...]:
        plan = plan_order(ORDER, small, style, START)
        return requests_ahead(plan, Progress(), timedelta(0), ORDER.price, small)

    assert times(MarketStyle()) == (0, 0, 0, 0)
    assert times(Twap(duration_seconds=40, slices=4)) == (0, 10, 10, 20, 20, 20, 30, 30, 30, 30)
    limits = Limit(reprice_seconds=15, max_children=2, finish="market")
    assert times(limits) == (0, 15, 30, 30, 30, 30)


@given(styles, st.data())
@settings(max_examples=300)
def test_no_more_requests_leave_than_were_counted(style: Style, data: st.DataObject) -> None:
    """Whatever fills: in all, from any moment on, and in the busiest minute."""
    most = st.none() | st.decimals("0.05", "2", places=2)
    limits = OrderLimits(market_quantity=data.draw(most))
    market = replace(BTC, max_quantity=data.draw(most), limits=limits)
    plan, now, progress = plan_order(ORDER, market, style, START), timedelta(0), Progress()
    sent: list[Any] = []
    counted = []

    def ahead() -> tuple[float, ...]:
        return requests_ahead(plan, progress, now, ORDER.price, market)

    first = ahead()
    while not isinstance(
        step := next_step(plan, ORDER, progress, now, ORDER.price, market), Finished
    ):
        counted.append((len(sent), len(ahead())))
        if isinstance(step, Wait):
            now = step.until
            continue
        share = Decimal(data.draw(st.sampled_from(["0", "0.4", "1", "1"])))
        filled = (step.child.quantity * share).quantize(BTC.lot_step, ROUND_FLOOR)
        count = piece_count(step.child.type, step.child.quantity, ORDER.price, market)
        sent += [now.total_seconds()] * count
        progress = Progress(progress.sent + count, progress.filled + filled, now)
        if step.patience_seconds is not None and share < 1:
            now += timedelta(seconds=step.patience_seconds)
    assert all(len(sent) - done <= ahead for done, ahead in counted)
    assert busiest(sent) <= busiest([*first])
