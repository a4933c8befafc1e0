"""What Penstock needs to run work at the same time."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BackgroundTask(Protocol):
    """Work that was started and not waited for."""

    def wait(self, seconds: float, /) -> bool:
        """Wait at most `seconds` for the work's end; return whether it has ended."""
        ...


class TaskRunner(Protocol):
    """Runs work at the same time or one after another. Callers may not rely on either."""

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], *, at_once: int, name: str
    ) -> list[Result]:
        """Return `work(item)` of each item, in the order of `items`.

        At most `at_once` run at a time. After an error no further item begins. Once the running
        ones have ended, the first error in the order of `items` is raised. `name` is the name of
        the workers.
        """
        ...

    def start(self, work: Callable[[], None], *, name: str) -> BackgroundTask:
        """Start `work` and return without waiting for it. `work` handles its own errors.

        The process does not wait for it at its end: work that is still running is lost.
        """
        ...
