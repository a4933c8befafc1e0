"""An account on two venues. Price collar and notional limits hold for each part, at the price of
its own venue.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.adapters.exchanges.several_venues import SeveralVenues
from penstock.core.errors import OrderNotFoundError, VenueUnavailableError
from penstock.core.halts import TradingState
from penstock.core.orders import OrderReport, OrderRequest, OrderState
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Twap
from penstock.execution.rebalance.result import RebalanceResult
from penstock.execution.rebalance.run import rebalance
from penstock.risk.limits import RiskLimits
from penstock.testing.memory_venue import OneOfTwo
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
BTC = "BTC/USDT"
LIMITS = RiskLimits(max_gross=Decimal(1), max_weight=Decimal(1), price_collar=Decimal("0.03"))

WORKING = OrderReport("", "", "ADA/USDT", OrderState.OPEN, Decimal(0))


@dataclass
class Pair(World):
    """An account at two venues, "a" (the first) and "b" (ten times the fee). Each has 10,000 USDT
    and a deep book.
    """

    a: OneOfTwo
    b: OneOfTwo


@pytest.fixture
def pair(world: World) -> Pair:
    a, b = OneOfTwo(world.clock), OneOfTwo(world.clock)
    both = SeveralVenues({"a": a, "b": b}, {"a": Decimal(1), "b": Decimal(10)})
    session = replace(world.session, exchange=both, venues=both)
    return Pair(world.ledger, world.control_store, a, world.clock, session, a, b)


def run(
    pair: Pair, weight: float, limits: RiskLimits = LIMITS, slot: datetime = SLOT
) -> RebalanceResult:
    return rebalance(pair.session, replace(pair.inputs({BTC: weight}, slot), limits=limits))


def sent(pair: Pair) -> list[tuple[str, Decimal]]:
    return [(order.request.venue, order.request.quantity) for order in pair.ledger.book.values()]


def skipped(report: RebalanceResult) -> str:
    return "; ".join(each.reason for each in report.skipped)


def test_venue_that_quotes_far_below_gets_no_part(pair: Pair) -> None:
    """First venue 50,000, the other 30,000, collar 3%: the cheap offer is more likely wrong than
    true.
    """
    pair.b.prices[BTC] = Decimal(30_000)
    report = run(pair, 0.2)
    assert report.status is RebalanceStatus.DONE
    assert {venue for venue, _ in sent(pair)} == {"a"}
    assert pair.b.assets == {"USDT": 10_000}


def test_buy_never_spends_more_at_another_venue_than_was_approved(pair: Pair) -> None:
    """The first venue has no cash and the other quotes 80,000: nothing is sent, and the report says
    why.
    """
    pair.b.prices[BTC], pair.a.assets = Decimal(80_000), {"USDT": Decimal(1)}
    report = run(pair, 0.5, LIMITS.model_copy(update={"max_order_notional": Decimal(5100)}))
    assert not sent(pair)
    assert (
        "b quotes 80000, 60.0% from the approved price 50000; at most 3.0% is allowed"
        in skipped(report)
    )


@pytest.mark.parametrize("limit", [None, 3000])
def test_notional_holds_at_the_parts_own_price(pair: Pair, limit: int | None) -> None:
    """A price two per cent higher is within the collar. The parts never spend more than the
    approved notional or the limit.
    """
    pair.b.prices[BTC], pair.a.assets = Decimal(51_000), {"USDT": Decimal(1)}
    limits = LIMITS.model_copy(update={"max_order_notional": limit and Decimal(limit)})
    report = run(pair, 0.5, limits)
    (approved,) = (limit,) if limit else (Decimal(10_001) / 2,)
    spent = Decimal(10_000) - pair.b.assets["USDT"]
    assert approved * Decimal("0.99") < spent <= approved
    assert "is not approved" in skipped(report)


def test_retried_part_keeps_the_collar_too(pair: Pair) -> None:
    """A part that never arrived is not sent again at a price that has moved away."""
    pair.a.assets = {"USDT": Decimal(1)}

    def lose(order: OrderRequest) -> None:
        pair.b.prices[BTC] = Decimal(80_000)
        raise VenueUnavailableError("connection refused")

    pair.b.before = lose
    report = run(pair, 0.4)
    assert [(order.attempt, order.request.venue) for order in report.orders] == [(0, "b")]
    assert "fits no venue" in skipped(report)
    assert "b quotes 80000, 60.0% from the approved price" in skipped(report)
    assert not pair.b.submitted


def test_children_over_time_spend_no_more_than_their_parent_was_approved(pair: Pair) -> None:
    """The price rises by half a per cent between slices. The last slice is smaller, and the sum is
    the approved notional.
    """
    pair.a.assets = {"USDT": Decimal(1)}
    pair.session = replace(
        pair.session,
        style=Twap(duration_seconds=40, slices=4),
    )
    pause = pair.session.pause

    def rise(seconds: float) -> None:
        pair.b.prices[BTC] *= Decimal("1.0005")
        pause(seconds)

    pair.session = replace(pair.session, pause=rise)
    report = run(pair, 0.5)
    assert len(report.orders) >= 4
    assert Decimal(4950) < Decimal(10_000) - pair.b.assets["USDT"] <= Decimal("5000.5")


def test_position_that_is_closed_is_sold_whatever_the_venue_quotes(pair: Pair) -> None:
    """The venue that holds the coin quotes a third less than the first. A halt that flattens sells
    it there all the same.
    """
    pair.a.assets = {"USDT": Decimal(1)}
    run(pair, 0.5)
    pair.b.prices[BTC] = Decimal(34_000)
    pair.clock.at += timedelta(days=1)
    kept = run(pair, 0.0, slot=SLOT + timedelta(days=1))
    assert "b quotes 34000" in skipped(kept)
    pair.clock.at += timedelta(days=1)
    pair.control_store.set_trading_state(
        "test", TradingState.HALTED, "drill", "test", pair.clock.now(), flatten=True
    )
    report = run(pair, 0.0, slot=SLOT + timedelta(days=2))
    assert report.status is RebalanceStatus.DONE
    assert pair.b.assets["BTC"] < Decimal("0.0001")


def test_order_by_hand_is_cancelled_at_the_venue_that_its_id_names(pair: Pair) -> None:
    """Without a client order id the venue's own id leads to the venue, as the account shows it.
    Another id is no order.
    """
    pair.b.placed["by-hand"] = replace(WORKING, venue_order_id="77")
    (report,) = pair.session.exchange.open_orders()
    assert report.venue_order_id == "b:77"
    pair.session.exchange.cancel("", report.symbol, report.venue_order_id)
    assert not pair.session.exchange.open_orders()
    with pytest.raises(OrderNotFoundError, match="names none of a, b"):
        pair.session.exchange.cancel("", report.symbol, "77")
