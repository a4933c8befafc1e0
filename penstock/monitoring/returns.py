"""What an account earned without transfers: the time-weighted returns of its slots, chained.

A transfer is what an operator accepted: a deposit, a withdrawal or another difference. It is no
gain and no loss.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Performance:
    """What an account earned since its first slot."""

    growth: np.ndarray
    """The value of one unit after each slot, 1 at the first."""
    paid_in: float
    """The sum of transfers into the account, in quote units."""
    paid_out: float
    """The sum of transfers out of the account, in quote units."""

    @property
    def total_return(self) -> float:
        """The return since the first slot, as a fraction."""
        return float(self.growth[-1]) - 1

    @property
    def deepest_fall(self) -> float:
        """The largest fall of the growth from a peak before it, as a fraction of that peak."""
        return float((1 - self.growth / np.maximum.accumulate(self.growth)).max())


def performance_of(equity: pl.DataFrame) -> Performance:
    """Return the time-weighted performance of an account.

    `equity` has one row per slot, with the columns equity and transferred in quote units.
    `transferred` is the sum of all transfers up to the slot. With E the equity, and F the change of
    `transferred` since the slot before, the return of slot t is

        r[t] = (E[t] - F[t]) / E[t-1] - 1          growth[t] = (1 + r[1]) ... (1 + r[t])

    This is the modified Dietz return with each flow at the end of its period, linked geometrically.
    (GIPS; Dietz, Measuring Investment Performance, Financial Analysts Journal 24(1), 1968.) The
    flow is at the end because money that arrives between two slots is first invested at the later
    one. The return is zero where the account had no equity before.
    """
    worth, flows = equity["equity"].to_numpy(), np.diff(equity["transferred"].to_numpy())
    before, after = worth[:-1], worth[1:] - flows
    factors = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    growth = np.concatenate([[1.0], np.cumprod(np.maximum(factors, 0.0))])
    return Performance(growth, float(flows[flows > 0].sum()), abs(float(flows[flows < 0].sum())))
