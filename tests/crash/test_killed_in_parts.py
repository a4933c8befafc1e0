"""Kills while orders fill in parts. The recovering run is offered the trades of the booked part
once more.

The venue's minutes are too thin for an order, so that each takes several, and waiting moves the
venue's clock. A slice is part of the ordinary tests; PENSTOCK_PARTS_KILLS changes how many kills
`pytest -m soak tests/crash -s` makes.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.timeframes import Timeframe
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import stepped_clock
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import PracticeServer
from tests.crash.conftest import LIMITS, POLICY, PRICES, SLOT, Scenario, Stage

SLICE = 4
KILLS = int(os.environ.get("PENSTOCK_PARTS_KILLS", "60"))
SEED = int(os.environ.get("PENSTOCK_CRASH_SEED", "20240301"))
#: What a minute trades of each symbol, in quote units: orders are of 800 to 5000.
_MINUTE_NOTIONAL = 700.0
#: Each run has a slot of its own, so that none finds a minute whose volume another has taken.
_APART = timedelta(minutes=60)


def thin_minutes(runs: int) -> GivenCandles:
    """Return minutes that trade through every limit near the price, and little of anything."""
    minutes = int(_APART.total_seconds() / 60) * (runs + 1)
    rows = [
        (
            f"{base}/USDT",
            SLOT + timedelta(minutes=n),
            price,
            price * 1.01,
            price * 0.99,
            price,
            _MINUTE_NOTIONAL / price,
        )
        for base, price in PRICES.items()
        for n in range(-3, minutes)
    ]
    return GivenCandles({Timeframe.M1: pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")})


@pytest.fixture(scope="module")
def thin(stage: Stage) -> Iterator[Any]:
    """The same traders and ledger, at a venue where an order takes minutes."""
    clock = stepped_clock(SLOT + timedelta(seconds=1))
    with PracticeServer(thin_minutes(KILLS + SLICE + 4), clock, limits=UNLIMITED) as practice:
        yield replace(stage, venue=practice.url)


def details(slot: datetime) -> dict[str, Any]:
    """Return a run whose orders rest below (buys) or above the price, and whose waiting goes by
    minutes.
    """
    return {
        "slot": slot.isoformat(),
        "steps_clock": True,
        "policy": {**POLICY, "poll_seconds": 60, "follow_timeout_seconds": 1200},
        "style": {
            "algorithm": "limit",
            "offset_bps": "-20",
            "reprice_seconds": 1200,
            "max_children": 1,
        },
        "limits": LIMITS,
    }


def in_parts(stage: Stage, account: str) -> int:
    """Return how many orders are booked in part."""
    return sum(
        0 < order.filled_quantity < order.request.quantity for order in stage.ledger.orders(account)
    )


class Slots:
    """Gives every run a slot of its own and moves the venue's clock there."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def next(self) -> datetime:
        passed = self._stage.control.now() - SLOT
        slot = SLOT + _APART * (passed // _APART + 1)
        self._stage.control.step(to=slot + timedelta(seconds=2))
        return slot


def kill_in_parts(stage: Stage, make_scenario: Callable[[int], Scenario], kills: int) -> None:
    """Kill `kills` runs between their first and their last booking. Require that one more run
    recovers each.
    """
    started, slots, scene, wrong = time.monotonic(), Slots(stage), make_scenario(SEED), []
    account = f"parts-{kills}"
    stage.open(account, scene)
    whole_run = stage.run(account, scene, **details(slots.next()))
    assert whole_run.get("status") == "done", whole_run
    assert stage.inspect(account, scene).is_whole, stage.inspect(account, scene)
    names = whole_run["boundaries"]
    booked = [n for n, name in enumerate(names, start=1) if name == "after commit of book_fills"]
    assert len(booked) > 4, "the orders filled at once: nothing is in parts"
    chosen = sorted(random.Random(SEED).sample(range(booked[0], booked[-1]), kills))
    parts = lost = doubled = 0
    for point in chosen:
        account = f"parts-{kills}-{point}"
        stage.open(account, scene)
        run = details(slots.next())
        killed = stage.run(account, scene, strike_at=point, **run)
        parts += in_parts(stage, account)
        stage.let_lease_run_out(account)
        mended = stage.run(account, scene, version="trend/2", **run)
        whole = stage.inspect(account, scene)
        lost, doubled = lost + whole.lost, doubled + whole.doubled + bool(whole.differing)
        if (
            not killed["killed"]
            or mended.get("status") != "done"
            or mended["breaks"]
            or not whole.is_whole
        ):
            wrong.append(
                f"{names[point - 1]} (boundary {point} of {len(names)}): {killed['killed']}, "
                f"{mended}, {whole}"
            )
    print(
        f"\nkills in parts: {len(chosen)} kills between the first and the last of {len(booked)} "
        f"bookings (seed {SEED}), {parts} orders booked in part: {lost} lost and {doubled} "
        f"doubled fills, {time.monotonic() - started:.0f} s"
    )
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong[:10])
    assert parts > len(chosen), "too few orders were in parts when their process was killed"


def test_run_killed_while_its_orders_fill_in_parts_is_mended(
    thin: Stage, make_scenario: Callable[[int], Scenario]
) -> None:
    """A slice: trades that were booked before the kill are offered again after it, and move no
    position twice.
    """
    kill_in_parts(thin, make_scenario, SLICE)


@pytest.mark.soak
def test_many_runs_killed_while_their_orders_fill_in_parts_are_mended(
    thin: Stage, make_scenario: Callable[[int], Scenario]
) -> None:
    """The same at length."""
    kill_in_parts(thin, make_scenario, KILLS)
