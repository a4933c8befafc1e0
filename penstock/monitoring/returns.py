"""What an account earned, transfers left out: time-weighted returns of its slots, chained.

A transfer is what an operator accepted: a deposit, a withdrawal or another difference. It is no
gain and no loss.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Performance:
    """An account since its first slot. `growth` is what one unit had become by each slot; transfers
    are in quote units.
    """

    growth: np.ndarray
    paid_in: float
    paid_out: float

    @property
    def total_return(self) -> float:
        """The return since the first slot, as a fraction."""
        return float(self.growth[-1]) - 1

    @property
    def deepest_fall(self) -> float:
        """The largest fall of the growth from a peak before it, as a fraction of that peak."""
        return float((1 - self.growth / np.maximum.accumulate(self.growth)).max())


def performance_of(equity: pl.DataFrame) -> Performance:
    """Return the time-weighted performance of `equity` (columns equity, transferred; quote units;
    one row a slot at least).

    `transferred` is the sum of all transfers that an equity has in it. With E the equity, and F
    what `transferred` changed by since the slot before, the return of slot t is

        r[t] = (E[t] - F[t]) / E[t-1] - 1          growth[t] = (1 + r[1]) ... (1 + r[t])

    the modified Dietz return with each flow at the end of its period, linked geometrically (GIPS;
    Dietz, Measuring Investment Performance, Financial Analysts Journal 24(1), 1968). At the end,
    because money that came in between two slots is not at work before the later one. Where an
    account had nothing, nothing could grow: that slot's return is zero.
    """
    worth, flows = equity["equity"].to_numpy(), np.diff(equity["transferred"].to_numpy())
    before, after = worth[:-1], worth[1:] - flows
    factors = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    growth = np.concatenate([[1.0], np.cumprod(np.maximum(factors, 0.0))])
    return Performance(growth, float(flows[flows > 0].sum()), abs(float(flows[flows < 0].sum())))
