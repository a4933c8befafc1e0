"""How an order is worked at the venue: planners of child orders, and the worker that sends them.

There is one file per algorithm. `plans` chooses among them, and `progress` returns the next child.
What is imported here is pure: it asks no venue, reads no clock and writes nothing. The children are
sent and recorded by penstock.execution.algorithms.phase_worker.
"""

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
    "plan_order",
    "requests_ahead",
]
