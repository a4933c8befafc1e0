"""Parent order store in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from penstock.core.errors import StoreError
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import OrderEvent, Phase
from penstock.core.parent_orders import ParentOrder
from penstock.testing.memory_ledger import MemoryLedger


@dataclass
class MemoryParentOrderStore:
    """The record of parent orders of the ledger's account, in memory."""

    ledger: MemoryLedger
    kept: dict[tuple[int, str, Phase], ParentOrder] = field(default_factory=dict)

    def begin_work(
        self,
        lease: Lease,
        parents: Sequence[ParentOrder],
        orders: Sequence[OrderIntent] = (),
        events: Sequence[OrderEvent] = (),
        at: datetime | None = None,
    ) -> None:
        self.ledger.require_newest(lease)
        ours = {rebalance.id for rebalance in self.ledger.slots.values()}
        strange = [parent.rebalance_id for parent in parents if parent.rebalance_id not in ours]
        if strange:
            raise StoreError(f"rebalance {strange[0]} is not one of account '{lease.account}'")
        if orders:
            self.ledger.write_ahead(lease, parents[0].rebalance_id, orders, events, at)
        for parent in parents:
            key = (parent.rebalance_id, parent.order.symbol, parent.order.phase)
            self.kept.setdefault(key, parent)

    def work_of(self, rebalance_id: int) -> Sequence[ParentOrder]:
        return [order for order in self.kept.values() if order.rebalance_id == rebalance_id]
