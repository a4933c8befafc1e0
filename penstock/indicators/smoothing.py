"""Averages that forget slowly: the newest rows weigh most."""

import math

import numpy as np

from penstock.indicators import windows
from penstock.indicators.compiled import Matrix, compiled, given


def exponential(values: Matrix, n: int) -> Matrix:
    """Return the exponential mean with span `n`: row i before has the weight (1 - 2 / (n + 1))^i.

    The weights of all rows since the first are divided by their sum. NaN is left out, and its place
    still ages the rows before it. The first n - 1 numbers of a column give NaN.
    """
    out = np.empty(values.shape)
    _exponential(given(values), n, out)
    return out


def wilder(values: Matrix, n: int) -> Matrix:
    """Return Wilder's mean: that of the first `n` numbers, then (mean * (n - 1) + value) / n."""
    out = np.empty(values.shape)
    _wilder(given(values), n, out)
    return out


def weighted(values: Matrix, n: int) -> Matrix:
    """Return the mean of the last `n` rows with weights n, n - 1 ... 1, the newest first."""
    out = np.full(values.shape, np.nan)
    if len(values) < n:
        return out
    weights = np.arange(1.0, n + 1) / (n * (n + 1) / 2)
    for column in range(values.shape[1]):
        out[n - 1 :, column] = np.correlate(values[:, column], weights, mode="valid")
    return out


@compiled
def _exponential(values: Matrix, n: int, out: Matrix) -> None:
    rows, columns = values.shape
    keep = 1.0 - 2.0 / (n + 1.0)
    found, weight, numbers = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    for t in range(rows):
        for k in range(columns):
            weight[k] *= keep
            if not math.isnan(values[t, k]):
                weight[k] += 1.0
                numbers[k] += 1.0
                # The mean moves towards the new value: no sum grows with the rows.
                found[k] += (values[t, k] - found[k]) / weight[k]
                out[t, k] = found[k] if numbers[k] >= n else np.nan
            else:
                out[t, k] = np.nan


@compiled
def _wilder(values: Matrix, n: int, out: Matrix) -> None:
    rows, columns = values.shape
    found, numbers = np.zeros(columns), np.zeros(columns)
    for t in range(rows):
        for k in range(columns):
            value = values[t, k]
            if math.isnan(value):
                out[t, k] = np.nan
                continue
            numbers[k] += 1.0
            found[k] += (value - found[k]) / min(numbers[k], n)
            out[t, k] = found[k] if numbers[k] >= n else np.nan


def true_range(high: Matrix, low: Matrix, close: Matrix) -> Matrix:
    """Return the larger of high - low and the distances of both from the close before."""
    before = windows.shifted(close, 1)
    return np.maximum(high - low, np.maximum(np.abs(high - before), np.abs(low - before)))


def average_range(high: Matrix, low: Matrix, close: Matrix, n: int) -> Matrix:
    """Return the mean of the last `n` true ranges."""
    return windows.mean(true_range(high, low, close), n)


def wilder_range(high: Matrix, low: Matrix, close: Matrix, n: int) -> Matrix:
    """Return Wilder's mean of the true ranges."""
    return wilder(true_range(high, low, close), n)
