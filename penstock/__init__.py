"""Penstock: a research-to-production pipeline for systematic crypto trading.

The library. It contains no Prefect, so importing it is cheap. Notebooks, tasks and the command line
import the same functions from here.
"""

__version__ = "0.3.0"
