"""How an order is worked at the venue: pure planners from one approved order to the child orders
that carry it out, and the worker that sends them.

One file per algorithm: `plans` chooses among them, and `progress` says which child comes next. What
is imported here asks no venue, reads no clock and writes nothing: sending the children and keeping
them is for penstock.execution.algorithms.phase_worker.
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
