"""Orders above the venue's bounds over the wire of the practice exchange: all that can be done is
done in the slot, and what cannot is said.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.halts import TradingState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Limit
from penstock.execution.rebalance.run import rebalance
from tests.integration.execution.conftest import Stage

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
BARS = pl.DataFrame(
    [
        (symbol, SLOT + timedelta(days=day), *(price,) * 4, 1e9)
        for symbol, price in {"SOL/USDT": 10.0, "ADA/USDT": 0.5}.items()
        for day in (-2, -1, 0, 1, 2)
    ],
    schema=BARS_SCHEMA,
    orient="row",
)


@pytest.fixture
def stage(stage_on_practice: Callable[..., Any]) -> Any:
    return stage_on_practice(BARS, SLOT)


def quantities(report: Any) -> list[Decimal]:
    return [order.request.quantity for order in report.orders]


def require_agreement(stage: Stage) -> None:
    session = stage.session
    assert session.ledger.balances(session.account) == session.exchange.balances()


def test_four_thousand_are_bought_where_the_market_takes_2500(stage: Stage) -> None:
    """LOT_SIZE allows them and MARKET_LOT_SIZE does not: two pieces in one slot, and the next slot
    has nothing left to do.
    """
    assert stage.control is not None
    stage.control.limit_orders("SOL/USDT", market_quantity="2500")
    report = rebalance(stage.session, stage.inputs({"SOL/USDT": 0.4}, SLOT))
    assert (report.status, report.failed_orders, report.skipped) == (RebalanceStatus.DONE, (), ())
    assert quantities(report) == [2000, 2000]
    require_agreement(stage)
    following = SLOT + timedelta(days=1)
    stage.move_to(following)
    again = rebalance(stage.session, stage.inputs({"SOL/USDT": 0.4}, following))
    assert again.orders == ()


def test_largest_notional_that_applies_to_market_orders_cuts_them(stage: Stage) -> None:
    """40,000 where an order is worth 15,000 at most: three pieces, none refused."""
    assert stage.control is not None
    stage.control.limit_orders("SOL/USDT", max_notional="15000", apply_max_to_market=True)
    report = rebalance(stage.session, stage.inputs({"SOL/USDT": 0.4}, SLOT))
    assert (report.status, report.failed_orders) == (RebalanceStatus.DONE, ())
    assert len(report.orders) == 3
    require_agreement(stage)


def test_position_above_the_venues_bound_is_bought_as_far_as_it_goes(stage: Stage) -> None:
    """The venue lets 1,500 be held of 4,000 that are wanted: 1,500 are bought, and the rest is
    skipped with the bound. Nothing is refused, in the next slot either.
    """
    assert stage.control is not None
    stage.control.limit_orders("SOL/USDT", position="1500")
    report = rebalance(stage.session, stage.inputs({"SOL/USDT": 0.4}, SLOT))
    assert (quantities(report), report.failed_orders) == ([1500], ())
    assert report.skipped[0].reason == (
        "buy of 2500 of 4000: the venue lets an account hold 1500 SOL at most"
    )
    following = SLOT + timedelta(days=1)
    stage.move_to(following)
    again = rebalance(stage.session, stage.inputs({"SOL/USDT": 0.4}, following))
    assert (again.failed_orders, "1500" in again.skipped[0].reason) == ((), True)


def test_limit_order_outside_of_the_price_band_is_priced_inside(stage: Stage) -> None:
    """Three percent beyond the market is wanted and one is allowed: it is taken at one."""
    assert stage.control is not None
    stage.control.limit_orders("SOL/USDT", price_band=("0.99", "1.01", "0.99", "1.01"))
    style = Limit(offset_bps=Decimal(300), collar_bps=Decimal(500), max_children=1)
    session = replace(stage.session, style=style)
    report = rebalance(session, stage.inputs({"SOL/USDT": 0.4}, SLOT))
    assert (report.status, report.failed_orders) == (RebalanceStatus.DONE, ())
    assert [order.request.price for order in report.orders] == [Decimal("10.1")]
    require_agreement(stage)


def test_flattening_sells_all_in_one_slot(stage: Stage) -> None:
    """A position of ten times what a market order may have: ten sells, and nothing is held."""
    assert stage.control is not None
    rebalance(stage.session, stage.inputs({"SOL/USDT": 0.4, "ADA/USDT": 0.2}, SLOT))
    held = stage.session.exchange.balances()["SOL"]
    stage.control.limit_orders("SOL/USDT", market_quantity="400")
    session = stage.session
    session.control_store.set_trading_state(
        session.account, TradingState.HALTED, "drill", "ada", SLOT, flatten=True
    )
    report = rebalance(session, stage.inputs({}, SLOT + timedelta(seconds=1)))
    sold = [o.filled_quantity for o in report.orders if o.request.symbol == "SOL/USDT"]
    step = session.exchange.instruments()["SOL/USDT"].lot_step
    assert (len(sold), held - sum(sold) < step) == (10, True)
    assert (report.failed_orders, report.skipped, report.not_closed) == ((), (), frozenset())
    require_agreement(stage)
