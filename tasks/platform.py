"""The Platform of this worker process, and the actor of its flows. The Platform is opened once and
shared by all tasks: its parts are thread-safe.
"""

import atexit
import logging
import os
import sys
from contextlib import ExitStack
from functools import cache
from typing import TextIO, cast

from prefect.logging.handlers import PrefectConsoleHandler

from penstock.core.actors import Actor, Channel
from penstock.core.machine import user_name
from penstock.monitoring.log_output import LossyStream, send_logs
from penstock.settings import Settings
from penstock.wiring import Platform, open_platform


@cache
def worker_platform() -> Platform:
    """Return the process's Platform, opened on first use and closed when the process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    settings = Settings.of(os.environ)
    send_logs(settings.process.log_level, libraries=False)  # Prefect has set up theirs
    lose_what_prefect_cannot_write()
    logging.getLogger("prefect.task_runs").addFilter(_is_no_warning_of_threads)
    return stack.enter_context(open_platform(settings))


def lose_what_prefect_cannot_write() -> None:
    """Let a line of Prefect's be lost where its reader is gone. rich, which writes it, would end
    the process: after one slot, or between a slot and its comparison.
    """
    known = logging.root.manager.loggerDict.values()
    for logger in (logging.root, *(each for each in known if isinstance(each, logging.Logger))):
        for handler in logger.handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.console.file = cast("TextIO", LossyStream(lambda: sys.stderr))


def _is_no_warning_of_threads(record: logging.LogRecord) -> bool:
    """Whether the line is another than Prefect's about the time limit of a task on a thread. It
    comes once per symbol, and buries what the run says.
    """
    return "running in a worker thread" not in record.msg


def worker_actor() -> Actor:
    """Return who asks: the user under whose name the worker runs."""
    return Actor(user_name(), Channel.FLOW)
