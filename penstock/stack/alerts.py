"""Alerts of the supervisor: sent beside its work, until a channel has taken them."""

from collections.abc import Iterable
from contextlib import suppress

import structlog

from penstock.core.alerts import Alert
from penstock.core.machine import SYSTEM_CLOCK, THREADS
from penstock.ports import BackgroundTask, Notifier, TaskRunner

_log = structlog.get_logger(__name__)
_RETRY_SECONDS = 300.0
#: How long the end of the stack waits for a channel.
_PATIENCE_SECONDS = 5.0
_KEPT = 100


class StackAlerts:
    """A queue of alerts. A channel that hangs delays no restart: alerts wait for it."""

    def __init__(self, notifier: Notifier, runner: TaskRunner = THREADS) -> None:
        self._notifier, self._runner = notifier, runner
        self._waiting: list[Alert] = []
        self._task: BackgroundTask | None = None
        self._next_try = 0.0

    @property
    def waiting(self) -> tuple[Alert, ...]:
        """The alerts that no channel has taken yet; the newest hundred."""
        return tuple(self._waiting)

    def add(self, alerts: Iterable[Alert]) -> None:
        """Take alerts, to be sent with the next `send`."""
        for alert in alerts:
            self._waiting.append(alert)
            self._next_try = 0.0
        del self._waiting[:-_KEPT]

    def send(self) -> None:
        """Begin to send what waits, unless that is under way or has just failed."""
        now = SYSTEM_CLOCK.elapsed_seconds()
        busy = self._task is not None and not self._task.wait(0)
        if self._waiting and not busy and now >= self._next_try:
            self._next_try = now + _RETRY_SECONDS
            self._task = self._runner.start(self._deliver, name="alerts of the stack")

    def flush(self) -> None:
        """Send what waits; wait at most a few seconds for it."""
        self._next_try = 0.0
        self.send()
        if self._task is not None:
            self._task.wait(_PATIENCE_SECONDS)

    def _deliver(self) -> None:
        for alert in self.waiting:
            try:
                taken = self._notifier.notify(f"stack: {alert.title}", alert.body)
            except Exception as error:  # noqa: BLE001 - its text may hold secrets; the alert stays
                _log.error("alert_not_sent", title=alert.title, reason=type(error).__name__)
                return
            if not taken:
                return
            with suppress(ValueError):  # it was the oldest of too many
                self._waiting.remove(alert)
