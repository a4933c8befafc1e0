"""How intents and order events are written: the lines of one ledger transaction, in their order.

Decides what is written together; that the writer may write at all was settled before, by the lease.
Each statement takes a whole batch, so that many events cost the round trips of one.
"""

from collections import Counter
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.alert_outbox import insert_alerts
from penstock.adapters.stores.postgres.columns import transposed
from penstock.adapters.stores.postgres.ledger_rows import EVENT, INTENT, PROGRESS, REQUEST
from penstock.core.alerts import refusal_alert
from penstock.core.errors import IllegalTransitionError, StoreError
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent, OrderProgress
from penstock.core.orders import Fill, OrderEvent, OrderEventKind

_FILL_KINDS = [kind.value for kind in OrderEventKind if kind.is_fill]


@dataclass(frozen=True)
class JudgedEvent:
    """One line of an order's history."""

    event: OrderEvent
    """The event."""
    before: OrderProgress
    """How the order stood before it."""
    after: OrderProgress
    """How it stands after it."""
    refusal: str | None = None
    """Why the machine did not take it; None where it did."""


@dataclass(frozen=True)
class Standing:
    """Where an order stands while a batch is judged."""

    quantity: Decimal
    """What was asked for (base units)."""
    progress: OrderProgress
    """What has become of it."""


_INSERT_ORDERS = f"""
    INSERT INTO orders (account, rebalance_id, created_at, {REQUEST.listed()}, {INTENT.listed()},
                        {PROGRESS.listed()})
    SELECT rebalance.account, rebalance.id, %s, {REQUEST.listed("line")}, {INTENT.listed("line")},
           {PROGRESS.listed("line")}
    FROM rebalance,
         unnest({REQUEST.arrays}, {INTENT.arrays}, {PROGRESS.arrays})
         WITH ORDINALITY AS line ({REQUEST.listed()}, {INTENT.listed()}, {PROGRESS.listed()}, n)
    WHERE rebalance.id = %s AND rebalance.account = %s
    ORDER BY line.n
    ON CONFLICT (client_order_id) DO NOTHING
    RETURNING client_order_id
"""  # noqa: S608 - our own constants

#: No lock is taken: the lease's row, which every writer of the account holds, keeps all of them
#: still. The account is compared here and not in the query. The planner of a young table takes an
#: account for rare, and would read its whole index for every batch.
_SELECT_STANDINGS = f"""
    SELECT client_order_id, account, quantity, {PROGRESS.listed()} FROM orders
    WHERE client_order_id = ANY(%s)
"""  # noqa: S608 - our own constant

_SELECT_REFUSED_FILLS = """
    SELECT client_order_id, reason FROM order_event
    WHERE client_order_id = ANY(%s) AND kind = ANY(%s) AND refusal IS NOT NULL
"""

_APPEND_EVENTS = f"""
    INSERT INTO order_event (lease_token, {EVENT.listed()}, from_state, to_state, refusal)
    SELECT %s, {EVENT.listed("line")}, line.from_state, line.to_state, line.refusal
    FROM unnest({EVENT.arrays}, %s::text[], %s::text[], %s::text[])
        WITH ORDINALITY AS line ({EVENT.listed()}, from_state, to_state, refusal, n)
    ORDER BY line.n
"""  # noqa: S608 - our own constants

#: The names are given twice: as a list they lead to the rows by the index, whatever the statistics
#: are.
_MOVE_ORDERS = f"""
    UPDATE orders SET {PROGRESS.assignments("line")}
    FROM unnest(%s::text[], {PROGRESS.arrays}) AS line (name, {PROGRESS.listed()})
    WHERE client_order_id = line.name AND client_order_id = ANY(%s)
"""  # noqa: S608 - our own constants


def write_intents(
    connection: psycopg.Connection[Any],
    lease: Lease,
    rebalance_id: int,
    orders: Sequence[OrderIntent],
    events: Sequence[OrderEvent],
    at: datetime | None,
) -> list[JudgedEvent]:
    """Insert the orders, each where its events lead from PLANNED; return the events as the machine
    judged them.

    An order whose client order id exists is left as it is, and its events are those of the order
    that stands. Raises StoreError for another account's rebalance, and for an event of an unknown
    order. It is raised too for a client order id that is given twice or is another account's.
    """
    _no_twins(orders)
    at = _time_of(connection) if at is None else at
    begun = _begun(orders, events, at)
    fresh = _insert(connection, lease, rebalance_id, orders, begun, at)
    lines = [line for name, of_one in begun.items() if name in fresh for line in of_one]
    _append_events(connection, lease, lines)
    return lines + write_events(
        connection, lease, [event for event in events if event.client_order_id not in fresh]
    )


def _begun(
    orders: Sequence[OrderIntent], events: Sequence[OrderEvent], at: datetime
) -> dict[str, list[JudgedEvent]]:
    """Return the events of each order, judged in turn for one that is PLANNED."""
    _no_fills(events)
    begun: dict[str, list[JudgedEvent]] = {order.request.client_order_id: [] for order in orders}
    for event in events:
        of_one = begun.get(event.client_order_id)
        if of_one is not None:
            of_one.append(judged(event, _newest(of_one, at)))
    return begun


def _insert(
    connection: psycopg.Connection[Any],
    lease: Lease,
    rebalance_id: int,
    orders: Sequence[OrderIntent],
    begun: Mapping[str, Sequence[JudgedEvent]],
    at: datetime,
) -> set[str]:
    """Insert the orders that are not there yet, and return their ids."""
    fresh: set[str] = set()
    if orders:
        lines = [
            (
                *REQUEST.row(order.request),
                *INTENT.row(order),
                *PROGRESS.row(_newest(begun[order.request.client_order_id], at)),
            )
            for order in orders
        ]
        rows = connection.execute(
            _INSERT_ORDERS.encode(), [at, *transposed(lines), rebalance_id, lease.account]
        ).fetchall()
        fresh = {name for (name,) in rows}
    if len(fresh) < max(len(begun), 1):
        require_owner(connection, lease, rebalance_id)
        _no_strangers(connection, lease, begun.keys() - fresh)
    return fresh


def require_owner(connection: psycopg.Connection[Any], lease: Lease, rebalance_id: int) -> None:
    """Raise StoreError where the rebalance is not one of the lease's account."""
    owner = connection.execute(
        "SELECT account FROM rebalance WHERE id = %s", [rebalance_id]
    ).fetchone()
    _own(lease, rebalance_id, owner == (lease.account,))


def update_rebalance(
    connection: psycopg.Connection[Any],
    lease: Lease,
    rebalance_id: int,
    change: str,
    values: Sequence[object],
) -> None:
    """Change the rebalance's row. Raises StoreError where it is not one of the lease's account."""
    statement = f"{change} WHERE id = %s AND account = %s RETURNING id"
    done = connection.execute(statement.encode(), [*values, rebalance_id, lease.account])
    _own(lease, rebalance_id, done.fetchone() is not None)


def _own(lease: Lease, rebalance_id: int, is_own: bool) -> None:
    if not is_own:
        raise StoreError(
            f"rebalance {rebalance_id} is not one of account '{lease.account}': start it first"
        )


def _no_strangers(
    connection: psycopg.Connection[Any], lease: Lease, names: Collection[str]
) -> None:
    """Raise StoreError where one of the orders that were left as they are is another account's."""
    rows = connection.execute(_SELECT_STANDINGS.encode(), [list(names)]).fetchall()
    theirs = sorted((name, account) for name, account, *_ in rows if account != lease.account)
    if theirs:
        raise StoreError(
            f"{len(theirs)} client order ids belong to another account, first '{theirs[0][0]}' to "
            f"'{theirs[0][1]}': "
            "nothing was written (an id is a hash of its account; was it made for the other one?)"
        )


def _no_twins(orders: Sequence[OrderIntent]) -> None:
    count = Counter(order.request.client_order_id for order in orders)
    twins = sorted(name for name, times in count.items() if times > 1)
    if twins:
        raise StoreError(
            f"{len(twins)} client order ids stand twice in one batch, first '{twins[0]}': two "
            "intents would become one order; "
            "nothing was written (are two children or attempts numbered alike?)"
        )


def _newest(lines: Sequence[JudgedEvent], at: datetime) -> OrderProgress:
    """Return where an order that was planned `at` stands after its first events."""
    return lines[-1].after if lines else OrderProgress(updated_at=at)


def _time_of(connection: psycopg.Connection[Any]) -> datetime:
    """Return what time it is at the database."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    at: datetime = row[0]
    return at


def write_events(
    connection: psycopg.Connection[Any], lease: Lease, events: Sequence[OrderEvent]
) -> list[JudgedEvent]:
    """Append the events and move their orders; return each as the machine judged it. StoreError for
    a fill event.
    """
    _no_fills(events)
    if not events:
        return []
    standings = standings_of(connection, lease, {event.client_order_id for event in events})
    lines = judged_in_turn(events, {name: each.progress for name, each in standings.items()})
    append(connection, lease, lines)
    return lines


def judged_in_turn(
    events: Sequence[OrderEvent], progress: MutableMapping[str, OrderProgress]
) -> list[JudgedEvent]:
    """Return what the machine makes of each event, and move `progress` along. StoreError for a
    fill event.
    """
    _no_fills(events)
    lines = []
    for event in events:
        line = judged(event, progress[event.client_order_id])
        progress[event.client_order_id] = line.after
        lines.append(line)
    return lines


def refusals(lines: Sequence[JudgedEvent]) -> None:
    """Raise IllegalTransitionError naming every line that the machine refused; it is to be called
    after the commit.
    """
    refused = [
        f"order {_named(line.event)}: {line.refusal}" for line in lines if line.refusal is not None
    ]
    if refused:
        raise IllegalTransitionError("; ".join(refused))


def _named(event: OrderEvent) -> str:
    return (
        f"{event.client_order_id}, {event.reason}" if event.kind.is_fill else event.client_order_id
    )


def _no_fills(events: Sequence[OrderEvent]) -> None:
    for event in events:
        if event.kind.is_fill:
            raise StoreError(
                f"event '{event.kind}' of order {event.client_order_id} moves a balance: book the "
                "fill instead"
            )


def standings_of(
    connection: psycopg.Connection[Any], lease: Lease, names: Collection[str]
) -> dict[str, Standing]:
    """Return where each order stands; StoreError where the lease's account has no such order."""
    rows = connection.execute(_SELECT_STANDINGS.encode(), [list(names)]).fetchall()
    found = {
        name: Standing(quantity, PROGRESS.value(progress))
        for name, account, quantity, *progress in rows
        if account == lease.account
    }
    missing = sorted(set(names) - found.keys())
    if missing:
        raise StoreError(
            f"account '{lease.account}' has no order '{missing[0]}': it was never planned here; "
            "reconciliation decides what it is"
        )
    return found


def judged(event: OrderEvent, before: OrderProgress) -> JudgedEvent:
    """Return what the machine makes of an event of an order that stands at `before`."""
    try:
        return JudgedEvent(event, before, before.after_event(event))
    except IllegalTransitionError as error:
        return JudgedEvent(event, before, before, str(error))


def judged_fill(fill: Fill, ordered: Decimal, before: OrderProgress) -> JudgedEvent:
    """Return what the machine makes of a fill of an order of `ordered` base units."""
    line = judged(before.event_of(fill, ordered), before)
    return line if line.refusal else replace(line, after=line.after.with_quantity_of(fill))


def append(connection: psycopg.Connection[Any], lease: Lease, lines: Sequence[JudgedEvent]) -> None:
    """Append the lines, and bring each order to where its last accepted line leads."""
    _append_events(connection, lease, lines)
    moved = {line.event.client_order_id: line.after for line in lines if line.refusal is None}
    if moved:
        rows = [(name, *PROGRESS.row(progress)) for name, progress in moved.items()]
        connection.execute(_MOVE_ORDERS.encode(), [*transposed(rows), list(moved)])


def _append_events(
    connection: psycopg.Connection[Any], lease: Lease, lines: Sequence[JudgedEvent]
) -> None:
    if not lines:
        return
    rows = [
        (*EVENT.row(line.event), line.before.state.value, line.after.state.value, line.refusal)
        for line in lines
    ]
    refused = _news(connection, [line for line in lines if line.refusal is not None])
    connection.execute(_APPEND_EVENTS.encode(), [lease.token, *transposed(rows)])
    if refused:
        alerts = [refusal_alert(_named(line.event), str(line.refusal)) for line in refused]
        insert_alerts(connection, lease.account, alerts)


def _news(connection: psycopg.Connection[Any], refused: Sequence[JudgedEvent]) -> list[JudgedEvent]:
    """Return the refused lines that need an alert.

    A trade that cannot be booked comes again in every slot, and has one alert.
    """
    if not refused:
        return []
    rows = connection.execute(
        _SELECT_REFUSED_FILLS,
        [[line.event.client_order_id for line in refused], _FILL_KINDS],
    )
    on_record = set(rows.fetchall())
    return [
        line for line in refused if (line.event.client_order_id, line.event.reason) not in on_record
    ]
