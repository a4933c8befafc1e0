"""How fills are booked: the fill, its event and the balances it moves, in one ledger transaction.

Which fills of a batch are new is decided here. The lease has decided before whether the writer may
write.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.columns import transposed
from penstock.adapters.stores.postgres.ledger_rows import FILL
from penstock.adapters.stores.postgres.order_events import (
    JudgedEvent,
    append,
    judged_fill,
    judged_in_turn,
    standings_of,
    write_events,
)
from penstock.core.accounting import changes_of, summed
from penstock.core.leases import Lease
from penstock.core.orders import Fill, OrderEvent

#: What a fill changes is for penstock.core.accounting: these are its sums, one row per asset. Rows
#: are locked in the order of assets, so that two writers cannot wait for each other.
_MOVE_BALANCES = """
    INSERT INTO balance (account, asset, quantity)
    SELECT %s, asset, amount FROM unnest(%s::text[], %s::numeric[]) AS change (asset, amount)
    ORDER BY asset
    ON CONFLICT (account, asset) DO UPDATE
    SET quantity = balance.quantity + excluded.quantity, updated_at = clock_timestamp()
"""

_KNOWN_TRADES = """
    SELECT symbol, trade_id FROM fill
    WHERE account = %(account)s AND symbol = ANY(%(symbols)s) AND trade_id = ANY(%(trades)s)
      AND (symbol, trade_id) IN (SELECT * FROM unnest(%(symbols)s::text[], %(trades)s::text[]))
"""

_APPEND_FILLS = f"""
    INSERT INTO fill (account, {FILL.listed()}) SELECT %s, {FILL.listed("line")}
    FROM unnest({FILL.arrays}) WITH ORDINALITY AS line ({FILL.listed()}, n) ORDER BY line.n
"""  # noqa: S608 - our own constants


def write_fills(
    connection: psycopg.Connection[Any],
    lease: Lease,
    fills: Sequence[Fill],
    events: Sequence[OrderEvent] = (),
) -> tuple[list[JudgedEvent], list[tuple[Fill, JudgedEvent]]]:
    """Append `events`, then the fills that are not booked yet with their own. Move orders and
    balances by those that are taken.

    Return the lines of `events`, and every fill that was not booked before with the line it made.
    """
    fresh = _not_booked(connection, lease, fills)
    if not fresh:
        return write_events(connection, lease, events), []
    names = {event.client_order_id for event in events}
    names |= {fill.client_order_id for fill in fresh}
    standings = standings_of(connection, lease, names)
    progress = {name: standing.progress for name, standing in standings.items()}
    begun = judged_in_turn(events, progress)
    lines = []
    for fill in fresh:
        name = fill.client_order_id
        line = judged_fill(fill, standings[name].quantity, progress[name])
        progress[name] = line.after
        lines.append((fill, line))
    _append_fills(connection, lease, [fill for fill, line in lines if line.refusal is None])
    append(connection, lease, [*begun, *(line for _, line in lines)])
    return begun, lines


def write_adjustment(
    connection: psycopg.Connection[Any],
    lease: Lease,
    asset: str,
    quantity: Decimal,
    reason: str,
    at: datetime,
) -> None:
    """Append the adjustment and move the balance by it."""
    connection.execute(
        "INSERT INTO adjustment (account, asset, quantity, reason, at) VALUES (%s, %s, %s, %s, %s)",
        [lease.account, asset, quantity, reason, at],
    )
    _move_balances(connection, lease, {asset: quantity})


def _move_balances(
    connection: psycopg.Connection[Any], lease: Lease, changes: Mapping[str, Decimal]
) -> None:
    connection.execute(_MOVE_BALANCES, [lease.account, list(changes), list(changes.values())])


def _not_booked(
    connection: psycopg.Connection[Any], lease: Lease, fills: Sequence[Fill]
) -> list[Fill]:
    """Return the fills whose trade the ledger does not have, each trade once."""
    by_trade: dict[tuple[str, str], Fill] = {}
    for fill in fills:
        by_trade.setdefault((fill.symbol, fill.trade_id), fill)
    symbols, trades = [key[0] for key in by_trade], [key[1] for key in by_trade]
    known = set(
        connection.execute(
            _KNOWN_TRADES, {"account": lease.account, "symbols": symbols, "trades": trades}
        ).fetchall()
    )
    return [fill for key, fill in by_trade.items() if key not in known]


def _append_fills(connection: psycopg.Connection[Any], lease: Lease, fills: Sequence[Fill]) -> None:
    if not fills:
        return
    rows = [FILL.row(fill) for fill in fills]
    connection.execute(_APPEND_FILLS.encode(), [lease.account, *transposed(rows)])
    _move_balances(connection, lease, summed(changes_of(fill) for fill in fills))
