"""The start of the local stack in a terminal: a line per part as it comes up."""

from collections.abc import Callable
from pathlib import Path

from penstock.core.clock import MachineClock
from penstock.core.machine import SYSTEM_CLOCK
from penstock.stack import Addresses, StackNote, Step


class StackProgress:
    """Says of each part once that it is up: name, address, and seconds since this was made.

    Call it with what the supervisor has noted, as often as there is something new. Nothing is said
    of a stack that was up before, nor of what a killed supervisor has left.
    """

    def __init__(
        self, home: Path, say: Callable[[str], None], clock: MachineClock = SYSTEM_CLOCK
    ) -> None:
        self._home, self._say, self._clock = home, say, clock
        self._began = clock.elapsed_seconds()
        self._starts = False
        self._said: set[str] = set()

    def __call__(self, note: StackNote | None) -> None:
        if not self._starts:
            if note is not None and note.is_up:
                return
            self._starts = True
            self._say(f"starting from {self._home} (half a minute, or more on a busy machine)")
        if note is None or not note.supervised:
            return
        known = _addresses(note.addresses)
        for part in note.parts:
            address = known.get(part.name, "")
            if part.step is Step.UP and address and part.name not in self._said:
                self._said.add(part.name)
                seconds = self._clock.elapsed_seconds() - self._began
                self._say(f"  {part.name:<18} {address:<38} {seconds:5.1f} s")


def _addresses(addresses: Addresses) -> dict[str, str]:
    """Return where each part answers, or what it works on; "" where that is not known yet."""
    return {
        "database": addresses.database,
        "practice-exchange": addresses.practice,
        "prefect-server": addresses.prefect,
        "mlflow-server": addresses.mlflow,
        "deployments": "prefect.yaml",
        "worker": "pool penstock",
    }
