"""What our own steps ask for and read is bounded, and says where it leaves something out."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from penstock.core.errors import ConfigError, DataError, VenueError
from penstock.core.timeframes import Timeframe
from penstock.pipeline import comparison, doctor
from penstock.pipeline.comparison import traded_period
from penstock.pipeline.ingest import ingest_one
from penstock.pipeline.slots import require_ready, trade_slot
from penstock.practice.faults import Fault, FaultKind
from penstock.risk.limits import RiskLimits
from tasks.ingestion import ingest_symbol
from tests.integration.pipeline.conftest import ACTOR, OneVersion, Place

pytestmark = pytest.mark.slow


def change(place: Place, **settings: Any) -> None:
    """Replace parts of the place's settings."""
    vars(place.platform.settings).update(settings)


def test_ingestion_asks_as_often_as_it_is_configured_to(place: Place) -> None:
    """One layer of retries: `ingest.attempts` requests reach a venue that is down, and no more."""
    universe = place.platform.settings.universe
    policy = universe.ingest.model_copy(update={"attempts": 3, "backoff_seconds": 0.01})
    change(place, universe=universe.model_copy(update={"ingest": policy}))
    place.platform.ingest_market.instruments()
    place.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/klines"))
    with pytest.raises(VenueError):
        ingest_one(place.platform, ACTOR, Timeframe.D1, "BTC/USDT")
    assert [fault["struck"] for fault in place.control.faults()] == [3]
    assert ingest_symbol.retries == 0, "the task would multiply them"


def test_comparison_says_that_the_account_has_too_many_slots(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slots where one is the most: no comparison, and the reason has the number."""
    for _ in range(2):
        assert not trade_slot(place.platform, ACTOR, "daily", place.tomorrow()).failed
    assert len(traded_period(place.platform, "daily").slots) == 2
    monkeypatch.setattr(comparison, "MOST_SLOTS", 1)
    with pytest.raises(DataError, match="practice-daily has more than 1 slots"):
        traded_period(place.platform, "daily")


def test_limit_for_a_symbol_that_nobody_lists_trades_nothing(place: Place) -> None:
    """A typo in max_position would bind nothing: the slot fails with the reason and an alert, and
    the doctor says it too. Where the venue gives no answer the doctor says how it was asked.
    """
    place.control.arm(Fault(kind=FaultKind.ERROR_BEFORE, path="/api/v3/exchangeInfo"))
    with pytest.raises(VenueError, match="binance on this machine"):
        doctor._venue(place.platform)
    place.control.clear_faults()
    change(place, risk=RiskLimits(max_position={"BTC/USD": 1, "ETH/USDT": 1}))
    outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert "max_position of BTC/USD: binance lists no such symbol" in outcome.failure
    assert place.control.stats()["orders"] == 0
    assert "max_position of BTC/USD" in place.alerts[0][1]
    looks: list[Callable[[], object]] = [
        lambda: require_ready(place.platform, ACTOR, "daily"),
        lambda: doctor._venue(place.platform),
    ]
    for look in looks:
        with pytest.raises(ConfigError, match="max_position of BTC/USD"):
            look()
    change(place, risk=RiskLimits(max_position={"ETH/USDT": 1}))
    assert doctor._venue(place.platform) == "binance: 2 instruments; binance on this machine"


def test_doctor_asks_for_the_models_that_are_configured(place: Place) -> None:
    """Each account's own model is asked for, whatever its name, and one without a champion is
    named.
    """

    class Asked(OneVersion):
        names: ClassVar[list[str]] = []

        def find(self, name: str, alias_or_version: str) -> Any:
            self.names.append(name)
            return self.version if name == "minute-portfolio" else None

    vars(place.platform).update(registry=Asked())
    seen = doctor._registry(place.platform)
    assert Asked.names == [
        "daily-portfolio",
        "minute-portfolio",
        "first-day-portfolio",
        "practice-minute-portfolio",
    ]
    assert "minute-portfolio trades version 1" in seen
    assert "no champion yet of daily-portfolio, first-day-portfolio, practice" in seen
