"""What the kill switch file may ask for besides stopping."""

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from penstock.core.clock import SteppedClock
from penstock.core.halts import Halt, TradingState
from penstock.core.orders import Side
from penstock.execution.kill_switch import KillSwitch
from penstock.ports import ControlStore
from penstock.risk.rules import halted

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
    ],
)
def test_file_may_ask_to_cancel_and_to_flatten(
    text: str, state: TradingState, cancel: bool, flatten: bool, reason: str, tmp_path: Path
) -> None:
    """The word after the state says what else is wanted; the rest is the reason."""
    file = tmp_path / "HALT"
    file.write_text(text)
    halt = KillSwitch(
        "main", cast(ControlStore, NeverHalted()), file, clock=SteppedClock(NOW)
    ).read()
    assert (halt.state, halt.cancel, halt.flatten, halt.reason) == (state, cancel, flatten, reason)


def test_halt_that_flattens_lets_sells_pass_and_no_buy() -> None:
    """An account is closed by selling: that must get through its own halt."""
    halt = Halt(
        "main", TradingState.HALTED, "drill", "ada", datetime(2024, 3, 1, tzinfo=UTC), flatten=True
    )
    assert halted(halt, Side.BUY)
    assert not halted(halt, Side.SELL)
    assert halted(Halt("main", TradingState.HALTED, "drill", "ada", halt.at), Side.SELL)
