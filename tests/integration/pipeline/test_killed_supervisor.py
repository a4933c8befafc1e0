"""What becomes of a stack whose supervisor or parts are killed: real processes, but cheap ones. The
real stack is killed in tests/crash/test_killed_stack.py.
"""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.pipeline.stack_health import StackHealth
from penstock.stack import (
    Brought,
    Phase,
    StackError,
    Step,
    UnreadableStackError,
    bring_up,
    children,
    end_stack,
    follow_stack,
    leftovers,
    read_stack,
    restarts,
    supervisor,
)
from penstock.stack.children import Child, require_free
from penstock.stack.locks import FileLock, supervisor_lock
from penstock.stack.processes import Identity, marked
from penstock.stack.state import state_file, write_stack
from tests.cheap_stack import CheapStack

#: Listens on a port and says so.
_LISTENER = (
    "import socket, sys, time\n"
    "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print('up', flush=True)\n"
    "time.sleep(100)\n"
)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheapStack]:
    """A home without a stack. Supervisors that it starts look often and wait briefly."""
    monkeypatch.setattr(supervisor, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(restarts, "_FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(children, "_GRACE_SECONDS", 1.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    home = tmp_path / "home"
    home.mkdir()
    made = CheapStack(home, port)
    yield made
    made.clean()


def end(stack: CheapStack) -> tuple[bool, tuple[str, ...]]:
    """Do what `penstock down` does; return whether a supervisor lived, and what ran without."""
    ended = end_stack(stack.home, lambda had_stack: stack.database.stop() if had_stack else None)
    return ended.was_supervised, ended.leftovers


def bring(stack: CheapStack) -> Brought:
    """Do what `penstock up` does."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    return bring_up(stack.home, stack.program, environment, lambda note: None)


def test_next_supervisor_replaces_what_a_killed_one_left(stack: CheapStack) -> None:
    """Its parts and the database live on, and commands stay in its environment. The next one ends
    the parts, starts all anew, keeps the database, and tells of it.
    """
    stack.up()
    note, database = stack.kill_supervisor(), stack.database.identity
    assert [part.alive for part in note.parts if part.process] == [True, True]
    followed = follow_stack({"PENSTOCK_HOME": str(stack.home)})
    assert followed.variables["PENSTOCK_ENV"] == "practice"
    assert followed.variables["PREFECT_API_URL"]
    assert followed.abandoned == note
    old = [Identity.of(process.pid) for process in stack.processes()]
    assert len(old) == 4  # server and worker, and a process of each
    again = stack.up()
    assert sorted(each.split()[0] for each in again.replaced) == ["prefect-server", "worker"]
    assert not any(process is not None and process.alive for process in old)
    assert len(stack.processes()) == 4
    assert stack.database.identity == database
    stack.wait(lambda: bool(stack.alerts))
    assert stack.alerts[0].startswith("stack: its supervisor had ended")
    assert f"process {note.supervisor.pid}" in stack.alerts[0]


def test_down_ends_what_a_killed_supervisor_left(stack: CheapStack) -> None:
    """Nothing of it runs afterwards, and a second `down` finds nothing."""
    stack.up()
    stack.kill_supervisor()
    supervised, left = end(stack)
    assert not supervised
    assert [each.split()[0] for each in left] == ["worker", "prefect-server"]
    assert stack.is_gone()
    assert end(stack) == (False, ())


def test_down_ends_a_living_stack_and_all_that_it_started(stack: CheapStack) -> None:
    """The supervisor ends its parts, theirs too, and the database."""
    stack.up()
    assert end(stack) == (True, ())
    assert stack.is_gone()


@pytest.mark.parametrize("name", ["prefect-server", "worker"])
def test_part_that_is_killed_comes_back(stack: CheapStack, name: str) -> None:
    """It has a new process, an alert, and its death is on record. What a server had started
    listens no more, so that the new one can.
    """
    note = stack.up()
    (old,) = (part.process for part in note.parts if part.name == name)
    assert old is not None
    family = [Identity.of(process.pid) for process in marked(stack.home)[name]]
    os.kill(old.pid, signal.SIGKILL)

    def is_back() -> bool:
        (part,) = (part for part in stack.note.parts if part.name == name)
        return part.step is Step.UP and part.process != old and part.alive and part.deaths == 1

    stack.wait(is_back)
    stack.wait(lambda: bool(stack.alerts))
    assert f"stack: {name} has ended" in stack.alerts[0]
    assert "killed by SIGKILL; it is started again" in stack.alerts[0]
    (part,) = (part for part in stack.note.parts if part.name == name)
    assert part.reason == "killed by SIGKILL"
    if name == "prefect-server":
        assert len(family) == 2
        assert not any(process is not None and process.alive for process in family)


def test_database_that_is_killed_comes_back(stack: CheapStack) -> None:
    """It is a part like the others."""
    stack.up()
    stack.database.stop()
    stack.wait(lambda: bool(stack.alerts) and stack.database.running)
    assert "stack: database has ended" in stack.alerts[0]


def test_part_that_dies_again_and_again_makes_an_urgent_alert(stack: CheapStack) -> None:
    """The first two deaths have an alert each, the third an urgent one, and no more follow."""
    stack.up("broken")

    def deaths() -> int:
        return next(part.deaths for part in stack.note.parts if part.name == "worker")

    stack.wait(lambda: deaths() >= 4 and len(stack.alerts) >= 3)
    titles = [line.partition(": ")[2].partition(": 20")[0] for line in stack.alerts]
    assert titles == ["worker has ended"] * 2 + ["URGENT: worker ends again and again"]
    assert "exit code 3" in stack.alerts[-1]


def test_signal_without_a_name_is_a_death_like_another(stack: CheapStack) -> None:
    """Most real-time signals have none."""
    child = Child("worker", ["sh", "-c", "kill -40 $$"], os.environ, None, stack.home)
    children.make_logs(stack.home)
    child.start()
    stack.wait(lambda: not child.alive)
    assert child.reason == "killed by signal 40"


def test_supervisor_that_ends_by_itself_tells_it_once(stack: CheapStack) -> None:
    """It ends its parts. The next one is told of no alert that a channel has taken."""
    note = stack.up()
    (stack.home / "stack.lock").unlink()
    stack.wait(lambda: not note.supervisor.alive)
    assert not stack.processes()
    stack.up()
    stack.wait(lambda: "its supervisor had ended" in "".join(stack.alerts))
    titles = [line.partition(": ")[2].partition(": 20")[0] for line in stack.alerts]
    assert titles == ["URGENT: its supervisor ends", "its supervisor had ended"]


def test_second_supervisor_of_a_home_gives_way(stack: CheapStack) -> None:
    """It touches nothing of the first one's."""
    note = stack.up()
    second = stack.begin()
    second.join(10)
    assert second.exitcode == 1
    assert stack.note == note
    assert len(stack.processes()) == 4


def test_two_who_bring_it_up_at_once_get_one_stack(stack: CheapStack) -> None:
    """One starts it, the other waits for it."""
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(bring, [stack, stack])
    assert first.note.supervisor == second.note.supervisor
    assert sorted((first.was_running, second.was_running)) == [False, True]
    assert end(stack)[0]


def test_up_waits_for_a_down_that_is_under_way(stack: CheapStack) -> None:
    """It does not take a stack that is ending for one that runs."""
    before = stack.up("stubborn")
    with ThreadPoolExecutor(1) as threads:
        ending = threads.submit(end, stack)
        stack.wait(lambda: stack.note is not None and stack.note.phase is Phase.ENDING)
        after = bring(stack)
        assert ending.result(20) == (True, ())
    assert not before.supervisor.alive
    assert after.note.is_up
    assert not after.was_running
    end(stack)


def test_supervisor_that_is_held_is_told_and_can_be_ended(stack: CheapStack) -> None:
    """SIGSTOP: `status` and `doctor` say so, `down` ends it all the same."""
    note = stack.up()
    os.kill(note.supervisor.pid, signal.SIGSTOP)
    stack.wait(lambda: note.supervisor.suspended)
    assert StackHealth(note, (), ()).faults == (
        f"supervisor (process {note.supervisor.pid}) is held by SIGSTOP",
    )
    assert end(stack) == (True, ())
    assert stack.is_gone()


def test_supervisor_that_is_killed_before_the_stack_is_up(stack: CheapStack) -> None:
    """What it had started is known already, and replaced."""
    stack.begin("silent")
    stack.wait(lambda: stack.note is not None and len(stack.processes()) == 1)
    stack.wait(lambda: any(part.alive for part in stack.note.parts))
    assert stack.note.phase is Phase.STARTING
    stack.kill_supervisor()
    assert [each.split()[0] for each in stack.up().replaced] == ["prefect-server"]


def test_down_ends_a_stack_that_is_still_starting(stack: CheapStack) -> None:
    """It does not wait until it is up."""
    stack.begin("silent")
    stack.wait(lambda: len(stack.processes()) == 1)
    assert end(stack)[0]
    assert stack.is_gone()


def test_down_ends_a_stack_that_has_not_noted_itself_yet(
    stack: CheapStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that still ends what a killed one left has the lock, and no note."""
    monkeypatch.setattr(leftovers, "_GRACE_SECONDS", 0.5)
    stack.up("stubborn")
    killed = stack.kill_supervisor()
    starting = stack.begin()

    def has_the_lock() -> bool:
        lock = FileLock(supervisor_lock(stack.home))
        free = lock.take()
        lock.close()
        return not free

    stack.wait(has_the_lock)
    assert stack.note == killed
    assert end(stack)[0]
    assert not starting.is_alive()
    assert stack.is_gone()


@pytest.mark.parametrize("damage", ["missing", "half"])
def test_parts_are_known_without_the_note(stack: CheapStack, damage: str) -> None:
    """A note that is gone or damaged stops neither `up` nor `down`. A command that would have
    followed it is refused rather than run in another environment.
    """
    stack.up()
    stack.kill_supervisor()
    text = state_file(stack.home).read_text()
    if damage == "missing":
        state_file(stack.home).unlink()
    else:
        state_file(stack.home).write_text(text[: len(text) // 2])
        with pytest.raises(UnreadableStackError, match="cannot be read"):
            follow_stack({"PENSTOCK_HOME": str(stack.home)})
    assert len(stack.up().replaced) == 2
    state_file(stack.home).write_text("{")
    stack.wait(lambda: stack.note is not None)  # its supervisor writes it anew
    stack.kill_supervisor()
    state_file(stack.home).unlink()
    assert len(end(stack)[1]) == 2
    assert stack.is_gone()


def test_process_with_the_pid_of_a_part_is_another(stack: CheapStack) -> None:
    """A pid that is used again is not ended, nor what ran before the machine was restarted."""
    other = subprocess.Popen(["sleep", "100"])
    try:
        found = Identity.of(other.pid)
        assert found is not None
        note = stack.up()
        stack.kill_supervisor()
        for part in [part for part in note.parts if part.process]:
            os.kill(part.process.pid, signal.SIGKILL)
        for stranger in (
            replace(found, started=f"{found.started}0"),
            replace(found, started=f"another-boot:{found.started.partition(':')[2]}"),
        ):
            parts = tuple(replace(part, process=stranger) for part in note.parts)
            write_stack(replace(note, parts=parts, supervisor=stranger), stack.home)
            end(stack)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_copy_of_a_home_is_not_the_homes_stack(stack: CheapStack) -> None:
    """`down` beside a copy of the note leaves the original alone."""
    note = stack.up()
    copy = CheapStack(Path(shutil.copytree(stack.home, stack.home.with_name("copy"))), stack.port)
    assert read_stack(copy.home) is None
    assert end(copy) == (False, ())
    assert note.is_up


def test_home_that_is_moved_takes_its_stack_along(stack: CheapStack) -> None:
    """The supervisor ends its parts and says so; what it cannot reach `down` ends from the new
    place.
    """
    note = stack.up()
    moved = stack.home.rename(stack.home.with_name("moved"))
    stack.wait(lambda: not note.supervisor.alive)
    assert not stack.processes()
    found = read_stack(moved)
    assert found is not None
    assert (found.home, found.supervised) == (stack.home, False)


def test_full_disk_ends_nothing(stack: CheapStack) -> None:
    """Neither the note nor a log can be written: dead parts come back all the same."""
    note = stack.up()
    pid, kind = note.supervisor.pid, resource.RLIMIT_FSIZE
    hard = resource.prlimit(pid, kind)[1]
    resource.prlimit(pid, kind, (0, hard))  # not a byte can be written into a file
    (old,) = (part.process for part in note.parts if part.name == "worker")
    os.kill(old.pid, signal.SIGKILL)
    first = {process.pid for process in stack.processes()}
    stack.wait(lambda: len({process.pid for process in stack.processes()} - first) == 2)
    assert note.supervisor.alive
    resource.prlimit(pid, kind, (hard, hard))
    stack.wait(lambda: any(part.deaths for part in stack.note.parts))
    # no channel could take it either: it waits in the note
    assert any("its note cannot be written" in alert.title for alert in stack.note.unsent)


def test_alert_that_no_channel_took_is_the_next_supervisors(stack: CheapStack) -> None:
    """It is in the note until then."""
    (stack.home / "refuse").touch()
    stack.up()
    stack.database.stop()
    stack.wait(lambda: bool(stack.note.unsent))
    stack.kill_supervisor()
    (stack.home / "refuse").unlink()
    stack.up()
    stack.wait(lambda: len(stack.alerts) == 2)
    assert "database has ended" in stack.alerts[0]
    stack.wait(lambda: not stack.note.unsent)


def test_port_of_a_foreign_program_is_named_with_its_process(stack: CheapStack) -> None:
    """Of a stack of another home the home is said."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", stack.port))
        listener.listen()
        with pytest.raises(StackError, match=rf"taken by process {os.getpid()} \("):
            require_free(stack.port, "the Prefect server", "--prefect-port")
    # what a program was given on its command line may be a password
    command = [sys.executable, "-I", "-S", "-c", _LISTENER, str(stack.port), "--key=s3cret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StackError) as taken:
            require_free(stack.port, "the Prefect server", "--prefect-port")
        other.kill()
    assert f"taken by process {other.pid} ({sys.executable}): stop it" in str(taken.value)
    stack.up()
    with pytest.raises(StackError, match=f"the prefect-server of the stack .* {stack.home}"):
        require_free(stack.port, "the Prefect server", "--prefect-port")
