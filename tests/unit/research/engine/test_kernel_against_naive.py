"""The kernel against an account in Decimal, on random panels: every rule, alone and together."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.research.engine.costs import Costs, InstrumentRules
from penstock.research.engine.kernel import simulate
from penstock.research.engine.market import BarMatrices, Matrix
from tests.unit.research.engine.naive_account import NaiveAccount
from tests.unit.research.engine.test_kernel import NAN, market


@st.composite
def _panels(draw: st.DrawFn) -> tuple[BarMatrices, Matrix, Costs]:
    """Return a random market, weights and costs. Each rule is off in about half of the examples."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bars, symbols = draw(st.integers(2, 30)), draw(st.integers(1, 7))

    def some(*values: float) -> float:
        return draw(st.sampled_from(values))

    volatility = some(0.0, 0.02, 0.3)
    close = 10 * np.exp(np.cumsum(random.normal(0, volatility, (bars, symbols)), axis=0))
    close *= 10.0 ** random.integers(-6, 4, symbols)
    open_ = close * np.exp(random.normal(0, 0.05 * (volatility > 0), (bars, symbols)))
    volume = random.exponential(some(0.01, 1.0, 1e6), (bars, symbols)) * 1e4 / close
    ends = np.full(symbols, bars)
    if draw(st.booleans()):  # gaps, bars without volume, and series that end
        missing = random.random((bars, symbols)) < 0.2
        open_[missing], close[missing] = NAN, NAN
        volume[random.random((bars, symbols)) < 0.1] = 0.0
        volume[missing] = NAN
        if draw(st.booleans()):
            ends[0] = random.integers(1, bars + 1)
            for table in (open_, close, volume):
                table[max(ends[0] - 1, 1) :, 0] = NAN
    weights = random.dirichlet(np.ones(symbols), bars) * some(1.0, 0.97, 0.5)
    signed = draw(st.booleans())
    if signed:
        weights *= random.choice([-1.0, 1.0], (bars, symbols)) * 0.4
    weights[random.random((bars, symbols)) < some(0.0, 0.3)] = NAN
    weights[random.random((bars, symbols)) < 0.1] = 0.0
    weights[random.random(bars) < some(0.0, 0.7)] = NAN
    bound = volume if draw(st.booleans()) else None
    m = replace(
        market(open_.tolist(), close.tolist(), bound),
        ends=ends,
        price_ticks=10.0 ** np.floor(np.log10(np.nanmin(close) * 0.1)) * np.ones(symbols)
        if draw(st.booleans()) and not np.isnan(close).all()
        else None,
        cash_flows=random.normal(0, 1e-3, (bars, symbols)) * np.nan_to_num(close)
        if draw(st.booleans())
        else None,
    )
    typical = np.nanmax(np.vstack([close, np.zeros(symbols)]), axis=0)
    typical[typical == 0] = 1.0
    costs = Costs(
        fee_bps=some(0, 10, 300),
        slippage_bps=some(0, 5, 200),
        max_volume_share=draw(st.sampled_from([None, 0.1, 1.0])),
        value_at_end=some(0.0, 0.4),
        no_trade_band=some(0.0, 0.002, 0.1),
        min_notional=some(0.0, 5.0, 60.0),
        instruments=tuple(
            InstrumentRules(
                symbol=name,
                lot_step=some(0.0, float(10.0 ** np.floor(np.log10(some(1.0, 30.0) / price)))),
                min_quantity=some(0.0, 5 / price),
                min_notional=some(0.0, 10.0),
                price_tick=some(0.0, float(10.0 ** np.floor(np.log10(price * 1e-3)))),
                fee_bps=draw(st.sampled_from([None, 1.0])),
                slippage_bps=draw(st.sampled_from([None, 37.0])),
            )
            for name, price in zip(m.symbols, typical, strict=True)
        )
        if draw(st.booleans())
        else (),
    )
    return m, weights, costs


@given(_panels())
@settings(max_examples=100, deadline=None)
def test_kernel_is_the_naive_account(panel: tuple[BarMatrices, Matrix, Costs]) -> None:
    """The same orders of the same size, and the same equity at every close, long and short."""
    m, weights, costs = panel
    truth = NaiveAccount(m, weights, costs, Decimal(1000)).run()
    run = simulate(m, weights, costs, 1000.0, record_fills=True)
    scale = max(1000.0, float(np.abs(truth.equity).max()))
    assert run.equity == pytest.approx(np.array(truth.equity), rel=1e-9, abs=1e-12 * scale)
    assert run.fills == pytest.approx(truth.fills, rel=1e-8, abs=1e-9 * np.abs(truth.fills).max())
    assert run.moments.orders == truth.orders
    assert run.moments.traded == pytest.approx(float(truth.traded), rel=1e-9, abs=1e-9)
    assert run.moments.unfilled == pytest.approx(float(truth.unfilled), rel=1e-9, abs=1e-6)
    assert run.reduced == truth.reduced
