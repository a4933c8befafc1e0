"""Where alerts go: Apprise channels (mail, Slack, Telegram and a hundred more, each a URL), or only
the log.

A channel that fails is logged and never raised; one that takes the alert is enough. Channel URLs
hold secrets: they are never logged, not even in part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LogNotifier:
    """A Notifier that writes alerts to the log: the choice where no channel is configured."""

    def notify(self, title: str, body: str) -> bool:
        _write(title, body)
        return True


class AppriseNotifier:
    """A Notifier that sends alerts to every channel of `urls`, and to the log."""

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
            sent = bool(
                channel.notify(title=title, body=body, body_format="text")
            )  # else HTML mail loses the line ends
            reason = "it refused it or could not be reached"
        except Exception as error:  # noqa: BLE001  # a channel's plug-in may raise anything; an alert must not stop its caller
            sent, reason = False, type(error).__name__
        if not sent:
            _log.error(
                "alert_not_sent", title=title, channel=number, of=self._wanted, reason=reason
            )
        return sent


def _write(title: str, body: str) -> None:
    """Log an alert, a line of it at a time: in one, a terminal shows its line ends as backslash and
    n.
    """
    lines = body.splitlines()
    if len(lines) <= 1:
        _log.warning("alert", title=title, body=body)
        return
    for number, line in enumerate(lines, start=1):
        _log.warning("alert", title=title, line=f"{number}/{len(lines)}", body=line)
