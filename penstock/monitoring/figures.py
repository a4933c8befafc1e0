"""An account in figures: what it did, holds open, and earned."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from penstock.core.halts import TradingState
from penstock.core.rebalances import AccountTotals, RebalanceStatus
from penstock.monitoring.returns import Performance, performance_of


@dataclass(frozen=True)
class AccountFigures:
    """An account in figures; amounts are in quote units. Without a traded slot `equity` and
    `performance` are None.
    """

    trading_state: TradingState
    slots: Mapping[RebalanceStatus, int]
    orders: int
    fills: int
    traded: Decimal
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
        slots=totals.slots,
        orders=totals.orders,
        fills=totals.fills,
        traded=totals.traded,
        open_breaks=open_breaks,
        equity=float(equity["equity"][-1]) if traded else None,
        performance=performance_of(equity) if traded else None,
    )
