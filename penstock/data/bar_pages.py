"""How a range of history is read from a venue: in pages, with retries.

What was missing is asked for once more. Nothing is stored here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import polars as pl
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from penstock.core.bars import BARS_SCHEMA, TS, empty_bars, require_bars
from penstock.core.clock import MachineClock
from penstock.core.errors import ConfigError, RateLimitedError, VenueUnavailableError
from penstock.core.timeframes import Timeframe
from penstock.data.policy import IngestPolicy
from penstock.ports import EndedMarketData, MarketData, NewestBarsOnly

T = TypeVar("T")

#: Every venue answers a request for so many bars with all that it has of them.
SHORTEST_PAGE = 100


@dataclass(frozen=True)
class Stretch:
    """Rows of one symbol in the order of their arrival."""

    rows: pl.DataFrame
    """The rows (BARS_SCHEMA), unchecked."""
    ended: bool
    """Whether the venue has no closed bar after them."""


def retrying(call: Callable[[], T], policy: IngestPolicy, *, clock: MachineClock) -> T:
    """Return `call()`, tried again while the venue is unavailable.

    Between tries it waits as long as the venue asks for, or doubles its wait. The last error is
    raised after `policy.attempts` tries. An error is raised at once where the venue asks for more
    than `policy.max_wait_seconds`, or where a retry cannot help.
    """
    tries = Retrying(
        sleep=clock.sleep,
        stop=stop_after_attempt(policy.attempts),
        wait=lambda state: _wait_seconds(state, policy),
        retry=retry_if_exception(lambda error: _worth_retrying(error, policy)),
        reraise=True,
    )
    return tries(call)


def read_stretch(
    ask: "BarRequests",
    timeframe: Timeframe,
    since: datetime,
    until: datetime,
    on_page: Callable[[datetime], None],
) -> Stretch:
    """Read pages from `since` up to the bar that opens at `until`.

    The cursor moves by what was answered, because a venue may answer fewer bars than it is asked
    for. An empty page ends nothing: bars that come later are looked for (`_later_bars`). Reading
    also ends at `policy.chunk_rows` rows. After each page `on_page` is called with the open time of
    the newest bar. Rows older than what was asked for are left out. A page that holds only such
    rows, or only bars that are not closed yet, ends the stretch.
    """
    policy = ask.policy
    pages, height, cursor, page_bars = [empty_bars()], 0, since, policy.page_bars
    while cursor <= until and height < policy.chunk_rows:
        page = ask.bars(timeframe, cursor, until, page_bars)
        wanted = page.filter(pl.col("ts").is_null() | (pl.col("ts") >= pl.lit(cursor).cast(TS)))
        newest = wanted.filter(pl.col("ts") <= pl.lit(until).cast(TS))["ts"].max()
        if isinstance(newest, datetime):
            earlier = ask.bars_before(timeframe, cursor, wanted)
            if earlier.height:
                page_bars = min(page_bars, max(wanted.height, SHORTEST_PAGE))
            pages += [earlier, wanted]
            height += earlier.height + wanted.height
            cursor = timeframe.floor(newest) + timeframe.duration
            on_page(newest)
        elif not page.is_empty():
            return Stretch(pl.concat([*pages, wanted]), ended=True)
        elif page_bars > SHORTEST_PAGE and cursor + SHORTEST_PAGE * timeframe.duration <= until:
            page_bars = SHORTEST_PAGE
        else:
            cursor = _later_bars(ask, timeframe, cursor, until)
            page_bars = policy.page_bars
    return Stretch(pl.concat(pages), ended=cursor > until)


def _later_bars(
    ask: "BarRequests", timeframe: Timeframe, empty: datetime, until: datetime
) -> datetime:
    """Return from where to read on after a page from `empty` had no bar; after `until` for nowhere.

    Many venues answer the bars of a window only, and there may be years without any before a coin
    was listed. Daily bars show the next day that has some.
    """
    following = empty + SHORTEST_PAGE * timeframe.duration
    if timeframe is Timeframe.D1 or following > until:
        return following
    try:
        day = first_day(ask, Timeframe.D1.floor(empty), until)
    except ConfigError:  # the venue has no daily bars
        return following
    return until + timeframe.duration if day is None else max(following, day)


def first_day(ask: "BarRequests", since: datetime, until: datetime) -> datetime | None:
    """Return the first day from `since` to `until`, both midnights, that has a daily bar.

    None where no day has one. Raises ConfigError where the venue has no daily bars.
    """
    cursor, step = since, SHORTEST_PAGE * Timeframe.D1.duration
    while cursor <= until:
        days = ask.bars(Timeframe.D1, cursor, until, SHORTEST_PAGE)
        first = days.filter(pl.col("ts").is_between(cursor, until))["ts"].min()
        if isinstance(first, datetime):
            return Timeframe.D1.floor(first)
        cursor += step
    return None


@dataclass(frozen=True)
class BarRequests:
    """Requests for the bars of one symbol."""

    market: MarketData
    symbol: str
    policy: IngestPolicy
    clock: MachineClock
    name: str = ""
    """The symbol that the bars are given. The one that the venue is asked for unless stated."""
    ended: bool = False
    """Whether the venue may list the symbol no more."""

    @property
    def newest_bars(self) -> int | None:
        """How many bars, its newest, the venue serves; None where it serves all that it has."""
        return self.market.newest_bars if isinstance(self.market, NewestBarsOnly) else None

    def bars(
        self, timeframe: Timeframe, since: datetime, until: datetime, most: int
    ) -> pl.DataFrame:
        """Return the answer to one request for the bars from `since` to `until`, `most` at most."""
        limit = max(1, min(most, (until - since) // timeframe.duration + 1))
        fetch = self.market.fetch_bars
        if self.ended and isinstance(self.market, EndedMarketData):
            fetch = self.market.fetch_ended_bars
        answer = retrying(
            lambda: fetch(self.symbol, timeframe, since, limit), self.policy, clock=self.clock
        )
        bars = require_bars(answer, f"the venue's {timeframe.value} bars of {self.symbol}")
        return bars.with_columns(symbol=pl.lit(self.name)) if self.name else bars

    def bars_before(
        self, timeframe: Timeframe, since: datetime, page: pl.DataFrame
    ) -> pl.DataFrame:
        """Return the bars from `since` up to the first of `page`.

        A venue that is asked for more than it shows at once may show the last ones of what was
        asked for. The bars just before a page are therefore asked for, until there are none.
        """
        found = [empty_bars()]
        first = page["ts"].min()
        while isinstance(first, datetime) and timeframe.floor(first) > since:
            start = max(since, timeframe.floor(first) - SHORTEST_PAGE * timeframe.duration)
            answer = self.bars(timeframe, start, first - timeframe.duration, SHORTEST_PAGE)
            earlier = answer.filter(pl.col("ts") >= start, pl.col("ts") < first)
            found.insert(1, earlier)
            first = earlier["ts"].min()
        return pl.concat(found)


def ask_again(
    ask: "BarRequests", timeframe: Timeframe, gaps: pl.DataFrame, seen: pl.DataFrame
) -> pl.DataFrame:
    """Return the rows that the venue has in the `gaps` when it is asked once more.

    `gaps` are those of penstock.data.checks.missing_ranges. Neighbouring gaps share a request of up
    to `policy.page_bars`. At most `policy.max_gap_requests` requests are made. Rows outside the
    gaps, and rows that `seen` has already, are left out.
    """
    policy = ask.policy
    windows = _windows(gaps, timeframe, policy.page_bars)[: policy.max_gap_requests]
    answers = [ask.bars(timeframe, first, last, policy.page_bars) for first, last in windows]
    if not answers:
        return empty_bars()
    starts = gaps.select(
        "start",
        (
            pl.col("start") + pl.duration(milliseconds=pl.col("bars") * timeframe.seconds * 1000)
        ).alias("end"),
    )
    return (
        pl.concat(answers)
        .join(seen, on=list(BARS_SCHEMA), how="anti", nulls_equal=True)
        .filter(pl.col("ts").is_not_null())
        .with_row_index("_arrival")
        .sort("ts")
        .join_asof(starts.cast({"end": TS}), left_on="ts", right_on="start")
        .filter(pl.col("ts") < pl.col("end"))
        .sort("_arrival")
        .select(list(BARS_SCHEMA))
    )


def _windows(
    gaps: pl.DataFrame, timeframe: Timeframe, page_bars: int
) -> list[tuple[datetime, datetime]]:
    """Return the (first, last) open times of the requests that cover the gaps.

    There are as few as possible, each of at most `page_bars` bars.
    """
    windows: list[tuple[datetime, datetime]] = []
    for start, bars in gaps.iter_rows():
        first, last = start, start + (bars - 1) * timeframe.duration
        if windows and last < windows[-1][0] + page_bars * timeframe.duration:
            first, _ = windows.pop()
        while last >= first + page_bars * timeframe.duration:
            windows.append((first, first + (page_bars - 1) * timeframe.duration))
            first += page_bars * timeframe.duration
        windows.append((first, last))
    return windows


def _worth_retrying(error: BaseException, policy: IngestPolicy) -> bool:
    if isinstance(error, RateLimitedError) and error.retry_after_seconds is not None:
        return error.retry_after_seconds <= policy.max_wait_seconds
    return isinstance(error, VenueUnavailableError)


def _wait_seconds(state: RetryCallState, policy: IngestPolicy) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    backoff = min(
        policy.backoff_seconds * 2.0 ** (state.attempt_number - 1), policy.max_wait_seconds
    )
    if isinstance(error, RateLimitedError) and error.retry_after_seconds is not None:
        return max(error.retry_after_seconds, backoff)
    return backoff
