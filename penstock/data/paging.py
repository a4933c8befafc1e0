"""Reading a range of history from a venue: retries, pages, and a second question about what was
missing. Stores nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import polars as pl
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from penstock.core.bars import BARS_SCHEMA, TS, empty_bars, require_bars
from penstock.core.clock import MachineClock
from penstock.core.errors import RateLimitedError, VenueUnavailableError
from penstock.core.timeframes import Timeframe
from penstock.data.policy import IngestPolicy
from penstock.ports import MarketData

T = TypeVar("T")


@dataclass(frozen=True)
class Stretch:
    """Rows of one symbol in the order of their arrival. `ended`: the venue has nothing after them
    that is closed.
    """

    rows: pl.DataFrame
    ended: bool


def retrying(call: Callable[[], T], policy: IngestPolicy, *, clock: MachineClock) -> T:
    """Return `call()`, tried again while the venue is unavailable, waiting as long as the venue
    itself asks for.

    Raises the last error after `policy.attempts`, at once where the venue asks for more than
    `policy.max_wait_seconds`, and at once where asking again cannot help (an unknown symbol, a
    refusal).
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
    market: MarketData,
    symbol: str,
    timeframe: Timeframe,
    since: datetime,
    until: datetime,
    policy: IngestPolicy,
    on_page: Callable[[datetime], None],
    *,
    clock: MachineClock,
) -> Stretch:
    """Read pages from `since` on, until the bar that opens at `until`, or `policy.chunk_rows` rows,
    or the venue has no more.

    `on_page` is told the open time of the newest bar after each page. Rows older than what was
    asked for are left out; a page that holds only such rows, or only bars that are not closed yet,
    ends the stretch.
    """
    pages, height, empty, cursor = [empty_bars()], 0, 0, since
    while cursor <= until and height < policy.chunk_rows and empty < policy.max_empty_pages:
        page = _page(market, symbol, timeframe, cursor, until, policy, clock)
        wanted = page.filter(pl.col("ts").is_null() | (pl.col("ts") >= pl.lit(cursor).cast(TS)))
        newest = wanted.filter(pl.col("ts") <= pl.lit(until).cast(TS))["ts"].max()
        pages.append(wanted)
        height += wanted.height
        if isinstance(newest, datetime):
            empty, cursor = 0, timeframe.floor(newest) + timeframe.duration
            on_page(newest)
        elif page.is_empty():
            empty, cursor = empty + 1, cursor + policy.page_bars * timeframe.duration
        else:
            return Stretch(pl.concat(pages), ended=True)
    return Stretch(pl.concat(pages), ended=cursor > until or empty >= policy.max_empty_pages)


def ask_again(
    market: MarketData,
    symbol: str,
    timeframe: Timeframe,
    gaps: pl.DataFrame,
    seen: pl.DataFrame,
    policy: IngestPolicy,
    *,
    clock: MachineClock,
) -> pl.DataFrame:
    """Return what the venue says, asked once more, about the `gaps`
    (penstock.data.checks.missing_ranges).

    Neighbouring gaps share a request of up to `policy.page_bars`; at most `policy.max_gap_requests`
    are made. Rows that `seen` holds already, and rows outside the gaps, are left out.
    """
    windows = _windows(gaps, timeframe, policy.page_bars)[: policy.max_gap_requests]
    answers = [
        _page(market, symbol, timeframe, first, last, policy, clock) for first, last in windows
    ]
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
    """Return the (first, last) open times of as few requests as cover the gaps, each of at most
    `page_bars` bars.
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


def _page(
    market: MarketData,
    symbol: str,
    timeframe: Timeframe,
    since: datetime,
    until: datetime,
    policy: IngestPolicy,
    clock: MachineClock,
) -> pl.DataFrame:
    """Return the venue's answer to one request for the bars from `since` to `until`, at most a
    page.
    """
    wanted = (until - since) // timeframe.duration + 1
    limit = min(policy.page_bars, wanted)
    answer = retrying(
        lambda: market.fetch_bars(symbol, timeframe, since, limit), policy, clock=clock
    )
    return require_bars(answer, f"the venue's {timeframe.value} bars of {symbol}")


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
