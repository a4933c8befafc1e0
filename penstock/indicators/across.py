"""Comparisons across the columns of a row. A NaN takes no part."""

import math

import numpy as np
import numpy.typing as npt

from penstock.indicators.compiled import Matrix, compiled, compiles, given

#: A row of more columns is sorted. Fewer are counted, which takes their number squared.
_COUNTED_COLUMNS = 64


def count(values: Matrix) -> Matrix:
    """Return how many columns have a number, of shape (rows, 1); NaN where none has."""
    out = np.empty((len(values), 1))
    if compiles(values.size):
        _count(given(values), out)
    else:
        out[:, 0] = (~np.isnan(values)).sum(axis=1)
        out[out == 0] = np.nan
    return out


def flagged(condition: npt.NDArray[np.bool_], values: Matrix) -> Matrix:
    """Return 1 where the condition holds and 0 where not, NaN where the value is NaN."""
    if compiles(values.size) and condition.shape == values.shape:
        out, holds = np.empty(values.shape), np.ascontiguousarray(condition).reshape(-1)
        holds.flags.writeable = False
        _flagged(given(values).reshape(-1), holds, out.reshape(-1))
        return out
    return np.where(np.isnan(values), np.nan, condition.astype(np.float64))


def over_bounds(values: Matrix, least: float, most: float) -> int:
    """Return how many numbers are under `least` or over `most`. NaN is no number."""
    if compiles(values.size):
        return _over_bounds(given(values).reshape(-1), float(least), float(most))
    return int(((values < least) | (values > most)).sum())


def largest_sum(values: Matrix) -> float:
    """Return the largest sum of the numbers of a row, at least 0."""
    if values.shape[1] == 1:
        return float(np.fmax.reduce(values, axis=None, initial=0.0))
    if compiles(values.size):
        return _largest_sum(given(values))
    return float(np.where(np.isnan(values), 0.0, values).sum(axis=1).max(initial=0.0))


def total(values: Matrix) -> Matrix:
    """Return the sum of the numbers of each row, of shape (rows, 1); NaN where there is none.

    Kahan's compensated sum (Communications of the ACM 8, 1965), from the first column on: it has
    the digits of Polars' sum of a group.
    """
    out = np.zeros((len(values), 1))
    if compiles(values.size):
        _total(given(values), out)
        return out
    known = np.where(np.isnan(values), 0.0, values)
    lost = np.zeros(len(values))
    for column in range(values.shape[1]):
        added = known[:, column] - lost
        more = out[:, 0] + added
        lost = (more - out[:, 0]) - added
        out[:, 0] = more
    out[np.isnan(values).all(axis=1)] = np.nan
    return out


def rank(values: Matrix) -> Matrix:
    """Return the rank of each number in its row, 1 for the largest; equal ones by column."""
    out = np.empty(values.shape)
    if compiles(values.size) and values.shape[1] <= _COUNTED_COLUMNS:
        _rank(given(values), out)
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
        out[t, 0] = known if known else np.nan


@compiled
def _flagged(values: Matrix, condition: npt.NDArray[np.bool_], out: Matrix) -> None:
    for i in range(len(values)):
        flag = 1.0 if condition[i] else 0.0
        out[i] = np.nan if math.isnan(values[i]) else flag


@compiled
def _over_bounds(values: Matrix, least: float, most: float) -> int:
    found = 0
    for i in range(len(values)):
        found += (values[i] < least) | (values[i] > most)
    return found


@compiled
def _largest_sum(values: Matrix) -> float:
    rows, columns = values.shape
    largest = 0.0
    for t in range(rows):
        found = 0.0
        for k in range(columns):
            found += 0.0 if math.isnan(values[t, k]) else values[t, k]
        largest = found if found > largest else largest  # max is slower here
    return largest


@compiled
def _total(values: Matrix, out: Matrix) -> None:
    rows, columns = values.shape
    for t in range(rows):
        found, lost, known = 0.0, 0.0, 0
        for k in range(columns):
            if not math.isnan(values[t, k]):
                known += 1
                added = values[t, k] - lost
                more = found + added
                lost = (more - found) - added
                found = more
        out[t, 0] = found if known else np.nan


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
