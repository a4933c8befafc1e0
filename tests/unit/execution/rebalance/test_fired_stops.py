"""A trailing stop that fired is remembered until nothing of the position can be sold."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.core.errors import VenueRejectedError
from penstock.core.orders import OrderRequest, Side
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import rebalance
from penstock.risk.limits import RiskLimits
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
BTC = "BTC/USDT"
LIMITS = RiskLimits(max_gross=Decimal(1), max_weight=Decimal(1), price_collar=None).model_copy(
    update={"trailing_stop": Decimal("0.1"), "daily_loss": None, "drawdown": None}
)


def trade(world: World, day: float, price: int, weight: float | None = None) -> RebalanceResult:
    """Trade the slot of a day at a price of BTC."""
    slot = SLOT + timedelta(days=day)
    world.clock.at = slot + timedelta(seconds=2)
    world.venue.prices[BTC] = Decimal(price)
    return rebalance(world.session, replace(world.inputs({BTC: weight}, slot), limits=LIMITS))


@pytest.fixture
def at_a_high(world: World) -> World:
    """Bought at 50,000, and at 100,000 since."""
    trade(world, 0, 50_000, 0.5)
    trade(world, 1, 100_000)
    return world


def refuse(order: OrderRequest) -> None:
    raise VenueRejectedError("no permission", "-2015")


def fill_half(world: World) -> None:
    world.venue.fraction = Decimal("0.5")


def refuse_all(world: World) -> None:
    world.venue.before = refuse


@pytest.mark.parametrize("fail", [refuse_all, fill_half])
def test_trailing_stop_whose_sell_failed_fires_again(
    at_a_high: World, fail: Callable[[World], None]
) -> None:
    """At 87,500 the stop fires, and the venue refuses the sell or fills half of it. The next slot
    sells the rest at the same price, though it is far above the entry.
    """
    world = at_a_high
    fail(world)
    assert trade(world, 2, 87_500).not_closed == {BTC}
    world.venue.before, world.venue.fraction = lambda _: None, Decimal(1)
    again = trade(world, 3, 87_500)
    assert [found.rule for found in again.findings] == ["trailing_stop"]
    assert world.ledger.balances("test").get("BTC", Decimal(0)) < Decimal("0.0001")


def test_rest_of_a_fired_stop_is_not_added_to_while_it_cools_down(at_a_high: World) -> None:
    """Half of the position was sold. The price recovers: the other half stays, and none is bought
    back.
    """
    world = at_a_high
    fill_half(world)
    trade(world, 2, 87_500)
    world.venue.fraction = Decimal(1)
    assert {found.rule for found in trade(world, 2.5, 95_000, 0.9).findings} == {"stop_cooldown"}
    assert world.venue.submitted[-1].side is Side.SELL


def test_high_is_kept_while_a_break_says_that_the_coins_are_gone(at_a_high: World) -> None:
    """The venue shows none of the coins for a slot, then all again. The stop counts from the same
    high.
    """
    world = at_a_high
    held = world.venue.assets.pop("BTC")
    assert trade(world, 2, 100_000).breaks
    world.venue.assets["BTC"] = held
    assert trade(world, 3, 95_000).findings == ()
    assert [found.rule for found in trade(world, 4, 89_000).findings] == ["trailing_stop"]
