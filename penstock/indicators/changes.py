"""Returns over a number of rows."""

import math

import numpy as np

from penstock.indicators.compiled import Matrix, compiled, given


def growth(values: Matrix, n: int, skip: int = 0) -> Matrix:
    """Return values[t - skip] / values[t - skip - n] - 1."""
    out = np.empty(values.shape)
    rows, lag = len(values), n + skip
    out[:lag] = np.nan
    if lag < rows:
        np.divide(values[n : rows - skip], values[: rows - lag], out=out[lag:])
        out[lag:] -= 1
    return out


def log_growth(values: Matrix, n: int) -> Matrix:
    """Return log(values[t]) - log(values[t - n])."""
    logs = np.empty(values.shape)
    _log(given(values), logs)
    out = np.full(values.shape, np.nan)
    if n < len(values):
        np.subtract(logs[n:], logs[:-n], out=out[n:])
    return out


@compiled
def _log(values: Matrix, out: Matrix) -> None:
    # math.log and not numpy's: numpy rounds the last digit by the width of the processor.
    rows, columns = values.shape
    for t in range(rows):
        for k in range(columns):
            value = values[t, k]
            out[t, k] = math.log(value) if value > 0 else np.nan
