"""The demo: the whole line on a practice exchange, from candles to a reconciled account, in two
minutes. It shows nothing itself: it reports events and returns a result.
"""

from penstock.demo.events import DemoEvent, OnEvent
from penstock.demo.run import DemoRequest, run_demo
from penstock.demo.summary import DemoResult

__all__ = ["DemoEvent", "DemoRequest", "DemoResult", "OnEvent", "run_demo"]
