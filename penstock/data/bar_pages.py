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
from penstock.core.errors import RateLimitedError, VenueUnavailableError
from penstock.core.timeframes import Timeframe
from penstock.data.policy import IngestPolicy
from penstock.ports import MarketData

T = TypeVar("T")


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
    """Read pages from `since` up to the bar that opens at `until`.

    Reading also ends at `policy.chunk_rows` rows, and where the venue has no more. After each page
    `on_page` is called with the open time of the newest bar. Rows older than what was asked for are
    left out. A page that holds only such rows, or only bars that are not closed yet, ends the
    stretch.
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
    """Return the rows that the venue has in the `gaps` when it is asked once more.

    `gaps` are those of penstock.data.checks.missing_ranges. Neighbouring gaps share a request of up
    to `policy.page_bars`. At most `policy.max_gap_requests` requests are made. Rows outside the
    gaps, and rows that `seen` has already, are left out.
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


def _page(
    market: MarketData,
    symbol: str,
    timeframe: Timeframe,
    since: datetime,
    until: datetime,
    policy: IngestPolicy,
    clock: MachineClock,
) -> pl.DataFrame:
    """Return the venue's answer to one request for the bars from `since` to `until`.

    At most a page is asked for.
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
