"""Log lines: where they go, and that no line stops the work it is about."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog

from penstock.adapters.notifications import LogNotifier
from penstock.monitoring.log_output import send_logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave structlog and the root logger as they were."""
    root = logging.getLogger()
    before, level, own = list(root.handlers), root.level, structlog.get_config()
    yield
    structlog.configure(**own)
    root.handlers, root.level = before, level


class FullDisk(io.StringIO):
    """A stream that takes nothing."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [FullDisk(), closed()])
def test_line_that_cannot_be_written_stops_nothing(stream: io.StringIO) -> None:
    """A full disk or a closed stream below the log raises nothing where an order is logged."""
    send_logs("info", stream)
    structlog.get_logger("order").warning("order_answered", state="filled")
    logging.getLogger("library").warning("a line of theirs")


def test_lines_go_to_standard_error_of_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines go to standard error as it is when they are written, as JSON, and none to standard
    output.
    """
    send_logs("warning")
    structlog.get_logger("order").warning("order_refused", code="-2010")
    structlog.get_logger("order").info("order_answered")
    out, err = capsys.readouterr()
    assert out == ""
    lines = [json.loads(line) for line in err.splitlines()]
    assert [(line["event"], line["code"]) for line in lines] == [("order_refused", "-2010")]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_alert_on_a_terminal_is_a_message_and_no_line_of_a_log() -> None:
    """Its title is there once, each line of its body whole. A command's reader has the same without
    a terminal.
    """
    terminal = Terminal()
    send_logs("warning", terminal)
    LogNotifier().notify("daily: new champion", "daily/1: champion")
    LogNotifier().notify("main: 2 things to look at", "one\ntwo")
    structlog.get_logger("order").warning("order_refused", code="-2010")
    alerts, _, log = terminal.getvalue().partition("two\n")
    lines = [re.sub("at 20[^:]*:[0-9]{2}: ", "at TIME: ", line) for line in alerts.splitlines()]
    assert lines == [
        "alert at TIME: daily: new champion",
        "    daily/1: champion",
        "alert at TIME: main: 2 things to look at",
        "    one",
        "    ",
    ]
    assert "warning" in log
    plain, bodies = io.StringIO(), list[str]()

    def wanted(body: str) -> bool:
        bodies.append(body)
        return len(bodies) == 1

    send_logs("warning", plain, readable=True, on_alert=wanted)
    LogNotifier().notify("daily: new champion", "daily/1: champion")
    LogNotifier().notify("daily: new champion", "this is said elsewhere")
    structlog.get_logger("order").warning("order_refused", code="-2010")
    title, body, other = plain.getvalue().splitlines()
    assert title.endswith("daily: new champion")
    assert (body, bodies[0]) == ("    daily/1: champion", "daily/1: champion")
    assert "\x1b" not in other, "a file has no colours"
    assert "{" not in other
