"""Compares the daily account and dies by SIGKILL as soon as a break of it is committed. It runs as
a process of its own.
"""

import os
import signal
import sys
from typing import Any

import psycopg

from penstock.core.actors import Actor, Channel
from penstock.monitoring.log_output import send_logs
from penstock.pipeline.reconcile import reconcile_account
from penstock.settings import Settings
from penstock.wiring import open_platform


def die_after_opening_a_break() -> None:
    """Watch every commit, and end this process after the first one that `open_break` made."""
    commit = psycopg.Connection.commit

    def last_commit(connection: "psycopg.Connection[Any]") -> None:
        commit(connection)
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            if frame.f_code.co_name == "open_break":
                os.kill(os.getpid(), signal.SIGKILL)

    psycopg.Connection.commit = last_commit  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    send_logs("warning")
    die_after_opening_a_break()
    with open_platform(Settings.of(os.environ)) as platform:
        reconcile_account(platform, Actor("tester", Channel.CLI), "daily")
