"""How intents and order events are written: the lines of one ledger transaction, in their order.

Decides what is written together; that the writer may write at all was settled before, by the lease.
Each statement takes a whole batch, so that many events cost the round trips of one.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.alerts import insert_alerts
from penstock.adapters.stores.postgres.ledger_rows import INSERT_ORDERS, intent_columns
from penstock.core.alerts import refusal_alert
from penstock.core.errors import IllegalTransitionError, StoreError
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    EndCause,
    OrderEvent,
    OrderEventKind,
    OrderState,
    next_cause,
    next_state,
)

_FILL_EVENTS = frozenset({OrderEventKind.FILL, OrderEventKind.PARTIAL_FILL})


@dataclass(frozen=True)
class JudgedEvent:
    """One line of an order's history. `refusal` is why the machine did not take it, or None.

    `end_cause` is why the order has ended once the event is taken, or is being cancelled; of a
    refused event it is what that named.
    """

    event: OrderEvent
    before: OrderState
    after: OrderState
    end_cause: EndCause | None
    refusal: str | None = None


@dataclass(frozen=True)
class Standing:
    """Where an order stands while a batch is judged. Quantities are in base units."""

    state: OrderState
    end_cause: EndCause | None
    quantity: Decimal
    filled: Decimal


#: No lock is taken: the lease's row, which every writer of the account holds, keeps all of them
#: still. The account is compared here, not there: to the planner of a young table it looks rare,
#: and its index is read through for every batch.
_SELECT_STANDINGS = """
    SELECT client_order_id, account, state, end_cause, quantity, filled_quantity FROM orders
    WHERE client_order_id = ANY(%s)
"""

_SELECT_REFUSED_FILLS = """
    SELECT client_order_id, reason FROM order_event
    WHERE client_order_id = ANY(%s) AND kind = ANY(%s) AND refusal IS NOT NULL
"""

_APPEND_EVENTS = """
    INSERT INTO order_event (client_order_id, kind, from_state, to_state, at, reason, end_cause,
                             venue_order_id, refusal, lease_token)
    SELECT name, kind, before, after, at, reason, end_cause, venue_id, refusal, %s
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[],
                %s::text[], %s::text[], %s::text[])
        WITH ORDINALITY AS line (name, kind, before, after, at, reason, end_cause, venue_id,
                                 refusal, n)
    ORDER BY n
"""

#: The names are given twice: as a list they lead to the rows by the index, however large the table
#: and its statistics.
_MOVE_ORDERS = """
    UPDATE orders SET state = line.state, end_cause = line.end_cause, updated_at = line.at,
        filled_quantity = filled_quantity + line.filled,
        reason = coalesce(nullif(line.reason, ''), orders.reason),
        venue_order_id = coalesce(nullif(line.venue_id, ''), orders.venue_order_id)
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s::text[],
                %s::text[])
        AS line (name, state, end_cause, at, filled, reason, venue_id)
    WHERE client_order_id = line.name AND client_order_id = ANY(%s)
"""


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
    that stands. StoreError for another account's rebalance, for a client order id that is given
    twice or is another account's, and for an event of an order that is neither here nor there.
    """
    _no_twins(orders)
    begun = _begun(orders, events)
    fresh = _insert(connection, lease, rebalance_id, orders, begun, at)
    lines = [line for name, of_one in begun.items() if name in fresh for line in of_one]
    _append_events(connection, lease, lines)
    return lines + write_events(
        connection, lease, [event for event in events if event.client_order_id not in fresh]
    )


def _begun(
    orders: Sequence[OrderIntent], events: Sequence[OrderEvent]
) -> dict[str, list[JudgedEvent]]:
    """Return the events of each order, judged in turn for one that is PLANNED."""
    _no_fills(events)
    begun: dict[str, list[JudgedEvent]] = {order.request.client_order_id: [] for order in orders}
    for event in events:
        of_one = begun.get(event.client_order_id)
        if of_one is not None:
            taken = [line for line in of_one if line.refusal is None]
            state = taken[-1].after if taken else OrderState.PLANNED
            of_one.append(judged(event, state, taken[-1].end_cause if taken else None))
    return begun


def _insert(
    connection: psycopg.Connection[Any],
    lease: Lease,
    rebalance_id: int,
    orders: Sequence[OrderIntent],
    begun: Mapping[str, Sequence[JudgedEvent]],
    at: datetime | None,
) -> set[str]:
    """Insert the orders that are not there yet, and return their ids."""
    fresh: set[str] = set()
    if orders:
        starts = [_start(begun[order.request.client_order_id]) for order in orders]
        columns = [*intent_columns(orders), *(list(column) for column in zip(*starts, strict=True))]
        rows = connection.execute(
            INSERT_ORDERS, [at, *columns, rebalance_id, lease.account]
        ).fetchall()
        fresh = {name for (name,) in rows}
    if len(fresh) < max(len(begun), 1):
        owner = connection.execute(
            "SELECT account FROM rebalance WHERE id = %s", [rebalance_id]
        ).fetchone()
        if owner != (lease.account,):
            raise StoreError(
                f"rebalance {rebalance_id} is not one of account '{lease.account}': start it first"
            )
        _no_strangers(connection, lease, begun.keys() - fresh)
    return fresh


def _no_strangers(
    connection: psycopg.Connection[Any], lease: Lease, names: Collection[str]
) -> None:
    """Raise StoreError where one of the orders that were left as they are is another account's."""
    rows = connection.execute(_SELECT_STANDINGS, [list(names)]).fetchall()
    theirs = sorted((name, account) for name, account, *_ in rows if account != lease.account)
    if theirs:
        raise StoreError(
            f"{len(theirs)} client order ids belong to another account, first '{theirs[0][0]}' to '{theirs[0][1]}': "
            "nothing was written (an id is a hash of its account; was it made for the other one?)"
        )


def _no_twins(orders: Sequence[OrderIntent]) -> None:
    count = Counter(order.request.client_order_id for order in orders)
    twins = sorted(name for name, times in count.items() if times > 1)
    if twins:
        raise StoreError(
            f"{len(twins)} client order ids stand twice in one batch, first '{twins[0]}': two intents would become one order; "
            "nothing was written (are two children or attempts numbered alike?)"
        )


def _start(lines: Sequence[JudgedEvent]) -> tuple[str, str, str | None, datetime | None]:
    """Return the state, reason, end cause and time of change that an order begins with."""
    taken = [line for line in lines if line.refusal is None]
    if not taken:
        return OrderState.PLANNED.value, "", None, None
    reason = next((line.event.reason for line in reversed(taken) if line.event.reason), "")
    return taken[-1].after.value, reason, _text_of(taken[-1].end_cause), taken[-1].event.at


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
    lines = []
    for event in events:
        standing = standings[event.client_order_id]
        line = judged(event, standing.state, standing.end_cause)
        if line.refusal is None:
            standings[event.client_order_id] = replace(
                standing, state=line.after, end_cause=line.end_cause
            )
        lines.append(line)
    append(connection, lease, lines, {})
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
        f"{event.client_order_id}, {event.reason}"
        if event.kind in _FILL_EVENTS
        else event.client_order_id
    )


def _no_fills(events: Sequence[OrderEvent]) -> None:
    for event in events:
        if event.kind in _FILL_EVENTS:
            raise StoreError(
                f"event '{event.kind}' of order {event.client_order_id} moves a position: book the fill instead"
            )


def standings_of(
    connection: psycopg.Connection[Any], lease: Lease, names: Collection[str]
) -> dict[str, Standing]:
    """Return where each order stands; StoreError where the lease's account has no such order."""
    rows = connection.execute(_SELECT_STANDINGS, [list(names)]).fetchall()
    found = {
        name: Standing(OrderState(state), _cause_of(cause), *amounts)
        for name, account, state, cause, *amounts in rows
        if account == lease.account
    }
    missing = sorted(set(names) - found.keys())
    if missing:
        raise StoreError(
            f"account '{lease.account}' has no order '{missing[0]}': it was never planned here; "
            "reconciliation decides what it is"
        )
    return found


def judged(event: OrderEvent, before: OrderState, cause: EndCause | None) -> JudgedEvent:
    """Return what the machine makes of an event of an order that is `before`, with its `cause`."""
    try:
        after = next_state(before, event.kind)
    except IllegalTransitionError as error:
        return JudgedEvent(event, before, before, event.end_cause, str(error))
    return JudgedEvent(
        event, before, after, next_cause(before, cause, event.kind, event.end_cause, after)
    )


def _cause_of(text: str | None) -> EndCause | None:
    return None if text is None else EndCause(text)


def _text_of(cause: EndCause | None) -> str | None:
    return None if cause is None else cause.value


def append(
    connection: psycopg.Connection[Any],
    lease: Lease,
    lines: Sequence[JudgedEvent],
    filled: Mapping[str, Decimal],
) -> None:
    """Append the lines, and bring each order to where its last accepted line leads."""
    _append_events(connection, lease, lines)
    moved: dict[str, list[JudgedEvent]] = {}
    for line in lines:
        if line.refusal is None:
            moved.setdefault(line.event.client_order_id, []).append(line)
    if moved:
        rows = [
            _moved_row(name, of_one, filled.get(name, Decimal(0))) for name, of_one in moved.items()
        ]
        connection.execute(
            _MOVE_ORDERS, [*(list(column) for column in zip(*rows, strict=True)), list(moved)]
        )


def _append_events(
    connection: psycopg.Connection[Any], lease: Lease, lines: Sequence[JudgedEvent]
) -> None:
    if not lines:
        return
    columns = (
        [line.event.client_order_id for line in lines],
        [line.event.kind.value for line in lines],
        [line.before.value for line in lines],
        [line.after.value for line in lines],
        [line.event.at for line in lines],
        [line.event.reason for line in lines],
        [_text_of(line.end_cause) for line in lines],
        [line.event.venue_order_id for line in lines],
        [line.refusal for line in lines],
    )
    refused = _news(connection, [line for line in lines if line.refusal is not None])
    connection.execute(_APPEND_EVENTS, [lease.token, *columns])
    if refused:
        alerts = [refusal_alert(_named(line.event), str(line.refusal)) for line in refused]
        insert_alerts(connection, lease.account, alerts)


def _news(connection: psycopg.Connection[Any], refused: Sequence[JudgedEvent]) -> list[JudgedEvent]:
    """Return the refused lines to be told: a trade that cannot be booked is offered again in every
    slot, and told once.
    """
    if not refused:
        return []
    rows = connection.execute(
        _SELECT_REFUSED_FILLS,
        [[line.event.client_order_id for line in refused], list(_FILL_EVENTS)],
    )
    told = set(rows.fetchall())
    return [line for line in refused if (line.event.client_order_id, line.event.reason) not in told]


def _moved_row(
    name: str, lines: Sequence[JudgedEvent], filled: Decimal
) -> tuple[str, str, str | None, datetime, Decimal, str, str]:
    last, spoken = lines[-1], [line.event for line in lines if line.event.kind not in _FILL_EVENTS]
    reason = next((event.reason for event in reversed(spoken) if event.reason), "")
    venue_id = next(
        (event.venue_order_id for event in reversed(spoken) if event.venue_order_id), ""
    )
    cause = _text_of(last.end_cause)
    return name, last.after.value, cause, last.event.at, filled, reason, venue_id
