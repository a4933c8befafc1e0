"""What the clock, the id source and the task runner promise. The real ones and those of a
simulation are held to it alike.
"""

import os
import pwd
import signal
import threading
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import pytest

from penstock.core.clock import MachineClock, SteppedClock
from penstock.core.executor import InlineRunner
from penstock.core.ids import CountedIds, IdSource
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK, THREADS, new_secret, user_name
from penstock.ports import TaskRunner

START = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture(params=["system", "stepped"])
def clock(request: pytest.FixtureRequest) -> MachineClock:
    return SYSTEM_CLOCK if request.param == "system" else SteppedClock(START)


@pytest.fixture(params=["random", "counted"])
def ids(request: pytest.FixtureRequest) -> IdSource:
    return RANDOM_IDS if request.param == "random" else CountedIds()


@pytest.fixture(params=["threads", "in-line"])
def runner(request: pytest.FixtureRequest) -> TaskRunner:
    return THREADS if request.param == "threads" else InlineRunner()


def test_sleep_moves_the_instant_and_what_elapsed_alike(clock: MachineClock) -> None:
    """Twenty milliseconds of sleep are at least so much by both measures."""
    instant, elapsed = clock.now(), clock.elapsed_seconds()
    clock.sleep(0.02)
    assert clock.elapsed_seconds() - elapsed >= 0.02
    assert clock.now() - instant >= timedelta(milliseconds=19)
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_sleep_of_nothing_returns_at_once(clock: MachineClock, seconds: float) -> None:
    """What is past needs no waiting, and no clock goes back."""
    elapsed = clock.elapsed_seconds()
    clock.sleep(seconds)
    assert 0 <= clock.elapsed_seconds() - elapsed < 1


def test_names_are_used_once(ids: IdSource) -> None:
    """A thousand names differ, also in their last eight digits, which identify the holder of a
    lease.
    """
    names = [ids.new_id() for _ in range(1000)]
    assert len({name[-8:] for name in names}) == 1000
    assert {len(name) for name in names} == {32}
    assert all(int(name, 16) for name in names)
    assert ids.process_name() == ids.process_name() != ""


def test_secrets_are_as_long_as_asked_and_never_the_same() -> None:
    """Sixteen bytes are 32 digits."""
    assert len(new_secret(16)) == 32
    assert new_secret(16) != new_secret(16)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_results_come_in_the_order_of_the_items(runner: TaskRunner, at_once: int) -> None:
    """However many run at a time, and with nothing to run there is nothing."""
    assert runner.map(lambda n: n * n, range(20), at_once=at_once, name="squares") == [
        n * n for n in range(20)
    ]
    assert runner.map(str, [], at_once=at_once, name="nothing") == []


@pytest.mark.parametrize("at_once", [1, 2])
def test_first_error_is_raised_and_what_had_not_begun_is_left_out(
    runner: TaskRunner, at_once: int
) -> None:
    """The second of many fails: it is raised, and at most the few that were under way were run."""
    begun: list[int] = []

    def work(n: int) -> int:
        begun.append(n)
        if n == 1:
            raise ValueError("the second")
        SYSTEM_CLOCK.sleep(0.01)
        return n

    with pytest.raises(ValueError, match="the second"):
        runner.map(work, range(100), at_once=at_once, name="failing")
    assert len(begun) < 50


def test_started_work_ends_and_can_be_waited_for(runner: TaskRunner) -> None:
    """`wait` says whether the work has ended."""
    done = threading.Event()
    task = runner.start(done.set, name="background")
    assert task.wait(5)
    assert done.is_set()


def test_work_on_a_thread_is_not_waited_for_longer_than_asked() -> None:
    """A channel that hangs holds nobody up: `wait` returns False, and True once it is let go."""
    let_go = threading.Event()
    task = THREADS.start(lambda: (let_go.wait(5), None)[1], name="hangs")
    assert not task.wait(0.01)
    let_go.set()
    assert task.wait(5)


def test_user_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container runs as a user number that no file names: halts and slots still say who asks."""

    def nameless(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nameless)
    assert user_name() == f"uid {os.getuid()}"


def test_work_sees_the_context_of_whoever_gave_it(runner: TaskRunner) -> None:
    """A value that the caller bound, such as the ids in log lines, holds on every thread."""
    bound: ContextVar[str] = ContextVar("bound", default="nothing")
    bound.set("the slot")

    def work(item: str) -> str:
        return bound.get()

    assert runner.map(work, ["a", "b", "c"], at_once=2, name="test") == ["the slot"] * 3
    seen: list[str] = []
    assert runner.start(lambda: seen.append(bound.get()), name="test").wait(10)
    assert seen == ["the slot"]


def test_caller_that_is_interrupted_waits_for_what_is_under_way() -> None:
    """Nothing more begins, and the interruption is raised once no work runs."""
    begun: list[int] = []
    ended: list[int] = []

    def work(n: int) -> None:
        begun.append(n)
        if n == 1:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        SYSTEM_CLOCK.sleep(0.05)
        ended.append(n)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a server may have its own
    try:
        with pytest.raises(KeyboardInterrupt):
            THREADS.map(work, range(100), at_once=2, name="interrupted")
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 50
