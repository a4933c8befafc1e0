"""What the practice market shows at an instant."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.timeframes import Timeframe
from penstock.practice.candles import GivenCandles
from penstock.practice.market import PracticeMarket
from tests.unit.practice.conftest import Frames

H, D = Timeframe.H1, Timeframe.D1
HOUR = timedelta(hours=1)


@pytest.fixture
def two_days(frame: Frames) -> dict[Timeframe, pl.DataFrame]:
    """Hourly and daily bars of two days; the hours rise by one, the days are their resampling."""
    hours = [(100.0 + k, 103.0 + k, 99.0 + k, 101.0 + k, 10.0) for k in range(48)]
    days = [
        (100.0 + 24 * d, 126.0 + 24 * d, 99.0 + 24 * d, 124.0 + 24 * d, 240.0) for d in range(2)
    ]
    return {H: frame(hours, H), D: frame(days, D)}


def test_open_daily_bar_is_built_from_the_closed_hours(
    two_days: dict[Timeframe, pl.DataFrame], frame: Frames, ms: Callable[[datetime], int]
) -> None:
    """At 03:30 the day shows its first three hours and the open of the fourth. It shows no later
    price of that hour.
    """
    market = PracticeMarket.of(GivenCandles(two_days).load())
    start = two_days[D]["ts"][0]
    found = market.candles("AAA/USDT", D, ms(start + 3.5 * HOUR), None, None, 10)
    assert found.values.tolist() == [[100.0, 105.0, 99.0, 103.0, 30.0]]


def test_price_is_the_open_of_the_shortest_bar_at_hand(
    two_days: dict[Timeframe, pl.DataFrame], ms: Callable[[datetime], int]
) -> None:
    """With hours and days the price at 03:30 is the fourth hour's open."""
    market = PracticeMarket.of(GivenCandles(two_days).load())
    quote = market.quote("AAA/USDT", ms(two_days[D]["ts"][0] + 3.5 * HOUR))
    assert (quote.price, quote.timeframe, quote.is_open) == (103.0, H, True)


def test_longer_bars_serve_where_shorter_ones_end(
    two_days: dict[Timeframe, pl.DataFrame], frame: Frames, ms: Callable[[datetime], int]
) -> None:
    """After the hours' history ends the price comes from the days."""
    bars = {H: two_days[H].head(24), D: two_days[D]}
    market = PracticeMarket.of(GivenCandles(bars).load())
    quote = market.quote("AAA/USDT", ms(two_days[D]["ts"][1] + 5 * HOUR))
    assert (quote.price, quote.timeframe) == (124.0, D)


def test_outage_closes_the_market_at_the_last_close(
    frame: Frames, ms: Callable[[datetime], int]
) -> None:
    """In an hour without a bar the last close stands and the market is closed, although a daily bar
    exists.
    """
    hours = [(10.0, 12.0, 9.0, 11.0, 5.0)] * 2 + [None] * 3 + [(20.0, 21.0, 19.0, 20.0, 5.0)]
    bars = {H: frame(hours, H), D: frame([(10.0, 21.0, 9.0, 20.0, 15.0)], D)}
    market = PracticeMarket.of(GivenCandles(bars).load())
    quote = market.quote("AAA/USDT", ms(bars[H]["ts"][0] + 3 * HOUR))
    assert (quote.price, quote.is_open, quote.volume) == (11.0, False, 0.0)


def test_nothing_is_known_before_the_first_bar(
    two_days: dict[Timeframe, pl.DataFrame], ms: Callable[[datetime], int]
) -> None:
    """Before its history starts a symbol has no price and no candles."""
    market = PracticeMarket.of(GivenCandles(two_days).load())
    early = ms(two_days[H]["ts"][0]) - 1
    assert market.quote("AAA/USDT", early) is None
    assert len(market.candles("AAA/USDT", H, early, 0, None, 10)) == 0


def test_missing_timeframe_is_built_from_the_longest_shorter_one(
    two_days: dict[Timeframe, pl.DataFrame], ms: Callable[[datetime], int]
) -> None:
    """Four-hour bars come from the hours."""
    market = PracticeMarket.of(GivenCandles(two_days).load())
    first = market.candles("AAA/USDT", Timeframe.H4, ms(two_days[H]["ts"][-1]), 0, None, 1)
    assert first.values.tolist() == [[100.0, 106.0, 99.0, 104.0, 40.0]]


@settings(max_examples=60)
@given(minute=st.integers(0, 48 * 60 - 1), timeframe=st.sampled_from([H, Timeframe.H4, D]))
def test_the_future_never_shows(minute: int, timeframe: Timeframe) -> None:
    """Whatever bars come after now, what is shown now is the same."""
    start = pl.datetime(2024, 3, 1, time_zone="UTC")
    rng = np.random.default_rng(1)
    walk = 100 + np.abs(np.cumsum(rng.standard_normal(48)))
    hours = pl.select(
        pl.datetime_range(start, start.dt.offset_by("47h"), "1h", time_unit="ms").alias("ts")
    ).with_columns(
        pl.lit("AAA/USDT").alias("symbol"),
        *(
            pl.Series(name, walk + shift)
            for name, shift in (("open", 0), ("high", 3), ("low", -3), ("close", 1))
        ),
        volume=pl.lit(5.0),
    )
    now = int(hours["ts"].to_physical()[0]) + minute * 60_000
    is_later = pl.col("ts").to_physical() > now
    is_current = (pl.col("ts").to_physical() <= now) & (
        pl.col("ts").to_physical() + 3_600_000 > now
    )
    changed = hours.with_columns(
        [pl.when(is_later).then(pl.col(name) * 7).otherwise(pl.col(name)) for name in ("open",)]
        + [
            pl.when(is_later | is_current).then(pl.col(name) * 7).otherwise(pl.col(name))
            for name in ("high", "low", "close", "volume")
        ]
    )
    shown = [
        PracticeMarket.of(GivenCandles({H: bars}).load()).candles(
            "AAA/USDT", timeframe, now, 0, None, 100
        )
        for bars in (hours, changed)
    ]
    assert np.array_equal(shown[0].values, shown[1].values)
    assert int(shown[0].ts[-1]) <= now
