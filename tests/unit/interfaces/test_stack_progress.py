"""What `penstock up` says while the stack comes up."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from penstock.core.clock import SteppedClock
from penstock.interfaces.cli.stack_progress import StackProgress
from penstock.stack import Addresses, PartNote, Phase, StackNote, Step
from penstock.stack.processes import Identity

ADDRESSES = Addresses("practice", "", "http://127.0.0.1:4200", "http://127.0.0.1:5000", "", "")
STARTING = StackNote(Path("home"), Identity.of_this_process(), Phase.STARTING, ADDRESSES)
DATABASE, PREFECT = (PartNote(name, Step.UP) for name in ("database", "prefect-server"))


def test_each_part_has_a_line_of_its_own_as_it_comes_up() -> None:
    """Name, address and seconds, once, however often it is looked at. The database's address is
    waited for.
    """
    said: list[str] = []
    clock = SteppedClock(datetime(2026, 1, 1, tzinfo=UTC))
    look = StackProgress(STARTING.home, said.append, clock)
    look(None)
    assert said[0].startswith("starting from home")
    look(STARTING)
    clock.sleep(1.5)
    look(replace(STARTING, parts=(DATABASE,)))
    assert len(said) == 1
    known = replace(STARTING, addresses=replace(ADDRESSES, database="me@127.0.0.1:5433/penstock"))
    look(replace(known, parts=(DATABASE, replace(PREFECT, step=Step.STARTING))))
    clock.sleep(2)
    for phase in (Phase.STARTING, Phase.RUNNING):
        look(replace(known, phase=phase, parts=(DATABASE, PREFECT)))
    assert [line.split() for line in said[1:]] == [
        ["database", "me@127.0.0.1:5433/penstock", "1.5", "s"],
        ["prefect-server", "http://127.0.0.1:4200", "3.5", "s"],
    ]


def test_stack_that_runs_or_has_no_supervisor_is_not_said_to_come_up() -> None:
    """`up` beside a running stack starts nothing; what a killed supervisor left is not up."""
    said: list[str] = []
    look = StackProgress(STARTING.home, said.append)
    look(replace(STARTING, phase=Phase.RUNNING, parts=(PREFECT,)))
    assert said == []
    gone = Identity(STARTING.supervisor.pid, "another start")
    look(replace(STARTING, supervisor=gone, phase=Phase.RUNNING, parts=(PREFECT,)))
    assert len(said) == 1
