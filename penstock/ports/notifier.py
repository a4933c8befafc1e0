"""What Penstock needs of the channels that alerts go to."""

from typing import Protocol


class Notifier(Protocol):
    """Where alerts go."""

    def notify(self, title: str, body: str) -> None:
        """Send an alert; a channel that fails is logged, never raised: an alert must not stop an order's bookkeeping."""
        ...
