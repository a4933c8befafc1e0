"""The Platform of this worker process, and the actor of its flows. The Platform is opened once and
shared by all tasks: its parts are thread-safe.
"""

import atexit
import os
from contextlib import ExitStack
from functools import cache

from penstock.core.actors import Actor, Channel
from penstock.core.machine import user_name
from penstock.monitoring.log_output import send_logs
from penstock.settings import Settings
from penstock.wiring import Platform, open_platform


@cache
def worker_platform() -> Platform:
    """Return the process's Platform, opened on first use and closed when the process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    settings = Settings.of(os.environ)
    send_logs(settings.process.log_level, libraries=False)  # Prefect has set up theirs
    return stack.enter_context(open_platform(settings))


def worker_actor() -> Actor:
    """Return who asks: the user under whose name the worker runs."""
    return Actor(user_name(), Channel.FLOW)
