"""Comparisons across the columns of a row. A NaN takes no part."""

import math

import numpy as np

from penstock.indicators.compiled import COMPILES, compiled
from penstock.indicators.windows import Matrix

#: A row of more columns is sorted. Fewer are counted, which takes their number squared.
_COUNTED_COLUMNS = 64


def count(values: Matrix) -> Matrix:
    """Return how many columns have a number, of shape (rows, 1)."""
    return (values.shape[1] - np.isnan(values).sum(axis=1, keepdims=True)).astype(np.float64)


def total(values: Matrix) -> Matrix:
    """Return the sum of the numbers of each row, of shape (rows, 1); 0 where there is none.

    Kahan's compensated sum (Communications of the ACM 8, 1965), from the first column on: it has
    the digits of Polars' sum of a group.
    """
    out = np.zeros((len(values), 1))
    if COMPILES:
        _total(values, out[:, 0])
        return out
    known = np.where(np.isnan(values), 0.0, values)
    lost = np.zeros(len(values))
    for column in range(values.shape[1]):
        added = known[:, column] - lost
        more = out[:, 0] + added
        lost = (more - out[:, 0]) - added
        out[:, 0] = more
    return out


def rank(values: Matrix) -> Matrix:
    """Return the rank of each number in its row, 1 for the largest; equal ones by column."""
    out = np.empty(values.shape)
    if COMPILES and values.shape[1] <= _COUNTED_COLUMNS:
        _rank(values, out)
        return out
    order = np.argsort(-values, axis=1, kind="stable")  # NaN last
    places = np.broadcast_to(np.arange(1.0, values.shape[1] + 1), values.shape)
    np.put_along_axis(out, order, places, axis=1)
    out[np.isnan(values)] = np.nan
    return out


@compiled
def _total(values: Matrix, out: Matrix) -> None:
    rows, columns = values.shape
    for t in range(rows):
        found, lost = 0.0, 0.0
        for k in range(columns):
            if not math.isnan(values[t, k]):
                added = values[t, k] - lost
                more = found + added
                lost = (more - found) - added
                found = more
        out[t] = found


@compiled
def _rank(values: Matrix, out: Matrix) -> None:
    rows, columns = values.shape
    for t in range(rows):
        for k in range(columns):
            value, better = values[t, k], 1
            for other in range(k):
                better += values[t, other] >= value
            for other in range(k + 1, columns):
                better += values[t, other] > value
            out[t, k] = better if not math.isnan(value) else np.nan
