"""The replay is live trading without a venue: it must come to the same cent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.instruments import Instrument
from penstock.execution.rebalance.run import rebalance
from penstock.portfolio.allocation import PortfolioTargets
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.risk.limits import RiskLimits
from penstock.simulation.fill_model import FillModel
from penstock.simulation.replay import replay
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
OPENS = {
    "BTC/USDT": [50_000, 51_000, 49_500, 52_345.67],
    "ETH/USDT": [2_500, 2_440, 2_610.5, 2_600],
}
WEIGHTS: list[dict[str, float | None]] = [
    {"BTC/USDT": 0.5, "ETH/USDT": 0.4},
    {"BTC/USDT": 0.1, "ETH/USDT": 0.85},
    {"BTC/USDT": None, "ETH/USDT": 0.0},
    {"BTC/USDT": 0.6, "ETH/USDT": 0.4},
]


def slot(day: int) -> datetime:
    return SLOT + timedelta(days=day)


def bars(volume: float = 1e9) -> pl.DataFrame:
    rows = [
        (symbol, slot(day), float(price), float(price), float(price), float(price), volume)
        for symbol, prices in OPENS.items()
        for day, price in enumerate([prices[0], *prices], start=-1)
    ]
    return pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row").sort("symbol", "ts")


#: Takers fill at the open itself, as in the venue that is held in memory.
NO_SPREAD = FillModel(min_slippage_ticks=Decimal(0))
TARGETS = {slot(day): weights for day, weights in enumerate(WEIGHTS)}


def test_replay_equals_live_trading_to_the_last_digit(world: World) -> None:
    """The same targets traded live on a venue and replayed over its bars give the same equity, cash
    and positions.
    """
    live = []
    for day, weights in enumerate(WEIGHTS):
        world.clock.at = slot(day) + timedelta(seconds=2)
        world.venue.prices = {symbol: Decimal(str(prices[day])) for symbol, prices in OPENS.items()}
        report = rebalance(world.session, world.inputs(weights, slot(day)))
        live.append((report.equity_after, report.cash_after))
    instruments = world.venue.instruments()
    result = replay(bars(), TARGETS, RebalancePolicy(), instruments, Decimal(10_000), NO_SPREAD)
    assert [(row.equity, row.cash) for row in result.rows] == live
    assert {a: q for a, q in result.balances.items() if q} == world.ledger.balances("test")
    assert result.frame["equity"].to_list() == [float(row.equity) for row in result.rows]


def flat(step: str = "0.00001") -> dict[str, Instrument]:
    lot = Decimal(step)
    return {
        symbol: Instrument(
            symbol, symbol.split("/")[0], "USDT", Decimal("0.01"), lot, lot, Decimal(5)
        )
        for symbol in OPENS
    }


def test_equity_falls_by_the_fees_alone_where_prices_do_not_move() -> None:
    """On one slot the loss against the initial cash is the fee that the row reports."""
    result = replay(
        bars(), {SLOT: WEIGHTS[0]}, RebalancePolicy(), flat(), Decimal(10_000), NO_SPREAD
    )
    (row,) = result.rows
    assert Decimal(10_000) - row.equity == row.fees
    assert row.fees == pytest.approx(row.traded * Decimal("0.001"), abs=Decimal("0.001"))


def test_fee_in_quote_leaves_the_bought_quantity_whole() -> None:
    """With fees in quote the base position is whole lots."""
    model = FillModel(fee_asset="quote")
    result = replay(
        bars(), {SLOT: WEIGHTS[0]}, RebalancePolicy(), flat("0.001"), Decimal(10_000), model
    )
    assert result.balances["BTC"] % Decimal("0.001") == 0


def test_slippage_is_paid_on_both_sides() -> None:
    """Buys fill above and sells below the open."""
    targets = {SLOT: {"BTC/USDT": 0.5}, slot(1): {"BTC/USDT": 0.0}}
    free = replay(
        bars(),
        targets,
        RebalancePolicy(),
        flat(),
        Decimal(10_000),
        FillModel(taker_fee_bps=Decimal(0)),
    )
    dear = replay(
        bars(),
        targets,
        RebalancePolicy(),
        flat(),
        Decimal(10_000),
        FillModel(taker_fee_bps=Decimal(0), slippage_bps=Decimal(10)),
    )
    cost = free.rows[-1].equity - dear.rows[-1].equity
    assert cost == pytest.approx(Decimal("0.002") * 5_000, rel=Decimal("0.05"))


def test_thin_bar_fills_in_part() -> None:
    """An order larger than the bar's volume gets the volume."""
    result = replay(
        bars(volume=0.01),
        {SLOT: {"BTC/USDT": 0.5}},
        RebalancePolicy(),
        flat(),
        Decimal(10_000),
        NO_SPREAD,
    )
    assert result.rows[0].traded == Decimal(500)


def test_bar_without_volume_fills_nothing() -> None:
    """An order in a bar in which nobody traded is no order at all."""
    model = FillModel(participation=None)
    result = replay(bars(volume=0.0), TARGETS, RebalancePolicy(), flat(), Decimal(10_000), model)
    assert [(row.orders, row.equity) for row in result.rows] == [(0, Decimal(10_000))] * 4


def test_held_without_a_decision_reduces_what_others_may_have() -> None:
    """A strategy has 75% of the account. ETH is held at half of that without a decision, so BTC may
    have the other half, though the strategy asks for all of it.
    """
    quotas = {"trend/3": 0.75}
    wanted: list[dict[str, float | None]] = [
        {"BTC/USDT": 0.375, "ETH/USDT": 0.375},
        {"BTC/USDT": 0.75, "ETH/USDT": None},
    ]
    still = bars().with_columns(
        pl.col("open", "high", "low", "close").first().over("symbol", order_by="ts")
    )
    decided = {
        slot(day): PortfolioTargets("trend/3", weights, {}, {}, quotas)
        for day, weights in enumerate(wanted)
    }
    targets = {at: each.weights for at, each in decided.items()}
    result = replay(still, targets, RebalancePolicy(), flat(), Decimal(10_000), decided=decided)
    assert [row.orders for row in result.rows] == [2, 0]


def test_symbol_without_a_bar_at_the_slot_does_not_trade_and_keeps_its_value() -> None:
    """It is valued at its last close and traded at the next slot that has a bar."""
    missing = bars().filter(~((pl.col("symbol") == "ETH/USDT") & (pl.col("ts") == slot(1))))
    targets = {SLOT: {"ETH/USDT": 0.5}, slot(1): {"ETH/USDT": 0.0}, slot(2): {"ETH/USDT": 0.0}}
    result = replay(missing, targets, RebalancePolicy(), flat(), Decimal(10_000))
    assert [row.orders for row in result.rows] == [1, 0, 1]
    assert result.rows[1].equity == result.rows[0].equity


def test_limits_apply_as_they_do_live() -> None:
    """With a gross limit of 50% the replay holds no more than that."""
    limits = RiskLimits(max_gross=Decimal("0.5"), max_weight=Decimal(1))
    result = replay(
        bars(), {SLOT: WEIGHTS[0]}, RebalancePolicy(), flat(), Decimal(10_000), limits=limits
    )
    assert result.rows[0].traded == pytest.approx(Decimal(5_000), rel=Decimal("0.001"))


def test_buy_that_slippage_makes_dearer_than_the_cash_is_refused() -> None:
    """As at the venue: an order whose cost at the slipped price exceeds the cash does not fill."""
    dear = FillModel(slippage_bps=Decimal(200))
    result = replay(
        bars(), {SLOT: {"BTC/USDT": 1.0}}, RebalancePolicy(), flat(), Decimal(10_000), dear
    )
    assert result.rows[0].orders == 0
    assert result.rows[0].cash == Decimal(10_000)
