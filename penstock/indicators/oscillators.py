"""Indicators between two bounds."""

import numpy as np

from penstock.indicators import windows
from penstock.indicators.windows import Matrix


def cutler_rsi(values: Matrix, n: int) -> Matrix:
    """Return 100 * (gains of the last n changes) / (gains and losses); 50 where nothing moved."""
    change = values - windows.shifted(values, 1)
    gains = windows.mean(np.maximum(change, 0.0), n)
    moves = windows.mean(np.abs(change), n)
    index: Matrix = np.full(values.shape, 50.0)
    np.divide(100 * gains, moves, out=index, where=moves != 0)
    return index
