"""A bar that comes late, over the wire of the practice exchange: nobody else gets its share."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.rebalances import RebalanceStatus
from penstock.core.strategy import Strategy
from penstock.core.timeframes import Timeframe
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import rebalance
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.decision import decide_targets
from penstock.ports import LoadedModel, ModelVersion
from strategies.inverse_volatility import InverseVolatility
from strategies.ma_cross import MovingAverageCross
from tests.integration.execution.conftest import Stage

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PRICES = {"BTC/USDT": 50_000.0, "ETH/USDT": 2_500.0}
BARS = pl.DataFrame(
    [
        (symbol, SLOT + day * DAY, *(price * 1.001**day,) * 4, 1e9)
        for symbol, price in PRICES.items()
        for day in range(-30, 4)
    ],
    schema=BARS_SCHEMA,
    orient="row",
)


def decided(strategy: Strategy, bars: pl.DataFrame, slot: datetime) -> dict[str, float | None]:
    model = LoadedModel(ModelVersion(strategy.name, "1", "run", (), {}), strategy)
    return dict(decide_targets(model, bars, Timeframe.D1, slot).weights)


@pytest.mark.parametrize(
    "strategy",
    [
        InverseVolatility(InverseVolatility.Params(lookback_bars=10, max_weight=1.0)),
        MovingAverageCross(MovingAverageCross.Params(fast_bars=5, slow_ratio=2.0)),
    ],
    ids=lambda strategy: strategy.name,
)
def test_late_bar_moves_no_order(
    strategy: Strategy, stage_on_practice: Callable[[pl.DataFrame, datetime], Stage]
) -> None:
    """BTC and ETH are held at 0.49 each. ETH's newest bar comes late: BTC keeps 0.49, ETH is held
    as it is, and no order leaves. With the bar there is none either.
    """
    stage = stage_on_practice(BARS, SLOT)
    first = decided(strategy, BARS, SLOT)
    assert first == pytest.approx(dict.fromkeys(PRICES, 0.49))
    bought = rebalance(stage.session, stage.inputs(first, SLOT))
    assert len(bought.fills) == 2
    late = BARS.filter((pl.col("symbol") != "ETH/USDT") | (pl.col("ts") < SLOT))
    for slot, bars, expected in (
        (SLOT + DAY, late, {"BTC/USDT": pytest.approx(0.49), "ETH/USDT": None}),
        (SLOT + 2 * DAY, BARS, dict.fromkeys(PRICES, pytest.approx(0.49))),
    ):
        stage.move_to(slot)
        weights = decided(strategy, bars, slot)
        assert weights == expected
        report = rebalance(stage.session, stage.inputs(weights, slot))
        assert (report.status, len(report.fills)) == (RebalanceStatus.DONE, 0), report


def test_strategy_that_shares_out_what_is_held_gets_what_it_leaves(
    stage_on_practice: Callable[[pl.DataFrame, datetime], Stage],
) -> None:
    """A strategy may use 75%. It divides by the symbols that have a bar and so asks for all of it
    in BTC, while ETH is held at half of it. BTC keeps its half, and no order leaves.
    """
    stage = stage_on_practice(BARS, SLOT)

    def traded(weights: dict[str, float | None], slot: datetime) -> RebalanceResult:
        inputs = stage.inputs(weights, slot)

        def decide(version: str) -> PortfolioTargets:
            return replace(inputs.decide(version), quotas={version: 0.75})

        return rebalance(stage.session, replace(inputs, decide=decide))

    assert len(traded({"BTC/USDT": 0.375, "ETH/USDT": 0.375}, SLOT).fills) == 2
    stage.move_to(SLOT + DAY)
    report = traded({"BTC/USDT": 0.75, "ETH/USDT": None}, SLOT + DAY)
    assert (report.status, len(report.fills)) == (RebalanceStatus.DONE, 0), report
