"""The Platform of this worker process: opened once, shared by all tasks of a run (its parts are
thread-safe).
"""

import atexit
from contextlib import ExitStack
from functools import cache

from penstock.wiring import Platform, open_platform


@cache
def worker_platform() -> Platform:
    """Return the process's Platform, opened on first use and closed when the process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(open_platform())
