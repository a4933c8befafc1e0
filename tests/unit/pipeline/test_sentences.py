"""Figures in sentences that use cases return."""

from decimal import Decimal

import pytest

from penstock.core.timeframes import Timeframe
from penstock.data.ingestion import IngestReport
from penstock.execution.reconciliation.reconcile import Reconciliation
from penstock.pipeline.doctor import seconds_apart
from penstock.pipeline.ingest import IngestOutcome
from penstock.pipeline.reconcile import ReconcileOutcome


def test_one_asset_is_not_called_assets() -> None:
    """An account that holds only cash agrees on 1 asset."""
    cash = {"USDT": Decimal(1)}
    for balances, words in ((cash, "on 1 asset"), ({**cash, "BTC": Decimal(2)}, "on 2 assets")):
        found = Reconciliation(balances=balances, breaks=())
        assert ReconcileOutcome("main", found).summary().endswith(words)


@pytest.mark.parametrize(
    ("seconds", "digits", "shown"),
    [(-0.04, 1, "+0.0 s"), (-0.06, 1, "-0.1 s"), (0.3, 1, "+0.3 s"), (-0.004, 2, "+0.00 s")],
)
def test_clock_that_agrees_is_not_behind(seconds: float, digits: int, shown: str) -> None:
    """No "-0.0 s": a difference that rounds to nothing has no direction."""
    assert seconds_apart(seconds, digits) == shown


def test_ingestion_says_which_bars_are_missing() -> None:
    """Bars that came in and bars that the venue does not have, over all symbols."""
    reports = [
        IngestReport("practice", symbol, Timeframe.D1, new=new, gaps=gaps, missing=missing)
        for symbol, new, gaps, missing in (("BTC/USDT", 500, 2, 5), ("ETH/USDT", 400, 1, 1))
    ]
    whole = IngestOutcome(Timeframe.D1, tuple(reports), None).summary()
    assert whole == (
        "1d: 2 symbols, 900 bars new, 0 revised, 0 quarantined, 3 gaps with 6 bars missing"
    )
    assert IngestOutcome(Timeframe.D1, (), None).summary().endswith("no gaps")
