"""The ledger for an operator: its read models proved against its events, and an account as it was
at any time.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from penstock.adapters.stores.postgres.ledger_history import LedgerHistory, Rebuild
from penstock.core.order_records import OrderRecord
from penstock.core.profit import Holding, profits
from penstock.wiring import Platform

_TEXT = pl.String()
#: Stands under the table of profit and loss: a buy's fee is in more than one of its columns and
#: counts once.
FEES_COUNT_ONCE = (
    "Fees in base or quote are in cost already, and so in realised and unrealised: the column fees shows them apart, and "
    "nothing is to be taken off for it."
)
_ORDER_COLUMNS = ("planned", "symbol", "venue", "side", "quantity", "filled", "state", "reason")


@dataclass(frozen=True)
class LedgerView:
    """An account as of `at`, as tables: orders, balances, profit by strategy and symbol, and days.

    Quantities are exact text; so are amounts of the quote where they were asked for exactly, else
    they are in cents.
    """

    account: str
    at: datetime
    orders: pl.DataFrame
    balances: pl.DataFrame
    profit: pl.DataFrame
    days: pl.DataFrame

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by the title under which they are shown."""
        return {
            "Orders": self.orders,
            "Balances": self.balances,
            "Profit and loss (quote units; unrealised at the last fill)": self.profit,
            "Days (UTC)": self.days,
        }


def rebuild_ledger(platform: Platform, *, check: bool) -> Rebuild:
    """Compare the read models with what the events lead to; without `check` also replace them, in
    one transaction.
    """
    return LedgerHistory(platform.database).rebuild(replace=not check)


def rebuild_lines(result: Rebuild) -> list[str]:
    """Return what was compared and what came of it, a line each."""
    compared = (
        f"folded {result.events} order events, {result.fills} fills and {result.adjustments} adjustments; "
        f"compared {result.orders} orders and {result.balances} balances, row for row, "
        "the entry checkpoints, and the profit books of all strategies with the balances"
    )
    if not result.different:
        return [compared, "equal: the read models are what their events lead to"]
    outcome = (
        "replaced by what the events lead to"
        if result.replaced
        else "nothing was changed: run it without --check to mend"
    )
    rows = [
        f"  {each.table} {each.row}: stored {each.stored}, rebuilt {each.rebuilt}"
        for each in result.differences
    ]
    return [compared, f"{result.different} rows differ; {outcome}", *rows]


def show_ledger(
    platform: Platform, portfolio: str, at: datetime, exact: bool = False
) -> LedgerView:
    """Return the portfolio's account as it was at `at`; unrealised profit is at the last fill's
    price before then.
    """
    money = _exact if exact else _cents
    account = platform.environment.account_of(portfolio).name
    history = LedgerHistory(platform.database)
    state, fills = history.state_at(account, at), history.fills(account, at)
    result = profits(fills)
    prices = {fill.symbol: fill.price for _, fill in sorted(fills, key=lambda pair: pair[1].at)}
    return LedgerView(
        account,
        at,
        _frame([_order_row(order) for order in state.orders], _ORDER_COLUMNS),
        _frame(list(state.balances.items()), ("asset", "quantity")),
        _frame(
            [
                (
                    h.strategy,
                    h.symbol,
                    h.quantity,
                    *map(money, _amounts(h, prices[h.symbol])),
                    h.fills,
                )
                for h in result.holdings
            ],
            ("strategy", "symbol", "quantity", "cost", "realised", "unrealised", "fees", "fills"),
        ),
        _frame(
            [
                (d.day, d.strategy, *map(money, (d.realised, d.fees, d.traded)), d.fills)
                for d in result.days
            ],
            ("day", "strategy", "realised", "fees", "traded", "fills"),
        ),
    )


def _amounts(held: Holding, price: Decimal) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return held.cost, held.realised, held.unrealised(price), held.fees


def _order_row(order: OrderRecord) -> tuple[object, ...]:
    asked = order.request
    return (
        order.created_at,
        asked.symbol,
        asked.venue,
        asked.side,
        asked.quantity,
        order.filled_quantity,
        order.state,
        order.reason,
    )


def _frame(rows: list[tuple[object, ...]], columns: tuple[str, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        [[_text(value) for value in row] for row in rows],
        dict.fromkeys(columns, _TEXT),
        orient="row",
    )


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return _exact(value)
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)


def _exact(amount: Decimal) -> str:
    return f"{amount.normalize():f}" if amount else "0"


def _cents(amount: Decimal) -> str:
    return f"{amount:,.2f}"
