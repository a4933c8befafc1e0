"""The ledger as event store: the read models rebuilt from what was appended, and the account as it
was at any time.

Read models are the changing columns of `orders` and the tables `balance` and `position`. They are
folded here from the first event on, by penstock.core, and compared with what was written step by
step. A check proves that both agree row for row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
    EVENT,
    FILL,
    IN_SEQUENCE,
    PROGRESS,
    SELECT_ORDERS,
    order_of,
)
from penstock.core.accounting import EXACT, balances_of, changes_of
from penstock.core.errors import IllegalTransitionError, StoreError, UnknownAccountError
from penstock.core.instruments import spot_assets
from penstock.core.order_history import order_as_of
from penstock.core.order_records import OrderProgress
from penstock.core.orders import Fill, OrderEvent
from penstock.core.profit import profits
from penstock.ports.ledger_history import AccountState, Rebuild, RowDifference

_SHOWN = 20
_TABLES = ("orders", "balance", "position", "entry_checkpoint", "profit")

_SELECT_FILLS = f"""
    SELECT fill.account, orders.strategy_version, {FILL.listed("fill")}
    FROM fill JOIN orders USING (client_order_id)
    WHERE fill.account = coalesce(%(account)s, fill.account)
      AND fill.at <= coalesce(%(at)s, 'infinity'::timestamptz)
    ORDER BY fill.sequence
"""  # noqa: S608 - our own constants
_SELECT_ADJUSTMENTS = """
    SELECT account, asset, quantity FROM adjustment
    WHERE account = coalesce(%(account)s, account)
      AND at <= coalesce(%(at)s, 'infinity'::timestamptz)
    ORDER BY id
"""
_SELECT_EVENTS = f"""
    SELECT order_event.refusal, order_event.from_state, order_event.to_state,
           {EVENT.listed("order_event")}
    FROM order_event JOIN orders USING (client_order_id)
    WHERE orders.account = coalesce(%(account)s, orders.account) ORDER BY order_event.id
"""  # noqa: S608 - our own constants
_TEMPORARY = f"""
    CREATE TEMPORARY TABLE rebuilt_order (client_order_id text PRIMARY KEY, {PROGRESS.definitions})
        ON COMMIT DROP;
    CREATE TEMPORARY TABLE rebuilt_balance (account text, asset text, quantity numeric,
        PRIMARY KEY (account, asset)) ON COMMIT DROP
"""
_DIFFERENT_ORDERS = f"""
    SELECT client_order_id, row({PROGRESS.listed("o")})::text, row({PROGRESS.listed("r")})::text
    FROM orders AS o FULL JOIN rebuilt_order AS r USING (client_order_id)
    WHERE row({PROGRESS.listed("o")}) IS DISTINCT FROM row({PROGRESS.listed("r")})
    ORDER BY client_order_id
"""  # noqa: S608 - our own constants
_DIFFERENT_BALANCES = """
    SELECT account || ' ' || asset, coalesce(b.quantity, 0)::text, coalesce(r.quantity, 0)::text
    FROM balance AS b FULL JOIN rebuilt_balance AS r USING (account, asset)
    WHERE coalesce(b.quantity, 0) <> coalesce(r.quantity, 0) ORDER BY account, asset
"""
#: Spot trading moves balances alone: what events lead to is no position at all.
_DIFFERENT_POSITIONS = """
    SELECT account || ' ' || symbol, quantity::text, '0'
    FROM position WHERE quantity <> 0 ORDER BY account, symbol
"""
_REPLACE = f"""
    UPDATE orders SET {PROGRESS.assignments("r")}
    FROM rebuilt_order AS r WHERE orders.client_order_id = r.client_order_id;
    DELETE FROM balance;
    INSERT INTO balance (account, asset, quantity)
    SELECT account, asset, quantity FROM rebuilt_balance;
    DELETE FROM position
"""  # noqa: S608 - our own constants


class PostgresLedgerHistory:
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
            rows = connection.execute(
                _SELECT_FILLS.encode(), {"account": account, "at": at}
            ).fetchall()
        return [(version, FILL.value(fill)) for _, version, *fill in rows]

    def moved_from_outside(self, account: str, opening_reason: str) -> bool:
        """Return whether anything but trades has changed the account since its opening balances
        were booked.
        """
        question = "SELECT EXISTS (SELECT FROM adjustment WHERE account = %s AND reason <> %s)"
        with self._database.transaction() as connection:
            row = connection.execute(question, [account, opening_reason]).fetchone()
        return bool(row and row[0])

    def state_at(self, account: str, at: datetime) -> AccountState:
        """Return orders and balances as they were at `at` (by when things happened); StoreError
        for an unknown account.
        """
        with _snapshot(self._database) as connection:
            if (
                connection.execute("SELECT FROM account WHERE name = %s", [account]).fetchone()
                is None
            ):
                raise UnknownAccountError(
                    f"account '{account}' is not in the ledger: its first reconciliation or "
                    "rebalance begins it"
                )
            arguments = {"account": account, "at": at}
            intents = [
                order_of(row)
                for row in connection.execute(
                    (SELECT_ORDERS + IN_SEQUENCE).encode(), arguments
                ).fetchall()
            ]
            events = connection.execute(_SELECT_EVENTS.encode(), arguments).fetchall()
            fills = [
                FILL.value(fill)
                for _, _, *fill in connection.execute(_SELECT_FILLS.encode(), arguments).fetchall()
            ]
            adjustments = connection.execute(_SELECT_ADJUSTMENTS, arguments).fetchall()
        events_of: dict[str, list[OrderEvent]] = {}
        for _, _, _, *row in events:
            event = EVENT.value(row)
            if not event.kind.is_fill:
                events_of.setdefault(event.client_order_id, []).append(event)
        fills_of: dict[str, list[Fill]] = {}
        for fill in fills:
            fills_of.setdefault(fill.client_order_id, []).append(fill)
        orders = [
            order_as_of(order, events_of.get(name, []), fills_of.get(name, []), at)
            for order in intents
            if order.created_at <= at and (name := order.request.client_order_id)
        ]
        changes = [{asset: quantity} for _, asset, quantity in adjustments]
        changes += [changes_of(fill) for fill in fills]
        return AccountState(account, at, orders, balances_of(changes))

    def rebuild(self, *, replace: bool) -> Rebuild:
        """Fold every event, fill and adjustment into temporary tables and compare them with the
        read models, row for row.

        With `replace` the read models become what was folded, in the same transaction, while every
        writer waits. Without it nothing is changed. Profit and loss has no table: it is folded from
        the fills on each request. Here it must equal the balances to the last digit, in quantity
        and cash, over all strategies. StoreError where the history contradicts itself: an event
        that the machine judges otherwise now.
        """
        with _snapshot(self._database, writers_wait=replace) as connection:
            connection.execute(_TEMPORARY.encode())
            everything = {"account": None, "at": None}
            events = connection.execute(_SELECT_EVENTS.encode(), everything).fetchall()
            rows = connection.execute(_SELECT_FILLS.encode(), everything).fetchall()
            traded = [(owner, (version, FILL.value(fill))) for owner, version, *fill in rows]
            fills = [(owner, fill) for owner, (_, fill) in traded]
            adjustments = connection.execute(_SELECT_ADJUSTMENTS, everything).fetchall()
            planned = connection.execute(
                "SELECT client_order_id, created_at FROM orders ORDER BY sequence"
            ).fetchall()
            orders = _folded_orders(planned, events, [fill for _, fill in fills])
            balances = _folded_balances(adjustments, fills)
            _copy(connection, "rebuilt_order", orders)
            _copy(connection, "rebuilt_balance", balances)
            wrong = wrong_checkpoints(connection)
            found = _differences(connection, wrong)
            unbalanced = _unbalanced(balances, adjustments, traded)
            if replace and found:
                connection.execute(_REPLACE.encode())
                drop_checkpoints(connection, wrong)
        found += unbalanced
        counts = {"orders": len(orders), "balances": len(balances), "events": len(events)}
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
    """Yield a transaction that sees one instant, or one for which every writer waits."""
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
    orders = {name: OrderProgress(updated_at=created_at) for name, created_at in planned}
    for refusal, before, after, *row in events:
        if refusal is None:  # a refused event moved nothing, though the machine may take it now
            event = EVENT.value(row)
            name = event.client_order_id
            orders[name] = _folded(orders[name], event, (before, after))
    with localcontext(EXACT):
        done = {name: sum(quantities, Decimal(0)) for name, quantities in filled.items()}
    return [
        (name, *PROGRESS.row(replace(order, filled_quantity=done.get(name, Decimal(0)))))
        for name, order in orders.items()
    ]


def _folded(order: OrderProgress, event: OrderEvent, recorded: tuple[str, str]) -> OrderProgress:
    """Return the order after the event; StoreError where the history says otherwise."""
    name = event.client_order_id
    try:
        folded = order.after_event(event)
    except IllegalTransitionError as error:
        raise StoreError(
            f"order {name}: the ledger took an event that the machine refuses: {error}"
        ) from None
    if (order.state.value, folded.state.value) != recorded:
        raise StoreError(
            f"order {name}: '{event.kind}' leads from {order.state} to {folded.state}, and the "
            f"ledger says from {recorded[0]} to {recorded[1]}: its history was changed by "
            "something else, or the table of penstock.core.orders was"
        )
    return folded


def _folded_balances(
    adjustments: Sequence[Sequence[Any]], fills: Sequence[tuple[str, Fill]]
) -> list[Sequence[object]]:
    """Return the rows of rebuilt_balance."""
    changes: dict[str, list[dict[str, Decimal]]] = {}
    for account, asset, quantity in adjustments:
        changes.setdefault(account, []).append({asset: quantity})
    for account, fill in fills:
        changes.setdefault(account, []).append(changes_of(fill))
    return [
        (account, *held)
        for account in sorted(changes)
        for held in balances_of(changes[account]).items()
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
) -> list[RowDifference]:
    orders = connection.execute(_DIFFERENT_ORDERS.encode()).fetchall()
    balances = connection.execute(_DIFFERENT_BALANCES).fetchall()
    positions = connection.execute(_DIFFERENT_POSITIONS).fetchall()
    found = [RowDifference("orders", *row) for row in orders] + [
        RowDifference("balance", *row) for row in balances
    ]
    found += [RowDifference("position", *row) for row in positions]
    return found + [
        RowDifference("entry_checkpoint", f"{w.account} {w.symbol}", str(w.stored), str(w.folded))
        for w in wrong
    ]


def _unbalanced(
    balances: Sequence[Sequence[Any]],
    adjustments: Sequence[Sequence[Any]],
    traded: Sequence[tuple[str, tuple[str, Fill]]],
) -> list[RowDifference]:
    """Return where the strategies' books and the adjustments do not add up to the account's
    balances.
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
    held_now = {(account, asset): quantity for account, asset, quantity in balances}
    return [
        RowDifference(
            "profit",
            f"{account} {asset}",
            str(held_now.get((account, asset), 0)),
            str(books.get((account, asset), 0)),
        )
        for account, asset in sorted({*books, *held_now})
        if held_now.get((account, asset), Decimal(0)) != books.get((account, asset), Decimal(0))
    ]
