"""Which bars are bad and why, with one function per check and one row of metrics per symbol.

- A bad row is quarantined with every reason it has. The others are kept.
- Rows that arrived in the wrong order are sorted and counted, not refused.
- Of several good rows with the same time, the last to arrive is kept.
- A bar that is not closed is no defect: it is left for later.
- A jump is counted and never refused, unless it is absurd (see `absurd_prints`).

A clock that is shifted by whole bars cannot be seen from the bars alone. penstock.data.bounds
decides how much of each defect is too much.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from penstock.core.bars import BARS_SCHEMA, PRICE_COLUMNS, TS, VALUE_COLUMNS, require_bars
from penstock.core.timeframes import Timeframe
from penstock.data.bar_metrics import measure
from penstock.data.bounds import CheckBounds

#: Bars, and the reasons why each was refused, joined by ", ".
QUARANTINE_SCHEMA = pl.Schema({**BARS_SCHEMA, "reason": pl.String()})

_RUN_TIME = timedelta(days=1)


@dataclass(frozen=True)
class CheckedBars:
    """The rows of one symbol, sorted out."""

    good: pl.DataFrame
    """The bars to store (BARS_SCHEMA), sorted and unique in ts."""
    quarantined: pl.DataFrame
    """The rows that were refused, with their reasons (QUARANTINE_SCHEMA)."""
    held: pl.DataFrame
    """The rows that a later ingestion reads again (BARS_SCHEMA)."""
    metrics: pl.DataFrame
    """The counts and shares, one row (METRICS_SCHEMA)."""


# Row checks. Each returns an expression that is true where the row is bad. A comparison with null
# is null and counts as good: a null is reported once, as a null.


def nulls() -> pl.Expr:
    """The time or a value is missing."""
    return pl.any_horizontal(pl.col("ts", *VALUE_COLUMNS).is_null())


def non_finite() -> pl.Expr:
    """A value is NaN or infinite."""
    return pl.any_horizontal(pl.col(*VALUE_COLUMNS).is_finite().not_())


def non_positive_price() -> pl.Expr:
    """A price is zero or below."""
    return pl.any_horizontal(pl.col(*PRICE_COLUMNS) <= 0)


def negative_volume() -> pl.Expr:
    """The volume is below zero (zero is a bar without a trade, which is allowed)."""
    return pl.col("volume") < 0


def high_too_low() -> pl.Expr:
    """The high is below the open, the close or the low."""
    return pl.col("high") < pl.max_horizontal("open", "close", "low")


def low_too_high() -> pl.Expr:
    """The low is above the open, the close or the high."""
    return pl.col("low") > pl.min_horizontal("open", "close", "high")


def off_grid(timeframe: Timeframe) -> pl.Expr:
    """The time is not a bar open of the timeframe."""
    return pl.col("ts").dt.epoch("ms") % (timeframe.seconds * 1000) != 0


def from_future(now: datetime) -> pl.Expr:
    """The bar opens more than a day after `now`.

    A bar that is less ahead may have opened while the run was under way.
    """
    return pl.col("ts") > pl.lit(now + _RUN_TIME).cast(TS)


def unclosed(timeframe: Timeframe, now: datetime) -> pl.Expr:
    """The bar is not closed at `now`. That is no defect: it is left for later."""
    return (pl.col("ts") > pl.lit(timeframe.last_closed_open(now)).cast(TS)) & ~from_future(now)


def row_checks(timeframe: Timeframe, now: datetime) -> dict[str, pl.Expr]:
    """Return every check that needs only the row itself, by the reason that it gives.

    A new check is added here.
    """
    return {
        "null": nulls(),
        "non_finite": non_finite(),
        "non_positive_price": non_positive_price(),
        "negative_volume": negative_volume(),
        "high_too_low": high_too_low(),
        "low_too_high": low_too_high(),
        "off_grid": off_grid(timeframe),
        "from_future": from_future(now),
    }


# Checks that need the neighbours.


def superseded() -> pl.Expr:
    """A later arrival has the same time. Rows are in the order of arrival."""
    return pl.col("ts").is_last_distinct().not_()


def absurd_prints(ratio: float) -> pl.Expr:
    """The close is more than `ratio` times off both neighbours' closes, in the same direction.

    Such a print reverted at once. A move that stays (a crash, a redenomination) is not absurd. Rows
    are sorted by ts.
    """
    return (
        _off_by(ratio, pl.col("close").shift(1))
        & _off_by(ratio, pl.col("close").shift(-1))
        & _reverts()
    )


#: A venue's mid confirms a close that is at most so many times off it.
CONFIRMED_WITHIN = 2.0


def unconfirmed_print(ratio: float, mid: float | None = None) -> pl.Expr:
    """The newest close is more than `ratio` times off the two before it.

    The next bar can tell whether it reverts, and so can the venue's `mid` of bid and ask right
    after the close: a print that nobody quotes is not confirmed. Until then it is held back,
    neither stored nor refused. The next ingestion reads it again.
    """
    newest = pl.int_range(pl.len()) == pl.len() - 1
    older = pl.col("close").shift(2).fill_null(pl.col("close").shift(1))
    odd = newest & _off_by(ratio, pl.col("close").shift(1)) & _off_by(ratio, older)
    return odd if mid is None else odd & _off_by(CONFIRMED_WITHIN, pl.lit(mid))


def _off_by(ratio: float, other: pl.Expr) -> pl.Expr:
    close = pl.col("close")
    return ((close > other * ratio) | (close * ratio < other)).fill_null(False)


def _reverts() -> pl.Expr:
    before, close, after = pl.col("close").shift(1), pl.col("close"), pl.col("close").shift(-1)
    return ((close > before) & (close > after)) | ((close < before) & (close < after))


def jumps(good: pl.DataFrame, timeframe: Timeframe, bounds: CheckBounds) -> np.ndarray:
    """Return which bars (sorted by ts) jumped, as an array of booleans.

    A bar jumped where |log return| > `min_jump` of the timeframe, and > `jump_mads` robust
    deviations. The deviation is 1.4826 times the median absolute return of the `jump_window` bars
    before it. This is a median absolute deviation about zero (Huber, Robust Statistics, 1981, 5.1).
    A return over a gap of n bars is compared with sqrt(n) times both bounds. No bar jumped before a
    quarter of the window is there. Medians are computed only where the first bound is passed, which
    is rare.
    """
    size = np.abs(np.diff(np.log(good["close"].to_numpy()), prepend=np.nan))
    steps = np.diff(good["ts"].dt.epoch("ms").to_numpy(), prepend=0) / (timeframe.seconds * 1000)
    size /= np.sqrt(np.maximum(steps, 1.0))
    window, floor = bounds.jump_window, bounds.timeframes[timeframe].min_jump
    candidates = np.flatnonzero(size > floor)
    candidates = candidates[candidates > window // 4]
    jumped = np.zeros(good.height, dtype=bool)
    if candidates.size:
        padded = np.concatenate([np.full(window, np.nan), size])
        before = np.lib.stride_tricks.sliding_window_view(padded, window)[candidates]
        jumped[candidates] = size[candidates] > bounds.jump_mads * 1.4826 * np.nanmedian(
            before, axis=1
        )
    return jumped


def check_symbol(
    rows: pl.DataFrame,
    symbol: str,
    timeframe: Timeframe,
    now: datetime,
    bounds: CheckBounds | None = None,
    expected_until: datetime | None = None,
    context: pl.DataFrame | None = None,
    mid: float | None = None,
) -> CheckedBars:
    """Sort out the rows of one symbol, given in the order of their arrival.

    `now` is the venue's time. `expected_until` is the open time of the bar that should be the
    newest: staleness is counted up to it. By default it is the newest bar that is closed at `now`.
    `context` are good bars from before the rows: jumps and absurd prints are measured against them.
    `mid` is what the venue quotes now, which can confirm the newest bar. Raises DataError where
    `rows` lack a column of BARS_SCHEMA or have a wrong type.
    """
    limits = bounds if bounds is not None else CheckBounds()
    marked = _mark(require_bars(rows, f"bars of {symbol} {timeframe.value}"), timeframe, now)
    passing = marked.filter(~pl.col("_bad") & ~pl.col("_unclosed")).select(list(BARS_SCHEMA))
    distinct, doubled = _last_arrivals(passing)
    before = _before(distinct, context)
    ordered = pl.concat([before, distinct])
    is_new = pl.int_range(pl.len()) >= before.height
    prints = ordered.select(
        absurd=absurd_prints(limits.absurd_ratio) & is_new,
        held=unconfirmed_print(limits.absurd_ratio, mid) & is_new,
    )
    absurd, held = ordered.filter(prints["absurd"]), ordered.filter(prints["held"])
    known = ordered.filter(~prints["absurd"] & ~prints["held"])
    refused = pl.concat(
        [
            _with_reasons(marked.filter("_bad")),
            _refuse(doubled, "duplicate"),
            _refuse(absurd, "absurd_print"),
        ]
    )
    jumped = int(jumps(known, timeframe, limits)[before.height :].sum())
    good = known[before.height :]
    counts = {
        "rows": marked.height - int(marked["_unclosed"].sum()),
        "good": good.height,
        "quarantined": refused.height,
        "held_back": held.height,
        "duplicates": doubled.height,
        "absurd": absurd.height,
        "jumps": jumped,
        **_row_counts(marked),
    }
    until = expected_until if expected_until is not None else timeframe.last_closed_open(now)
    metrics = measure(
        symbol,
        timeframe,
        counts,
        good,
        missing_ranges(good, timeframe),
        until,
        limits.min_share_rows,
    )
    return CheckedBars(good, refused, held, metrics)


def missing_ranges(good: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Return the gaps between the bars of one symbol, which are sorted by ts.

    The columns are `start`, the first absent open time, and `bars`, the number of absent bars.
    """
    step = timeframe.seconds * 1000
    return (
        good.select(
            pl.col("ts").alias("start"),
            (pl.col("ts").diff().dt.total_milliseconds() // step - 1).alias("bars"),
        )
        .filter(pl.col("bars") > 0)
        .with_columns(pl.col("start") - pl.duration(milliseconds=pl.col("bars") * step))
        .cast({"start": TS, "bars": pl.Int64()})
    )


def _mark(rows: pl.DataFrame, timeframe: Timeframe, now: datetime) -> pl.DataFrame:
    """Return the rows with one column per row check, `_unclosed`, and `_bad` for any failure."""
    flags = row_checks(timeframe, now)
    return rows.with_columns(
        unclosed(timeframe, now).fill_null(False).alias("_unclosed"),
        *(bad.fill_null(False).alias(f"_{name}") for name, bad in flags.items()),
    ).with_columns(pl.any_horizontal(f"_{name}" for name in flags).alias("_bad"))


def _row_counts(marked: pl.DataFrame) -> dict[str, int]:
    return {
        "nulls": int(marked["_null"].sum()),
        "non_finite": int(marked["_non_finite"].sum()),
        "ohlc": int((marked["_high_too_low"] | marked["_low_too_high"]).sum()),
        "off_grid": int(marked["_off_grid"].sum()),
        "from_future": int(marked["_from_future"].sum()),
        "not_increasing": int((marked["ts"].diff().dt.total_milliseconds() < 0).sum()),
    }


def _before(distinct: pl.DataFrame, context: pl.DataFrame | None) -> pl.DataFrame:
    """Return the context's bars that are older than all rows."""
    if context is None or distinct.is_empty():
        return distinct.clear()
    return context.select(list(BARS_SCHEMA)).filter(pl.col("ts") < distinct["ts"][0]).sort("ts")


def _last_arrivals(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return one row per time, sorted, and the rows that a later arrival replaced."""
    # The usual case is far cheaper than a search for doubles.
    if (np.diff(rows["ts"].dt.epoch("ms").to_numpy()) > 0).all():
        return rows, rows.clear()
    replaced = rows.select(superseded()).to_series()
    return rows.filter(~replaced).sort("ts"), rows.filter(replaced)


def _with_reasons(bad: pl.DataFrame) -> pl.DataFrame:
    names = [
        name for name in bad.columns if name.startswith("_") and name not in ("_bad", "_unclosed")
    ]
    reasons = [pl.when(name).then(pl.lit(name[1:])) for name in names]
    return bad.select(
        *BARS_SCHEMA, pl.concat_str(reasons, separator=", ", ignore_nulls=True).alias("reason")
    )


def _refuse(rows: pl.DataFrame, reason: str) -> pl.DataFrame:
    return rows.select(*BARS_SCHEMA, pl.lit(reason).alias("reason"))
