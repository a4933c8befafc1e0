"""`penstock venue certify` as a user runs it."""

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from penstock.execution.certification.recording import read_recording
from penstock.pipeline.halts import halt_trading
from penstock.practice.faults import Fault, FaultKind
from penstock.testing.recorded_venue import replay
from tests.integration.pipeline.conftest import (
    ACTOR,
    ROOT,
    Place,
    clean_environment,
    penstock,
    said,
)

CASH = {"USDT": Decimal(100_000)}


def test_venue_is_certified_by_a_command(place: Place, tmp_path: Path) -> None:
    """Each step is shown, the file is written and replays, and nothing is left but a fee."""
    file = tmp_path / "practice.json"
    text = said(place, "venue", "certify", "--record", str(file))
    assert "lose an answer: as expected" in text
    assert "binance (practice network) answered as expected: 14 steps" in text
    assert "nothing is left open" in text
    recording = read_recording(file)
    script, answers = replay(recording)
    assert script.steps == list(recording.steps)
    assert not answers.unasked
    keys = [value for name, value in place.environment.items() if "PRACTICE_DAILY" in name]
    assert len(keys) == 2
    assert not any(key in file.read_text() for key in keys)
    key = place.environment["PENSTOCK_PRACTICE_DAILY_KEY"]
    held = place.control.balances(key)
    assert CASH["USDT"] - held["USDT"] < 1
    assert held.get("BTC", Decimal(0)) < Decimal("0.0001")


@pytest.mark.parametrize(
    ("env", "options", "sentence"),
    [
        ("real", (), "orders there cost real money; use PENSTOCK_ENV=testnet, or allow it with"),
        ("real", ("--real-network",), "would trade real money: it needs 'live: true'"),
        ("paper", (), "no venue to certify; set PENSTOCK_ENV to an environment with"),
        ("practice", ("--most", "0"), "an order may cost more than zero"),
        ("practice", ("--venue", "kraken"), "is at binance, not at 'kraken'"),
    ],
)
def test_what_may_not_be_certified_is_refused_before_anything_is_sent(
    place: Place, tmp_path: Path, env: str, options: tuple[str, ...], sentence: str
) -> None:
    """One clear sentence, no order and no file."""
    place.environment = {
        **place.environment,
        "PENSTOCK_ENV": env,
        "BINANCE_KEY": "k",
        "BINANCE_SECRET": "s",
    }
    file = tmp_path / "never.json"
    done = penstock(place, "venue", "certify", "--record", str(file), *options)
    assert (done.returncode, sentence in done.stderr) == (1, True), done.stdout + done.stderr
    assert not file.exists()
    assert place.control.stats()["orders"] == 0


@pytest.mark.parametrize("by_file", [True, False])
def test_halted_account_is_not_certified(place: Place, tmp_path: Path, by_file: bool) -> None:
    """The kill switch file and the account's trading state stop it before anything is sent."""
    if by_file:
        place.platform.kill_switch_file.write_text("venue is odd")
    else:
        halt_trading(place.platform, ACTOR, "daily", "venue is odd")
    file = tmp_path / "never.json"
    done = penstock(place, "venue", "certify", "--record", str(file))
    assert (done.returncode, "the kill switch is set: venue is odd" in done.stderr) == (1, True)
    assert not file.exists()
    assert place.control.stats()["orders"] == 0


@pytest.mark.parametrize(("nth", "orders", "last"), [(3, 1, "look up"), (4, 4, "sell")])
def test_terminated_command_leaves_nothing_open_and_writes_its_file(
    place: Place, tmp_path: Path, nth: int, orders: int, last: str
) -> None:
    """SIGTERM while an order rests, or during the end: nothing is open afterwards, and the file
    says how far it came.
    """
    file = tmp_path / "terminated.json"
    place.control.arm(Fault(kind=FaultKind.SLOW, path="/api/v3/openOrders", nth=(nth,), seconds=8))
    command = [sys.executable, "-m", "penstock", "venue", "certify", "--record", str(file)]
    environment = {**clean_environment(), **place.environment}
    with subprocess.Popen(command, env=environment, cwd=ROOT) as running:
        end = time.monotonic() + 60
        while not place.control.faults()[0]["struck"] and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(60) == 130
    assert place.control.stats()["orders"] == orders
    recording = read_recording(file)
    assert [step.name for step in recording.steps][-1] == last
    assert not recording.left
    assert not place.platform.exchange("daily").open_orders()
