"""A rebalance of eight symbols is killed by SIGKILL around its writes and calls; running the slot again must mend all."""

import os
import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

#: Kills in one run of the suite; PENSTOCK_CRASH_KILLS=0 kills at every boundary.
KILLS = int(os.environ.get("PENSTOCK_CRASH_KILLS", "12"))
SEED = int(os.environ.get("PENSTOCK_CRASH_SEED", "20240301"))
_TARGETS = {"BTC": 0.1, "ETH": 0.2, "BNB": 0.1, "SOL": 0.15, "ADA": 0.0, "XRP": 0.1, "LTC": 0.05, "DOT": 0.15}


def require_whole(stage: Any, account: str) -> None:
    """The venue's own journal, the ledger and the targets agree to the last digit, and each order stands once."""
    exchange, ledger = stage.exchange(account), stage.ledger
    venue_fills = [fill for base in _TARGETS for fill in exchange.fills(f"{base}/USDT", ledger.rebalances(account)[0].slot)]
    booked = ledger.fills(account)
    assert Counter((f.symbol, f.trade_id, f.quantity, f.price, f.fee, f.fee_asset) for f in venue_fills) == Counter(
        (f.symbol, f.trade_id, f.quantity, f.price, f.fee, f.fee_asset) for f in booked
    ), "lost or doubled fills"
    assert max(Counter(fill.symbol for fill in venue_fills).values()) == 1, "a duplicate order at the venue"
    positions, balances = ledger.positions(account), exchange.balances()
    assert {a: Decimal(q) for a, q in positions.items()} == balances, "ledger and venue differ"
    assert all(order.state.is_final for order in ledger.orders(account))
    assert stage.weights(account) == pytest.approx(_TARGETS, abs=0.006)


@pytest.fixture(scope="module")
def boundaries(stage: Any) -> list[str]:
    """The boundaries that an undisturbed rebalance crosses, which must itself come out whole."""
    stage.open("undisturbed")
    report = stage.run("undisturbed")
    assert report.get("status") == "done", report
    require_whole(stage, "undisturbed")
    names: list[str] = report["boundaries"]
    return names


def test_killed_slot_is_mended_by_one_more_run(stage: Any, boundaries: list[str]) -> None:
    """Killed anywhere: the next run ends DONE, no order twice, no fill lost, targets reached; a third sends nothing."""
    points = list(range(1, len(boundaries) + 1))
    chosen = points if KILLS == 0 else sorted(random.Random(SEED).sample(points, min(KILLS, len(points))))
    for point in chosen:
        account = f"killed-{point}"
        stage.open(account)
        killed = stage.run(account, kill_at=point)
        where = f"{boundaries[point - 1]} (boundary {point} of {len(boundaries)})"
        assert killed["killed"], f"not killed at {where}: {killed}"
        stage.let_lease_run_out(account)
        mended = stage.run(account, version="trend/2")
        assert mended.get("status") == "done", f"killed {where}: {mended}"
        assert mended["breaks"] == 0, where
        require_whole(stage, account)
        again = stage.run(account)
        assert again["already_done"], where
        assert again["sent"] == 0, where
    print(f"\n{len(chosen)} kills (seed {SEED}) over {len(boundaries)} boundaries: 0 duplicates, 0 lost fills, ledger = venue")


def test_two_kills_in_a_row_are_mended(stage: Any, boundaries: list[str]) -> None:
    """The recovering run is killed too, in its middle; the third run mends both."""
    submits = [n for n, name in enumerate(boundaries, start=1) if name == "after exchange.submit"]
    account = "killed-twice"
    stage.open(account)
    assert stage.run(account, kill_at=submits[1])["killed"]
    stage.let_lease_run_out(account)
    assert stage.run(account, kill_at=submits[1])["killed"]
    stage.let_lease_run_out(account)
    mended = stage.run(account)
    assert mended.get("status") == "done", mended
    require_whole(stage, account)
