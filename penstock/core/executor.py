"""A task runner without threads, for runs that must be repeatable.

The runner with threads is in penstock.core.machine. The contract of both is
penstock.ports.TaskRunner.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class EndedTask:
    """Work that has ended."""

    def wait(self, _seconds: float, /) -> bool:
        return True


@dataclass(frozen=True)
class InlineRunner:
    """Runs work on the caller's thread, in the order in which it is given.

    >>> InlineRunner().map(abs, [-2, 1], at_once=2, name="doc")
    [2, 1]
    """

    def map(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        at_once: int,  # noqa: ARG002 - one at a time is never too many
        name: str,  # noqa: ARG002 - no thread is named
    ) -> list[Result]:
        return [work(item) for item in items]

    def start(self, work: Callable[[], None], *, name: str) -> EndedTask:  # noqa: ARG002
        work()
        return EndedTask()
