"""Where alerts go: Apprise channels (mail, Slack, Telegram and a hundred more, each a URL), or only the log.

A channel that fails is logged and never raised. Channel URLs hold secrets: they are never logged, not even in part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LogNotifier:
    """A Notifier that writes alerts to the log: the choice where no channel is configured."""

    def notify(self, title: str, body: str) -> None:
        _log.warning("alert", title=title, body=body)


class AppriseNotifier:
    """A Notifier that sends alerts to every channel of `urls`, and to the log."""

    def __init__(self, urls: Sequence[str]) -> None:
        import apprise

        self._channels = apprise.Apprise()
        self._wanted = len(urls)
        for number, url in enumerate(urls, start=1):
            if not self._channels.add(url):
                _log.error("alert_channel_not_understood", channel=number, of=self._wanted, remedy="see Apprise's list of URLs")

    def notify(self, title: str, body: str) -> None:
        _log.warning("alert", title=title, body=body)
        if not len(self._channels):
            _log.error("alert_not_sent", title=title, reason="no configured channel is usable")
            return
        try:
            sent = self._channels.notify(title=title, body=body)
        except Exception as error:  # noqa: BLE001  # a channel's plug-in may raise anything; an alert must not stop its caller
            _log.error("alert_not_sent", title=title, reason=type(error).__name__)
            return
        if not sent:
            _log.error("alert_not_sent", title=title, reason="at least one channel refused it or could not be reached")
