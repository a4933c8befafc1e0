"""Many slots in a row with a bad venue: every slot ends, and ledger and venue never part."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from penstock.core.bars import BARS_SCHEMA
from penstock.core.errors import VenueUnavailableError
from penstock.core.orders import OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import rebalance
from penstock.practice.faults import Fault, FaultKind
from tests.integration.execution.conftest import Stage

FIRST, DAYS, SEED = datetime(2024, 3, 1, tzinfo=UTC), 10, 7
SYMBOLS = ("AAA/USDT", "BBB/USDT", "CCC/USDT", "DDD/USDT")
FAULTS = (FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER, FaultKind.RESET_AFTER, FaultKind.MALFORMED)


def random_bars(chance: random.Random) -> pl.DataFrame:
    rows = []
    for symbol in SYMBOLS:
        price = 100.0
        for day in range(-1, DAYS + 1):
            following = round(price * chance.uniform(0.93, 1.08), 2)
            low, high = min(price, following), max(price, following)
            rows.append((symbol, FIRST + timedelta(days=day), price, high, low, following, 1e7))
            price = following
    return pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")


def run_until_it_ends(stage: Stage, weights: dict[str, float], slot: datetime) -> RebalanceResult:
    """Run the slot again while the venue is silent, as a flow's retries do."""
    for _ in range(20):
        try:
            return rebalance(stage.session, stage.inputs(weights, slot))
        except VenueUnavailableError:
            continue
    raise AssertionError(f"the slot {slot} did not end in 20 runs")


def test_ledger_and_venue_agree_after_many_slots_with_faults(
    stage_on_practice: Callable[..., Any],
) -> None:
    """Ten days, a tenth of all calls failing in four ways: all slots DONE, no duplicate, fills and
    balances equal.
    """
    chance = random.Random(SEED)
    stage = stage_on_practice(random_bars(chance), FIRST)
    for n, kind in enumerate(FAULTS):
        stage.control.arm(Fault(kind=kind, probability=0.025, seed=SEED + n))
    session = stage.session
    for day in range(DAYS):
        slot = FIRST + timedelta(days=day)
        stage.move_to(slot)
        raw = [chance.random() for _ in SYMBOLS]
        weights = {
            symbol: 0.95 * weight / sum(raw) for symbol, weight in zip(SYMBOLS, raw, strict=True)
        }
        assert run_until_it_ends(stage, weights, slot).status is RebalanceStatus.DONE
    stage.control.clear_faults()
    assert {r.status for r in session.ledger.rebalances(session.account)} == {RebalanceStatus.DONE}
    orders = session.ledger.orders(session.account)
    assert {order.state for order in orders} <= {OrderState.FILLED, OrderState.REJECTED}
    traded = Counter(
        (o.rebalance_id, o.request.symbol) for o in orders if o.state is OrderState.FILLED
    )
    assert max(traded.values()) == 1
    fills = [fill for symbol in SYMBOLS for fill in session.exchange.fills(symbol, FIRST)]
    assert {fill.trade_id for fill in fills} == {
        fill.trade_id for fill in session.ledger.fills(session.account)
    }
    assert session.ledger.balances(session.account) == session.exchange.balances()
    assert stage.control.stats()["orders"] == sum(traded.values())
