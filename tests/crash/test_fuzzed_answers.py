"""Venue answers that are damaged, by seed: a field that is absent, null, empty or of a wrong type,
an answer that is cut off, replaced, lost, or another code. Each trial is a slot at one of the four
venue families, of which a constructed venue knows the truth.

A slice is part of the ordinary tests; `pytest -m soak tests/crash/test_fuzzed_answers.py -s` makes
5,000 trials per family, one family per test: `-k kraken` makes one. PENSTOCK_FUZZ_TRIALS and
PENSTOCK_FUZZ_SEED change number and seed. A fault names its trial, which
PENSTOCK_FUZZ_ONLY repeats alone.
"""

import os
import time
from collections import Counter

import pytest

from tests.crash.fuzzed_slots import FAULTS, WIRES, Family
from tests.crash.venue_wires import Call

pytestmark = pytest.mark.slow

SLICE = 25
TRIALS = int(os.environ.get("PENSTOCK_FUZZ_TRIALS", "5000"))
SEED = os.environ.get("PENSTOCK_FUZZ_SEED", "20261128")
ONLY = os.environ.get("PENSTOCK_FUZZ_ONLY")


def fuzz(name: str, trials: int) -> Counter[Call]:
    """Make the trials of a family and print what came of them; return the changed answers."""
    started, family = time.monotonic(), Family(name)
    changed: Counter[Call] = Counter()
    stopped, found = 0, dict.fromkeys(FAULTS, 0)
    first = ""
    for number in [int(ONLY)] if ONLY else range(trials):
        trial = family.trial(f"{SEED} {number}")
        trial.run()
        stopped += bool(trial.raised)
        for strike in trial.strikes:
            changed[strike.call] += strike.struck
        for kind, what in trial.faults().items():
            found[kind] += 1
            first = first or f"trial {number} ({trial.scene}, {trial.strikes}): {kind}: {what}"
    by_call = ", ".join(f"{call} {changed[call]:,}" for call in Call)
    counts = ", ".join(f"{count} {kind}" for kind, count in found.items())
    print(
        f"\nfuzz of {name}: {trials:,} slots (seed {SEED}), {changed.total():,} changed answers "
        f"({by_call}): {counts}; {stopped:,} runs stopped and went on later, "
        f"{time.monotonic() - started:.0f} s"
    )
    assert not any(found.values()), first
    return changed


@pytest.mark.parametrize("name", WIRES)
def test_damaged_answers_lead_to_nothing_wrong(name: str) -> None:
    """No order is called rejected that the venue has, none leaves twice, nothing foreign is raised,
    and equity moves by nothing that was not understood.
    """
    assert fuzz(name, SLICE).total() >= SLICE


@pytest.mark.soak
@pytest.mark.parametrize("name", WIRES)
def test_thousands_of_damaged_answers_lead_to_nothing_wrong(name: str) -> None:
    """The same at length: at least 5,000 changed answers, and every kind of call among them."""
    changed = fuzz(name, TRIALS)
    if not ONLY:
        assert changed.total() >= TRIALS
        assert all(changed[call] for call in Call), changed
