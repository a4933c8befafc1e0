"""The ledger's rows as values of penstock.core. Decides nothing; the statements that read them are
in ledger.
"""

from collections.abc import Sequence
from typing import Any

from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import EndCause, Fill, OrderRequest, OrderState, OrderType, Phase, Side
from penstock.core.rebalances import AccountTotals, Rebalance, RebalanceStatus

REBALANCE_COLUMNS = "id, account, slot, portfolio_version, status, reason"

_ORDER_COLUMNS = """account, rebalance_id, client_order_id, symbol, side, type, quantity, price,
           strategy_version, state, filled_quantity, venue_order_id, created_at, updated_at, reason,
           end_cause, phase, child, attempt, venue"""

SELECT_ORDERS = f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account = %(account)s"  # noqa: S608 - our own constant
#: What narrows it. Each question is a statement of its own, so that no plan has to fit all of them.
UNFINISHED = " AND state NOT IN ('filled', 'canceled', 'rejected', 'expired')"
OF_REBALANCE = " AND rebalance_id = %(rebalance_id)s"
OVERFILLED = " AND filled_quantity > quantity"
#: + 0, or the planner, which takes the overfilled for many, walks all orders in their sequence so
#: as not to sort.
IN_SEQUENCE = " ORDER BY sequence + 0"

SELECT_NAMED = f"""
    SELECT {_ORDER_COLUMNS} FROM orders WHERE account = %s AND client_order_id = ANY(%s) ORDER BY sequence
"""  # noqa: S608 - our own constant

SELECT_SHORT = f"""
    SELECT {_ORDER_COLUMNS} FROM orders
    WHERE account = %s AND symbol = %s AND filled_quantity < quantity AND state <> 'planned' ORDER BY sequence DESC LIMIT %s
"""  # noqa: S608 - our own constant

#: Opening balances are booked when the account is taken over; one that was empty then has none.
SELECT_BEGINNING = """
    SELECT coalesce((SELECT max(at) FROM adjustment WHERE account = %(account)s AND reason = %(opening)s),
                    (SELECT min(slot) FROM rebalance WHERE account = %(account)s))
"""

SELECT_FILLS = """
    SELECT trade_id, client_order_id, symbol, side, quantity, price, fee, fee_asset, at FROM fill WHERE account = %(account)s
"""
OF_SYMBOL = " AND symbol = %(symbol)s"
SINCE = " AND at >= %(since)s"
BY_TIME = " ORDER BY at, sequence"

#: One row a status of slots, or one where there is none yet.
SELECT_TOTALS = """
    SELECT status, slots, (SELECT count(*) FROM orders WHERE account = %(account)s), fills, traded
    FROM (SELECT count(*) AS fills, coalesce(sum(quantity * price), 0) AS traded FROM fill WHERE account = %(account)s) f
    LEFT JOIN (SELECT status, count(*) AS slots FROM rebalance WHERE account = %(account)s GROUP BY status) r ON true
"""

INSERT_ORDERS = """
    INSERT INTO orders (account, rebalance_id, client_order_id, symbol, side, type, quantity, price,
                        phase, child, attempt, strategy_version, target_weight, reference_price,
                        venue, state, reason, end_cause, created_at, updated_at)
    SELECT rebalance.account, rebalance.id, name, symbol, side, type, quantity, price, phase, child,
           attempt, version, weight, reference, line.venue, state, line.reason, end_cause, at,
           coalesce(moved_at, at)
    FROM rebalance, coalesce(%s::timestamptz, clock_timestamp()) AS at,
         unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::numeric[], %s::numeric[],
                %s::integer[], %s::integer[], %s::integer[], %s::text[], %s::float8[],
                %s::numeric[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])
         WITH ORDINALITY AS line (name, symbol, side, type, quantity, price, phase, child, attempt,
                                  version, weight, reference, venue, state, reason, end_cause,
                                  moved_at, n)
    WHERE rebalance.id = %s AND rebalance.account = %s
    ORDER BY n
    ON CONFLICT (client_order_id) DO NOTHING
    RETURNING client_order_id
"""


def rebalance_of(row: Sequence[Any]) -> Rebalance:
    """Return the rebalance of a row with REBALANCE_COLUMNS."""
    identity, account, slot, version, status, reason = row
    return Rebalance(identity, account, slot, version, RebalanceStatus(status), reason)


def totals_of(rows: Sequence[Sequence[Any]]) -> AccountTotals:
    """Return the totals of the rows of SELECT_TOTALS."""
    slots = {RebalanceStatus(status): count for status, count, *_ in rows if status is not None}
    return AccountTotals(slots, *rows[0][2:])


def order_of(row: Sequence[Any]) -> OrderRecord:
    """Return the order of a row of SELECT_ORDERS."""
    (
        account,
        rebalance_id,
        client_order_id,
        symbol,
        side,
        kind,
        quantity,
        price,
        version,
        state,
        filled,
        venue_id,
        *rest,
    ) = row
    created_at, updated_at, reason, cause, phase, child, attempt, venue = rest
    return OrderRecord(
        account=account,
        rebalance_id=rebalance_id,
        request=OrderRequest(
            client_order_id, symbol, Side(side), OrderType(kind), quantity, price, venue=venue
        ),
        strategy_version=version,
        state=OrderState(state),
        filled_quantity=filled,
        venue_order_id=venue_id,
        created_at=created_at,
        updated_at=updated_at,
        reason=reason,
        end_cause=None if cause is None else EndCause(cause),
        phase=Phase(phase),
        child=child,
        attempt=attempt,
    )


def fill_of(row: Sequence[Any]) -> Fill:
    """Return the fill of a row of SELECT_FILLS."""
    trade_id, client_order_id, symbol, side, quantity, price, fee, fee_asset, at = row
    return Fill(trade_id, client_order_id, symbol, Side(side), quantity, price, fee, fee_asset, at)


def intent_columns(orders: Sequence[OrderIntent]) -> list[list[object]]:
    """Return the arrays of INSERT_ORDERS that come from the planned orders."""
    rows = [
        (
            order.request.client_order_id,
            order.request.symbol,
            order.request.side.value,
            order.request.type.value,
            order.request.quantity,
            order.request.price,
            order.phase,
            order.child,
            order.attempt,
            order.strategy_version,
            order.target_weight,
            order.reference_price,
            order.request.venue,
        )
        for order in orders
    ]
    return [list(column) for column in zip(*rows, strict=True)]
