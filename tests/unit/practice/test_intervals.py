"""Candles of every interval of Binance, built from what the exchange has."""

from datetime import UTC, datetime, timedelta

import pytest

from penstock.core.timeframes import Timeframe
from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.candle_pages import CandlePages
from penstock.practice.candles import GivenCandles
from penstock.practice.intervals import Candles, Interval, candles_of, time_zone
from penstock.practice.market import PracticeMarket
from tests.unit.practice.conftest import MIDNIGHT, bars_frame, milliseconds

DAY = timedelta(days=1)
#: Sixty days from Friday, the first of March 2024 on; each opens at its number and trades 1.
DAYS = [(float(k), k + 0.9, k - 0.1, k + 0.5, 1.0) for k in range(1, 61)]
HOUR_MS = 3_600_000


def shown(
    name: str,
    now: datetime,
    *,
    limit: int = 500,
    start: datetime | None = None,
    end: datetime | None = None,
    zone: str = "0",
) -> Candles:
    bars = {Timeframe.D1: bars_frame(DAYS, Timeframe.D1)}
    market = PracticeMarket.of(GivenCandles(bars).load())
    first, last = (None if at is None else milliseconds(at) for at in (start, end))
    interval = Interval(name, time_zone(zone))
    return candles_of(
        market, CandlePages(), "AAA/USDT", interval, milliseconds(now), first, last, limit
    )


def dates(candles: Candles) -> list[str]:
    return [f"{datetime.fromtimestamp(at / 1000, UTC):%m-%d}" for at in candles.opens]


def test_weeks_begin_on_mondays_and_months_on_the_first() -> None:
    """The history begins on a Friday: its first week has three days, and May has none yet."""
    now = MIDNIGHT + 59 * DAY
    weeks, months = shown("1w", now), shown("1M", now)
    assert dates(weeks)[:3] == ["02-26", "03-04", "03-11"]
    assert weeks.values[0].tolist() == [1.0, 3.9, 0.9, 3.5, 3.0]
    assert weeks.values[1].tolist() == [4.0, 10.9, 3.9, 10.5, 7.0]
    assert dates(months) == ["03-01", "04-01"]
    assert months.values[0].tolist() == [1.0, 31.9, 0.9, 31.5, 31.0]
    assert months.closes[0] == months.opens[1] - 1


def test_open_candle_has_nothing_of_later() -> None:
    """On Monday noon the week is known from that day's open only."""
    week = shown("1w", datetime(2024, 3, 11, 12, tzinfo=UTC), limit=1)
    assert dates(week) == ["03-11"]
    assert week.values[0].tolist() == [11.0, 11.0, 11.0, 11.0, 0.0]


@pytest.mark.parametrize("name", ["3d", "1w", "1M"])
def test_pages_of_candles_are_the_whole_list(name: str) -> None:
    """Candles are asked for two at a time from the first on, and none is cut or twice."""
    now = MIDNIGHT + 59 * DAY
    whole, at, pages = shown(name, now), MIDNIGHT - 31 * DAY, []
    while len(page := shown(name, now, start=at, limit=2).opens):
        found = shown(name, now, start=at, limit=2)
        pages += list(zip(found.opens.tolist(), found.values.tolist(), strict=True))
        at = datetime.fromtimestamp(page[-1] / 1000, UTC) + timedelta(milliseconds=1)
    assert pages == list(zip(whole.opens.tolist(), whole.values.tolist(), strict=True))
    assert shown(name, now, limit=2).opens.tolist() == whole.opens[-2:].tolist()


def test_last_candle_until_an_end_is_whole() -> None:
    """The candle that has the end is shown with all of its days that have passed."""
    week = shown("1w", MIDNIGHT + 59 * DAY, end=datetime(2024, 3, 5, tzinfo=UTC), limit=1)
    assert (dates(week), week.values[0].tolist()) == (["03-04"], [4.0, 10.9, 3.9, 10.5, 7.0])


def test_days_of_another_time_zone_need_shorter_bars() -> None:
    """Days at +8:00 begin at 16:00 UTC, and daily bars cannot show them."""
    interval = Interval("1d", time_zone("8"))
    assert interval.open_at(milliseconds(MIDNIGHT)) == milliseconds(MIDNIGHT) - 8 * HOUR_MS
    assert interval.source is Timeframe.H4
    assert len(shown("1d", MIDNIGHT + DAY, zone="8").opens) == 0


@pytest.mark.parametrize("name", ["1s", "7d", "1mo", "1D"])
def test_another_interval_is_refused(name: str) -> None:
    """The exchange has no second candles, and Binance no weeks of its own naming."""
    with pytest.raises(PracticeRefusal, match="-1120"):
        Interval(name)


@pytest.mark.parametrize("zone", ["15", "-13", "8:75", "x"])
def test_another_time_zone_is_refused(zone: str) -> None:
    """Zones reach from -12:00 to +14:00."""
    with pytest.raises(PracticeRefusal, match="timeZone"):
        time_zone(zone)
