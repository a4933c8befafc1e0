"""Values of an account as tables for people: in HTML reports, artifacts and the terminal alike.

Amounts are text, so that no digit is lost.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import polars as pl

from penstock.core.breaks import Break
from penstock.core.order_records import OrderRecord
from penstock.core.orders import Fill
from penstock.monitoring.figures import AccountFigures

_ORDER_COLUMNS = ("at", "symbol", "side", "quantity", "filled", "state", "version", "reason")
_FILL_COLUMNS = ("at", "symbol", "side", "quantity", "price", "fee", "trade")


def figures_table(figures: AccountFigures) -> pl.DataFrame:
    """Return an account's figures: columns figure, value (text)."""
    slots = ", ".join(f"{count} {status}" for status, count in sorted(figures.slots.items()))
    rows = [
        ("trading state", str(figures.trading_state)),
        ("slots", slots or "none yet"),
        ("orders", str(figures.orders)),
        ("fills", str(figures.fills)),
        ("traded notional", f"{figures.traded:,.2f}"),
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
            ("deepest fall", f"{earned.deepest_fall:.2%}"),
        ]
    return pl.DataFrame(rows, schema=["figure", "value"], orient="row")


def orders_table(orders: Sequence[OrderRecord]) -> pl.DataFrame:
    """Return orders, newest first: at, symbol, side, quantity, filled, state, version, reason."""
    rows = [
        (
            order.created_at,
            order.request.symbol,
            order.request.side.value,
            f"{order.request.quantity.normalize():f}",
            f"{order.filled_quantity.normalize():f}",
            order.state.value,
            order.strategy_version,
            order.reason,
        )
        for order in reversed(list(orders))
    ]
    return _frame(rows, _ORDER_COLUMNS)


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
    """Return what is held, by asset: columns asset, quantity (text)."""
    rows = [(asset, f"{held.normalize():f}") for asset, held in sorted(balances.items())]
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


def _text(value: object) -> str:
    return "" if value is None else str(value)
