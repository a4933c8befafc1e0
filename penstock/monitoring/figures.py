"""An account in figures: what it did, its open breaks, and what it earned."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from penstock.core.account_totals import AccountTotals
from penstock.core.halts import TradingState
from penstock.monitoring.returns import Performance, performance_of


@dataclass(frozen=True)
class AccountFigures:
    """An account in figures."""

    trading_state: TradingState
    """The state in force."""
    totals: AccountTotals
    """How much it has done."""
    open_breaks: int
    """The number of open breaks."""
    equity: float | None = None
    """Equity after the newest traded slot (quote units); None where none was traded."""
    equity_at: datetime | None = None
    """That slot (UTC); None where none was traded."""
    performance: Performance | None = None
    """What it earned from day to day; None where no slot was traded."""
    quote: str = "USDT"
    """The asset that amounts are in."""


def figures_of(
    totals: AccountTotals, state: TradingState, open_breaks: int, equity: pl.DataFrame, quote: str
) -> AccountFigures:
    """Return an account's figures, amounts in `quote`. `equity` has columns at, equity,
    transferred, the oldest first: the first slot, and the last of each day.
    """
    traded = bool(equity.height)
    return AccountFigures(
        trading_state=state,
        totals=totals,
        open_breaks=open_breaks,
        equity=float(equity["equity"][-1]) if traded else None,
        equity_at=equity["at"][-1] if traded else None,
        performance=performance_of(equity) if traded else None,
        quote=quote,
    )
