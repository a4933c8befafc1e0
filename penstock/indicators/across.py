"""Comparisons across the columns of a row. A NaN takes no part."""

import math

import numpy as np
import numpy.typing as npt

from penstock.indicators.compiled import COMPILES, compiled
from penstock.indicators.windows import Matrix

#: A row of more columns is sorted. Fewer are counted, which takes their number squared.
_COUNTED_COLUMNS = 64


def count(values: Matrix) -> Matrix:
    """Return how many columns have a number, of shape (rows, 1)."""
    out = np.empty((len(values), 1))
    if COMPILES:
        _count(values, out[:, 0])
    else:
        out[:, 0] = (~np.isnan(values)).sum(axis=1)
    return out


def flagged(condition: npt.NDArray[np.bool_], values: Matrix) -> Matrix:
    """Return 1 where the condition holds and 0 where not, NaN where the value is NaN."""
    if COMPILES and condition.shape == values.shape:
        out = np.empty(values.shape)
        _flagged(condition, values, out)
        return out
    return np.where(np.isnan(values), np.nan, condition.astype(np.float64))


def extremes(values: Matrix) -> tuple[float, float, float]:
    """Return the least number, the largest, and the largest sum of a row; at least 0 each way.

    NaN is no number. Infinity is one.
    """
    if COMPILES:
        least, most, row = _extremes(values)
        return least, most, row
    known = np.where(np.isnan(values), 0.0, values)
    rows = known.sum(axis=1)
    return known.min(initial=0.0), known.max(initial=0.0), rows.max(initial=0.0)


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
def _count(values: Matrix, out: Matrix) -> None:
    rows, columns = values.shape
    for t in range(rows):
        known = 0
        for k in range(columns):
            known += values[t, k] == values[t, k]  # NaN is not
        out[t] = known


@compiled
def _flagged(condition: npt.NDArray[np.bool_], values: Matrix, out: Matrix) -> None:
    rows, columns = values.shape
    for t in range(rows):
        for k in range(columns):
            flag = 1.0 if condition[t, k] else 0.0
            out[t, k] = np.nan if math.isnan(values[t, k]) else flag


@compiled
def _extremes(values: Matrix) -> tuple[float, float, float]:
    rows, columns = values.shape
    least, most, largest = 0.0, 0.0, 0.0
    for t in range(rows):
        found = 0.0
        for k in range(columns):
            value = 0.0 if math.isnan(values[t, k]) else values[t, k]
            found += value
            least = value if value < least else least  # min is slower here
            most = value if value > most else most
        largest = found if found > largest else largest
    return least, most, largest


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
