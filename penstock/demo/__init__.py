"""The demo: the whole line on a practice exchange, from candles to a reconciled account, in two
minutes.
"""

from penstock.demo.run import run_demo

__all__ = ["run_demo"]
