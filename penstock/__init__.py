"""Penstock: a research-to-production pipeline for systematic crypto trading.

The library. It contains no Prefect and importing it is cheap: notebooks, tasks and the command line
all import the same functions from here.
"""

__version__ = "0.1.0"
