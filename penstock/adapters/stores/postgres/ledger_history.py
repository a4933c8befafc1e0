"""The ledger as event store: the read models rebuilt from what was appended, and the account as it
was at any time.

Read models are the changing columns of `orders` and the table `position`. They are folded here by
penstock.core, in Decimal, not by the SQL that keeps them up to date: that both agree row for row is
what a check proves.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

import psycopg
from psycopg import sql

from penstock.adapters.stores.postgres.connection import Database
from penstock.adapters.stores.postgres.entry_rows import (
    WrongCheckpoint,
    drop_checkpoints,
    wrong_checkpoints,
)
from penstock.adapters.stores.postgres.ledger_rows import (
    IN_SEQUENCE,
    SELECT_ORDERS,
    fill_of,
    order_of,
)
from penstock.core.accounting import EXACT, changes_of, positions_of
from penstock.core.errors import IllegalTransitionError, StoreError
from penstock.core.instruments import spot_assets
from penstock.core.order_history import order_as_of
from penstock.core.order_records import OrderRecord
from penstock.core.orders import (
    EndCause,
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderState,
    next_cause,
    next_state,
)
from penstock.core.profit import profits

_FILL_EVENTS = (OrderEventKind.FILL.value, OrderEventKind.PARTIAL_FILL.value)
_SHOWN = 20
_TABLES = ("orders", "position", "entry_checkpoint", "profit")

_SELECT_FILLS = """
    SELECT fill.trade_id, fill.client_order_id, fill.symbol, fill.side, fill.quantity, fill.price, fill.fee, fill.fee_asset,
           fill.at, orders.strategy_version, fill.account
    FROM fill JOIN orders USING (client_order_id)
    WHERE fill.account = coalesce(%(account)s, fill.account) AND fill.at <= coalesce(%(at)s, 'infinity'::timestamptz)
    ORDER BY fill.sequence
"""
_SELECT_ADJUSTMENTS = """
    SELECT account, asset, quantity FROM adjustment
    WHERE account = coalesce(%(account)s, account) AND at <= coalesce(%(at)s, 'infinity'::timestamptz) ORDER BY id
"""
_SELECT_EVENTS = """
    SELECT client_order_id, kind, at, order_event.reason, order_event.venue_order_id,
           order_event.end_cause, refusal, from_state, to_state
    FROM order_event JOIN orders USING (client_order_id)
    WHERE orders.account = coalesce(%(account)s, orders.account) ORDER BY order_event.id
"""
_TEMPORARY = """
    CREATE TEMPORARY TABLE rebuilt_order (client_order_id text PRIMARY KEY, state text, filled_quantity numeric,
        venue_order_id text, reason text, end_cause text, updated_at timestamptz) ON COMMIT DROP;
    CREATE TEMPORARY TABLE rebuilt_position (account text, asset text, quantity numeric, PRIMARY KEY (account, asset))
        ON COMMIT DROP
"""
_DIFFERENT_ORDERS = """
    SELECT client_order_id,
           row(o.state, o.filled_quantity, o.venue_order_id, o.reason, o.end_cause, o.updated_at)::text,
           row(r.state, r.filled_quantity, r.venue_order_id, r.reason, r.end_cause, r.updated_at)::text
    FROM orders AS o FULL JOIN rebuilt_order AS r USING (client_order_id)
    WHERE (o.state, o.filled_quantity, o.venue_order_id, o.reason, o.end_cause, o.updated_at)
          IS DISTINCT FROM
          (r.state, r.filled_quantity, r.venue_order_id, r.reason, r.end_cause, r.updated_at)
    ORDER BY client_order_id
"""
_DIFFERENT_POSITIONS = """
    SELECT account || ' ' || asset, coalesce(p.quantity, 0)::text, coalesce(r.quantity, 0)::text
    FROM position AS p FULL JOIN rebuilt_position AS r USING (account, asset)
    WHERE coalesce(p.quantity, 0) <> coalesce(r.quantity, 0) ORDER BY account, asset
"""
_REPLACE = """
    UPDATE orders SET state = r.state, filled_quantity = r.filled_quantity,
        venue_order_id = r.venue_order_id, reason = r.reason, end_cause = r.end_cause, updated_at = r.updated_at
    FROM rebuilt_order AS r WHERE orders.client_order_id = r.client_order_id;
    DELETE FROM position;
    INSERT INTO position (account, asset, quantity) SELECT account, asset, quantity FROM rebuilt_position
"""


@dataclass(frozen=True)
class Difference:
    """One row of a read model that is not what its events lead to."""

    table: str
    row: str
    stored: str
    rebuilt: str


@dataclass(frozen=True)
class Rebuild:
    """What was folded and compared. `different` counts all that differs, `differences` has at most
    20 of each table.
    """

    orders: int
    positions: int
    events: int
    fills: int
    adjustments: int
    different: int
    differences: tuple[Difference, ...]
    replaced: bool


@dataclass(frozen=True)
class AccountState:
    """An account as it was at `at`: its orders, oldest first, and what it held by asset."""

    account: str
    at: datetime
    orders: Sequence[OrderRecord]
    positions: Mapping[str, Decimal]


class LedgerHistory:
    """Reads the append-only tables of the ledger, and rebuilds the read models from them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accounts(self) -> Sequence[str]:
        """Return the names of the accounts in the ledger."""
        with self._database.transaction() as connection:
            return [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM account ORDER BY name"
                ).fetchall()
            ]

    def fills(self, account: str, at: datetime | None = None) -> Sequence[tuple[str, Fill]]:
        """Return the account's fills up to `at`, each with the strategy version whose order it
        filled.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(_SELECT_FILLS, {"account": account, "at": at}).fetchall()
        return [(row[9], fill_of(row[:9])) for row in rows]

    def moved_from_outside(self, account: str, opening_reason: str) -> bool:
        """Return whether anything but trades has changed the account since its opening balances
        were booked.
        """
        question = "SELECT EXISTS (SELECT FROM adjustment WHERE account = %s AND reason <> %s)"
        with self._database.transaction() as connection:
            row = connection.execute(question, [account, opening_reason]).fetchone()
        return bool(row and row[0])

    def state_at(self, account: str, at: datetime) -> AccountState:
        """Return orders and positions as they were at `at` (by when things happened); StoreError
        for an unknown account.
        """
        with _snapshot(self._database) as connection:
            if (
                connection.execute("SELECT FROM account WHERE name = %s", [account]).fetchone()
                is None
            ):
                raise StoreError(
                    f"account '{account}' is not in the ledger yet: its first `penstock reconcile` or `rebalance` begins it"
                )
            arguments = {"account": account, "at": at}
            intents = [
                order_of(row)
                for row in connection.execute(SELECT_ORDERS + IN_SEQUENCE, arguments).fetchall()
            ]
            events = connection.execute(_SELECT_EVENTS, arguments).fetchall()
            fills = [
                fill_of(row[:9]) for row in connection.execute(_SELECT_FILLS, arguments).fetchall()
            ]
            adjustments = connection.execute(_SELECT_ADJUSTMENTS, arguments).fetchall()
        said: dict[str, list[OrderEvent]] = {}
        for name, kind, when, reason, venue_id, cause, *_ in events:
            if kind not in _FILL_EVENTS:
                said.setdefault(name, []).append(
                    OrderEvent(name, OrderEventKind(kind), when, reason, venue_id, _cause_of(cause))
                )
        filled: dict[str, list[Fill]] = {}
        for fill in fills:
            filled.setdefault(fill.client_order_id, []).append(fill)
        orders = [
            order_as_of(order, said.get(name, []), filled.get(name, []), at)
            for order in intents
            if order.created_at <= at and (name := order.request.client_order_id)
        ]
        changes = [{asset: quantity} for _, asset, quantity in adjustments]
        changes += [changes_of(fill) for fill in fills]
        return AccountState(account, at, orders, positions_of(changes))

    def rebuild(self, *, replace: bool) -> Rebuild:
        """Fold every event, fill and adjustment into temporary tables and compare them with the
        read models, row for row.

        With `replace` the read models become what was folded, in the same transaction, while every
        writer waits. Without it nothing is changed. Profit and loss has no table: it is folded from
        the fills whenever it is asked for, and held here to the positions, quantity and cash of all
        strategies to the last digit. StoreError where the history contradicts itself: an event that
        the machine judges otherwise now.
        """
        with _snapshot(self._database, writers_wait=replace) as connection:
            connection.execute(_TEMPORARY)
            everything = {"account": None, "at": None}
            events = connection.execute(_SELECT_EVENTS, everything).fetchall()
            rows = connection.execute(_SELECT_FILLS, everything).fetchall()
            fills = [(row[10], fill_of(row[:9])) for row in rows]
            traded = [(row[10], (row[9], fill)) for row, (_, fill) in zip(rows, fills, strict=True)]
            adjustments = connection.execute(_SELECT_ADJUSTMENTS, everything).fetchall()
            planned = connection.execute(
                "SELECT client_order_id, created_at FROM orders ORDER BY sequence"
            ).fetchall()
            orders = _folded_orders(planned, events, [fill for _, fill in fills])
            positions = _folded_positions(adjustments, fills)
            _copy(connection, "rebuilt_order", orders)
            _copy(connection, "rebuilt_position", positions)
            wrong = wrong_checkpoints(connection)
            found = _differences(connection, wrong)
            unbalanced = _unbalanced(positions, adjustments, traded)
            if replace and found:
                connection.execute(_REPLACE)
                drop_checkpoints(connection, wrong)
        found += unbalanced
        counts = {"orders": len(orders), "positions": len(positions), "events": len(events)}
        shown = [
            d for table in _TABLES for d in [each for each in found if each.table == table][:_SHOWN]
        ]
        return Rebuild(
            **counts,
            fills=len(fills),
            adjustments=len(adjustments),
            different=len(found),
            differences=tuple(shown),
            replaced=replace and len(found) > len(unbalanced),
        )


@contextmanager
def _snapshot(
    database: Database, *, writers_wait: bool = False
) -> "Iterator[psycopg.Connection[Any]]":
    """Yield a transaction that sees one instant of the ledger, or one for which every writer waits."""
    with database.transaction() as connection:
        if writers_wait:  # every write begins with its account's lease
            connection.execute(
                "LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE; SELECT FROM lease FOR UPDATE"
            )
        else:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield connection


def _folded_orders(
    planned: Sequence[Sequence[Any]], events: Sequence[Sequence[Any]], fills: Sequence[Fill]
) -> list[Sequence[object]]:
    """Return the rows of rebuilt_order: the events through the machine again, in the order in which
    they were appended.
    """
    filled: dict[str, list[Decimal]] = {}
    for fill in fills:
        filled.setdefault(fill.client_order_id, []).append(fill.quantity)
    rows: dict[str, tuple[OrderState, str, str, EndCause | None, datetime]] = {
        name: (OrderState.PLANNED, "", "", None, created_at) for name, created_at in planned
    }
    for name, kind, at, reason, venue_id, named, refusal, before, after in events:
        state, known_venue_id, last_reason, cause, _ = rows[name]
        judged = _judged(name, state, OrderEventKind(kind), refusal, (before, after))
        if judged is None:
            continue
        if kind not in _FILL_EVENTS:
            known_venue_id, last_reason = venue_id or known_venue_id, reason or last_reason
        cause = next_cause(state, cause, OrderEventKind(kind), _cause_of(named), judged)
        rows[name] = (judged, known_venue_id, last_reason, cause, at)
    with localcontext(EXACT):
        return [
            (
                name,
                state.value,
                sum(filled.get(name, []), Decimal(0)),
                venue_id,
                reason,
                None if cause is None else cause.value,
                updated_at,
            )
            for name, (state, venue_id, reason, cause, updated_at) in rows.items()
        ]


def _cause_of(text: str | None) -> EndCause | None:
    return None if text is None else EndCause(text)


def _judged(
    name: str,
    state: OrderState,
    kind: OrderEventKind,
    refusal: str | None,
    recorded: tuple[str, str],
) -> OrderState | None:
    """Return the state that the event leads to, None where it was refused; StoreError where the
    history says otherwise.
    """
    if (
        refusal is not None
    ):  # it moved nothing then: a table that has learned to take it since does not rewrite the past
        return None
    try:
        after = next_state(state, kind)
    except IllegalTransitionError as error:
        raise StoreError(
            f"order {name}: the ledger took an event that the machine refuses: {error}"
        ) from None
    if (state.value, after.value) != recorded:
        raise StoreError(
            f"order {name}: '{kind}' leads from {state} to {after}, and the ledger says from {recorded[0]} to {recorded[1]}: "
            "its history was changed by something else, or the table of penstock.core.orders was"
        )
    return after


def _folded_positions(
    adjustments: Sequence[Sequence[Any]], fills: Sequence[tuple[str, Fill]]
) -> list[Sequence[object]]:
    """Return the rows of rebuilt_position."""
    changes: dict[str, list[dict[str, Decimal]]] = {}
    for account, asset, quantity in adjustments:
        changes.setdefault(account, []).append({asset: quantity})
    for account, fill in fills:
        changes.setdefault(account, []).append(changes_of(fill))
    return [
        (account, *held)
        for account in sorted(changes)
        for held in positions_of(changes[account]).items()
    ]


def _copy(
    connection: "psycopg.Connection[Any]", table: str, rows: Sequence[Sequence[object]]
) -> None:
    with connection.cursor().copy(
        sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
    ) as copy:
        for row in rows:
            copy.write_row(row)


def _differences(
    connection: "psycopg.Connection[Any]", wrong: Sequence[WrongCheckpoint]
) -> list[Difference]:
    orders = connection.execute(_DIFFERENT_ORDERS).fetchall()
    positions = connection.execute(_DIFFERENT_POSITIONS).fetchall()
    found = [Difference("orders", *row) for row in orders] + [
        Difference("position", *row) for row in positions
    ]
    return found + [
        Difference("entry_checkpoint", f"{w.account} {w.symbol}", str(w.stored), str(w.folded))
        for w in wrong
    ]


def _unbalanced(
    positions: Sequence[Sequence[Any]],
    adjustments: Sequence[Sequence[Any]],
    traded: Sequence[tuple[str, tuple[str, Fill]]],
) -> list[Difference]:
    """Return where the strategies' books and the adjustments do not add up to the account's
    positions.
    """
    books: dict[tuple[str, str], Decimal] = {}
    with localcontext(EXACT):
        entries = [(account, asset, quantity) for account, asset, quantity in adjustments]
        for account in sorted({account for account, _ in traded}):
            for held in profits([pair for owner, pair in traded if owner == account]).holdings:
                base, quote = spot_assets(held.symbol)
                entries += [
                    (account, base, held.quantity),
                    (account, quote, held.realised - held.cost),
                ]
                entries += [(account, asset, -fee) for asset, fee in held.other_fees.items()]
        for account, asset, quantity in entries:
            books[account, asset] = books.get((account, asset), Decimal(0)) + quantity
    held_now = {(account, asset): quantity for account, asset, quantity in positions}
    return [
        Difference(
            "profit",
            f"{account} {asset}",
            str(held_now.get((account, asset), 0)),
            str(books.get((account, asset), 0)),
        )
        for account, asset in sorted({*books, *held_now})
        if held_now.get((account, asset), Decimal(0)) != books.get((account, asset), Decimal(0))
    ]
