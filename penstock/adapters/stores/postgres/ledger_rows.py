"""The ledger's rows: the columns of its tables, the statements that read them, and their values.

The columns of orders, events and fills, and the totals over them, come from the dataclasses of
penstock.core. Decides nothing.
"""

from collections.abc import Sequence
from typing import Any

from penstock.adapters.stores.postgres.columns import Columns
from penstock.core.account_totals import TOTALS, AccountTotals
from penstock.core.order_records import OrderIntent, OrderProgress, OrderRecord
from penstock.core.orders import Fill, OrderEvent, OrderRequest
from penstock.core.rebalances import Rebalance, RebalanceStatus

#: What is asked of the venue. When the sender asked is no part of the order.
REQUEST = Columns(OrderRequest, without=["asked_at"])
#: What it was decided on: with the request, all that is written ahead and never changes.
INTENT = Columns(OrderIntent, without=["request"])
#: What becomes of an order: a read model of its events and fills.
PROGRESS = Columns(OrderProgress)
EVENT = Columns(OrderEvent)
FILL = Columns(Fill)
_RECORD = Columns(OrderRecord, without=["request"])

REBALANCE_COLUMNS = "id, account, slot, portfolio_version, status, reason"

_ORDER_COLUMNS = f"{REQUEST.listed()}, {_RECORD.listed()}"
SELECT_ORDERS = f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account = %(account)s"  # noqa: S608 - our own constant
#: What narrows it. Each question is a statement of its own, so that no plan has to fit all of them.
_ENDED = "('filled', 'canceled', 'rejected', 'expired')"
UNFINISHED = f" AND state NOT IN {_ENDED}"
OF_REBALANCE = " AND rebalance_id = %(rebalance_id)s"
_OVERFILLED = " AND filled_quantity > quantity"
#: + 0, or the planner, which takes the overfilled for many, walks all orders in their sequence so
#: as not to sort.
IN_SEQUENCE = " ORDER BY sequence + 0"

#: Each half has an index of its own.
SELECT_UNSETTLED = f"""
    SELECT {_ORDER_COLUMNS} FROM (
        SELECT * FROM orders WHERE account = %(account)s{UNFINISHED}
        UNION ALL
        SELECT * FROM orders WHERE account = %(account)s{_OVERFILLED}
            AND state IN {_ENDED}) found{IN_SEQUENCE}
"""  # noqa: S608 - our own constants

SELECT_NAMED = f"""
    SELECT {_ORDER_COLUMNS} FROM orders
    WHERE account = %s AND client_order_id = ANY(%s) ORDER BY sequence
"""  # noqa: S608 - our own constant

SELECT_SHORT = f"""
    SELECT {_ORDER_COLUMNS} FROM orders
    WHERE account = %s AND symbol = %s AND filled_quantity < quantity AND state <> 'planned'
    ORDER BY sequence DESC LIMIT %s
"""  # noqa: S608 - our own constant

#: Opening balances are booked when the account is taken over; one that was empty then has none.
SELECT_BEGINNING = """
    SELECT coalesce((SELECT max(at) FROM adjustment
                     WHERE account = %(account)s AND reason = %(opening)s),
                    (SELECT min(slot) FROM rebalance WHERE account = %(account)s))
"""

SELECT_FILLS = f"SELECT {FILL.listed()} FROM fill WHERE account = %(account)s"  # noqa: S608 - our own constant
OF_SYMBOL = " AND symbol = %(symbol)s"
SINCE = " AND at >= %(since)s"
BY_TIME = " ORDER BY at, sequence"


def _totals_of(rows: type[OrderRecord] | type[Fill], table: str) -> str:
    """Return the statement of one row that has all totals of these rows, each named as its field.

    The names and factors are those of our own dataclasses.
    """
    totals = ", ".join(
        f"{total.aggregate}({' * '.join(total.factors) or '*'}) AS {name}"
        for name, total in TOTALS.items()
        if total.of is rows
    )
    return f"SELECT {totals} FROM {table} WHERE account = %(account)s"  # noqa: S608 - see above


#: One row per status of slots, or one where there is none yet.
SELECT_TOTALS = f"""
    SELECT status, slots, {", ".join(TOTALS)}
    FROM ({_totals_of(OrderRecord, "orders")}) o
    CROSS JOIN ({_totals_of(Fill, "fill")}) f
    LEFT JOIN (SELECT status, count(*) AS slots
               FROM rebalance WHERE account = %(account)s GROUP BY status) r ON true
"""  # noqa: S608 - our own constant


def rebalance_of(row: Sequence[Any]) -> Rebalance:
    """Return the rebalance of a row with REBALANCE_COLUMNS."""
    identity, account, slot, version, status, reason = row
    return Rebalance(identity, account, slot, version, RebalanceStatus(status), reason)


def totals_of(rows: Sequence[Sequence[Any]]) -> AccountTotals:
    """Return the totals of the rows of SELECT_TOTALS."""
    slots = {RebalanceStatus(status): count for status, count, *_ in rows if status is not None}
    return AccountTotals.of(slots, dict(zip(TOTALS, rows[0][2:], strict=True)))


def order_of(row: Sequence[Any]) -> OrderRecord:
    """Return the order of a row of SELECT_ORDERS."""
    cut = len(REQUEST.columns)
    return _RECORD.value(row[cut:], request=REQUEST.value(row[:cut]))
