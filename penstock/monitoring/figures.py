"""An account in figures: what it did, holds open, and earned."""

from dataclasses import dataclass

import polars as pl

from penstock.core.account_totals import AccountTotals
from penstock.core.halts import TradingState
from penstock.monitoring.returns import Performance, performance_of


@dataclass(frozen=True)
class AccountFigures:
    """An account in figures; amounts are in quote units. Without a traded slot `equity` and
    `performance` are None.
    """

    trading_state: TradingState
    totals: AccountTotals
    open_breaks: int
    equity: float | None = None
    performance: Performance | None = None


def figures_of(
    totals: AccountTotals, state: TradingState, open_breaks: int, equity: pl.DataFrame
) -> AccountFigures:
    """Return an account's figures. `equity` has columns equity, transferred, oldest slot first."""
    traded = bool(equity.height)
    return AccountFigures(
        trading_state=state,
        totals=totals,
        open_breaks=open_breaks,
        equity=float(equity["equity"][-1]) if traded else None,
        performance=performance_of(equity) if traded else None,
    )
