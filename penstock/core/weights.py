"""The shape of target weights, and the check of what a strategy returned."""

import numpy as np
import polars as pl

from penstock.core.bars import TS, not_a_frame
from penstock.core.errors import StrategyError
from penstock.core.named_indicators import Matrix
from penstock.core.panel import Panel
from penstock.indicators import across

#: Long layout, one row per bar: the fraction of equity wanted in `symbol` from the bar's close on.
#: Null means no decision: the position is kept.
WEIGHTS_SCHEMA = pl.Schema({"symbol": pl.String(), "ts": TS, "weight": pl.Float64()})


#: What makes rows of a frame with one column per symbol.
_FROM_WIDE = (
    'frame.unpivot(index="ts", variable_name="symbol", value_name="weight") makes them of one '
    "column per symbol"
)


def require_weights(weights: pl.DataFrame, bars: pl.DataFrame, strategy: str) -> pl.DataFrame:
    """Return `weights` with WEIGHTS_SCHEMA, sorted by symbol and ts.

    Raises StrategyError unless it is a Polars frame with exactly one row per bar. Every weight must
    be null or a finite number in [-1, 1]. `strategy` is the name in the message.
    """
    wrong = not_a_frame(weights)
    if wrong is not None:
        raise StrategyError(f"weights of {strategy}: {wrong}; they have {list(WEIGHTS_SCHEMA)}")
    missing = [name for name in WEIGHTS_SCHEMA if name not in weights.columns]
    if missing:
        wide = missing == ["symbol", "weight"]
        raise StrategyError(
            f"weights of {strategy} have no column {missing}: they have one row per bar with "
            f"{list(WEIGHTS_SCHEMA)}" + (f"; {_FROM_WIDE}" if wide else "")
        )
    try:
        table = weights.select(pl.col(name).cast(dtype) for name, dtype in WEIGHTS_SCHEMA.items())
    except pl.exceptions.PolarsError as error:
        raise StrategyError(
            f"weights of {strategy}: a column has the wrong type ({error}); they have "
            f"{dict(WEIGHTS_SCHEMA)}"
        ) from None
    table = table.sort("symbol", "ts")
    if not (_has_keys_of(table, bars) or _has_keys_of(table, bars.sort("symbol", "ts"))):
        raise StrategyError(
            f"weights of {strategy} have {table.height} rows for {bars.height} bars, or other "
            "keys: they have one row for each bar, null where there is no decision"
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


def require_matrix(weights: object, panel: Panel, strategy: str) -> Matrix:
    """Return an array of weights of shape (bars, symbols), with NaN where a symbol has no bar.

    Raises StrategyError unless it is a float64 array of the panel's shape, and every weight of a
    bar is NaN or a number in [-1, 1]. `strategy` is the name in the message.
    """
    shape = panel.close.shape
    if not isinstance(weights, np.ndarray):
        raise StrategyError(
            f"weights of {strategy}: it is a {type(weights).__name__} and no array: they are a "
            f"float64 array of shape {shape} (bars, symbols). A strategy that returns a long "
            "Polars frame derives from FrameStrategy (penstock.core.strategy)"
        )
    if weights.shape != shape or weights.dtype != np.float64:
        raise StrategyError(
            f"weights of {strategy} are {weights.dtype} of shape {weights.shape}: they are float64 "
            f"of shape {shape} (bars, symbols), NaN where there is no decision"
        )
    decided = panel.decided(weights)
    if across.over_bounds(decided, -1 - 1e-9, 1 + 1e-9):
        row, column = np.argwhere(np.abs(decided) > 1 + 1e-9)[0]
        raise StrategyError(
            f"{strategy}: weight {decided[row, column]} for {panel.symbols[column]} "
            f"at {panel.ts[int(row)]:%Y-%m-%d %H:%M} is not a number in [-1, 1]"
        )
    return decided
