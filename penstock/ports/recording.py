"""What a certification needs beside the account: a record of a venue's answers without secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class RecordedAnswer:
    """One request and its answer, without keys, signatures and account ids."""

    step: str
    """The step of the script that asked."""
    method: str
    """The HTTP method."""
    path: str
    """The path, without host and query."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The parameters, without what signs or dates the request."""
    status: int | None = None
    """The HTTP status; None where no answer came."""
    body: str = ""
    """The body of the answer."""
    is_lost: bool = False
    """Whether the answer was kept from the account on purpose."""
    after_seconds: float = 0.0
    """When the answer came, in seconds since the recording began."""


class AnswerRecorder(Protocol):
    """Records the answers that an account gets."""

    def begin(self, step: str) -> None:
        """Count what is recorded from now on to this step."""
        ...

    def lose_next_order(self) -> None:
        """Keep the next answer to an order or a cancellation from the account.

        The venue carries the request out, and the account sees a time-out.
        """
        ...

    def answers(self) -> Sequence[RecordedAnswer]:
        """Return what was recorded, the oldest first."""
        ...
