"""What a killed supervisor left running, and its end."""

from pathlib import Path

from penstock.stack.processes import end, family_of, marked
from penstock.stack.state import StackNote, UnreadableStackError, read_stack

_GRACE_SECONDS = 10.0
#: What is being ended may start something more.
_SWEEPS = 2


def noted_stack(home: Path) -> StackNote | None:
    """Return the note of the home's stack; None where there is none that can be read.

    Raises StackError where another version of Penstock runs.
    """
    try:
        return read_stack(home)
    except UnreadableStackError:
        return None


def end_leftovers(home: Path, note: StackNote | None) -> tuple[str, ...]:
    """End every process of the home's stack, in the reverse order of its start, and return which
    they were.

    Only who holds the supervisor's lock may call it. Processes are known by the note, and by their
    mark where there is none.
    """
    parts = note.parts if note else ()
    families = {part.name: family_of(part.process) for part in parts if part.process}
    ended: list[str] = []
    for _ in range(_SWEEPS):
        for place in {home, note.home if note else home}:
            for name, processes in marked(place).items():
                families[name] = [*families.get(name, []), *processes]
        for name, processes in reversed(families.items()):
            ended += [f"{name} (process {pid})" for pid in end(processes, _GRACE_SECONDS)]
        families = {}
    return tuple(ended)
