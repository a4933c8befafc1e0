"""Values of an account as tables for people: in HTML reports, artifacts and the terminal.

Amounts are text, so that no digit is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import polars as pl

from penstock.core.account_totals import TOTALS
from penstock.core.breaks import Break
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.monitoring.figures import AccountFigures

#: The columns of every table of orders, by heading: in reports, artifacts and the ledger's view.
ORDER_COLUMNS: Mapping[str, Callable[[OrderRecord], object]] = {
    "at": lambda order: order.created_at,
    "symbol": lambda order: order.request.symbol,
    "venue": lambda order: order.request.venue,
    "side": lambda order: order.request.side.value,
    "quantity": lambda order: f"{order.request.quantity.normalize():f}",
    "filled": lambda order: f"{order.filled_quantity.normalize():f}",
    "state": lambda order: order.state.value,
    "ended": lambda order: "" if order.end_cause is None else order.end_cause.value,
    "version": lambda order: order.strategy_version,
    "reason": lambda order: order.reason,
}
_FILL_COLUMNS = ("at", "symbol", "side", "quantity", "price", "fee", "trade")


def figures_table(figures: AccountFigures) -> pl.DataFrame:
    """Return an account's figures: columns figure, value (text)."""
    slots = ", ".join(f"{count} {status}" for status, count in sorted(figures.totals.slots.items()))
    rows = [
        ("trading state", str(figures.trading_state)),
        ("slots", slots or "none yet"),
        *((name.replace("_", " "), _total(getattr(figures.totals, name))) for name in TOTALS),
        ("open breaks", str(figures.open_breaks)),
    ]
    if figures.equity is not None and figures.performance is not None:
        earned = figures.performance
        rows.append(("equity", f"{figures.equity:,.2f}"))
        if earned.paid_in or earned.paid_out:
            moved = f"{earned.paid_in:,.2f} in, {earned.paid_out:,.2f} out: no gain, no loss"
            rows.append(("transfers", moved))
        rows += [
            ("return since the first slot", f"{earned.total_return:+.2%}"),
            ("deepest fall, by the day", f"{earned.deepest_fall:.2%}"),
        ]
    return pl.DataFrame(rows, schema=["figure", "value"], orient="row")


def orders_table(orders: Sequence[OrderRecord], newest_first: bool = True) -> pl.DataFrame:
    """Return orders, given oldest first, with the columns of ORDER_COLUMNS."""
    rows = [tuple(shown(order) for shown in ORDER_COLUMNS.values()) for order in orders]
    return _frame(rows[::-1] if newest_first else rows, tuple(ORDER_COLUMNS))


def fills_table(fills: Sequence[Fill]) -> pl.DataFrame:
    """Return fills, newest first: at, symbol, side, quantity, price, fee, trade."""
    rows = [
        (
            fill.at,
            fill.symbol,
            fill.side.value,
            f"{fill.quantity.normalize():f}",
            f"{fill.price.normalize():f}",
            f"{fill.fee.normalize():f} {fill.fee_asset}",
            fill.trade_id,
        )
        for fill in reversed(list(fills))
    ]
    return _frame(rows, _FILL_COLUMNS)


def balances_table(balances: Mapping[str, Decimal]) -> pl.DataFrame:
    """Return the balances: columns asset, quantity (text)."""
    rows = [(asset, f"{amount.normalize():f}") for asset, amount in sorted(balances.items())]
    return pl.DataFrame(rows, schema={"asset": pl.String, "quantity": pl.String}, orient="row")


def breaks_table(breaks: Sequence[Break]) -> pl.DataFrame:
    """Return breaks: columns subject, kind, ledger, venue, detail (text)."""
    rows = [
        (b.subject, b.kind.value, _text(b.ledger_value), _text(b.venue_value), b.detail)
        for b in breaks
    ]
    columns = ("subject", "kind", "ledger", "venue", "detail")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _frame(rows: Sequence[tuple[object, ...]], columns: Sequence[str]) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=list(columns))
    return pl.DataFrame(list(rows), schema=list(columns), orient="row")


def _total(figure: object) -> str:
    """Return a total as people read it: amounts in cents."""
    return f"{figure:,.2f}" if isinstance(figure, Decimal) else str(figure)


def _text(value: object) -> str:
    return "" if value is None else str(value)
