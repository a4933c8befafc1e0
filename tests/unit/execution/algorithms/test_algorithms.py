"""The planners: whole lots, legal children, exact sums, and a plan that any interruption leaves
intact.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.core.bars import BARS_SCHEMA
from penstock.core.instruments import Instrument
from penstock.core.order_limits import OrderLimits, PriceBand
from penstock.core.orders import OrderType, Phase, Side
from penstock.core.proposals import ProposedOrder
from penstock.core.timeframes import Timeframe
from penstock.execution.algorithms import (
    Finished,
    Iceberg,
    Limit,
    MarketStyle,
    Plan,
    Progress,
    Send,
    Style,
    Twap,
    VolumeProfile,
    Vwap,
    Wait,
    next_step,
    plan_order,
)
from penstock.execution.algorithms.children import cut, limit_price

START = datetime(2024, 3, 1, tzinfo=UTC)
ZERO = Decimal(0)
BTC = Instrument(
    "BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"), Decimal(5)
)


def order_of(quantity: str, price: str = "50000", side: Side = Side.BUY) -> ProposedOrder:
    return ProposedOrder(
        "BTC/USDT",
        side,
        Decimal(quantity),
        Decimal(price),
        0.5,
        Phase.SELLS if side is Side.SELL else Phase.BUYS,
    )


@st.composite
def markets(draw: st.DrawFn) -> tuple[Instrument, ProposedOrder]:
    """An instrument with any lot, tick and minimum, and an order that is legal on it."""
    lot = Decimal(1).scaleb(-draw(st.integers(0, 6)))
    tick = Decimal(draw(st.sampled_from([1, 5]))).scaleb(-draw(st.integers(0, 4)))
    minimum = lot * draw(st.integers(1, 50))
    notional = Decimal(draw(st.sampled_from([0, 5, 10])))
    instrument = Instrument("X/USDT", "X", "USDT", tick, lot, minimum, notional)
    price = tick * draw(st.integers(1, 10**6))
    quantity = lot * draw(st.integers(1, 10**7))
    assume(instrument.refusal(quantity, price) is None)
    side = draw(st.sampled_from(Side))
    return instrument, ProposedOrder(
        "X/USDT", side, quantity, price, 0.1, Phase.SELLS if side is Side.SELL else Phase.BUYS
    )


finishes = st.sampled_from(["market", "leave"])
styles: st.SearchStrategy[Style] = st.one_of(
    st.just(MarketStyle()),
    st.builds(
        Limit, reprice_seconds=st.floats(1, 60), max_children=st.integers(1, 12), finish=finishes
    ),
    st.builds(
        Twap,
        duration_seconds=st.floats(10, 3600),
        slices=st.integers(1, 40),
        child_type=st.sampled_from(OrderType),
        finish=finishes,
    ),
    st.builds(
        Vwap,
        duration_seconds=st.floats(10, 3600),
        slices=st.integers(1, 40),
        child_type=st.sampled_from(OrderType),
        finish=finishes,
    ),
    st.builds(
        Iceberg,
        display_fraction=st.decimals("0.01", "1", places=2),
        piece_seconds=st.floats(1, 30),
        duration_seconds=st.floats(10, 600),
        max_children=st.integers(1, 60),
        finish=finishes,
    ),
)
profiles = st.lists(st.floats(0, 1e9), min_size=1, max_size=48).map(
    lambda buckets: VolumeProfile(tuple(buckets))
)


@given(markets(), styles, profiles)
@settings(max_examples=300)
def test_every_plan_sums_to_its_order_in_legal_whole_lots(
    market: tuple[Instrument, ProposedOrder], style: Style, profile: VolumeProfile
) -> None:
    """Whatever the style, the venue and the profile: whole lots, each legal, in time order, summing
    exactly to the parent.
    """
    instrument, order = market
    plan = plan_order(order, instrument, style, START, profile)
    assert plan.quantity == order.quantity
    assert plan.children
    for number, child in enumerate(plan.children):
        assert child.number == number
        assert instrument.round_lots(child.quantity) == child.quantity
        assert instrument.refusal(child.quantity, order.price) is None
    times = [child.at for child in plan.children]
    assert times == sorted(times)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def run(
    instrument: Instrument,
    order: ProposedOrder,
    style: Style,
    profile: VolumeProfile,
    data: st.DataObject,
    killed: bool,
) -> list[tuple[timedelta, Decimal, Decimal]]:
    """Work a plan against a venue that fills what hypothesis draws. Return (at, quantity, filled)
    of each child.

    Where `killed`, some time passes before any step and the plan is read back from its JSON, as
    after a restart.
    """
    plan, now = plan_order(order, instrument, style, START, profile), timedelta(0)
    sent: list[Any] = []
    progress = Progress()
    for _ in range(5_000):
        if killed and data.draw(st.booleans()):
            now += timedelta(seconds=data.draw(st.integers(0, 120)))
            plan = Plan.model_validate_json(plan.model_dump_json())
        last = order.price * Decimal(data.draw(st.sampled_from(["1", "0.995", "1.01"])))
        step = next_step(plan, order, progress, now, last, instrument)
        if isinstance(step, Finished):
            assert step.left == order.quantity - progress.filled
            return sent
        if isinstance(step, Wait):
            assert step.until > now
            now = step.until
            continue
        child = step.child
        assert child.number == progress.sent
        assert (child.price is None) == (child.type is OrderType.MARKET)
        assert instrument.refusal(child.quantity, child.price or last) is None
        lots = int(child.quantity / instrument.lot_step)
        filled = instrument.lot_step * data.draw(st.sampled_from([0, lots // 3, lots, lots]))
        sent.append((now, child.quantity, filled))
        progress = Progress(progress.sent + 1, progress.filled + filled, now)
    raise AssertionError("the plan does not end")


@given(markets(), styles, profiles, st.data())
@settings(max_examples=300)
def test_work_ends_and_never_sends_more_than_is_left(
    market: tuple[Instrument, ProposedOrder],
    style: Style,
    profile: VolumeProfile,
    data: st.DataObject,
) -> None:
    """With any fills, prices, pauses and restarts every child is legal and no larger than what the
    ones before left.
    """
    instrument, order = market
    filled = ZERO
    for _, quantity, got in run(instrument, order, style, profile, data, killed=True):
        assert quantity <= order.quantity - filled
        filled += got
    assert filled <= order.quantity


@given(markets(), st.one_of(styles), profiles)
@settings(max_examples=200)
def test_order_that_fills_completely_is_worked_to_its_last_lot(
    market: tuple[Instrument, ProposedOrder], style: Style, profile: VolumeProfile
) -> None:
    """The children sum exactly to the parent where every child fills and the price is constant."""
    instrument, order = market
    plan, now, progress = (
        plan_order(order, instrument, style, START, profile),
        timedelta(0),
        Progress(),
    )
    steps = 0
    while not isinstance(
        step := next_step(plan, order, progress, now, order.price, instrument), Finished
    ):
        steps += 1
        assert steps < 2_000
        if isinstance(step, Wait):
            now = step.until
        else:
            progress = Progress(progress.sent + 1, progress.filled + step.child.quantity, now)
    # A limit price rounded to a coarse tick may put a child under the minimum notional. Then it is
    # never sent.
    passive = (
        isinstance(style, Limit | Iceberg) or getattr(style, "child_type", None) is OrderType.LIMIT
    )
    assert progress.filled == order.quantity or (passive and instrument.min_notional > 0)


@given(markets(), st.integers(0, 2_000), st.integers(0, 2_000), st.sampled_from(Side))
def test_limit_price_is_in_ticks_and_never_worse_than_the_collar(
    market: tuple[Instrument, ProposedOrder], offset: int, collar: int, side: Side
) -> None:
    """A buy never bids above reference x (1 + collar), and a sell never asks below reference x (1 -
    collar). One tick is allowed.
    """
    instrument, order = market
    price = limit_price(
        side, order.price, order.price, Decimal(offset), Decimal(collar), instrument
    )
    assert price is not None
    assert price % instrument.price_tick == 0
    bound = order.price * (1 + side.sign * Decimal(collar) / 10_000)
    if side is Side.BUY:
        assert price <= max(bound, instrument.price_tick)
    else:
        assert price >= bound


BAND = PriceBand(Decimal("0.98"), Decimal("1.01"), Decimal("0.99"), Decimal("1.02"))


@pytest.mark.parametrize(
    ("side", "offset", "collar", "expected"),
    [
        (Side.BUY, "300", "500", "101"),  # the highest price that the venue takes
        (Side.BUY, "-300", "500", "98"),  # nearer to the market than wanted, within the collar
        (Side.SELL, "300", "500", "99"),
        (Side.SELL, "-300", "500", "102"),
        (Side.BUY, "50", "500", "100.5"),
    ],
)
def test_limit_price_is_within_the_venues_price_band(
    side: Side, offset: str, collar: str, expected: str
) -> None:
    """The nearest price that the venue takes, where it takes none as far from the market."""
    banded = replace(BTC, limits=OrderLimits(price_band=BAND))
    last = Decimal(100)
    price = limit_price(side, last, last, Decimal(offset), Decimal(collar), banded)
    assert price == Decimal(expected)


def test_limit_order_with_no_price_in_band_and_collar_waits_and_says_so() -> None:
    """The market has left the planned price by a tenth: the collar forbids what the venue takes."""
    banded = replace(BTC, limits=OrderLimits(price_band=BAND))
    order, style = order_of("0.1", "100"), Limit(reprice_seconds=10, max_children=2)
    plan = plan_order(order, banded, style, START)
    step = next_step(plan, order, Progress(), timedelta(0), Decimal(110), banded)
    assert isinstance(step, Wait)
    assert "price band" in step.reason
    last = next_step(plan, order, Progress(), timedelta(seconds=10), Decimal(110), banded)
    assert isinstance(last, Finished)
    assert "price band" in last.reason


@given(
    st.integers(1, 10**6),
    st.integers(0, 2_000),
    st.integers(0, 2_000),
    st.sampled_from(Side),
    st.integers(50, 150),
)
def test_priced_child_is_within_collar_and_band_whatever_the_market_does(
    price: int, offset: int, collar: int, side: Side, moved: int
) -> None:
    """A price is in ticks, within the band around the market and never worse than the collar; or
    there is none.
    """
    banded = replace(BTC, limits=OrderLimits(price_band=BAND))
    reference = Decimal(price)
    last = banded.round_price(reference * moved / 100, "ROUND_FLOOR")
    found = limit_price(side, last, reference, Decimal(offset), Decimal(collar), banded)
    if found is None:
        return
    lowest, highest = BAND.of(side)
    assert lowest * last <= found <= highest * last
    assert found % banded.price_tick == 0
    bound = reference * (1 + side.sign * Decimal(collar) / 10_000)
    assert found <= max(bound, banded.price_tick) if side is Side.BUY else found >= bound


def test_twap_sends_equal_slices_at_equal_intervals() -> None:
    """One BTC in four slices over two minutes: a quarter every thirty seconds."""
    plan = plan_order(order_of("1"), BTC, Twap(duration_seconds=120, slices=4), START)
    assert [child.quantity for child in plan.children] == [Decimal("0.25")] * 4
    assert [child.at.total_seconds() for child in plan.children] == [0, 30, 60, 90]
    assert {child.type for child in plan.children} == {OrderType.MARKET}


def test_slices_under_the_minimum_are_merged() -> None:
    """12 USDT in ten slices are 1.2 each, under the minimum of 5: two larger slices are made."""
    order = order_of("0.00024")
    plan = plan_order(order, BTC, Twap(slices=10), START)
    assert len(plan.children) == 2
    assert all(child.quantity * order.price >= 5 for child in plan.children)


def test_order_too_small_to_be_cut_goes_whole() -> None:
    """A piece that is only just legal is not cut."""
    assert cut(order_of("0.0001"), [Decimal(1)] * 5, BTC) == [(0, Decimal("0.0001"))]


def test_rest_of_an_unfilled_slice_joins_the_next() -> None:
    """Of the first quarter a tenth fills: the second slice is its own quarter and the rest of the
    first.
    """
    order, style = order_of("1"), Twap(duration_seconds=120, slices=4)
    plan = plan_order(order, BTC, style, START)
    done = Progress(1, Decimal("0.025"), timedelta(0))
    assert next_step(plan, order, done, timedelta(seconds=29), order.price, BTC) == Wait(
        timedelta(seconds=30)
    )
    step = next_step(plan, order, done, timedelta(seconds=30), order.price, BTC)
    assert isinstance(step, Send)
    assert step.child.quantity == Decimal("0.475")
    assert step.child.number == 1


def test_slices_missed_by_an_interruption_go_as_one() -> None:
    """A run that comes back after three of four slices were due sends them as one child, not as
    three.
    """
    order, style = order_of("1"), Twap(duration_seconds=120, slices=4)
    step = next_step(
        plan_order(order, BTC, style, START),
        order,
        Progress(),
        timedelta(seconds=70),
        order.price,
        BTC,
    )
    assert isinstance(step, Send)
    assert step.child.quantity == Decimal("0.75")


@pytest.mark.parametrize(("finish", "quantity"), [("market", Decimal("0.4")), ("leave", None)])
def test_rest_at_the_end_is_finished_as_the_style_says(
    finish: str, quantity: Decimal | None
) -> None:
    """The rest at the end goes out once as a market order, or stays for the next slot."""
    order, style = (
        order_of("1"),
        Twap.model_validate({"duration_seconds": 120, "slices": 4, "finish": finish}),
    )
    progress = Progress(4, Decimal("0.6"), timedelta(seconds=90))
    step = next_step(
        plan_order(order, BTC, style, START),
        order,
        progress,
        timedelta(seconds=120),
        order.price,
        BTC,
    )
    if quantity is None:
        assert step == Finished(Decimal("0.4"))
        return
    assert isinstance(step, Send)
    assert (step.child.type, step.child.quantity) == (OrderType.MARKET, quantity)
    swept = Progress(5, Decimal("0.9"), timedelta(seconds=120))
    assert next_step(
        plan_order(order, BTC, style, START), order, swept, timedelta(seconds=121), order.price, BTC
    ) == Finished(Decimal("0.1"))


def test_limit_is_priced_anew_at_the_last_price() -> None:
    """After its time a limit child's rest is sent at the price of then, ten basis points through
    the market.
    """
    order, style = order_of("1"), Limit(reprice_seconds=20, max_children=3, offset_bps=Decimal(10))
    plan = plan_order(order, BTC, style, START)
    first = next_step(plan, order, Progress(), timedelta(0), Decimal(50_000), BTC)
    assert isinstance(first, Send)
    assert (first.child.price, first.patience_seconds) == (Decimal("50050.00"), 20)
    done = Progress(1, Decimal("0.5"), timedelta(0))
    second = next_step(plan, order, done, timedelta(seconds=20), Decimal(50_100), BTC)
    assert isinstance(second, Send)
    assert (second.child.price, second.child.quantity) == (Decimal("50150.10"), Decimal("0.5"))


def test_collar_holds_a_repriced_limit_back() -> None:
    """Where the market has run away by more than the collar, the child asks for the collar and no
    more.
    """
    order, style = order_of("1"), Limit(collar_bps=Decimal(50))
    step = next_step(
        plan_order(order, BTC, style, START), order, Progress(), timedelta(0), Decimal(51_000), BTC
    )
    assert isinstance(step, Send)
    assert step.child.price == Decimal("50250.00")


def test_iceberg_shows_one_piece_at_a_time() -> None:
    """A tenth is shown, and the next tenth follows when it is filled. No piece under the minimum is
    left for last.
    """
    order, style = order_of("1"), Iceberg(display_fraction=Decimal("0.1"))
    plan = plan_order(order, BTC, style, START)
    shown = []
    progress = Progress()
    for second in range(20):
        step = next_step(plan, order, progress, timedelta(seconds=second), order.price, BTC)
        if isinstance(step, Finished):
            break
        assert isinstance(step, Send)
        shown.append(step.child.quantity)
        progress = Progress(
            progress.sent + 1, progress.filled + step.child.quantity, timedelta(seconds=second)
        )
    assert shown == [Decimal("0.1")] * 10


def test_risk_allowing_less_bounds_what_is_still_sent() -> None:
    """Where a resumed plan may fill 0.3 in all and 0.25 has filled, the next child is 0.05."""
    order, style = order_of("1"), Twap(duration_seconds=120, slices=4)
    progress = Progress(1, Decimal("0.25"), timedelta(0), allowed=Decimal("0.3"))
    step = next_step(
        plan_order(order, BTC, style, START),
        order,
        progress,
        timedelta(seconds=30),
        order.price,
        BTC,
    )
    assert isinstance(step, Send)
    assert step.child.quantity == Decimal("0.05")


def test_vwap_follows_the_volume_of_the_time_of_day() -> None:
    """Twice the volume in the second half hour gives twice the quantity; the profile is the mean
    over the days.
    """
    rows = [
        (
            "BTC/USDT",
            START - timedelta(days=day) + timedelta(minutes=30 * half),
            1.0,
            1.0,
            1.0,
            1.0,
            volume * (1 + day),
        )
        for day in (1, 2)
        for half, volume in ((0, 100.0), (1, 200.0))
    ]
    bars = pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")
    profile = VolumeProfile.of(bars, "BTC/USDT", Timeframe.M30)
    assert (profile.buckets[0], profile.buckets[1], sum(profile.buckets)) == (250.0, 500.0, 750.0)
    plan = plan_order(order_of("0.9"), BTC, Vwap(duration_seconds=3600, slices=6), START, profile)
    assert [child.quantity for child in plan.children] == [Decimal("0.1")] * 3 + [
        Decimal("0.2")
    ] * 3


def test_profile_shares_are_cut_at_bucket_edges_and_repeat_over_midnight() -> None:
    """An interval across two buckets takes its part of both, also from the last bucket of a day to
    the first of the next.
    """
    profile = VolumeProfile(tuple(float(hour) for hour in range(24)))
    shares = profile.shares(START + timedelta(hours=23, minutes=30), timedelta(hours=1), 2)
    assert [float(share) for share in shares] == pytest.approx([23 / 2 + 0, 0 + 1 / 2])


def test_symbol_without_bars_is_worked_evenly() -> None:
    """Where no volume is known, VWAP is TWAP."""
    profile = VolumeProfile.of(pl.DataFrame(schema=BARS_SCHEMA), "BTC/USDT", Timeframe.H1)
    plan = plan_order(order_of("1"), BTC, Vwap(slices=4), START, profile)
    assert [child.quantity for child in plan.children] == [Decimal("0.25")] * 4
