"""An alert reaches its channels, and a channel that fails stops nobody and gives no secret away."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import structlog

from penstock.adapters.notifications import AppriseNotifier, LogNotifier

SECRET = "s3cr3t-token"


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A web hook on this machine: its Apprise URL and what it has received."""
    received: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/{SECRET}", received
    server.shutdown()
    server.server_close()


def test_an_alert_reaches_the_channel(hook: tuple[str, list[dict[str, str]]]) -> None:
    """Title and body arrive as they were given."""
    url, received = hook
    AppriseNotifier([url]).notify("Ingest 1d: 1 symbol stopped", "BTC/USDT: nulls")
    assert [(message["title"], message["message"]) for message in received] == [
        ("Ingest 1d: 1 symbol stopped", "BTC/USDT: nulls")
    ]


@pytest.mark.parametrize("url", [f"json://127.0.0.1:9/{SECRET}", f"nonsense://{SECRET}"])
def test_a_channel_that_fails_is_logged_without_its_address_and_never_raises(url: str) -> None:
    """The caller goes on; the log has the alert and that it was not sent, and not the URL."""
    with structlog.testing.capture_logs() as log:
        AppriseNotifier([url]).notify("title", "body")
    assert [entry["event"] for entry in log if entry["event"] in ("alert", "alert_not_sent")] == [
        "alert",
        "alert_not_sent",
    ]
    assert SECRET not in str(log)


def test_without_channels_the_log_has_the_alert() -> None:
    """LogNotifier is the default and loses nothing."""
    with structlog.testing.capture_logs() as log:
        LogNotifier().notify("title", "body")
    assert log == [{"event": "alert", "title": "title", "body": "body", "log_level": "warning"}]


def test_alert_of_several_lines_is_logged_a_line_at_a_time() -> None:
    """A terminal shows no backslash and n; every line carries the title and its place."""
    with structlog.testing.capture_logs() as log:
        LogNotifier().notify("title", "one\ntwo")
    parts = ("title", "line", "lines", "body")
    assert [tuple(entry[part] for part in parts) for entry in log] == [
        ("title", 1, 2, "one"),
        ("title", 2, 2, "two"),
    ]


def test_one_channel_that_takes_the_alert_is_enough(hook: tuple[str, list[dict[str, str]]]) -> None:
    """The answer says whether anybody has it; a channel that failed beside it is in the log by its
    number.
    """
    url, received = hook
    with structlog.testing.capture_logs() as log:
        assert AppriseNotifier(["json://127.0.0.1:9/", url]).notify("title", "body")
        assert not AppriseNotifier(["json://127.0.0.1:9/"]).notify("title", "body")
    assert len(received) == 1
    assert [
        (entry["channel"], entry["of"]) for entry in log if entry["event"] == "alert_not_sent"
    ] == [(1, 2), (1, 1)]
