"""Parent order store in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.core.leases import Lease
from penstock.core.orders import Phase
from penstock.core.parent_orders import ParentOrder


@dataclass
class MemoryParentOrderStore:
    """The record of parent orders, in memory."""

    kept: dict[tuple[int, str, Phase], ParentOrder] = field(default_factory=dict)

    def begin_work(self, lease: Lease, orders: Sequence[ParentOrder]) -> None:
        for order in orders:
            self.kept.setdefault((order.rebalance_id, order.order.symbol, order.order.phase), order)

    def work_of(self, rebalance_id: int) -> Sequence[ParentOrder]:
        return [order for order in self.kept.values() if order.rebalance_id == rebalance_id]
