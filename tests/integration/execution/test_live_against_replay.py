"""Trading real candles on the practice exchange and on paper comes to what the replay says, to the
last digit.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.run import rebalance
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.simulation.fill_model import FillModel
from penstock.simulation.replay import replay
from tests.integration.execution.conftest import Stage

SYMBOLS = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "ADA/USDT"]
FIRST, DAYS = datetime(2023, 6, 1, tzinfo=UTC), 12


@pytest.fixture
def bars(candles_dir: Path) -> pl.DataFrame:
    files = [
        candles_dir / f"caus__binance__{symbol.replace('/', '-')}__1d.parquet" for symbol in SYMBOLS
    ]
    columns = [pl.col(name).cast(kind) for name, kind in BARS_SCHEMA.items()]
    frame = pl.concat([pl.read_parquet(file) for file in files]).select(columns)
    window = pl.col("ts").is_between(FIRST - timedelta(days=40), FIRST + timedelta(days=DAYS + 1))
    return frame.filter(window).sort("symbol", "ts")


def momentum(bars: pl.DataFrame, slot: datetime) -> dict[str, float | None]:
    """Return weights that move daily: the positive 10-day returns, scaled to a full investment."""
    known = bars.filter(pl.col("ts") < slot)
    past = known.group_by("symbol").agg(
        pl.col("close").sort_by("ts").last() / pl.col("close").sort_by("ts").get(-11) - 1
    )
    gains = {symbol: max(gain, 0.0) + 0.01 for symbol, gain in past.iter_rows()}
    total = sum(gains.values())
    return {symbol: gain / total for symbol, gain in sorted(gains.items())}


def slots() -> list[datetime]:
    return [FIRST + timedelta(days=day) for day in range(DAYS)]


def trade(
    stage: Stage, targets: Mapping[datetime, Mapping[str, float | None]]
) -> list[tuple[Decimal | None, Decimal | None]]:
    live = []
    for slot, weights in targets.items():
        stage.move_to(slot)
        report = rebalance(stage.session, stage.inputs(weights, slot))
        assert report.status is RebalanceStatus.DONE, report
        assert not report.reason
        assert not report.breaks
        live.append((report.equity_after, report.cash_after))
    return live


@pytest.mark.parametrize("venue", ["stage_on_practice", "stage_on_paper"])
def test_equity_on_real_candles_equals_the_replay(
    venue: str, bars: pl.DataFrame, request: pytest.FixtureRequest
) -> None:
    """Twelve daily rebalances of five symbols: equity and cash after each slot, and the positions,
    are the same numbers.
    """
    make: Callable[..., Any] = request.getfixturevalue(venue)
    stage = make(bars, FIRST)
    targets = {slot: momentum(bars, slot) for slot in slots()}
    live = trade(stage, targets)
    model = FillModel(participation=1.0 if venue == "stage_on_practice" else None)
    limits = stage.inputs(
        {}, FIRST
    ).limits  # a day of these candles loses over 5%: both must stop buying then
    instruments = stage.session.exchange.instruments()
    result = replay(bars, targets, RebalancePolicy(), instruments, Decimal(100_000), model, limits)
    assert [(row.equity, row.cash) for row in result.rows] == live
    held = stage.session.ledger.balances(stage.session.account)
    assert (
        {asset: quantity for asset, quantity in result.balances.items() if quantity}
        == held
        == stage.session.exchange.balances()
    )
    assert (
        sum(row.orders for row in result.rows)
        == len(stage.session.ledger.orders(stage.session.account))
        > 30
    )


def test_same_slot_again_sends_nothing(
    bars: pl.DataFrame, stage_on_practice: Callable[..., Any]
) -> None:
    """The second run of a slot leaves the venue's journal and the ledger's orders as they were."""
    stage = stage_on_practice(bars, FIRST)
    inputs = stage.inputs(momentum(bars, FIRST), FIRST)
    first = rebalance(stage.session, inputs)
    entries, orders = (
        stage.control.stats()["orders"],
        stage.session.ledger.orders(stage.session.account),
    )
    again = rebalance(stage.session, inputs)
    assert first.sent == len(orders) > 0
    assert again.already_done
    assert again.sent == 0
    assert stage.control.stats()["orders"] == entries
    assert stage.session.ledger.orders(stage.session.account) == orders
