"""Parent order store in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.core.errors import StoreError
from penstock.core.leases import Lease
from penstock.core.orders import Phase
from penstock.core.parent_orders import ParentOrder
from penstock.testing.memory_ledger import MemoryLedger


@dataclass
class MemoryParentOrderStore:
    """The record of parent orders of the ledger's account, in memory."""

    ledger: MemoryLedger
    kept: dict[tuple[int, str, Phase], ParentOrder] = field(default_factory=dict)

    def begin_work(self, lease: Lease, orders: Sequence[ParentOrder]) -> None:
        self.ledger.require_newest(lease)
        ours = {rebalance.id for rebalance in self.ledger.slots.values()}
        strange = [order.rebalance_id for order in orders if order.rebalance_id not in ours]
        if strange:
            raise StoreError(f"rebalance {strange[0]} is not one of account '{lease.account}'")
        for order in orders:
            self.kept.setdefault((order.rebalance_id, order.order.symbol, order.order.phase), order)

    def work_of(self, rebalance_id: int) -> Sequence[ParentOrder]:
        return [order for order in self.kept.values() if order.rebalance_id == rebalance_id]
