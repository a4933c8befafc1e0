"""How runs end in Prefect. The state's message says what came of the run: the UI shows it on the
run's page, and `--watch` prints it.
"""

from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

#: The name of a completed state whose run had nothing to do, and did nothing.
SKIPPED = "Skipped"


def ended(message: str, *, failed: bool = False, skipped: bool = False) -> State[None]:
    """Return the state of a run that ended so."""
    if failed:
        return Failed(message=message)
    return Completed(name=SKIPPED, message=message) if skipped else Completed(message=message)


def ended_together(slots: Sequence[State[Any]], after: Sequence[State[Any]]) -> State[None]:
    """Return the state of a run of `slots`, and of what was done `after` them.

    It failed where one of them did, and is skipped where every slot was.
    """
    every = [*slots, *after]
    return ended(
        "; ".join(state.message for state in every if state.message),
        failed=not all(state.is_completed() for state in every),
        skipped=all(state.name == SKIPPED for state in slots),
    )
