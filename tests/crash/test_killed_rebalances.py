"""The crash matrix. A rebalance of eight symbols is killed around every durable write and every
request, and run once more.

A slice is part of the ordinary tests. `pytest -m soak tests/crash -s` kills at every boundary of
several seeds, a thousand times at least. PENSTOCK_CRASH_KILLS and PENSTOCK_CRASH_SEED change number
and place. Each run prints one line of figures.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.crash.conftest import Scenario, Stage

SLICE = 10
KILLS = int(os.environ.get("PENSTOCK_CRASH_KILLS", "1000"))
SEED = int(os.environ.get("PENSTOCK_CRASH_SEED", "20240301"))
#: A third run, which must find nothing to do, after every so many kills.
THIRD_RUN_EVERY = 10


def boundaries_of(stage: Stage, scene: Scenario, account: str) -> list[str]:
    """Return the boundaries that an undisturbed rebalance crosses, which must itself come out
    whole.
    """
    stage.open(account, scene)
    report = stage.run(account, scene)
    assert report.get("status") == "done", report
    assert report["sent"] == 8, report
    assert stage.inspect(account, scene).is_whole, stage.inspect(account, scene)
    names: list[str] = report["boundaries"]
    return names


def kill_and_mend(
    stage: Stage, scene: Scenario, account: str, point: int, third_run: bool
) -> tuple[Any, str]:
    """Kill one rebalance at the boundary and run it once more. Return what is left and what went
    wrong (or nothing).
    """
    stage.open(account, scene)
    killed = stage.run(account, scene, strike_at=point)
    if not killed["killed"]:
        return None, f"not killed: {killed}"
    stage.let_lease_run_out(account)
    mended = stage.run(account, scene, version="trend/2")
    # before the books are looked at: what it moved would show there
    again = stage.offer_again(account)
    whole = stage.inspect(account, scene)
    if again:
        return whole, f"{again} fills were taken once more"
    if mended.get("status") != "done" or mended["breaks"]:
        return (
            whole,
            (
                f"the run after it: {mended.get('error') or mended.get('status')} "
                f"{mended.get('reason')}"
            ),
        )
    if third_run:
        third = stage.run(account, scene)
        if not third.get("already_done") or third["sent"]:
            return whole, f"the third run: {third}"
    return whole, "" if whole.is_whole else str(whole)


def run_matrix(
    stage: Stage, make_scenario: Callable[[int], Scenario], kills: int, seeds: list[int]
) -> None:
    """Kill `kills` times, at boundaries spread over all of each seed's. Require that every slot was
    recovered.
    """
    started, found, wrong, points = time.monotonic(), Counter[str](), [], 0
    for seed, share in zip(seeds, _shares(kills, len(seeds)), strict=True):
        scene = make_scenario(seed)
        names = boundaries_of(stage, scene, f"undisturbed-{seed}-{kills}")
        chosen = sorted(
            random.Random(seed).sample(range(1, len(names) + 1), min(share, len(names)))
        )
        points = max(points, len(names))
        for number, point in enumerate(chosen):
            account = f"killed-{seed}-{kills}-{point}"
            whole, failure = kill_and_mend(
                stage, scene, account, point, number % THIRD_RUN_EVERY == 0
            )
            found["kills"] += whole is not None
            if whole is not None:
                found.update(duplicates=whole.duplicates, lost=whole.lost, doubled=whole.doubled)
                found.update(equal=not whole.differing, reached=whole.reached)
            if failure:
                wrong.append(
                    f"seed {seed}, {names[point - 1]} (boundary {point} of {len(names)}): {failure}"
                )
    print(
        f"\ncrash matrix: {found['kills']} kills, {points} points, {len(seeds)} seeds "
        f"({seeds[0]}..{seeds[-1]}): {found['duplicates']} duplicate orders at the venue, "
        f"{found['lost']} lost and {found['doubled']} doubled fills, "
        f"ledger = venue = sum of fills {found['equal']}/{found['kills']}, "
        f"targets reached {found['reached']}/{found['kills']}, {time.monotonic() - started:.0f} s"
    )
    assert not wrong, f"{len(wrong)} of {found['kills']}:\n" + "\n".join(wrong[:20])


def _shares(kills: int, seeds: int) -> list[int]:
    return [kills // seeds + (n < kills % seeds) for n in range(seeds)]


def test_slot_killed_anywhere_is_mended_by_one_more_run(
    stage: Stage, make_scenario: Callable[[int], Scenario]
) -> None:
    """A slice of the matrix. No order is sent twice and no fill is lost or doubled. Books are equal
    to the last digit, and targets are reached.
    """
    run_matrix(stage, make_scenario, SLICE, [SEED, SEED + 1])


@pytest.mark.soak
def test_slot_killed_at_every_boundary_is_mended_by_one_more_run(
    stage: Stage, make_scenario: Callable[[int], Scenario]
) -> None:
    """The whole matrix: every boundary of as many seeds as the kills asked for need."""
    boundaries = len(boundaries_of(stage, make_scenario(SEED), "measured"))
    seeds = -(-KILLS // boundaries)
    run_matrix(
        stage, make_scenario, max(KILLS, seeds * boundaries), [SEED + n for n in range(seeds)]
    )


def test_two_kills_in_a_row_are_mended(
    stage: Stage, make_scenario: Callable[[int], Scenario]
) -> None:
    """The recovering run is killed too, in its middle. The third run recovers both."""
    scene = make_scenario(SEED)
    names = boundaries_of(stage, scene, "undisturbed-twice")
    submits = [n for n, name in enumerate(names, start=1) if name == "after POST /api/v3/order"]
    account = "killed-twice"
    stage.open(account, scene)
    assert stage.run(account, scene, strike_at=submits[1])["killed"]
    stage.let_lease_run_out(account)
    assert stage.run(account, scene, strike_at=submits[1])["killed"]
    stage.let_lease_run_out(account)
    mended = stage.run(account, scene)
    assert mended.get("status") == "done", mended
    assert stage.inspect(account, scene).is_whole
