"""The shape of target weights, and the check of what a strategy returned."""

import numpy as np
import polars as pl

from penstock.core.bars import TS
from penstock.core.errors import StrategyError

#: Long layout, one row per bar: the fraction of equity wanted in `symbol` from the bar's close on.
#: Null means no decision: the position is kept.
WEIGHTS_SCHEMA = pl.Schema({"symbol": pl.String(), "ts": TS, "weight": pl.Float64()})


def require_weights(weights: pl.DataFrame, bars: pl.DataFrame, strategy: str) -> pl.DataFrame:
    """Return `weights` with WEIGHTS_SCHEMA, sorted by symbol and ts.

    Raises StrategyError unless there is exactly one row per bar. Every weight must be null or a
    finite number in [-1, 1]. `strategy` is the name in the message.
    """
    missing = [name for name in WEIGHTS_SCHEMA if name not in weights.columns]
    if missing:
        raise StrategyError(
            f"{strategy}: target_weights returned no column {missing}; "
            f"it must return {list(WEIGHTS_SCHEMA)}"
        )
    table = weights.select(pl.col(name).cast(dtype) for name, dtype in WEIGHTS_SCHEMA.items()).sort(
        "symbol", "ts"
    )
    if not (_has_keys_of(table, bars) or _has_keys_of(table, bars.sort("symbol", "ts"))):
        raise StrategyError(
            f"{strategy}: target_weights returned {table.height} rows for {bars.height} bars, "
            "or other keys: it must return one row for each bar, null where it has no decision"
        )
    given = table["weight"]
    if not (np.abs(given.drop_nulls().to_numpy()) <= 1 + 1e-9).all():  # NaN is not
        first = table.filter(
            pl.col("weight").is_not_null()
            & ~(pl.col("weight").is_finite() & pl.col("weight").abs().le(1 + 1e-9))
        ).row(0, named=True)
        raise StrategyError(
            f"{strategy}: weight {first['weight']} for {first['symbol']} "
            f"at {first['ts']:%Y-%m-%d %H:%M} is not a number in [-1, 1]"
        )
    return table


def _has_keys_of(table: pl.DataFrame, bars: pl.DataFrame) -> bool:
    """Return whether both have the same symbols and times in the same order."""
    return all(table[name].equals(bars[name]) for name in ("symbol", "ts"))
