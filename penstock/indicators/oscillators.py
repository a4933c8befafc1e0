"""Where a value stands between bounds, or against its own past."""

import numpy as np

from penstock.indicators import smoothing, windows
from penstock.indicators.compiled import Matrix


def cutler_rsi(values: Matrix, n: int) -> Matrix:
    """Return 100 * gains / (gains + losses), simple means of `n` changes; 50 where none moved."""
    change = values - windows.shifted(values, 1)
    gains = windows.mean(np.maximum(change, 0.0), n)
    return _share(100 * gains, windows.mean(np.abs(change), n), 50.0)


def wilder_rsi(values: Matrix, n: int) -> Matrix:
    """Return 100 * gains / (gains + losses), Wilder's means; 50 where nothing moved."""
    change = values - windows.shifted(values, 1)
    gains = smoothing.wilder(np.maximum(change, 0.0), n)
    return _share(100 * gains, smoothing.wilder(np.abs(change), n), 50.0)


def zscore(values: Matrix, n: int) -> Matrix:
    """Return (value - mean) / standard deviation of the last `n` rows; 0 where nothing moved."""
    return _share(values - windows.mean(values, n), windows.deviation(values, n), 0.0)


def stochastic(high: Matrix, low: Matrix, close: Matrix, n: int) -> Matrix:
    """Return 100 * (close - low) / (high - low) of the last `n` rows; 50 where nothing moved."""
    bottom = windows.lowest(low, n)
    return _share(100 * (close - bottom), windows.highest(high, n) - bottom, 50.0)


def volume_price(high: Matrix, low: Matrix, close: Matrix, volume: Matrix, n: int) -> Matrix:
    """Return the mean of (high + low + close) / 3 by volume; NaN where there was none."""
    traded = windows.total((high + low + close) / 3 * volume, n)
    return _share(traded, windows.total(volume, n), np.nan)


def _share(part: Matrix, whole: Matrix, of_nothing: float) -> Matrix:
    found: Matrix = np.full(part.shape, of_nothing)
    np.divide(part, whole, out=found, where=whole != 0)
    return found
