"""What a run's state says, without a server."""

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.states import ended, ended_together

TRADED, SKIPPED = ended("4 orders"), ended("too late", skipped=True)
REFUSED: State[None] = Failed(message="503")
AGREED = ended("they agree")
NOT_COMPARED: State[None] = Completed()


@pytest.mark.parametrize(
    ("slots", "after", "name", "message"),
    [
        ([TRADED], AGREED, "Completed", "4 orders; they agree"),
        ([SKIPPED], NOT_COMPARED, "Skipped", "too late"),
        ([SKIPPED, TRADED], NOT_COMPARED, "Completed", "too late; 4 orders"),
        ([REFUSED, TRADED], AGREED, "Failed", "503; 4 orders; they agree"),
        ([TRADED], REFUSED, "Failed", "4 orders; 503"),
    ],
)
def test_run_of_several_slots_says_what_each_came_to(
    slots: list[State[None]], after: State[None], name: str, message: str
) -> None:
    """One that failed fails the run. It is skipped where nothing was traded, and never silent."""
    state = ended_together(slots, [after])
    assert (state.name, state.message) == (name, message)
    assert state.is_failed() == (name == "Failed")
    assert state.is_completed() != state.is_failed()


def test_run_that_failed_is_not_called_skipped() -> None:
    """A slot that another run had skipped, and whose fills were not compared, has failed."""
    state = ended("its fills were not compared", failed=True, skipped=True)
    assert state.name == "Failed"
