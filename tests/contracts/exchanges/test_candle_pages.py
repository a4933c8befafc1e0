"""History read to its end at venues that answer few bars at once: unmodified ccxt over answers that
follow each venue's rules.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.core.bars import BARS_SCHEMA
from penstock.core.machine import SYSTEM_CLOCK
from penstock.core.timeframes import Timeframe
from penstock.data.bar_pages import BarRequests, read_stretch
from penstock.data.history_gaps import missing_before
from penstock.data.policy import IngestPolicy
from tests.contracts.exchanges.constructed_venue import ConstructedVenue, Said

START = datetime(2020, 1, 1, tzinfo=UTC)
LISTED = datetime(2021, 1, 1, 5, tzinfo=UTC)
POLICY = IngestPolicy(start=START, page_bars=1000)
Fields = Mapping[str, Any]


def opens(timeframe: Timeframe, until: datetime) -> list[int]:
    """Return the seconds at which the coin's bars open, from its listing up to `until`."""
    first = round(timeframe.floor(LISTED).timestamp())
    return list(range(first, round(until.timestamp()) + 1, timeframe.seconds))


def within(ts: list[int], first: float, last: float, most: int) -> list[int]:
    """Return the last `most` opens with first <= open <= last, the newest first."""
    return [each for each in ts if first <= each <= last][-most:][::-1]


def okx(fields: Fields, ts: list[int]) -> object:
    """Both bounds are exclusive; at most 300 bars, the newest ones."""
    found = within(
        ts, int(fields["before"]) / 1000 + 0.001, int(fields["after"]) / 1000 - 0.001, 300
    )
    rows = [[str(each * 1000), "2", "3", "1", "2", "9", "18", "18", "1"] for each in found]
    return {"code": "0", "msg": "", "data": rows}


def coinbase(fields: Fields, ts: list[int]) -> object:
    """More than 300 bars are refused; both bounds are inclusive."""
    found = within(ts, int(fields["start"]), int(fields["end"]), 301)
    values = {"low": "1", "high": "3", "open": "2", "close": "2", "volume": "9"}
    return {"candles": [{"start": str(each), **values} for each in found]}


def kucoin(fields: Fields, ts: list[int]) -> object:
    """At most 1,500 bars, the newest ones; the end is exclusive."""
    found = within(ts, int(fields["startAt"]), int(fields["endAt"]) - 1, 1500)
    rows = [[str(each), "2", "2", "3", "1", "9", "18"] for each in found]
    return {"code": "200000", "data": rows}


def bitget(fields: Fields, ts: list[int]) -> object:
    """Old bars: at most 200, the newest ones before the end."""
    first, end = int(fields["startTime"]) / 1000, int(fields["endTime"]) / 1000
    found = within(ts, first, end - 1, min(200, int(fields["limit"])))
    rows = [[str(each * 1000), "2", "3", "1", "2", "9", "18", "18"] for each in found[::-1]]
    return {"code": "00000", "msg": "success", "data": rows}


def kraken(fields: Fields, ts: list[int]) -> object:
    """The newest 720 bars, wherever the request begins."""
    since = int(fields["since"])
    rows = [[each, "2", "3", "1", "2", "2", "9", 4] for each in ts[-720:] if each > since]
    return {"error": [], "result": {"AAAUSDT": rows, "last": ts[-1]}}


#: How each venue answers; the field that names the bar length, with its hours and its days.
VENUES: dict[str, tuple[Callable[[Fields, list[int]], object], str, str, str]] = {
    "okx": (okx, "bar", "1H", "1Dutc"),
    "coinbase": (coinbase, "granularity", "ONE_HOUR", "ONE_DAY"),
    "kucoin": (kucoin, "type", "1hour", "1day"),
    "bitget": (bitget, "granularity", "1h", "1Dutc"),
    "kraken": (kraken, "interval", "60", "1440"),
}


def market_at(venue: str, until: datetime) -> tuple[CcxtMarketData, ConstructedVenue]:
    """Return the public side of a venue whose coin trades from LISTED to `until`."""
    answer, length, hour, day = VENUES[venue]

    def said(method: str, path: str, fields: Fields) -> Said:
        timeframe = {hour: Timeframe.H1, day: Timeframe.D1}[fields[length]]
        return 200, answer(fields, opens(timeframe, until))

    market = CcxtMarketData(venue, rate_limit_ms=0, read_attempts=1)
    wire = ConstructedVenue(said)
    market.session.mount("https://", wire)
    kinds = ("margin", "swap", "future", "option", "contract", "linear", "inverse")
    market.client.set_markets(
        [
            {
                "id": "AAAUSDT",
                "symbol": "AAA/USDT",
                "base": "AAA",
                "quote": "USDT",
                "info": {},
                "type": "spot",
                "spot": True,
                "active": True,
                **dict.fromkeys(kinds, False),
                "precision": {"amount": 0.001, "price": 0.01},
                "limits": {"amount": {}, "price": {}, "cost": {}},
            }
        ]
    )
    market._has_markets = True
    return market, wire


def read(
    market: CcxtMarketData, timeframe: Timeframe, since: datetime, until: datetime
) -> list[datetime]:
    """Return the open times that were read, in the order of arrival."""
    ask = BarRequests(market, "AAA/USDT", POLICY, SYSTEM_CLOCK)
    stretch = read_stretch(ask, timeframe, since, until, lambda _: None)
    assert stretch.ended
    return list(stretch.rows["ts"])


@pytest.mark.parametrize("timeframe", [Timeframe.H1, Timeframe.D1])
@pytest.mark.parametrize("venue", ["okx", "coinbase", "kucoin", "bitget"])
def test_coin_that_was_listed_a_year_later_gets_all_its_bars(
    venue: str, timeframe: Timeframe
) -> None:
    """A year without a bar ends no history, and every bar after it is read: 13,152 hours."""
    bars = 13152 if timeframe is Timeframe.H1 else 1734
    until = timeframe.floor(LISTED) + (bars - 1) * timeframe.duration
    market, wire = market_at(venue, until)
    found = read(market, timeframe, START, until)
    assert len(set(found)) == bars
    assert (min(found), max(found)) == (timeframe.floor(LISTED), until)
    shown = {"okx": 300, "coinbase": 300, "kucoin": 1000, "bitget": 200}[venue]
    assert len(wire.requests) < 3 * bars / shown + 30


@pytest.mark.parametrize("venue", ["okx", "coinbase", "kucoin", "bitget"])
def test_series_that_ended_years_ago_is_read_to_its_end(venue: str) -> None:
    """The bars before the end are read, and nothing is asked for over and over after it."""
    last = LISTED + timedelta(hours=700)
    market, wire = market_at(venue, last)
    assert len(set(read(market, Timeframe.H1, START, last + timedelta(days=900)))) == 701
    assert len(wire.requests) < 60


def test_days_before_the_newest_of_kraken_are_a_gap_and_elsewhere_a_later_listing() -> None:
    """The venue's own adapter tells, whatever name its bars are stored under."""
    first = START + timedelta(days=1000)
    days = pl.DataFrame(
        [("AAA/USDT", first + n * timedelta(days=1), *[1.0] * 5) for n in range(720)],
        BARS_SCHEMA,
        orient="row",
    )
    found = {
        venue: missing_before(
            BarRequests(CcxtMarketData(venue), "AAA/USDT", POLICY, SYSTEM_CLOCK),
            Timeframe.D1,
            days,
            START,
            None,
        )
        for venue in ("kraken", "binance")
    }
    assert (found["kraken"].bars, found["kraken"].is_gap) == (1000, True)
    assert (found["binance"].bars, found["binance"].is_gap) == (1000, False)


def test_newest_bars_of_kraken_leave_a_gap_with_its_number() -> None:
    """The newest 720 are read. The others count: from the start, and after a pause from the
    newest stored bar.
    """
    until = LISTED + timedelta(hours=5000)
    market, _ = market_at("kraken", until)
    ask = BarRequests(market, "AAA/USDT", POLICY, SYSTEM_CLOCK)
    stretch = read_stretch(ask, Timeframe.H1, START, until, lambda _: None)
    assert (stretch.rows.height, stretch.rows["ts"].max()) == (720, until)
    before = missing_before(ask, Timeframe.H1, stretch.rows, START, None)
    assert (before.bars, before.is_gap) == ((until - START) // timedelta(hours=1) - 719, True)
    stored = until - timedelta(hours=1441)
    paused = missing_before(ask, Timeframe.H1, stretch.rows, stored, stored)
    assert (paused.bars, paused.is_gap) == (721, True)
    assert "721" in str(paused.verdict("AAA/USDT"))
