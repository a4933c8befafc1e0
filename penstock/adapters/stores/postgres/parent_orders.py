"""The parents of child orders: penstock.ports.ParentOrderStore. Every write is fenced by the lease
in the database.
"""

from collections.abc import Sequence

from penstock.adapters.stores.postgres.columns import transposed
from penstock.adapters.stores.postgres.connection import Database
from penstock.adapters.stores.postgres.fence import fenced
from penstock.core.errors import StoreError
from penstock.core.leases import Lease
from penstock.core.orders import Phase, Side
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

    def begin_work(self, lease: Lease, orders: Sequence[ParentOrder]) -> None:
        """Commit the parents, all or none; StoreError where a rebalance is not the lease's
        account's.
        """
        with fenced(self._database, lease) as connection:
            for rebalance_id in {order.rebalance_id for order in orders}:
                owner = connection.execute(
                    "SELECT account FROM rebalance WHERE id = %s", [rebalance_id]
                ).fetchone()
                if owner != (lease.account,):
                    raise StoreError(
                        f"rebalance {rebalance_id} is not one of account '{lease.account}': "
                        "start it first"
                    )
            rows = [_row_of(order) for order in orders]
            connection.execute(_INSERT, [lease.account, *transposed(rows)])

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
