"""Sums, means, deviations and extremes over the last `n` rows, whatever n is in the same time.

Nothing is ever subtracted from a running sum. The rows are cut into blocks of n. A window is the
end of one block and the beginning of the next, and each is summed by itself: the two-stack queue,
which Polars has for its rolling moments, or van Herk's filter (Pattern Recognition Letters 13,
1992). So no digit of an old price stays in a later value. The error is that of adding n numbers.

A window with a NaN in it is NaN, and the next one without is a number again. The first n - 1 rows
of a column are NaN, counted from the first row that has a number in any column.
"""

import math

import numpy as np

from penstock.indicators.compiled import Matrix, compiled, given


def first_row(values: Matrix) -> int:
    """Return the first row with a number; the number of rows where there is none."""
    for start in range(0, len(values), 256):
        numbers = ~np.isnan(values[start : start + 256]).all(axis=1)
        if numbers.any():
            return start + int(numbers.argmax())
    return len(values)


def mean(values: Matrix, n: int) -> Matrix:
    """Return the arithmetic mean of the last `n` rows."""
    return _sums(values, n, float(n))


def total(values: Matrix, n: int) -> Matrix:
    """Return the sum of the last `n` rows."""
    return _sums(values, n, 1.0)


def deviation(values: Matrix, n: int) -> Matrix:
    """Return the sample standard deviation (n - 1) of the last `n` rows, n at least 2.

    Blocks are summed by Welford's method (Technometrics 4, 1962) and joined by Chan's (1979): both
    work on differences from the mean, so prices far from zero lose nothing. The operations and
    their order are those of Polars' `rolling_std`.
    """
    return _blocks(values, n, _fill_deviation)


def highest(values: Matrix, n: int) -> Matrix:
    """Return the maximum of the last `n` rows."""
    return _blocks(values, n, _highest)


def lowest(values: Matrix, n: int) -> Matrix:
    """Return the minimum of the last `n` rows."""
    return -_blocks(-values, n, _highest)


def earlier_highest(values: Matrix, n: int, skip: int) -> Matrix:
    """Return the maximum of `n` rows, without the newest `skip`."""
    return shifted(highest(values, n), skip)


def earlier_lowest(values: Matrix, n: int, skip: int) -> Matrix:
    """Return the minimum of `n` rows, without the newest `skip`."""
    return shifted(lowest(values, n), skip)


def shifted(values: Matrix, n: int) -> Matrix:
    """Return the values of `n` rows before."""
    out = np.empty(values.shape)
    out[:n] = np.nan
    if n < len(values):
        out[n:] = values[: len(values) - n]
    return out


def _blocks(values: Matrix, n: int, fill) -> Matrix:  # type: ignore[no-untyped-def]
    out, first = np.empty(values.shape), first_row(values)
    out[: first + n - 1] = np.nan
    if len(values) - first >= n:
        fill(given(values[first:]), n, out[first:])
    return out


def _sums(values: Matrix, n: int, divisor: float) -> Matrix:
    def fill(known: Matrix, n: int, out: Matrix) -> None:
        if known.shape[1] >= _WIDE:
            _sum_rows(known, n, divisor, out)
            return
        for column in range(known.shape[1]):
            _sum_column(known, column, n, divisor, out)

    return _blocks(values, n, fill)


def _fill_deviation(known: Matrix, n: int, out: Matrix) -> None:
    if known.shape[1] >= _WIDE:
        _deviation_rows(known, n, out)
        return
    for column in range(known.shape[1]):
        _deviation_column(known, column, n, out)


#: From so many columns on a row is added at once; fewer are added one column after another.
_WIDE = 4


@compiled
def _sum_rows(values: Matrix, n: int, divisor: float, out: Matrix) -> None:
    rows, columns = values.shape
    ends, begin = np.zeros((n + 1, columns)), np.zeros(columns)
    for block in range(0, rows, n):
        for j in range(min(n, rows - block)):
            t = block + j
            for k in range(columns):
                begin[k] = values[t, k] if j == 0 else begin[k] + values[t, k]
            if t >= n - 1:
                for k in range(columns):
                    out[t, k] = (ends[j + 1, k] + begin[k]) / divisor
        if block + n < rows:
            for j in range(n - 1, 0, -1):
                for k in range(columns):
                    ends[j, k] = values[block + j, k] + (ends[j + 1, k] if j < n - 1 else 0.0)


@compiled
def _sum_column(values: Matrix, k: int, n: int, divisor: float, out: Matrix) -> None:
    # The end of a block and the beginning of the same one are added side by side: neither waits
    # for the other.
    rows = len(values)
    ends, following = np.zeros(n + 1), np.zeros(n + 1)
    for block in range(0, rows, n):
        begin, end = 0.0, 0.0
        for j in range(min(n, rows - block)):
            begin += values[block + j, k]
            if block + j >= n - 1:
                out[block + j, k] = (ends[j + 1] + begin) / divisor
            if block + n < rows and j < n - 1:
                end += values[block + n - 1 - j, k]
                following[n - 1 - j] = end
        ends, following = following, ends


@compiled
def _highest(values: Matrix, n: int, out: Matrix) -> None:
    rows, columns = values.shape
    ends, begin = np.full((n + 1, columns), -np.inf), np.empty(columns)
    for block in range(0, rows, n):
        for j in range(min(n, rows - block)):
            t = block + j
            for k in range(columns):
                x, best = values[t, k], begin[k] if j else -np.inf
                begin[k] = x if x > best or math.isnan(x) else best
            if t >= n - 1:
                for k in range(columns):
                    x, best = ends[j + 1, k], begin[k]
                    out[t, k] = x if x > best or math.isnan(x) else best
        if block + n < rows:
            for j in range(n - 1, 0, -1):
                for k in range(columns):
                    x, best = values[block + j, k], ends[j + 1, k] if j < n - 1 else -np.inf
                    ends[j, k] = x if x > best or math.isnan(x) else best


@compiled
def _deviation_rows(values: Matrix, n: int, out: Matrix) -> None:
    rows, columns = values.shape
    end_mean, end_squares = np.zeros((n + 1, columns)), np.zeros((n + 1, columns))
    mean, squares = np.zeros(columns), np.zeros(columns)
    for block in range(0, rows, n):
        for j in range(min(n, rows - block)):
            t = block + j
            for k in range(columns):
                before = mean[k] if j else 0.0
                apart = values[t, k] - before
                mean[k] = before + apart / (j + 1)
                squares[k] = (squares[k] if j else 0.0) + (values[t, k] - mean[k]) * apart
            if t < n - 1:
                continue
            older = n - 1 - j
            share = older / n
            for k in range(columns):
                both = squares[k]
                if older:
                    apart = end_mean[j + 1, k] - mean[k]
                    joined = mean[k] + apart * share
                    both += end_squares[j + 1, k] + older * (end_mean[j + 1, k] - joined) * apart
                variance = both / (n - 1)
                out[t, k] = np.sqrt(0.0 if variance < 0 else variance)
        if block + n < rows:
            for j in range(n - 1, 0, -1):
                last = j == n - 1
                for k in range(columns):
                    before = 0.0 if last else end_mean[j + 1, k]
                    apart = values[block + j, k] - before
                    end_mean[j, k] = before + apart / (n - j)
                    end_squares[j, k] = (0.0 if last else end_squares[j + 1, k]) + (
                        values[block + j, k] - end_mean[j, k]
                    ) * apart


@compiled
def _deviation_column(values: Matrix, k: int, n: int, out: Matrix) -> None:
    # As _deviation_rows, with both ends of a block side by side as in _sum_column.
    rows = len(values)
    end_mean, end_squares = np.zeros(n + 1), np.zeros(n + 1)
    next_mean, next_squares = np.zeros(n + 1), np.zeros(n + 1)
    for block in range(0, rows, n):
        mean, squares, late_mean, late_squares = 0.0, 0.0, 0.0, 0.0
        for j in range(min(n, rows - block)):
            apart = values[block + j, k] - mean
            mean += apart / (j + 1)
            squares += (values[block + j, k] - mean) * apart
            if block + n < rows and j < n - 1:
                late = values[block + n - 1 - j, k]
                apart = late - late_mean
                late_mean += apart / (j + 1)
                late_squares += (late - late_mean) * apart
                next_mean[n - 1 - j], next_squares[n - 1 - j] = late_mean, late_squares
            if block + j < n - 1:
                continue
            older = n - 1 - j
            both = squares
            if older:
                apart = end_mean[j + 1] - mean
                joined = mean + apart * (older / n)
                both += end_squares[j + 1] + older * (end_mean[j + 1] - joined) * apart
            variance = both / (n - 1)
            out[block + j, k] = np.sqrt(0.0 if variance < 0 else variance)
        end_mean, next_mean = next_mean, end_mean
        end_squares, next_squares = next_squares, end_squares
