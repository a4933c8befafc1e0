"""The kill switch: the strictest of file and database, and closed where it cannot know."""

import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.errors import StoreError
from penstock.core.halts import Halt, TradingState
from penstock.core.machine import SYSTEM_CLOCK, THREADS
from penstock.execution.kill_switch import KillSwitch, SwitchWatch
from penstock.ports import HaltStore

NOW = datetime(2025, 6, 1, tzinfo=UTC)


class StateOnly:
    """The one question of HaltStore that the switch asks."""

    def __init__(self, answer: Callable[[], TradingState]) -> None:
        self._answer = answer

    def trading_state(self, account: str) -> Halt:
        return Halt(account, self._answer(), "by row", "database", datetime(2024, 1, 1, tzinfo=UTC))


def switch(state: TradingState, file: Path | None = None) -> KillSwitch:
    return KillSwitch(
        "main", cast(HaltStore, StateOnly(lambda: state)), file, clock=SteppedClock(NOW)
    )


@pytest.mark.parametrize("state", list(TradingState))
def test_database_state_counts_where_there_is_no_file(state: TradingState, tmp_path: Path) -> None:
    """Without a file the database decides."""
    assert switch(state, tmp_path / "KILL").read().state is state


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("", TradingState.HALTED),
        ("halted venue is odd", TradingState.HALTED),
        ("reduce_only end of month", TradingState.REDUCE_ONLY),
        ("anything else", TradingState.HALTED),
        ("active", TradingState.HALTED),
    ],
)
def test_file_halts_by_being_there(text: str, state: TradingState, tmp_path: Path) -> None:
    """Any file halts but one that says reduce_only; it can never loosen."""
    file = tmp_path / "KILL"
    file.write_text(text)
    assert switch(TradingState.ACTIVE, file).read().state is state


def test_database_halt_is_not_loosened_by_a_reduce_only_file(tmp_path: Path) -> None:
    """The strictest of both is in force."""
    file = tmp_path / "KILL"
    file.write_text("reduce_only")
    assert switch(TradingState.HALTED, file).read().state is TradingState.HALTED


def test_state_that_cannot_be_read_is_a_halt() -> None:
    """A database that does not answer stops orders; it does not let them pass."""

    def fail() -> TradingState:
        raise StoreError("the database cannot be reached")

    halt = KillSwitch("main", cast(HaltStore, StateOnly(fail)), clock=SteppedClock(NOW)).read()
    assert halt.state is TradingState.HALTED
    assert "cannot be reached" in halt.reason


def test_order_to_get_out_stands_in_the_file_while_the_database_is_away(tmp_path: Path) -> None:
    """A state that cannot be read is a plain halt: it does not hide what the file asks for."""

    def fail() -> TradingState:
        raise StoreError("the database cannot be reached")

    file = tmp_path / "HALT"
    file.write_text("flatten venue is odd")
    halt = KillSwitch(
        "main", cast(HaltStore, StateOnly(fail)), file, clock=SteppedClock(NOW)
    ).read()
    assert (halt.state, halt.flatten) == (TradingState.HALTED, True)
    assert "venue is odd" in halt.reason
    assert "cannot be reached" in halt.reason


def test_unreadable_file_is_a_halt(tmp_path: Path) -> None:
    """A kill switch file that cannot be read (here: a folder) halts."""
    assert switch(TradingState.ACTIVE, tmp_path).read().state is TradingState.HALTED


def test_watch_asks_again_once_its_word_is_too_old() -> None:
    """Looks that follow one another share one reading. After its age the switch is read again; with
    an age of zero it is read each time.
    """
    states = iter([TradingState.ACTIVE, TradingState.HALTED, TradingState.REDUCE_ONLY])
    clock = SteppedClock(NOW)
    source = KillSwitch("main", cast(HaltStore, StateOnly(lambda: next(states))), clock=clock)
    watch = SwitchWatch(source, 0.2)
    assert [watch.look().state for _ in range(3)] == [TradingState.ACTIVE] * 3
    clock.sleep(0.2)
    assert watch.look().state is TradingState.HALTED
    assert SwitchWatch(source, 0).look().state is TradingState.REDUCE_ONLY


def test_what_was_read_now_is_what_a_look_returns() -> None:
    """A run that has just set the state itself reads it. No older state is believed after that."""
    states = iter([TradingState.ACTIVE, TradingState.HALTED])
    source = KillSwitch(
        "main", cast(HaltStore, StateOnly(lambda: next(states))), clock=SteppedClock(NOW)
    )
    watch = SwitchWatch(source, 0.2)
    assert watch.look().state is TradingState.ACTIVE
    assert watch.read().state is TradingState.HALTED
    assert watch.look().state is TradingState.HALTED


def test_senders_that_look_at_once_share_one_reading() -> None:
    """Four senders begin together: one of them reads the switch, and the others wait for it."""
    begin, reads = threading.Barrier(4), []

    def state() -> TradingState:
        reads.append(TradingState.HALTED)
        time.sleep(0.05)  # as long as a busy database takes
        return TradingState.HALTED

    source = KillSwitch("main", cast(HaltStore, StateOnly(state)), clock=SYSTEM_CLOCK)
    watch = SwitchWatch(source, 10)

    def look(_: int) -> TradingState:
        begin.wait()
        return watch.look().state

    seen = THREADS.map(look, range(4), at_once=4, name="sender")
    assert seen == [TradingState.HALTED] * 4
    assert len(reads) == 1


def test_elapsed_seconds_go_on_while_the_machine_is_suspended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Elapsed time is not measured on the clock that stands still during a suspension."""
    if sys.platform != "linux":
        pytest.skip("only Linux has a clock that is known to count the sleep")
    frozen = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: frozen)
    before = SYSTEM_CLOCK.elapsed_seconds()
    time.sleep(0.001)
    assert SYSTEM_CLOCK.elapsed_seconds() > before
