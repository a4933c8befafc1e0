"""What Penstock needs of the channels that alerts go to."""

from typing import Protocol


class Notifier(Protocol):
    """Where alerts go."""

    def notify(self, title: str, body: str) -> bool:
        """Send an alert, and return whether at least one channel took it.

        The error of a channel is logged and never raised: an alert must not stop trading.
        """
        ...
