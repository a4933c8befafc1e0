"""Every compiled loop of the indicators made ready, so that no slot waits for a compiler."""

import numpy as np

from penstock.indicators import across, changes, comoments, smoothing, windows
from penstock.indicators.compiled import begin_compiling


def warm_up() -> None:
    """Compile every loop, or load it where that was done before; nothing without numba.

    The first time on a machine takes some ten seconds, later ones half of one.
    """
    if not begin_compiling():
        return
    values = np.random.default_rng(0).random((6, 5))
    for columns in (values, values[:, :1]):
        windows.mean(columns, 2)
        windows.deviation(columns, 2)
    windows.highest(values, 2)
    changes.log_growth(values, 1)
    smoothing.exponential(values, 2)
    smoothing.wilder(values, 2)
    comoments.beta(values, values, 2)
    across.count(values)
    across.total(values)
    across.rank(values)
    across.flagged(values > 0, values)
    across.over_bounds(values, 0.0, 1.0)
    across.largest_sum(values)
