"""With an injected clock, names and runner, two runs of the same slots are the same to the byte."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from penstock.core.errors import VenueUnavailableError
from penstock.execution.algorithms.styles import MarketStyle, Style, Twap
from penstock.execution.rebalance.run import rebalance
from penstock.testing.instruments import SLOT
from penstock.testing.world import make_world

_DAYS = (
    {"BTC/USDT": 0.5, "ETH/USDT": 0.5},
    {"BTC/USDT": 0.2, "ETH/USDT": 0.7},
    {"BTC/USDT": 0.0, "ETH/USDT": 0.9},
)


def trade_three_days(style: Style) -> bytes:
    """Return all that three slots leave behind.

    The second slot's first request gets no answer: an order is lost and resolved.
    """
    world = make_world()
    holders: list[str] = []
    acquire = world.ledger.acquire_lease

    def keep_holder(account: str, holder: str, ttl_seconds: float) -> Any:
        holders.append(holder)
        return acquire(account, holder, ttl_seconds)

    world.ledger.acquire_lease = keep_holder  # type: ignore[method-assign]
    policy = world.session.policy.model_copy(update={"senders": 4})
    session = replace(world.session, style=style, policy=policy)
    reports = []
    for day, weights in enumerate(_DAYS):
        slot = SLOT + timedelta(days=day)
        world.clock.at = slot + timedelta(seconds=2)
        if day == 1:
            world.venue.after = once_without_an_answer()
        reports.append(rebalance(session, world.inputs(weights, slot)))
    ledger = {
        field.name: getattr(world.ledger, field.name)
        for field in fields(world.ledger)
        if field.name != "clock"
    }
    return repr((reports, ledger, holders, world.venue.submitted)).encode()


def once_without_an_answer() -> Any:
    struck: list[object] = []

    def strike(order: object) -> None:
        if not struck:
            struck.append(order)
            raise VenueUnavailableError("no answer")

    return strike


@pytest.mark.parametrize("style", [MarketStyle(), Twap(duration_seconds=3600, slices=4)])
def test_two_runs_of_the_same_slots_leave_the_same_bytes(style: Style) -> None:
    """Reports, ledger, lease holders and requests are equal in both runs. They hold nothing of the
    machine's time, names or threads.
    """
    first, second = trade_three_days(style), trade_three_days(style)
    assert first == second
    for part in (b"simulation:1:00000006", b"asked_at=datetime", b"duration_seconds"):
        assert part in first
