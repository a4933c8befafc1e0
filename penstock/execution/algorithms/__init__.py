"""How an order is worked at the venue: pure planners from one approved order to the child orders
that carry it out.

One file an algorithm; `plans` chooses among them and `progress` says which child comes next.
Nothing here asks a venue, reads a clock or writes: sending the children and remembering them is for
penstock.execution.algorithms.phase_worker.
"""

from penstock.execution.algorithms.at_once import plan_children
from penstock.execution.algorithms.children import ChildOrder
from penstock.execution.algorithms.pace import requests_ahead
from penstock.execution.algorithms.plans import Plan, plan_order
from penstock.execution.algorithms.progress import Finished, Progress, Send, Step, Wait, next_step
from penstock.execution.algorithms.styles import Iceberg, Limit, MarketStyle, Style, Twap, Vwap
from penstock.execution.algorithms.volume import VolumeProfile

__all__ = [
    "ChildOrder",
    "Finished",
    "Iceberg",
    "Limit",
    "MarketStyle",
    "Plan",
    "Progress",
    "Send",
    "Step",
    "Style",
    "Twap",
    "VolumeProfile",
    "Vwap",
    "Wait",
    "next_step",
    "plan_children",
    "plan_order",
    "requests_ahead",
]
