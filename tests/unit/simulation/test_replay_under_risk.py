"""The replay knows what risk remembers: with stops, loss limits and anomalies it still comes to
live trading's last digit.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.halts import TradingState
from penstock.execution.rebalance.run import rebalance
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.limits import LossLimit, RiskLimits
from penstock.simulation.fill_model import FillModel
from penstock.simulation.replay import replay
from penstock.testing.instruments import instrument
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
OPENS = {
    "BTC/USDT": [50_000, 52_000, 57_000, 50_500, 49_000, 41_000, 42_000, 43_000],
    "ETH/USDT": [2_500, 2_520, 2_490, 2_470, 2_300, 1_900, 1_950, 2_000],
}
WEIGHTS = [
    (0.5, 0.3),
    (0.5, 0.3),
    (0.55, 0.2),
    (0.5, 0.3),
    (0.1, 0.7),
    (0.3, 0.4),
    (0.5, 0.4),
    (0.2, 0.2),
]
WIDE: dict[str, Any] = {"max_gross": Decimal(1), "max_weight": Decimal(1), "price_collar": None}


def slot(day: int) -> datetime:
    return SLOT + timedelta(days=day)


def bars() -> pl.DataFrame:
    rows = [
        (symbol, slot(day), *(float(price),) * 4, 1e9)
        for symbol, prices in OPENS.items()
        for day, price in enumerate([prices[0], *prices], start=-1)
    ]
    return pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row").sort("symbol", "ts")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"daily_loss": LossLimit(limit=Decimal("0.02"))}, "daily_loss"),
        ({"drawdown": LossLimit(limit=Decimal("0.04"), state="reduce_only")}, "drawdown"),
        ({"drawdown": LossLimit(limit=Decimal("0.04"), state="halted", flatten=True)}, "drawdown"),
        ({"stop_loss": Decimal("0.05"), "stop_cooldown_minutes": 2 * 1440.0}, "stop_loss"),
        ({"trailing_stop": Decimal("0.08")}, "trailing_stop"),
        ({"take_profit": Decimal("0.10")}, "take_profit"),
        ({"max_target_jump": Decimal("0.5")}, "target_jump"),
        ({"max_hourly_turnover": Decimal("0.5")}, "turnover_burst"),
    ],
)
def test_replay_equals_live_where_a_rule_steps_in(
    world: World, changes: dict[str, Any], rule: str
) -> None:
    """Each rule that remembers earlier slots has a finding live. The replay of the same targets
    ends with the same holdings.
    """
    limits = RiskLimits(**WIDE).model_copy(update={"drawdown": None, "daily_loss": None, **changes})
    spoken: set[str] = set()
    live = []
    for day, weights in enumerate(WEIGHTS):
        world.clock.at = slot(day) + timedelta(seconds=2)
        world.venue.prices = {symbol: Decimal(str(prices[day])) for symbol, prices in OPENS.items()}
        inputs = world.inputs(dict(zip(OPENS, weights, strict=True)), slot(day))
        report = rebalance(world.session, replace(inputs, limits=limits))
        spoken |= {word.rule for word in report.findings}
        live.append(dict(world.ledger.balances("test")))
    assert rule in spoken
    instruments = {
        symbol: found for symbol, found in world.venue.instruments().items() if symbol in OPENS
    }
    targets = {
        slot(day): dict(zip(OPENS, weights, strict=True)) for day, weights in enumerate(WEIGHTS)
    }
    model = FillModel(taker_fee_bps=Decimal(10), min_slippage_ticks=Decimal(0))
    done = replay(bars(), targets, RebalancePolicy(), instruments, Decimal(10_000), model, limits)
    replayed = [{asset: held for asset, held in row.balances.items() if held} for row in done.rows]
    assert replayed == live
    assert (world.control_store.halt.state is TradingState.ACTIVE) == (not limits.drawdown)


def test_rest_of_a_trailing_stop_is_sold_at_the_next_slot() -> None:
    """The bar at which the stop fires has volume for a part of the position. The rest is sold at
    the next slot, whose price is far above the entry.
    """
    prices = [(50_000, 1e9), (100_000, 1e9), (87_500, 0.5), (87_500, 1e9)]
    rows = [
        ("BTC/USDT", slot(day), *(float(price),) * 4, volume)
        for day, (price, volume) in enumerate([prices[0], *prices], start=-1)
    ]
    weights: list[float | None] = [0.5, None, None, None]
    done = replay(
        pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row"),
        {slot(day): {"BTC/USDT": weight} for day, weight in enumerate(weights)},
        RebalancePolicy(),
        {"BTC/USDT": instrument("BTC/USDT")},
        Decimal(10_000),
        FillModel(taker_fee_bps=Decimal(10), participation=0.1),
        RiskLimits(**WIDE).model_copy(
            update={"drawdown": None, "daily_loss": None, "trailing_stop": Decimal("0.1")}
        ),
    )
    held = [row.balances.get("BTC", Decimal(0)) for row in done.rows]
    assert held[1] - held[2] == Decimal("0.05")
    assert held[3] < Decimal("0.0001")
