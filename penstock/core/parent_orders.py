"""An order that is worked by child orders over time, as it is committed before the first of them."""

from dataclasses import dataclass
from datetime import datetime

from penstock.core.proposals import ProposedOrder


@dataclass(frozen=True)
class ParentOrder:
    """The parent of child orders: what was approved, and how it is to be worked.

    There is one per rebalance, symbol and phase. `plan` is the plan as JSON text, fixed when the work
    began: an interrupted run is resumed by the plan that it started with. Offsets in the plan count
    from `started_at` (UTC).
    """

    rebalance_id: int
    order: ProposedOrder
    strategy_version: str
    plan: str
    started_at: datetime
