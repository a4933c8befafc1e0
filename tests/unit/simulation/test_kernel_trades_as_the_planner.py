"""A backtest with the live rules, against the replay through the live planner, order by order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.bars import BARS_SCHEMA
from penstock.core.instruments import Instrument
from penstock.core.timeframes import Timeframe
from penstock.portfolio.rebalancing import RebalancePolicy
from penstock.research.engine.costs import Costs
from penstock.research.engine.kernel import simulate
from penstock.research.engine.market import BarMatrices, Matrix, market_of_prices
from penstock.simulation.fill_model import FillModel
from penstock.simulation.replay import Replay, replay

START = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def _accounts(
    draw: st.DrawFn,
) -> tuple[BarMatrices, Matrix, Costs, RebalancePolicy, tuple[Instrument, ...]]:
    """Return prices on their ticks, weights with holds and exits, and any policy and steps."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bars, symbols = draw(st.integers(2, 25)), draw(st.integers(1, 5))

    def some(*values: float) -> float:
        return draw(st.sampled_from(values))

    typical = 10.0 ** random.integers(-3, 4, symbols)
    walk = np.exp(np.cumsum(random.normal(0, some(0.01, 0.2), (bars, symbols)), axis=0))
    instruments = tuple(
        Instrument(
            f"{chr(65 + k)}/USDT",
            chr(65 + k),
            "USDT",
            price_tick=Decimal(f"{typical[k] * some(1e-4, 1e-2):.0e}"),
            lot_step=Decimal(f"{some(0.1, 10.0) / typical[k]:.0e}"),
            min_quantity=Decimal(f"{some(0.1, 20.0) / typical[k]:.0e}"),
            min_notional=Decimal(repr(some(1.0, 10.0))),
        )
        for k in range(symbols)
    )
    ticks = np.array([float(each.price_tick) for each in instruments])
    prices = np.maximum(np.round(typical * walk / ticks), 1) * ticks
    prices = np.array([[float(f"{price:.8f}") for price in row] for row in prices])
    volume = np.array(random.exponential(some(1e3, 1e7), (bars, symbols)) / typical, np.float64)
    # Ten digits: at 0.96999999999999997 the planner's Decimal is a hair under a whole lot.
    weights = (
        np.floor(random.dirichlet(np.ones(symbols), bars) * some(1.0, 0.97, 0.5) * 1e10) / 1e10
    )
    weights[random.random((bars, symbols)) < some(0.0, 0.4)] = np.nan
    weights[random.random((bars, symbols)) < 0.15] = 0.0
    policy = RebalancePolicy(
        no_trade_band=Decimal(repr(some(0.0, 0.002, 0.05))),
        fee_bps=Decimal(10),
        slippage_bps=Decimal(repr(some(0.0, 10.0))),
        keep={"A": Decimal(repr(float(5 / typical[0])))} if draw(st.booleans()) else {},
    )
    costs = Costs(
        fee_bps=some(0, 10, 30),
        slippage_bps=some(0, 5, 40),
        max_volume_share=draw(st.sampled_from([None, 0.1, 1.0])),
    )
    names = tuple(each.symbol for each in instruments)
    market = market_of_prices(prices, prices, Timeframe.D1, volume, names)
    return market, weights, costs, policy, instruments


def _replayed(
    market: BarMatrices,
    weights: Matrix,
    costs: Costs,
    policy: RebalancePolicy,
    instruments: tuple[Instrument, ...],
    cash: int,
) -> Replay:
    slots = [START + timedelta(days=n) for n in range(len(weights))]
    rows = [
        (symbol, slot, *[market.open[n, k]] * 4, market.volume[n, k])
        for n, slot in enumerate(slots)
        for k, symbol in enumerate(market.symbols)
        if market.volume is not None
    ]
    bars = pl.DataFrame(rows, BARS_SCHEMA, orient="row")
    targets = {
        slot: {
            symbol: None if np.isnan(weight) else float(weight)
            for symbol, weight in zip(market.symbols, weights[n], strict=True)
        }
        for n, slot in enumerate(slots[1:])
    }
    return replay(
        bars,
        targets,
        policy,
        {each.symbol: each for each in instruments},
        Decimal(cash),
        replace(FillModel.of(costs), fee_asset="quote"),
    )


@given(_accounts(), st.sampled_from([60, 10_000]))
@settings(max_examples=80, deadline=None)
def test_backtest_with_the_live_rules_is_the_replay_of_the_live_planner(
    account: tuple[BarMatrices, Matrix, Costs, RebalancePolicy, tuple[Instrument, ...]], cash: int
) -> None:
    """Each slot has the same number of orders and the same equity; fees are rounded live. With
    little cash much of what is held is too small to be sold.
    """
    market, weights, costs, policy, instruments = account
    live = costs.as_live(policy.no_trade_band, policy.cost_fraction, instruments, policy.keep)
    run = simulate(market, weights, live, cash, record_fills=True)
    rows = _replayed(market, weights, costs, policy, instruments, cash).rows
    assert np.count_nonzero(run.fills[1:], axis=1).tolist() == [row.orders for row in rows]
    assert run.equity[1:] == pytest.approx([float(row.equity) for row in rows], rel=1e-9, abs=1e-6)
