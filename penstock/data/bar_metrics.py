"""The metrics frame: one row per symbol that tells how good its bars are.

penstock.data.checks counts, and gates judge the frame.
"""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from penstock.core.bars import TS
from penstock.core.timeframes import Timeframe

_COUNTS = (
    *(
        "rows",
        "good",
        "quarantined",
        "held_back",
        "nulls",
        "non_finite",
        "ohlc",
        "not_increasing",
        "duplicates",
        "off_grid",
    ),
    *(
        "from_future",
        "absurd",
        "missing",
        "gaps",
        "longest_gap",
        "jumps",
        "zero_volume",
        "stale_bars",
    ),
)
_SHARES = (
    *("null_share", "non_finite_share", "ohlc_share", "duplicate_share", "quarantined_share"),
    *("missing_share", "jump_share", "zero_volume_share"),
)

#: One row per symbol. Counts are of rows or bars. `first` and `last` are open times of good bars.
#: Null means that there was nothing to measure. `quarantined_share` leaves duplicates out: no bar
#: is lost with them.
METRICS_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "timeframe": pl.String(),
        "first": TS,
        "last": TS,
        **{name: pl.Int64() for name in _COUNTS},
        **{name: pl.Float64() for name in _SHARES},
    }
)


def measure(
    symbol: str,
    timeframe: Timeframe,
    counts: Mapping[str, int],
    good: pl.DataFrame,
    gaps: pl.DataFrame,
    until: datetime,
    min_share_rows: int,
) -> pl.DataFrame:
    """Return the metrics frame of one symbol, with its one row.

    `counts` are taken over. The rest is computed from the `good` bars and their `gaps`
    (missing_ranges). `until` is the open time of the bar that should be the newest. A share is
    taken of at least `min_share_rows` rows.
    """
    missing = int(gaps["bars"].sum())
    zero_volume = int((good["volume"] == 0).sum())
    seen = max(counts["rows"], min_share_rows)
    kept = max(counts["good"], min_share_rows)
    row = {
        **counts,
        "symbol": symbol,
        "timeframe": timeframe.value,
        "first": good["ts"][0] if good.height else None,
        "last": good["ts"][-1] if good.height else None,
        "missing": missing,
        "gaps": gaps.height,
        "longest_gap": gaps.select(pl.col("bars").max().fill_null(0)).item(),
        "zero_volume": zero_volume,
        "stale_bars": max(0, (until - good["ts"][-1]) // timeframe.duration)
        if good.height
        else None,
        "null_share": counts["nulls"] / seen,
        "non_finite_share": counts["non_finite"] / seen,
        "ohlc_share": counts["ohlc"] / seen,
        "duplicate_share": counts["duplicates"] / seen,
        "quarantined_share": (counts["quarantined"] - counts["duplicates"]) / seen,
        "missing_share": missing / max(counts["good"] + missing, min_share_rows),
        "jump_share": counts["jumps"] / kept,
        "zero_volume_share": zero_volume / kept,
    }
    return pl.DataFrame([row], schema=METRICS_SCHEMA)
