"""How one order event or one fill is written: the lines of one ledger transaction, in their order.

Decides what is written together; that the writer may write at all was settled before, by the lease.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from penstock.core.accounts import Lease
from penstock.core.errors import IllegalTransitionError, StoreError
from penstock.core.orders import Fill, OrderEventKind, OrderState, next_state


@dataclass(frozen=True)
class OrderEvent:
    """One line of an order's history. `refusal` is why the machine did not take it, or None."""

    client_order_id: str
    kind: OrderEventKind
    before: OrderState
    after: OrderState
    at: datetime
    reason: str = ""
    venue_order_id: str = ""
    refusal: str | None = None


MOVE_ONE = """
    INSERT INTO position (account, asset, quantity) VALUES (%(account)s, %(asset)s, %(quantity)s)
    ON CONFLICT (account, asset) DO UPDATE SET quantity = position.quantity + excluded.quantity, updated_at = clock_timestamp()
"""

#: Base, quote and fee may be the same asset in pairs: one sum per asset. The products are numeric, hence exact.
_MOVE_FILL = """
    INSERT INTO position (account, asset, quantity)
    SELECT %(account)s, asset, sum(quantity) FROM (VALUES
        (%(base)s::text, %(sign)s * %(quantity)s::numeric),
        (%(quote)s, -%(sign)s * %(quantity)s::numeric * %(price)s::numeric),
        (%(fee_asset)s, -%(fee)s::numeric)) AS change (asset, quantity)
    GROUP BY asset
    ON CONFLICT (account, asset) DO UPDATE SET quantity = position.quantity + excluded.quantity, updated_at = clock_timestamp()
"""


def lock_order(connection: psycopg.Connection[Any], lease: Lease, client_order_id: str) -> tuple[OrderState, Decimal, Decimal]:
    """Return state, quantity and filled quantity of an order of the lease's account; StoreError where it has none such."""
    row = connection.execute(
        "SELECT state, quantity, filled_quantity FROM orders WHERE client_order_id = %s AND account = %s FOR UPDATE",
        [client_order_id, lease.account],
    ).fetchone()
    if row is None:
        raise StoreError(
            f"account '{lease.account}' has no order '{client_order_id}': it was never planned here; "
            "reconciliation decides what it is"
        )
    return OrderState(row[0]), row[1], row[2]


def judged(
    client_order_id: str, before: OrderState, kind: OrderEventKind, at: datetime, reason: str = "", venue_order_id: str = ""
) -> OrderEvent:
    """Return the event as the machine judges it."""
    try:
        after, refusal = next_state(before, kind), None
    except IllegalTransitionError as error:
        after, refusal = before, str(error)
    return OrderEvent(client_order_id, kind, before, after, at, reason, venue_order_id, refusal)


def append_event(connection: psycopg.Connection[Any], lease: Lease, event: OrderEvent) -> None:
    connection.execute(
        """INSERT INTO order_event
           (client_order_id, kind, from_state, to_state, at, reason, venue_order_id, refusal, lease_token)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        [
            *(event.client_order_id, event.kind.value, event.before.value, event.after.value, event.at),
            *(event.reason, event.venue_order_id, event.refusal, lease.token),
        ],
    )


def book(connection: psycopg.Connection[Any], lease: Lease, fill: Fill) -> OrderEvent:
    before, quantity, filled = lock_order(connection, lease, fill.client_order_id)
    total = filled + fill.quantity
    kind = OrderEventKind.FILL if total >= quantity else OrderEventKind.PARTIAL_FILL
    line = judged(fill.client_order_id, before, kind, fill.at, reason=f"trade {fill.trade_id}")
    append_event(connection, lease, line)
    if line.refusal is not None:
        return line
    base, _, quote = fill.symbol.partition("/")
    row: dict[str, object] = {
        "account": lease.account,
        "symbol": fill.symbol,
        "trade_id": fill.trade_id,
        "id": fill.client_order_id,
        "side": fill.side.value,
        "sign": fill.side.sign,
        "quantity": fill.quantity,
        "price": fill.price,
        "fee": fill.fee,
        "fee_asset": fill.fee_asset,
        "at": fill.at,
        "base": base,
        "quote": quote,
        "state": line.after.value,
    }
    connection.execute(
        """INSERT INTO fill (account, symbol, trade_id, client_order_id, side, quantity, price, fee, fee_asset, at)
           VALUES (%(account)s, %(symbol)s, %(trade_id)s, %(id)s, %(side)s, %(quantity)s, %(price)s, %(fee)s, %(fee_asset)s,
                   %(at)s)""",
        row,
    )
    connection.execute(_MOVE_FILL, row)
    connection.execute(
        """UPDATE orders SET state = %(state)s, filled_quantity = filled_quantity + %(quantity)s, updated_at = %(at)s
           WHERE client_order_id = %(id)s""",
        row,
    )
    return line
