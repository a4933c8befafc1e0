"""An order that is worked by child orders over time. It is committed before the first of them."""

from dataclasses import dataclass
from datetime import datetime

from penstock.core.proposals import ProposedOrder


@dataclass(frozen=True)
class ParentOrder:
    """The parent of child orders: what was approved, and how it is worked.

    There is one per rebalance, symbol and phase.
    """

    rebalance_id: int
    """The rebalance that it belongs to."""
    order: ProposedOrder
    """What was approved."""
    strategy_version: str
    """The version that wanted it."""
    plan: str
    """The plan as JSON. An interrupted run goes on by the plan that it started with."""
    started_at: datetime
    """When the work began (UTC). Offsets in the plan count from here."""
