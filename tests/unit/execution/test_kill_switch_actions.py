"""What the kill switch file may ask for beside a halt."""

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.halts import Halt, TradingState
from penstock.execution.kill_switch import KillSwitch
from penstock.ports import HaltStore

KNOWN = "halted, reduce_only, cancel, flatten"
NOW = datetime(2025, 6, 1, tzinfo=UTC)


class NeverHalted:
    def trading_state(self, account: str) -> Halt:
        return Halt(account, TradingState.ACTIVE, "", "", datetime(2024, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "state", "cancel", "flatten", "reason"),
    [
        ("halted cancel: venue is odd", TradingState.HALTED, True, False, "venue is odd"),
        ("flatten get out", TradingState.HALTED, True, True, "get out"),
        ("reduce_only cancel", TradingState.REDUCE_ONLY, True, False, "reduce_only cancel"),
        (
            "halted because of the flatten drill",
            TradingState.HALTED,
            False,
            False,
            "because of the flatten drill",
        ),
        ("FLATTEN", TradingState.HALTED, True, True, "FLATTEN"),
        ('"Flatten"\n', TradingState.HALTED, True, True, '"Flatten"'),
        ("\ufeffReduce-Only, Cancel", TradingState.REDUCE_ONLY, True, False, "Reduce-Only, Cancel"),
    ],
)
def test_file_may_ask_to_cancel_and_to_flatten(
    text: str, state: TradingState, cancel: bool, flatten: bool, reason: str, tmp_path: Path
) -> None:
    """The words after the state name further actions. The rest is the reason."""
    file = tmp_path / "HALT"
    file.write_text(text)
    halt = KillSwitch("main", cast(HaltStore, NeverHalted()), file, clock=SteppedClock(NOW)).read()
    assert (halt.state, halt.cancel, halt.flatten, halt.reason) == (state, cancel, flatten, reason)


@pytest.mark.parametrize(
    ("text", "word"),
    [("sell everything", "sell"), ("flaten", "flaten"), ("halted flaten: venue is odd", "flaten")],
)
def test_word_that_is_not_understood_halts_and_is_named(
    text: str, word: str, tmp_path: Path
) -> None:
    """Whoever meant to flatten reads that nothing is sold."""
    file = tmp_path / "HALT"
    file.write_text(text)
    halt = KillSwitch("main", cast(HaltStore, NeverHalted()), file, clock=SteppedClock(NOW)).read()
    assert (halt.state, halt.cancel, halt.flatten) == (TradingState.HALTED, False, False)
    assert halt.reason.endswith(f"('{word}' asks for nothing: known are {KNOWN})")


@pytest.mark.parametrize("text", ["", "halted venue is odd", "reduce_only end of month", "cancel"])
def test_file_whose_words_are_understood_names_none(text: str, tmp_path: Path) -> None:
    """A reason after a state is free."""
    file = tmp_path / "HALT"
    file.write_text(text)
    halt = KillSwitch("main", cast(HaltStore, NeverHalted()), file, clock=SteppedClock(NOW)).read()
    assert "asks for nothing" not in halt.reason


@pytest.mark.parametrize(
    ("state", "flatten", "reducing", "other"),
    [
        (TradingState.ACTIVE, False, False, False),
        (TradingState.ACTIVE, True, False, False),
        (TradingState.REDUCE_ONLY, False, False, True),
        (TradingState.REDUCE_ONLY, True, False, True),
        (TradingState.HALTED, False, True, True),
        (TradingState.HALTED, True, False, True),
    ],
)
def test_state_forbids_by_whether_an_order_reduces(
    state: TradingState, flatten: bool, reducing: bool, other: bool
) -> None:
    """An account is closed by what reduces: that must get through its own halt."""
    at = datetime(2024, 3, 1, tzinfo=UTC)
    halt = Halt("main", state, "drill", "ada", at, flatten=flatten)
    assert halt.forbids(reduces=True) is reducing
    assert halt.forbids(reduces=False) is other
