"""Outcomes of use cases as frames for the terminal: one function per kind of outcome. How a frame
looks is for console.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl

from penstock.core.amounts import money as money_text
from penstock.core.amounts import plain, to_step
from penstock.core.bars import TS
from penstock.core.breaks import Break, PastBreak
from penstock.core.instruments import spot_assets
from penstock.core.profit import Holding
from penstock.execution.rebalance.result import RebalanceResult
from penstock.monitoring.positions import Holdings
from penstock.monitoring.tables import orders_table
from penstock.pipeline.ledger_audit import LedgerView
from penstock.pipeline.slots import SlotRecord
from penstock.pipeline.status import SystemStatus
from penstock.pipeline.trading_costs import AccountCosts
from penstock.research.engine.measured_costs import LEAST_ORDERS, MeasuredCosts


def rebalance_table(result: RebalanceResult) -> pl.DataFrame:
    """Return what a rebalance did: columns what, symbol, detail, state, reason."""
    return _texts(
        [tuple(row.values()) for row in result.rows()],
        ("what", "symbol", "detail", "state", "reason"),
    )


def costs_table(measured: Sequence[MeasuredCosts]) -> pl.DataFrame:
    """Return what orders cost, one row per symbol; what is not known is empty."""
    rows = [
        (
            *(each.symbol, str(each.orders), f"{each.notional:,.0f}", _bps(each.fee_bps)),
            *(_bps(each.slippage_bps), _bps(each.slippage_error_bps)),
            *(_bps(each.half_spread_bps), _bps(each.impact_bps)),
        )
        for each in measured
    ]
    columns = ("symbol", "orders", "notional", "fee", "slippage", "+-", "half spread", "impact")
    return _texts(rows, columns)


def costs_lines(found: AccountCosts) -> Sequence[str]:
    """Return the comparison with the configured costs, and lines for configs/costs.yaml."""
    against = found.against
    if against is None:
        return [f"too few orders to compare: {LEAST_ORDERS} are needed, with a fill each"]
    more = "more than" if against.exceeds else "not measurably more than"
    lines = [
        f"{against.orders} orders cost {against.paid_bps:.1f} bps of their notional "
        f"(+- {2 * against.error_bps:.1f}), {more} the {against.assumed_bps:.1f} bps that "
        "backtests assume"
    ]
    measured = {each.symbol for each in found.measured if each.orders >= LEAST_ORDERS}
    proposed = [each for each in found.proposed.instruments if each.symbol in measured]
    if proposed:
        lines += ["for configs/costs.yaml:", "instruments:"]
    for each in proposed:
        values = each.model_dump(exclude_defaults=True)
        lines.append(
            "  - {" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"
        )
    return lines


def slots_table(slots: Sequence[SlotRecord]) -> pl.DataFrame:
    """Return slots: columns slot, status ("open" where no run has had it), reason, version."""
    schema = {"slot": TS, "status": pl.String(), "reason": pl.String(), "version": pl.String()}
    rows = [
        (row.slot, "open" if row.status is None else row.status.value, row.reason, row.version)
        for row in slots
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def open_breaks_table(breaks: Sequence[Break]) -> pl.DataFrame:
    """Return open breaks: columns locked, kind, ledger, venue, detail."""
    rows = [
        (b.subject, b.kind, *map(_given, (b.ledger_value, b.venue_value)), b.message)
        for b in breaks
    ]
    return _texts(rows, ("locked", "kind", "ledger", "venue", "detail"))


def past_breaks_table(breaks: Sequence[PastBreak]) -> pl.DataFrame:
    """Return breaks with when they were opened and closed, and why."""
    texts = dict.fromkeys(("subject", "kind", "detail", "closed_reason"), pl.String())
    rows = [
        (b.opened_at, b.closed_at, b.subject, b.kind.value, b.detail, b.closed_reason)
        for b in breaks
    ]
    return pl.DataFrame(rows, schema={"opened_at": TS, "closed_at": TS, **texts}, orient="row")


def coverage_table(status: SystemStatus) -> pl.DataFrame:
    """Return what is stored: columns timeframe, symbol, rows, first, last."""
    schema = {
        "timeframe": pl.String(),
        "symbol": pl.String(),
        "rows": pl.Int64(),
        "first": TS,
        "last": TS,
    }
    rows = [(b.timeframe, b.symbol, b.rows, b.first, b.last) for b in status.bars]
    return pl.DataFrame(rows, schema=schema, orient="row")


def models_table(status: SystemStatus) -> pl.DataFrame:
    """Return the registered versions with an alias: columns model, version, aliases, strategy and
    what the gate decided at last.
    """
    rows = [
        (
            *(each.name, each.version, ", ".join(each.aliases)),
            *(each.tags.get(tag, "") for tag in ("strategy", "gate")),
        )
        for each in status.models
    ]
    return _texts(rows, ("model", "version", "aliases", "strategy", "gate"))


def locks_table(status: SystemStatus) -> pl.DataFrame:
    """Return the open breaks of all accounts: columns account, locked, kind, detail."""
    rows = [
        (each.account, b.subject, b.kind, b.detail) for each in status.accounts for b in each.breaks
    ]
    return _texts(rows, ("account", "locked", "kind", "detail"))


def halts_table(status: SystemStatus) -> pl.DataFrame:
    """Return the accounts that may not trade freely: account, state, reason, set by, since."""
    rows = [
        (each.account, h.state, h.reason, h.by, f"{h.at:%Y-%m-%d %H:%M}")
        for each in status.states.halted
        for h in [each.halt]
    ]
    return _texts(rows, ("account", "state", "reason", "set by", "since"))


def positions_record(holdings: Holdings) -> dict[str, object]:
    """Return what an account holds as JSON values: amounts as text, None where unknown."""
    return {
        "account": holdings.account,
        "quote": holdings.quote,
        "equity": _amount_or_none(holdings.equity),
        "cash": to_step(holdings.cash),
        "cash_weight": _fraction(holdings.weight(holdings.cash)),
        "positions": [
            {
                "symbol": held.symbol,
                "quantity": plain(held.quantity),
                "entry_price": _amount_or_none(held.entry_price),
                "price": None if held.price is None else plain(held.price.value),
                "price_at": None if held.price is None else held.price.at.isoformat(),
                "price_source": None if held.price is None else held.price.source,
                "price_age_seconds": None if held.age is None else held.age.total_seconds(),
                "value": _amount_or_none(held.value),
                "weight": _fraction(holdings.weight(held.value)) if held.counted else None,
                "unrealised": _amount_or_none(held.unrealised),
                "counted": held.counted,
            }
            for held in holdings.positions
        ],
    }


def ledger_tables(view: LedgerView, exact: bool) -> dict[str, pl.DataFrame]:
    """Return an account's tables by their title: orders, balances, profit and loss, days.

    Amounts are written by the steps of their instruments and the places of the quote; where asked
    for, with every digit.
    """
    rules, quote = view.instruments, view.quote
    steps = {each.base: each.lot_step for each in rules.values() if each.quote == quote}

    def money(amount: Decimal) -> str:
        return plain(amount) if exact else money_text(amount, quote)

    def quantity(amount: Decimal, asset: str) -> str:
        if exact:
            return plain(amount)
        return money(amount) if asset == quote else to_step(amount, steps.get(asset))

    profit = [
        (
            h.strategy,
            h.symbol,
            quantity(h.quantity, spot_assets(h.symbol)[0]),
            *map(money, _amounts(h, view)),
            h.fills,
        )
        for h in view.profits.holdings
    ]
    days = [
        (d.day, d.strategy, *map(money, (d.realised, d.fees, d.traded)), d.fills)
        for d in view.profits.days
    ]
    profit_columns = (
        *("strategy", "symbol", "quantity", "cost", "realised", "unrealised", "fees", "fills"),
    )
    orders = orders_table(view.orders, newest_first=False)
    return {
        "Orders": _texts(orders.rows(), orders.columns),
        "Balances": _texts(
            [(asset, quantity(amount, asset)) for asset, amount in view.balances.items()],
            ("asset", "quantity"),
        ),
        "Profit and loss (quote units; unrealised at the last fill)": _texts(
            profit, profit_columns
        ),
        "Days (UTC)": _texts(days, ("day", "strategy", "realised", "fees", "traded", "fills")),
    }


def _amounts(held: Holding, view: LedgerView) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    unrealised = held.unrealised(view.last_prices[held.symbol])
    return held.cost, held.realised, unrealised, held.fees


def _texts(rows: Sequence[Sequence[object]], columns: Sequence[str]) -> pl.DataFrame:
    texts: list[list[str]] = [[_text(value) for value in row] for row in rows]
    return pl.DataFrame(texts, dict.fromkeys(columns, pl.String()), orient="row")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)


def _given(value: Decimal | None) -> str:
    return "" if value is None else to_step(value)


def _amount_or_none(amount: Decimal | None) -> str | None:
    return None if amount is None else to_step(amount)


def _fraction(weight: Decimal | None) -> float | None:
    return None if weight is None else float(weight)


def _bps(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
