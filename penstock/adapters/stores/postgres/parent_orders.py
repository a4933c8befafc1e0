"""The parents of child orders: penstock.ports.ParentOrderStore. Every write is fenced by the lease
in the database.
"""

from collections.abc import Sequence
from datetime import datetime

from penstock.adapters.stores.postgres.columns import transposed
from penstock.adapters.stores.postgres.connection import Database
from penstock.adapters.stores.postgres.fence import fenced
from penstock.adapters.stores.postgres.order_events import (
    JudgedEvent,
    refusals,
    require_owner,
    write_intents,
)
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import OrderEvent, Phase, Side
from penstock.core.parent_orders import ParentOrder
from penstock.core.proposals import ProposedOrder

_INSERT = """
    INSERT INTO worked_order (account, rebalance_id, symbol, side, phase, quantity,
                              reference_price, target_weight, strategy_version, plan, started_at)
    SELECT %s, rebalance_id, symbol, side, phase, quantity, price, weight, version, plan::jsonb, at
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::integer[], %s::numeric[], %s::numeric[],
                %s::double precision[], %s::text[], %s::text[], %s::timestamptz[])
        WITH ORDINALITY
        AS line (rebalance_id, symbol, side, phase, quantity, price, weight, version, plan, at, n)
    ORDER BY n
    ON CONFLICT (rebalance_id, symbol, phase) DO NOTHING
"""
_SELECT = """
    SELECT rebalance_id, symbol, side, phase, quantity, reference_price, target_weight,
           strategy_version, plan::text, started_at
    FROM worked_order WHERE rebalance_id = %s ORDER BY sequence
"""


class PostgresParentOrderStore:
    """ParentOrderStore on TimescaleDB or plain PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_work(
        self,
        lease: Lease,
        parents: Sequence[ParentOrder],
        orders: Sequence[OrderIntent] = (),
        events: Sequence[OrderEvent] = (),
        at: datetime | None = None,
    ) -> None:
        """Commit the parents, and the orders and events that they begin with, all or none;
        StoreError where a rebalance is not the lease's account's.
        """
        lines: list[JudgedEvent] = []
        with fenced(self._database, lease) as connection:
            unknown = {parent.rebalance_id for parent in parents}
            if orders:  # that finds out whose their rebalance is
                rebalance_id = parents[0].rebalance_id
                lines = write_intents(connection, lease, rebalance_id, orders, events, at)
                unknown.discard(rebalance_id)
            for rebalance_id in unknown:
                require_owner(connection, lease, rebalance_id)
            rows = [_row_of(parent) for parent in parents]
            connection.execute(_INSERT, [lease.account, *transposed(rows)])
        refusals(lines)

    def work_of(self, rebalance_id: int) -> Sequence[ParentOrder]:
        """Return the parents of a rebalance, in the order in which they were begun."""
        with self._database.reading() as connection:
            rows = connection.execute(_SELECT, [rebalance_id]).fetchall()
        return [
            ParentOrder(
                owner,
                ProposedOrder(symbol, Side(side), quantity, price, weight, Phase(phase)),
                *rest,
            )
            for owner, symbol, side, phase, quantity, price, weight, *rest in rows
        ]


def _row_of(work: ParentOrder) -> list[object]:
    order = work.order
    return [
        work.rebalance_id,
        order.symbol,
        order.side.value,
        order.phase,
        order.quantity,
        order.price,
        order.target_weight,
        work.strategy_version,
        work.plan,
        work.started_at,
    ]
