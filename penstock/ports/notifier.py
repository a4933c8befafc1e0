"""What Penstock needs of the channels that alerts go to."""

from typing import Protocol


class Notifier(Protocol):
    """Where alerts go."""

    def notify(self, title: str, body: str) -> bool:
        """Send an alert; return whether at least one channel took it.

        A channel that fails is logged, never raised: an alert must not stop an order's bookkeeping.
        """
        ...
