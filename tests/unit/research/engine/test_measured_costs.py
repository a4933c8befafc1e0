"""Costs from an account's own orders: what was planted is found, and what is unknown stays that."""

from dataclasses import replace

import numpy as np
import pytest

from penstock.core.errors import DataError
from penstock.research.engine.costs import Costs, InstrumentRules
from penstock.research.engine.measured_costs import (
    FilledOrder,
    live_costs,
    measure_costs,
    proposed_costs,
)


def orders(
    count: int,
    symbol: str = "A/USDT",
    spread: float = 3.0,
    impact: float = 40.0,
    fee_bps: float = 7.5,
    noise: float = 2.0,
) -> list[FilledOrder]:
    """Return orders whose slippage is half a spread, impact by the root of the share, and noise."""
    random = np.random.default_rng(4)
    found = []
    for share, drift in zip(
        random.uniform(0, 0.2, count), random.normal(0, noise, count), strict=True
    ):
        side = int(random.choice([-1, 1]))
        price = float(100 * (1 + side * (spread + impact * np.sqrt(share) + drift) / 1e4))
        notional = 5 * price
        found.append(
            FilledOrder(symbol, side, 5.0, price, 100.0, notional * fee_bps / 1e4, float(share))
        )
    return found


def test_planted_fee_spread_and_impact_are_found() -> None:
    """Buys and sells alike; the mean has the error that the noise leaves."""
    (found,) = measure_costs(orders(2_000))
    assert found.fee_bps == pytest.approx(7.5)
    assert found.half_spread_bps == pytest.approx(3, abs=0.6)
    assert found.impact_bps == pytest.approx(40, abs=2)
    assert found.slippage_bps == pytest.approx(3 + 40 * np.sqrt(0.1), rel=0.1)
    assert found.slippage_error_bps == pytest.approx(
        np.std([each.slippage_bps for each in orders(2_000)]) / np.sqrt(2_000), rel=0.01
    )


def test_spread_and_impact_are_never_below_zero() -> None:
    """Slippage that falls with size has no impact; one that is below zero at no size no spread."""
    (falling,) = measure_costs(orders(300, spread=30, impact=-40))
    assert falling.impact_bps == 0
    assert falling.half_spread_bps == pytest.approx(falling.slippage_bps)
    (steep,) = measure_costs(orders(300, spread=-5, impact=40))
    assert steep.half_spread_bps == 0
    assert steep.impact_bps is not None
    assert 0 < steep.impact_bps < 40


def test_what_is_not_known_is_none() -> None:
    """No fee whose asset has a price, no volume, no second order: no figure."""
    (only,) = orders(1)
    (found,) = measure_costs([replace(only, fee=None, volume_share=None)])
    assert (found.fee_bps, found.half_spread_bps, found.impact_bps) == (None, None, None)
    assert found.slippage_error_bps is None
    assert live_costs([found], Costs(), least_orders=1) is None
    assert measure_costs([]) == ()


def test_costs_are_proposed_where_orders_are_enough() -> None:
    """The venue's rules of an instrument stay; luck is proposed as no slippage."""
    lots = InstrumentRules(symbol="A/USDT", lot_step=0.1)
    costs = Costs(instruments=(lots,))
    lucky = orders(50, "B/USDT", spread=-3, impact=0)
    found = measure_costs([*orders(50), *lucky, *orders(19, "C/USDT")])
    a, b = proposed_costs(costs, found).instruments
    assert (a.symbol, a.lot_step, a.fee_bps) == ("A/USDT", 0.1, 7.5)
    assert a.slippage_bps == round(found[0].slippage_bps, 2)
    assert (b.symbol, b.slippage_bps) == ("B/USDT", 0.0)


@pytest.mark.parametrize(("spread", "exceeds"), [(2.0, False), (5.0, False), (9.0, True)])
def test_live_costs_exceed_only_beyond_their_error(spread: float, exceeds: bool) -> None:
    """Fifty orders with a noise of two: half a basis point is no finding, four are one."""
    measured = measure_costs(orders(50, spread=spread, impact=0))
    found = live_costs(measured, Costs(fee_bps=7.5, slippage_bps=5))
    assert found is not None
    assert found.assumed_bps == 12.5
    assert found.paid_bps == pytest.approx(7.5 + spread, abs=1)
    assert found.exceeds is exceeds
    own = InstrumentRules(symbol="A/USDT", slippage_bps=20)
    dear = live_costs(measured, Costs(fee_bps=7.5, instruments=(own,)))
    assert dear is not None
    assert dear.assumed_bps == 27.5
    assert not dear.exceeds


def test_order_without_a_price_is_refused() -> None:
    """A cost of nothing per nothing is no cost."""
    with pytest.raises(DataError, match="decided_at 0"):
        FilledOrder("A/USDT", 1, 1.0, 100.0, 0.0, 0.1)
