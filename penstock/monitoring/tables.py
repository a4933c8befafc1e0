"""Values of an account as tables for people: in HTML reports, artifacts and the terminal.

Amounts are text, as penstock.core.amounts writes them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

import polars as pl

from penstock.core.account_totals import TOTALS
from penstock.core.amounts import money, money_change, plain, to_step
from penstock.core.breaks import Break
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, Fill, OrderState
from penstock.monitoring.figures import AccountFigures
from penstock.monitoring.positions import Holdings, Position

#: The causes that a state names already.
_PLAIN_ENDS = {
    OrderState.FILLED: EndCause.FILLED,
    OrderState.CANCELED: EndCause.CANCELLED,
    OrderState.EXPIRED: EndCause.EXPIRED,
}


def _end(order: OrderRecord) -> str:
    """Return why an order ended; "" where its state says so, or it works."""
    if order.end_cause is None or order.end_cause is _PLAIN_ENDS.get(order.state):
        return ""
    return order.end_cause.value


#: The columns of every table of orders, by heading: in reports, artifacts and the ledger's view.
ORDER_COLUMNS: Mapping[str, Callable[[OrderRecord], object]] = {
    "at": lambda order: order.created_at,
    "symbol": lambda order: order.request.symbol,
    "venue": lambda order: order.request.venue,
    "side": lambda order: order.request.side.value,
    "quantity": lambda order: plain(order.request.quantity),
    "filled": lambda order: plain(order.filled_quantity),
    "state": lambda order: order.state.value,
    "ended": _end,
    "version": lambda order: order.strategy_version,
    "reason": lambda order: order.reason,
}
_FILL_COLUMNS = ("at", "symbol", "side", "quantity", "price", "fee", "trade")


def figures_table(figures: AccountFigures) -> pl.DataFrame:
    """Return an account's figures: columns figure, value (text)."""
    quote = figures.quote
    slots = ", ".join(f"{count} {status}" for status, count in sorted(figures.totals.slots.items()))
    rows = [
        ("trading state", str(figures.trading_state)),
        ("slots", slots or "none yet"),
        *(
            (name.replace("_", " "), _total(getattr(figures.totals, name), quote))
            for name in TOTALS
        ),
        ("open breaks", str(figures.open_breaks)),
    ]
    if figures.equity is not None and figures.performance is not None:
        earned = figures.performance
        after = "" if figures.equity_at is None else f" ({figures.equity_at:%Y-%m-%d %H:%M})"
        rows.append(("equity after its last slot", f"{money(figures.equity, quote)}{after}"))
        if earned.paid_in or earned.paid_out:
            paid_in, paid_out = (money(each, quote) for each in (earned.paid_in, earned.paid_out))
            moved = f"{paid_in} in, {paid_out} out: no gain, no loss"
            rows.append(("transfers", moved))
        rows += [
            ("return since the first slot", f"{earned.total_return:+z.2%}"),
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
            plain(fill.quantity),
            plain(fill.price),
            f"{to_step(fill.fee)} {fill.fee_asset}",
            fill.trade_id,
        )
        for fill in reversed(list(fills))
    ]
    return _frame(rows, _FILL_COLUMNS)


#: The columns of every table of positions.
POSITION_COLUMNS = (
    *("position", "quantity", "entry_price", "price", "value", "weight", "unrealised", "price_age"),
)
UNKNOWN = "unknown"


def positions_table(holdings: Holdings) -> pl.DataFrame:
    """Return what an account holds (POSITION_COLUMNS, text), cash last.

    `value` and `unrealised` are in the quote asset, `weight` is of equity. What is not known says
    so. There are no rows where the account has nothing.
    """
    rows = [_position_row(holdings, each) for each in holdings.positions]
    if holdings.cash or rows:
        cash, weight = holdings.cash, _weight(holdings, holdings.cash)
        value = money(cash, holdings.quote)
        rows.append((f"cash, {holdings.quote}", "", "", "", value, weight, "", ""))
    return pl.DataFrame(rows, schema=dict.fromkeys(POSITION_COLUMNS, pl.String), orient="row")


def positions_sentence(holdings: Holdings) -> str:
    """Return what all positions and the cash are worth, or why that is not known."""
    equity = holdings.equity
    if equity is None:
        return f"equity is unknown: no price of {', '.join(holdings.unpriced)} is stored"
    worth = f"equity is {money(equity, holdings.quote)} {holdings.quote}"
    return f"{worth} at the last prices{_ages(holdings)}" if holdings.prices else worth


def _ages(holdings: Holdings) -> str:
    """Return how old the prices are of which equity is made."""
    oldest = holdings.prices[0]
    ages = [held.age for held in holdings.positions if held.counted and held.age is not None]
    if not ages:
        return f", the oldest of {oldest.at:%Y-%m-%d %H:%M} ({oldest.source})"
    first, last = age_text(min(ages)), age_text(max(ages))
    return f", {last} old" if first == last else f", {first} to {last} old"


def _position_row(holdings: Holdings, held: Position) -> tuple[str, ...]:
    rules = holdings.instruments.get(held.symbol)
    step, tick = (None, None) if rules is None else (rules.lot_step, rules.price_tick)
    quote = holdings.quote
    weight = _weight(holdings, held.value) if held.counted else "not counted"
    return (
        held.symbol,
        to_step(held.quantity, step),
        UNKNOWN if held.entry_price is None else to_step(held.entry_price, tick),
        UNKNOWN if held.price is None else to_step(held.price.value, tick),
        UNKNOWN if held.value is None else money(held.value, quote),
        weight,
        UNKNOWN if held.unrealised is None else money_change(held.unrealised, quote),
        _age(held),
    )


def _age(held: Position) -> str:
    """Return how old a price is and what it is from. Where the venue's time is not known, from when
    it is.
    """
    if held.price is None:
        return UNKNOWN
    age = f"of {held.price.at:%Y-%m-%d %H:%M}" if held.age is None else age_text(held.age)
    return f"{age}, {held.price.source}"


def _weight(holdings: Holdings, value: Decimal | None) -> str:
    weight = holdings.weight(value)
    return UNKNOWN if weight is None else f"{weight:.1%}"


def age_text(age: timedelta) -> str:
    """Return how old something is, in the largest unit of which it has two.

    >>> age_text(timedelta(seconds=90)), age_text(timedelta(hours=30)), age_text(timedelta(days=3))
    ('90 s', '30 h', '3 d')
    """
    seconds = int(age.total_seconds())
    units = (("d", 86_400), ("h", 3_600), ("min", 60))
    return next(
        (f"{seconds // size} {unit}" for unit, size in units if seconds >= 2 * size),
        f"{seconds} s",
    )


def breaks_table(breaks: Sequence[Break]) -> pl.DataFrame:
    """Return breaks: columns subject, kind, ledger, venue, detail (text)."""
    rows = [
        (b.subject, b.kind.value, _amount(b.ledger_value), _amount(b.venue_value), b.detail)
        for b in breaks
    ]
    columns = ("subject", "kind", "ledger", "venue", "detail")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _frame(rows: Sequence[tuple[object, ...]], columns: Sequence[str]) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=list(columns))
    return pl.DataFrame(list(rows), schema=list(columns), orient="row")


def _total(figure: object, quote: str) -> str:
    """Return a total as people read it: amounts by the places of the quote asset."""
    return money(figure, quote) if isinstance(figure, Decimal) else str(figure)


def _amount(value: Decimal | None) -> str:
    return "" if value is None else to_step(value)
