"""The demo: the whole pipeline on a practice exchange, from candles to a reconciled account. It
shows nothing itself: it reports events and returns a result.
"""

from penstock.demo.events import DemoEvent, OnEvent
from penstock.demo.run import DemoRequest, run_demo
from penstock.demo.summary import DemoResult

__all__ = ["DemoEvent", "DemoRequest", "DemoResult", "OnEvent", "run_demo"]
