"""Log lines: where they go, and that no line stops the work it is about."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

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
