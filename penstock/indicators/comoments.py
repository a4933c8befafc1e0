"""How two columns of numbers move together over the last `n` rows."""

import numpy as np

from penstock.indicators.compiled import Matrix, compiled, given
from penstock.indicators.windows import first_row


def correlation(one: Matrix, other: Matrix, n: int) -> Matrix:
    """Return Pearson's correlation of the last `n` rows; NaN where one of them did not move."""
    both, first, second = _moments(one, other, n)
    scale = np.sqrt(first * second)
    found: Matrix = np.full(one.shape, np.nan)
    np.divide(both, scale, out=found, where=scale > 0)
    return np.clip(found, -1.0, 1.0)


def beta(one: Matrix, other: Matrix, n: int) -> Matrix:
    """Return the slope of `one` on `other`: covariance / variance of `other`, NaN at 0."""
    both, _, second = _moments(one, other, n)
    found: Matrix = np.full(one.shape, np.nan)
    np.divide(both, second, out=found, where=second > 0)
    return found


def _moments(one: Matrix, other: Matrix, n: int) -> tuple[Matrix, Matrix, Matrix]:
    known = one + other  # NaN where either is
    first = first_row(known)
    made = [np.full(one.shape, np.nan) for _ in range(3)]
    if len(one) - first >= n:
        _comoments(given(one[first:]), given(other[first:]), n, *(each[first:] for each in made))
    return made[0], made[1], made[2]


@compiled
def _comoments(  # the blocks of penstock.indicators.windows, with Chan's formula for two variables
    one: Matrix, other: Matrix, n: int, both: Matrix, ones: Matrix, others: Matrix
) -> None:
    rows, columns = one.shape
    # Means of one and other, then sums of products: one other, one one, other other.
    ends, begin = np.zeros((n + 1, columns, 5)), np.zeros((columns, 5))
    for block in range(0, rows, n):
        for j in range(min(n, rows - block)):
            t = block + j
            for k in range(columns):
                if j == 0:
                    begin[k, :] = 0.0
                x, y = one[t, k] - begin[k, 0], other[t, k] - begin[k, 1]
                begin[k, 0] += x / (j + 1)
                begin[k, 1] += y / (j + 1)
                rest = other[t, k] - begin[k, 1]
                begin[k, 2] += x * rest
                begin[k, 3] += x * (one[t, k] - begin[k, 0])
                begin[k, 4] += y * rest
            if t < n - 1:
                continue
            older = n - 1 - j
            share = older * (j + 1) / n
            for k in range(columns):
                x, y = ends[j + 1, k, 0] - begin[k, 0], ends[j + 1, k, 1] - begin[k, 1]
                both[t, k] = begin[k, 2] + (ends[j + 1, k, 2] + x * y * share if older else 0.0)
                ones[t, k] = begin[k, 3] + (ends[j + 1, k, 3] + x * x * share if older else 0.0)
                others[t, k] = begin[k, 4] + (ends[j + 1, k, 4] + y * y * share if older else 0.0)
        if block + n < rows:
            for j in range(n - 1, 0, -1):
                for k in range(columns):
                    for m in range(5):
                        ends[j, k, m] = 0.0 if j == n - 1 else ends[j + 1, k, m]
                    x, y = one[block + j, k] - ends[j, k, 0], other[block + j, k] - ends[j, k, 1]
                    ends[j, k, 0] += x / (n - j)
                    ends[j, k, 1] += y / (n - j)
                    rest = other[block + j, k] - ends[j, k, 1]
                    ends[j, k, 2] += x * rest
                    ends[j, k, 3] += x * (one[block + j, k] - ends[j, k, 0])
                    ends[j, k, 4] += y * rest
