"""Where alerts go: to Apprise channels (mail, Slack, Telegram and many more), or only to the log.

A channel is a URL. An error of a channel is logged and never raised: one that takes the alert is
enough. Channel URLs hold secrets, so no part of them is logged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.monitoring.log_output import ALERT

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LogNotifier:
    """A Notifier that writes alerts to the log, for an installation without a channel."""

    def notify(self, title: str, body: str) -> bool:
        _write(title, body)
        return True


class AppriseNotifier:
    """A Notifier that sends alerts to every channel of `urls`, and writes them to the log."""

    def __init__(self, urls: Sequence[str]) -> None:
        import apprise

        self._channels: dict[int, Any] = {}
        self._wanted = len(urls)
        for number, url in enumerate(urls, start=1):
            channel = apprise.Apprise()
            if channel.add(url):
                self._channels[number] = channel
            else:
                _log.error(
                    "alert_channel_not_understood",
                    channel=number,
                    of=self._wanted,
                    remedy="see Apprise's list of URLs",
                )

    def notify(self, title: str, body: str) -> bool:
        _write(title, body)
        if not self._channels:
            _log.error("alert_not_sent", title=title, reason="no configured channel is usable")
            return False
        taken = [
            self._send(number, channel, title, body) for number, channel in self._channels.items()
        ]
        return any(taken)

    def _send(self, number: int, channel: Any, title: str, body: str) -> bool:
        try:
            # As text: HTML mail would lose the line ends.
            sent = bool(channel.notify(title=title, body=body, body_format="text"))
            reason = "it refused it or could not be reached"
        except Exception as error:  # noqa: BLE001 - a channel's plug-in may raise anything
            sent, reason = False, type(error).__name__
        if not sent:
            _log.error(
                "alert_not_sent", title=title, channel=number, of=self._wanted, reason=reason
            )
        return sent


def _write(title: str, body: str) -> None:
    """Log an alert, each line on its own: a terminal would show a line end as a backslash and n."""
    lines = body.splitlines()
    if len(lines) <= 1:
        _log.warning(ALERT, title=title, body=body)
        return
    for number, line in enumerate(lines, start=1):
        _log.warning(ALERT, title=title, line=number, lines=len(lines), body=line)
