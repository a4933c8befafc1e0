"""What was paid for the positions held, in SQL: checkpoints in the venue's order of fills, and the
fills since.

Decides how few fills are read; what they come to is for penstock.core.cost_basis. A fill may arrive
after a symbol's checkpoint and belong before it. That symbol is then counted anew from its first
fill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.ledger_rows import FILL
from penstock.core.accounting import venue_order
from penstock.core.cost_basis import CostBasis

#: A checkpoint stays this many fills behind the newest: a fill that is a little late is then only
#: read again. It is moved once this many more are uncounted.
_BEHIND = 20
_AT_ONCE = 40

#: The venue's order of a symbol's fills, as penstock.core.accounting.venue_order.
_KEY = '{0}at, length({0}trade_id), {0}trade_id COLLATE "C"'

#: The symbols are found by skipping from one to the next in the fills' key.
_SELECT_CHECKPOINTS = """
    WITH RECURSIVE traded AS (
        (SELECT symbol FROM fill WHERE account = %(account)s ORDER BY symbol LIMIT 1)
        UNION ALL
        SELECT (SELECT f.symbol FROM fill f
                WHERE f.account = %(account)s AND f.symbol > t.symbol ORDER BY f.symbol LIMIT 1)
        FROM traded t WHERE t.symbol IS NOT NULL
    )
    SELECT t.symbol, c.quantity, c.cost, c.at, c.trade_id, c.sequence
    FROM traded t LEFT JOIN entry_checkpoint c ON c.account = %(account)s AND c.symbol = t.symbol
    WHERE t.symbol IS NOT NULL ORDER BY t.symbol
"""
#: One statement per symbol, given the checkpoint's values: they let the planner know how few fills
#: are meant. Both parts see the same instant. The row with `late` counts fills that belong before
#: the checkpoint and were not known to it. Its columns are all in an index: without that the
#: planner reads the newer fills of all symbols.
_SELECT_SINCE = f"""
    SELECT false AS late, sequence, {FILL.listed()} FROM fill
    WHERE account = %(account)s AND symbol = %(symbol)s AND at >= %(at)s
      AND ({_KEY.format("")}) > (%(at)s, length(%(trade_id)s), %(trade_id)s COLLATE "C")
    UNION ALL
    SELECT true, max(sequence), {", ".join(["NULL"] * len(FILL.columns))} FROM fill
    WHERE account = %(account)s AND symbol = %(symbol)s AND sequence > %(sequence)s
      AND ({_KEY.format("")}) <= (%(at)s, length(%(trade_id)s), %(trade_id)s COLLATE "C")
    HAVING count(*) > 0
"""  # noqa: S608 - our own constants
#: All fills of symbols that have no checkpoint yet, or a wrong one.
_SELECT_ALL = f"""
    SELECT symbol, false, sequence, {FILL.listed()} FROM fill
    WHERE account = %s AND symbol = ANY(%s)
"""  # noqa: S608 - our own constants

_INSERT = """
    INSERT INTO entry_checkpoint (account, symbol, quantity, cost, at, trade_id, sequence)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
#: Only what was read is replaced: another reader, or a rebuild, may have been here since.
_MOVE = """
    UPDATE entry_checkpoint SET quantity = %s, cost = %s, at = %s, trade_id = %s, sequence = %s
    WHERE account = %s AND symbol = %s AND sequence = %s
"""

_SELECT_COUNTED = f"""
    SELECT c.account, c.symbol, c.quantity, c.cost, {FILL.listed("f")}
    FROM entry_checkpoint c
    LEFT JOIN fill f ON f.account = c.account AND f.symbol = c.symbol AND f.sequence <= c.sequence
        AND ({_KEY.format("f.")}) <= ({_KEY.format("c.")})
    ORDER BY c.account, c.symbol
"""  # noqa: S608 - our own constants


@dataclass(frozen=True)
class Checkpoint:
    """The entry after a symbol's fills up to one of them."""

    entry: CostBasis
    """The entry."""
    at: datetime
    """The time of the last fill that is counted."""
    trade_id: str
    """The id of that fill."""
    sequence: int
    """The newest of the counted fills by arrival."""


@dataclass(frozen=True)
class WrongCheckpoint:
    """A checkpoint that is not what the fills it counted come to."""

    account: str
    symbol: str
    stored: CostBasis
    folded: CostBasis


def read_entries(connection: psycopg.Connection[Any], account: str) -> Mapping[str, CostBasis]:
    """Return what is held by the fills and its cost, by symbol, and move the checkpoints that are
    far behind.
    """
    known: dict[str, Checkpoint | None] = {}
    for symbol, quantity, cost, at, trade_id, sequence in connection.execute(
        _SELECT_CHECKPOINTS, {"account": account}
    ):
        known[symbol] = (
            None
            if sequence is None
            else Checkpoint(CostBasis(quantity, cost), at, trade_id, sequence)
        )
    since = _fills_since(
        connection, account, {symbol: found for symbol, found in known.items() if found is not None}
    )
    anew = [
        symbol for symbol in known if symbol not in since or any(late for late, *_ in since[symbol])
    ]
    fills = since | _all_fills(connection, account, anew)
    entries = {
        symbol: _entry(
            connection,
            account,
            symbol,
            checkpoint,
            fills[symbol],
            CostBasis() if checkpoint is None or symbol in anew else checkpoint.entry,
        )
        for symbol, checkpoint in known.items()
    }
    return {symbol: entry for symbol, entry in entries.items() if entry.quantity}


def _fills_since(
    connection: psycopg.Connection[Any], account: str, checkpoints: Mapping[str, Checkpoint]
) -> dict[str, list[Sequence[Any]]]:
    """Return the rows of _SELECT_SINCE by symbol; all symbols are asked for in one round trip."""
    if not checkpoints:
        return {}
    cursor = connection.cursor()
    asked = [
        {
            "account": account,
            "symbol": symbol,
            "at": c.at,
            "trade_id": c.trade_id,
            "sequence": c.sequence,
        }
        for symbol, c in checkpoints.items()
    ]
    cursor.executemany(_SELECT_SINCE.encode(), asked, returning=True)
    rows = {}
    for symbol in checkpoints:
        rows[symbol] = cursor.fetchall()
        cursor.nextset()
    return rows


def _all_fills(
    connection: psycopg.Connection[Any], account: str, symbols: Sequence[str]
) -> dict[str, list[Sequence[Any]]]:
    """Return the rows of _SELECT_ALL by symbol."""
    rows: dict[str, list[Sequence[Any]]] = {symbol: [] for symbol in symbols}
    if symbols:
        found = connection.execute(_SELECT_ALL.encode(), [account, list(symbols)])
        for symbol, *row in found:
            rows[symbol].append(row)
    return rows


def _entry(
    connection: psycopg.Connection[Any],
    account: str,
    symbol: str,
    checkpoint: Checkpoint | None,
    rows: Sequence[Sequence[Any]],
    entry: CostBasis,
) -> CostBasis:
    """Return the symbol's entry after all fills, and move its checkpoint where it is far behind.

    `entry` is what the fills in `rows` come after.
    """
    fills = sorted(
        ((FILL.value(row), sequence) for _, sequence, *row in rows),
        key=lambda pair: venue_order(pair[0]),
    )
    behind = len(fills) - _BEHIND
    if behind >= _AT_ONCE:
        entry = entry.after(fill for fill, _ in fills[:behind])
        last, newest = fills[behind - 1][0], max(sequence for _, sequence in fills[:behind])
        _move(
            connection,
            account,
            symbol,
            checkpoint,
            Checkpoint(entry, last.at, last.trade_id, newest),
        )
        fills = fills[behind:]
    return entry.after(fill for fill, _ in fills)


def _move(
    connection: psycopg.Connection[Any],
    account: str,
    symbol: str,
    before: Checkpoint | None,
    after: Checkpoint,
) -> None:
    place = [after.entry.quantity, after.entry.cost, after.at, after.trade_id]
    if before is None:
        connection.execute(_INSERT, [account, symbol, *place, after.sequence])
    else:
        newest = max(before.sequence, after.sequence)
        connection.execute(_MOVE, [*place, newest, account, symbol, before.sequence])


def wrong_checkpoints(connection: psycopg.Connection[Any]) -> list[WrongCheckpoint]:
    """Return the checkpoints of every account that are not what the fills they counted come to."""
    found = []
    rows = connection.execute(_SELECT_COUNTED.encode()).fetchall()
    for (account, symbol), of_one in groupby(rows, key=lambda row: (row[0], row[1])):
        counted = list(of_one)
        stored = CostBasis(counted[0][2], counted[0][3])
        folded = CostBasis().after(
            sorted((FILL.value(row[4:]) for row in counted if row[4] is not None), key=venue_order)
        )
        if stored != folded:
            found.append(WrongCheckpoint(account, symbol, stored, folded))
    return found


def drop_checkpoints(connection: psycopg.Connection[Any], wrong: Sequence[WrongCheckpoint]) -> None:
    """Forget these; the next reading counts their symbols from the first fill."""
    connection.cursor().executemany(
        "DELETE FROM entry_checkpoint WHERE account = %s AND symbol = %s",
        [(each.account, each.symbol) for each in wrong],
    )
