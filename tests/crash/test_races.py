"""Several processes on one slot of one account, and processes that sleep through their lease.

`pytest -m soak tests/crash -s` runs 200 races and a stop at every boundary; PENSTOCK_RACES and
PENSTOCK_RACE_SEED change that.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.crash.conftest import Scenario, Stage

SLICE = 5
RACES = int(os.environ.get("PENSTOCK_RACES", "200"))
SEED = int(os.environ.get("PENSTOCK_RACE_SEED", "20240302"))
#: A sleeper's own clock says that its lease is alive: only the database can refuse it.
LONG_LEASE = {
    "visibility_delay_seconds": 0.2,
    "poll_seconds": 0.05,
    "lease_wait_seconds": 0,
    "lease_ttl_seconds": 600,
}
#: Between its intents and its requests a process writes nothing that could be refused: there it
#: must notice by itself.
SHORT_LEASE = {**LONG_LEASE, "lease_ttl_seconds": 2}
#: The other process asks for lost orders as long as it does by default, in the venue's time.
PATIENT = {"lease_wait_seconds": 0, "poll_seconds": 1, "max_lateness_seconds": 1e6}
#: For how long the venue takes a request after its timestamp; ten seconds by default.
RECEIVE_WINDOW_MS = 2000
#: Who sleeps inside a transaction holds its locks until the server ends it; by default after two
#: minutes.
SHORT_TRANSACTIONS = "?options=" + quote(
    "-c timezone=UTC -c lock_timeout=30s -c idle_in_transaction_session_timeout=2s"
)


_POST = "before POST /api/v3/order"
_REFUSALS = {
    "StaleLeaseError": "stale token refused",
    "StoreUnavailableError": "transaction ended by the server",
}


def race(
    stage: Stage, scene: Scenario, account: str, workers: int, patient: bool
) -> tuple[Any, Counter[str]]:
    """Let the workers begin the slot at one moment; return what is left and how each ended."""
    stage.open(account, scene)
    policy = {**LONG_LEASE, "lease_wait_seconds": 60 if patient else 0}
    racers = stage.start([stage.trial(account, scene, policy=policy) for _ in range(workers)])
    ends: Counter[str] = Counter()
    for racer in racers:
        end = stage.wait(racer)
        ends[_end(end)] += 1
    return stage.inspect(account, scene), ends


def _end(end: dict[str, Any]) -> str:
    if "error" in end:
        return str(end["error"])
    if end["sent"]:
        return "traded"
    return (
        "found it done"
        if end["already_done"]
        else "found the account taken"
        if end["status"] is None
        else str(end)
    )


def run_races(stage: Stage, make_scenario: Callable[[int], Scenario], trials: int) -> None:
    started, chance, wrong, processes = time.monotonic(), random.Random(SEED), [], 0
    sets, duplicates = 0, 0
    for number in range(trials):
        scene, workers, patient = (
            make_scenario(SEED + number),
            chance.randint(2, 8),
            chance.random() < 0.25,
        )
        whole, ends = race(stage, scene, f"race-{trials}-{number}", workers, patient)
        processes += workers
        sets, duplicates = sets + ends["traded"], duplicates + whole.duplicates
        others = ends["found it done"] + (0 if patient else ends["found the account taken"])
        if not whole.is_whole or ends["traded"] != 1 or others != workers - 1:
            wrong.append(f"race {number} of {workers}: {dict(ends)}, {whole}")
    print(
        f"\nraces: {trials} slots, {processes} processes (2 to 8 a slot, seed {SEED}): "
        f"{sets} order sets, {duplicates} duplicate orders at the venue, "
        f"{time.monotonic() - started:.0f} s"
    )
    assert not wrong, "\n".join(wrong[:20])


def sleep_through(
    stage: Stage, scene: Scenario, account: str, point: int, about_to_send: bool
) -> tuple[Any, str, str]:
    """Stop a process at the boundary until another has done its slot. Return what is left, how it
    ended, what went wrong.
    """
    stage.open(account, scene)
    database = stage.database_url + SHORT_TRANSACTIONS
    policy = SHORT_LEASE if about_to_send else LONG_LEASE
    asleep = stage.trial(
        account, scene, strike_at=point, stop=True, policy=policy, database=database
    )
    sleeper = stage.start([asleep | {"receive_window_ms": RECEIVE_WINDOW_MS}])[0]
    state = stage.wait(sleeper)
    if not state["stopped"]:
        return None, "", f"not stopped: {state}"
    # only time itself can refuse what needs no write: the lease's, and the request's
    if about_to_send:
        time.sleep(max(SHORT_LEASE["lease_ttl_seconds"], RECEIVE_WINDOW_MS / 1000))
    else:
        stage.let_lease_run_out(account)
    other = stage.run(account, scene, policy=PATIENT, steps_clock=True)
    left = stage.rows(account)
    stage.resume(sleeper)
    end = _end(stage.wait(sleeper))
    failure = "" if other.get("status") == "done" else f"the other process: {other}"
    written = [name for name, rows in stage.rows(account).items() if rows != left[name]]
    failure += f"the awoken one wrote {written}" if written else ""
    return stage.inspect(account, scene), end, failure


def sends_next(boundaries: list[str], point: int) -> bool:
    """Return whether an order leaves after this boundary before anything is written."""
    following = (
        name
        for name in boundaries[point - 1 :]
        if name == _POST or name.startswith("before commit")
    )
    return next(following, "") == _POST


def refused(boundaries: list[str], point: int, end: str) -> bool:
    """Return whether the sleeper was refused: by the database where its own clock called the lease
    alive.

    That nothing stands twice is not enough: without any fence most sleepers would still find
    nothing left to do.
    """
    if point > boundaries.index("before commit of end_rebalance") + 1:
        return True  # its slot was over before it slept
    by_database = "was replaced by token" in end or end.startswith("StoreUnavailableError")
    return by_database or (sends_next(boundaries, point) and end.startswith("StaleLeaseError"))


def sleepers(
    stage: Stage,
    make_scenario: Callable[[int], Scenario],
    boundaries: list[str],
    points: list[int],
    name: str,
) -> None:
    """Stop one process at each of the points and require that only the other process's order set
    stands.
    """
    started, ends, wrong, duplicates = time.monotonic(), Counter[str](), [], 0
    for point in points:
        scene = make_scenario(SEED)
        whole, end, failure = sleep_through(
            stage, scene, f"{name}-{point}", point, sends_next(boundaries, point)
        )
        ends[_REFUSALS.get(end.split(":")[0], end)] += 1
        duplicates += 0 if whole is None else whole.duplicates
        if failure or not whole.is_whole or not refused(boundaries, point, end):
            wrong.append(
                f"stopped {boundaries[point - 1]} (boundary {point}): {end}; {failure or whole}"
            )
    print(
        f"\nsleepers: {len(points)} processes stopped by SIGSTOP until another had done their "
        f"slot (seed {SEED}): ended {dict(ends)}, {duplicates} duplicate orders at the venue, "
        f"{time.monotonic() - started:.0f} s"
    )
    assert not wrong, "\n".join(wrong[:20])


@pytest.fixture(scope="module")
def boundaries(stage: Stage, make_scenario: Callable[[int], Scenario]) -> list[str]:
    """What an undisturbed run of the sleepers' scenario crosses."""
    scene = make_scenario(SEED)
    stage.open("awake", scene)
    names: list[str] = stage.run("awake", scene, policy=LONG_LEASE)["boundaries"]
    return names


def within_lease(boundaries: list[str]) -> list[int]:
    """Return the boundaries at which the process holds the lease."""
    last = max(
        n for n, name in enumerate(boundaries, start=1) if name == "before commit of end_rebalance"
    )
    first = min(
        n for n, name in enumerate(boundaries, start=1) if name == "after commit of acquire_lease"
    )
    return list(range(first, last))


def before_supervision(boundaries: list[str]) -> list[int]:
    """Return the boundaries from which a process wakes to write to supervision next: what else it
    writes comes later.
    """
    return [
        boundaries.index(f"before commit of {write}")
        for write in ("record_instruments", "record_compared")
    ]


def test_racing_processes_give_one_order_set(
    stage: Stage, make_scenario: Callable[[int], Scenario]
) -> None:
    """Two to eight processes begin one slot at one moment: one trades, the others find it taken or
    done.
    """
    run_races(stage, make_scenario, SLICE)


def test_process_that_slept_through_its_lease_is_refused(
    stage: Stage, make_scenario: Callable[[int], Scenario], boundaries: list[str]
) -> None:
    """Stopped here and there while another does the slot, then resumed: the database refuses all
    that it writes.
    """
    signing = [n for n, name in enumerate(boundaries, start=1) if name == "before submit"]
    chance = random.Random(SEED)
    chosen = chance.choice(signing)
    chosen_too = [chosen, *before_supervision(boundaries)]
    points = chosen_too + chance.sample(
        [point for point in within_lease(boundaries) if point not in chosen_too], SLICE - 1
    )
    sleepers(stage, make_scenario, boundaries, points, "slept")


@pytest.mark.soak
def test_two_hundred_races_give_one_order_set_each(
    stage: Stage, make_scenario: Callable[[int], Scenario]
) -> None:
    """The same at length."""
    run_races(stage, make_scenario, RACES)


@pytest.mark.soak
def test_process_stopped_at_any_boundary_is_refused(
    stage: Stage, make_scenario: Callable[[int], Scenario], boundaries: list[str]
) -> None:
    """A stop at every boundary at which the lease is held."""
    sleepers(stage, make_scenario, boundaries, within_lease(boundaries), "slept-anywhere")
