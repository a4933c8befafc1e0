"""TWAP and iceberg on the practice exchange with a stepped clock, killed by SIGKILL in the middle
and resumed.
"""

import random
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from penstock.execution.algorithms import Plan
from tests.integration.algorithms.conftest import Stage

pytestmark = pytest.mark.slow

#: Kills per style among the ordinary tests; `make soak` kills at every call.
A_FEW, EVERY_CALL = 2, 0
SEED = 20240301
TARGETS = {"BTC/USDT": 0.4, "ETH/USDT": 0.3, "SOL/USDT": 0.0}
TWAP = {"algorithm": "twap", "duration_seconds": 240, "slices": 4, "finish": "market"}
ICEBERG = {
    "algorithm": "iceberg",
    "display_fraction": "0.25",
    "offset_bps": "5",
    "piece_seconds": 70,
    "duration_seconds": 900,
    "finish": "market",
}
STYLES = {"twap": TWAP, "iceberg": ICEBERG}


def require_whole(stage: Stage, account: str) -> None:
    """Venue and ledger have the same fills and balances, no order stands twice, and the targets are
    reached.
    """
    exchange, ledger = stage.exchange(account), stage.ledger
    since = ledger.rebalances(account)[-1].slot - timedelta(minutes=5)
    traded = [fill for symbol in TARGETS for fill in exchange.fills(symbol, since)]
    booked = ledger.fills(account)
    assert Counter((f.symbol, f.trade_id, f.quantity, f.price) for f in traded) == Counter(
        (f.symbol, f.trade_id, f.quantity, f.price) for f in booked
    )
    assert ledger.balances(account) == exchange.balances()
    orders = ledger.orders(account)
    assert all(order.state.is_final for order in orders)
    work = {
        each.order.symbol: each for each in stage.work.work_of(ledger.rebalances(account)[0].id)
    }
    for symbol, parent in work.items():
        filled = sum((fill.quantity for fill in booked if fill.symbol == symbol), Decimal(0))
        assert filled <= parent.order.quantity, f"{symbol}: more than its parent was filled"
        assert Plan.model_validate_json(parent.plan).quantity == parent.order.quantity
    assert stage.weights(account) == pytest.approx(TARGETS, abs=0.01)


@pytest.mark.parametrize("name", STYLES)
def test_work_is_spread_over_time_and_reaches_its_targets(stage: Stage, name: str) -> None:
    """Sells and then buys go out as several children each, within the venue's volume, over minutes
    of its time.
    """
    account = f"whole-{name}"
    slot = stage.open(account)
    report = stage.run(account, slot, STYLES[name], TARGETS)
    assert report.get("status") == "done", report
    require_whole(stage, account)
    orders = stage.ledger.orders(account)
    children = Counter(order.request.symbol for order in orders)
    assert min(children.values()) >= 4, children
    assert (orders[-1].created_at - orders[0].created_at) > timedelta(minutes=1)
    if name == "twap":
        bought = [order.created_at for order in orders if order.request.symbol == "BTC/USDT"]
        gaps = {round((later - earlier).total_seconds()) for earlier, later in pairwise(bought)}
        assert gaps <= {60, 61}, gaps


@pytest.mark.parametrize("kills", [A_FEW, pytest.param(EVERY_CALL, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", STYLES)
def test_killed_work_is_resumed_without_sending_any_child_twice(
    stage: Stage, name: str, kills: int
) -> None:
    """A run is killed around a write or a request. One more run sends what is left; ledger = venue;
    a third run sends nothing.
    """
    trial = f"probe-{kills}-{name}"
    calls = stage.run(trial, stage.open(trial), STYLES[name], TARGETS)["calls"]
    points = list(range(1, calls + 1))
    chosen = sorted(random.Random(SEED).sample(points, min(kills, calls))) if kills else points
    for point in chosen:
        account = f"killed-{kills}-{name}-{point}"
        slot = stage.open(account)
        killed = stage.run(account, slot, STYLES[name], TARGETS, kill_at=point)
        assert killed["killed"], f"not killed at call {point} of {calls}: {killed}"
        stage.let_lease_run_out(account)
        mended = stage.run(account, slot, STYLES[name], TARGETS)
        assert mended.get("status") == "done", f"killed at call {point} of {calls}: {mended}"
        assert mended["breaks"] == 0
        require_whole(stage, account)
        again = stage.run(account, slot, STYLES[name], TARGETS)
        assert again["already_done"]
        assert again["sent"] == 0
    print(
        f"\n{name}: {len(chosen)} kills (seed {SEED}) over {calls} points: 0 children twice, "
        "ledger = venue, targets reached"
    )


@pytest.mark.parametrize("kills", [A_FEW, pytest.param(EVERY_CALL, marks=pytest.mark.soak)])
def test_killed_pieces_are_resumed_without_sending_any_twice(stage: Stage, kills: int) -> None:
    """The venue takes a third of a slice at once, so each slice is several children of one moment.
    Killed around a write or a request, the next run sends what is left of them.
    """
    most = {"BTC/USDT": "0.07", "ETH/USDT": "1", "SOL/USDT": "9"}
    for symbol, quantity in most.items():
        stage.control.limit_orders(symbol, market_quantity=quantity)
    try:
        probe = f"probe-pieces-{kills}"
        calls = stage.run(probe, stage.open(probe), TWAP, TARGETS)["calls"]
        sizes = [order.request for order in stage.ledger.orders(probe)]
        assert all(each.quantity <= Decimal(most[each.symbol]) for each in sizes)
        assert len({order.created_at for order in stage.ledger.orders(probe)}) < len(sizes) / 2
        points = list(range(1, calls + 1))
        chosen = sorted(random.Random(SEED).sample(points, min(kills, calls))) if kills else points
        for point in chosen:
            account = f"killed-pieces-{kills}-{point}"
            slot = stage.open(account)
            assert stage.run(account, slot, TWAP, TARGETS, kill_at=point)["killed"]
            stage.let_lease_run_out(account)
            mended = stage.run(account, slot, TWAP, TARGETS)
            assert mended.get("status") == "done", f"killed at call {point} of {calls}: {mended}"
            require_whole(stage, account)
            assert stage.run(account, slot, TWAP, TARGETS)["sent"] == 0
    finally:
        for symbol in most:
            stage.control.limit_orders(symbol)
