"""What of the local stack lives, and what does not. How to mend it is for the interface."""

from dataclasses import dataclass

from penstock.core.actors import Actor
from penstock.pipeline.use_case import use_case
from penstock.settings import Settings
from penstock.stack import DATABASE, PartNote, Phase, StackNote, Step, answers, read_stack
from penstock.wiring import embedded_server


@dataclass(frozen=True)
class StackHealth:
    """The stack of a home folder, as it is now."""

    note: StackNote
    """What its supervisor has noted."""
    alive: tuple[PartNote, ...]
    """The parts that live."""
    dead: tuple[PartNote, ...]
    """The parts that do not."""
    silent: tuple[str, ...] = ()
    """The living parts that do not answer, or are held by SIGSTOP, as sentences."""
    answering: frozenset[str] = frozenset()
    """The servers that have answered, by name; empty where none was asked."""

    @property
    def abandoned(self) -> bool:
        """Whether its supervisor has died, and nobody has ended the stack."""
        return not self.note.supervised

    @property
    def summary(self) -> str:
        """What lives and what is dead, in one line."""
        lists = (("alive", self.alive), ("dead", self.dead))
        named = (f"{what}: {', '.join(map(_named, parts))}" for what, parts in lists if parts)
        return "; ".join([self.supervision, *named])

    @property
    def supervision(self) -> str:
        """What the supervisor does."""
        supervisor = self.note.supervisor
        if not self.abandoned:
            does = "is held by SIGSTOP" if supervisor.suspended else f"is {self.note.phase}"
            return f"supervisor (process {supervisor.pid}) {does}"
        if supervisor.started and not supervisor.of_this_boot:
            return "the machine was restarted under it"
        return f"its supervisor (process {supervisor.pid}) has died"

    @property
    def faults(self) -> tuple[str, ...]:
        """What is not well, a sentence each."""
        if self.abandoned:
            return (self.summary,)
        held = (self.supervision,) if self.note.supervisor.suspended else ()
        dead = self.dead if self.note.phase is Phase.RUNNING else ()
        return (
            *held,
            *(f"{part.name} is dead: {_last_death(part)}" for part in dead),
            *self.silent,
        )

    @property
    def past_deaths(self) -> tuple[str, ...]:
        """The parts that have died and live again, a sentence each."""
        return tuple(
            f"{part.name} was started again: {_last_death(part)}"
            for part in self.alive
            if part.deaths
        )

    def is_silent(self, server: str) -> bool:
        """Whether a server that is kept running, or lives, has not answered when it was asked."""
        return self.note.serves(server) and server not in self.answering


@use_case
def stack_health(settings: Settings, actor: Actor, ask: bool = False) -> StackHealth | None:
    """Return what of the home's stack lives; None where it has none. With `ask` its servers are
    asked whether they answer.

    Raises StackError where its note cannot be read.
    """
    note = read_stack(settings.home)
    if note is None:
        return None
    # what has no process of the supervisor's is the database, or was done once
    parts = [part for part in note.parts if part.process is not None or part.step is Step.DEAD]
    alive = [part for part in parts if part.alive]
    dead = [part for part in parts if not part.alive and part.name != DATABASE]
    if not note.addresses.external_database:
        noted = next((part for part in note.parts if part.name == DATABASE), None)
        database = noted or PartNote(DATABASE, Step.STARTING)
        (alive if embedded_server(settings).running else dead).insert(0, database)
    silent = [
        f"{_named(part)} is held by SIGSTOP"
        for part in alive
        if part.process is not None and part.process.suspended
    ]
    addresses = _health_addresses(note) if ask else {}
    asked = [part for part in alive if part.name in addresses]
    answering = frozenset(part.name for part in asked if answers(addresses[part.name]))
    silent += [
        f"{_named(part)} does not answer at {addresses[part.name]}"
        for part in asked
        if part.name not in answering
    ]
    return StackHealth(note, tuple(alive), tuple(dead), tuple(silent), answering)


def _health_addresses(note: StackNote) -> dict[str, str]:
    at = note.addresses
    return {
        "prefect-server": f"{at.prefect_api}/health",
        "mlflow-server": f"{at.mlflow}/health",
        "practice-exchange": f"{at.practice}/api/v3/ping",
    }


def _named(part: PartNote) -> str:
    return f"{part.name} (process {part.process.pid})" if part.process else part.name


def _last_death(part: PartNote) -> str:
    if not part.deaths:
        return "its end was not seen"
    times = "once" if part.deaths == 1 else f"{part.deaths} times"
    return f"it has ended {times}, last at {part.last_death} UTC ({part.reason})"
