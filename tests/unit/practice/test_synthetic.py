"""Generated candles: the same for the same seed, sane, and consistent between timeframes."""

from datetime import UTC, datetime

import numpy as np
import pytest

from penstock.core.errors import ConfigError
from penstock.core.timeframes import Timeframe
from penstock.practice.candles import CandleTable
from penstock.practice.market import PracticeMarket
from penstock.practice.synthetic import SyntheticCandles

YEAR = SyntheticCandles(
    ("BTC/USDT", "DOGE/USDT"), datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
)
FAR = 2**62


@pytest.fixture(scope="module")
def table() -> CandleTable:
    return YEAR.load()


def test_same_seed_gives_the_same_candles_in_any_company(table: CandleTable) -> None:
    """A symbol's path depends on seed, name and start only; another seed gives another."""
    alone = SyntheticCandles(("DOGE/USDT",), YEAR.start, YEAR.end).load()["DOGE/USDT"][Timeframe.H1]
    other = SyntheticCandles(("DOGE/USDT",), YEAR.start, YEAR.end, seed=8).load()["DOGE/USDT"][
        Timeframe.H1
    ]
    here = table["DOGE/USDT"][Timeframe.H1]
    assert np.array_equal(alone.window(0, FAR).values, here.window(0, FAR).values)
    assert not np.array_equal(other.window(0, FAR).values, here.window(0, FAR).values)


@pytest.mark.parametrize("symbol", YEAR.symbols)
def test_minutes_resample_exactly_to_hours(table: CandleTable, symbol: str) -> None:
    """Ten days of minutes give the hours' prices exactly and their volume to rounding."""
    hours = table[symbol][Timeframe.H1].page(0, FAR, 240)
    built = table[symbol][Timeframe.M1].page(0, FAR, 240 * 60).resampled(Timeframe.H1)
    assert np.array_equal(built.ts, hours.ts)
    assert np.array_equal(built.values[:, :4], hours.values[:, :4])
    assert np.allclose(built.values[:, 4], hours.values[:, 4], rtol=1e-9)


@pytest.mark.parametrize(
    "timeframe", [Timeframe.M1, Timeframe.M5, Timeframe.M30, Timeframe.H1, Timeframe.D1]
)
def test_bars_are_sane_and_on_their_grid(table: CandleTable, timeframe: Timeframe) -> None:
    """High and low embrace open and close, prices and volumes are positive, no bar is missing."""
    series = PracticeMarket.of(table).series("BTC/USDT", timeframe).page(0, FAR, 300)
    opened, high, low, closed, volume = series.values.T
    assert (high >= np.maximum(opened, closed)).all()
    assert (low <= np.minimum(opened, closed)).all()
    assert (low > 0).all()
    assert (volume >= 0).all()
    assert (np.diff(series.ts) == timeframe.seconds * 1000).all()
    assert np.array_equal(opened[1:], closed[:-1])


def test_asking_page_by_page_gives_the_same_bars(table: CandleTable) -> None:
    """Overlapping pages, and pages of 5-minute bars, agree with one large window."""
    for timeframe in (Timeframe.M1, Timeframe.M5):
        series = table["BTC/USDT"][timeframe]
        whole = series.page(0, FAR, 4000)
        start = 0
        rows: list[list[float]] = []
        while len(rows) < 4000:
            page = series.page(start, FAR, 700)
            rows.extend(page.values.tolist())
            start = int(page.ts[-1]) + 1
        assert rows[:4000] == whole.values.tolist()
        tail = series.last(int(whole.ts[-1]) + 1, 50)
        assert np.array_equal(tail.values, whole.values[-50:])


def test_volatility_and_correlation_are_bounded(table: CandleTable) -> None:
    """About 30-80% a year, and the two symbols move together but not as one."""
    daily = [
        np.diff(
            np.log(PracticeMarket.of(table).series(s, Timeframe.D1).window(0, FAR).values[:, 3])
        )
        for s in YEAR.symbols
    ]
    assert all(0.3 < returns.std() * np.sqrt(365) < 0.8 for returns in daily)
    assert 0.3 < np.corrcoef(daily)[0, 1] < 0.9


def test_partial_days_are_refused() -> None:
    """Start and end are whole UTC days."""
    with pytest.raises(ConfigError, match="whole UTC day"):
        SyntheticCandles(start=datetime(2023, 1, 1, 5, tzinfo=UTC))
