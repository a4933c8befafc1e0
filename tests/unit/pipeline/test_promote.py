"""Which searches and which bars the gate takes for what they are called."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from penstock.core.bars import require_bars
from penstock.core.errors import PromotionError
from penstock.core.timeframes import Timeframe
from penstock.data.snapshots import write_snapshot
from penstock.pipeline.promote import promote_candidate
from penstock.promotion.records import RecordedSearch
from tests.unit.pipeline.conftest import ACTOR, MODEL, Place


@dataclass
class OneSearch:
    """A tracker with one search."""

    only: RecordedSearch

    def newest_search(self) -> RecordedSearch:
        return self.only


def test_candidate_is_judged_on_the_bars_that_were_searched_and_on_no_others(
    place: Place, tmp_path: Path
) -> None:
    """The path of the snapshot comes from MLflow: a whole snapshot of other bars is refused."""
    number = place.register()
    version = place.registry.find(MODEL, number)
    assert version is not None
    bars = pl.DataFrame(
        {
            "symbol": "BTC/USDT",
            "ts": [datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(3)],
            **dict.fromkeys(("open", "high", "low", "close"), 100.0),
            "volume": 1.0,
        }
    )
    other = write_snapshot(require_bars(bars, "other"), "practice", Timeframe.D1, tmp_path)
    evidence = place.registry.evidence(MODEL, number)
    at = datetime(2024, 1, 1, tzinfo=UTC)
    found = RecordedSearch(version.run_id, evidence.search_id, at, evidence, other.path)
    vars(place.platform)["tracker"] = lambda _study: OneSearch(found)
    with pytest.raises(PromotionError, match=r"not the snapshot that was searched.*dddddddddddd"):
        promote_candidate(place.platform, ACTOR, "daily")
    assert place.record.saved == []
