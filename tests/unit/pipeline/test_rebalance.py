"""One slot of one account: which version it loads, why it is not traded, and what it leaves."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from penstock.core.errors import ConfigError, PromotionError, StoreError, UnexpectedError
from penstock.core.halts import TradingState
from penstock.core.rebalances import RebalanceStatus
from penstock.pipeline.rebalance import (
    leave_unfinished,
    listed_limits,
    load_models,
    newest_slot,
    pinned_models,
    rebalance_slot,
)
from penstock.testing.instruments import SLOT
from tests.unit.pipeline.conftest import ACCOUNT, ACTOR, MODEL, Place

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
UNFINISHED = f"{ACCOUNT}: slot 2024-03-01 00:00 was not finished"
NO_TRADE = f"{ACCOUNT}: slot 2024-03-01 00:00 was not traded by this run"


def test_champion_is_loaded_with_its_quota_and_a_pinned_version_with_its_own(
    place: Place,
) -> None:
    """A pinned version is loaded whatever the alias points at and the quota is now."""
    first, second = place.promoted(30), place.promoted(40)
    (champion,) = load_models(place.platform, "daily")
    assert (champion.model.version.version, champion.quota) == (second, 0.75)
    (pinned,) = pinned_models(place.platform, f"{MODEL}/{first}*0.5")
    assert (pinned.model.version.version, pinned.quota) == (first, 0.5)
    assert pinned.model.strategy.warmup_bars == 30


def test_version_that_was_never_passed_or_is_of_another_exchange_is_refused(
    place: Place,
) -> None:
    """An alias that was moved past the gate loads nothing, and no practice version trades money."""
    place.promoted(30, exchange="binance")
    with pytest.raises(PromotionError, match="bars of 'binance' and this environment trades"):
        load_models(place.platform, "daily")
    place.registry.move_alias(MODEL, "champion", place.register(40))
    with pytest.raises(PromotionError, match="not on record as passed"):
        rebalance_slot(place.platform, ACTOR, "daily")
    assert [title for title, _ in place.alerts] == [UNFINISHED]
    assert not place.world.venue.submitted


def test_slot_that_was_begun_keeps_its_version_and_its_reason(place: Place) -> None:
    """Its bars cannot be read: it stays open with the reason. When it is run again another version
    is champion, and the first one is asked for all the same.
    """
    place.ended(SLOT - DAY)
    first = place.promoted(30)
    with pytest.raises(StoreError) as caught:
        rebalance_slot(place.platform, ACTOR, "daily", SLOT)
    assert place.rows()[SLOT] == (RebalanceStatus.RUNNING, f"interrupted: {caught.value}")
    assert place.world.ledger.slots[SLOT].portfolio_version == f"{MODEL}/{first}*0.75"
    assert place.alerts == [(UNFINISHED, str(caught.value))]
    place.record.saved.clear()
    place.promoted(40)
    with pytest.raises(PromotionError, match=f"{MODEL}/{first} is not on record as passed"):
        rebalance_slot(place.platform, ACTOR, "daily", SLOT)
    assert not place.world.venue.submitted


def test_what_nobody_foresaw_ends_the_slot_as_failed_with_an_alert(place: Place) -> None:
    """The same bars would raise it again. The row and the alert have the kind of error."""
    place.ended(SLOT - DAY)
    place.promoted()
    place.registry.runs.clear()
    with pytest.raises(UnexpectedError, match="KeyError") as caught:
        rebalance_slot(place.platform, ACTOR, "daily", SLOT)
    assert place.rows()[SLOT] == (RebalanceStatus.FAILED, str(caught.value))
    assert place.alerts == [(UNFINISHED, str(caught.value))]


@pytest.mark.parametrize("held", [False, True])
def test_reason_that_cannot_be_kept_is_in_the_alert(place: Place, held: bool) -> None:
    """Another process holds the account, or the account never had a slot."""
    if held:
        place.ended(SLOT - DAY)
        place.world.ledger.holder, place.world.ledger.expires_at = "other", SLOT + HOUR
    leave_unfinished(place.platform, "daily", SLOT, UnexpectedError("why"))
    assert place.alerts == [(UNFINISHED, "why")]
    assert SLOT not in place.rows()


def test_late_slot_is_skipped_with_the_reason(place: Place) -> None:
    """Run again, it has ended already and says the same."""
    place.promoted()
    place.world.clock.sleep(7200)
    result = rebalance_slot(place.platform, ACTOR, "daily", SLOT)
    assert result.status is RebalanceStatus.SKIPPED
    assert result.reason.startswith(
        "120.0 minutes late: it is skipped after 60 (max_lateness_minutes)"
    )
    assert place.rows()[SLOT] == (RebalanceStatus.SKIPPED, result.reason)
    again = rebalance_slot(place.platform, ACTOR, "daily", SLOT)
    assert again.already_done
    assert again.reason == f"already skipped ({result.reason})"


def test_slot_that_may_be_late_goes_on_to_its_bars(place: Place) -> None:
    """They cannot be read, and the slot says so and not that it was late. It can be run again."""
    place.promoted()
    place.world.clock.sleep(7200)
    with pytest.raises(StoreError) as caught:
        rebalance_slot(place.platform, ACTOR, "daily", SLOT, however_late=True)
    status, reason = place.rows()[SLOT]
    assert status is RebalanceStatus.RUNNING
    assert str(caught.value) in reason


def test_halted_account_trades_nothing_and_the_slot_says_who_halted_it(place: Place) -> None:
    """Without a slot the newest that has closed is meant."""
    place.promoted()
    place.world.control_store.set_trading_state(
        ACCOUNT, TradingState.HALTED, "venue hacked", "ana", SLOT
    )
    assert newest_slot(place.platform, "daily") == SLOT
    result = rebalance_slot(place.platform, ACTOR, "daily")
    assert place.rows() == {SLOT: (RebalanceStatus.SKIPPED, result.reason)}
    assert result.reason == "halted: venue hacked (set by ana)"
    with pytest.raises(ConfigError):
        rebalance_slot(place.platform, ACTOR, "daily", SLOT + HOUR)
    assert set(place.rows()) == {SLOT}


def test_slot_of_a_held_account_is_left_to_its_holder_with_an_alert(place: Place) -> None:
    """What the other process made of it is the result; while it has not ended, an alert says so."""
    place.promoted()
    place.ended(SLOT - DAY, version="earlier")
    ledger = place.world.ledger

    def hold() -> None:
        ledger.holder, ledger.expires_at = "other", SLOT + HOUR

    hold()
    result = rebalance_slot(place.platform, ACTOR, "daily", SLOT)
    assert (result.status, result.already_done) == (None, False)
    assert "is not on record yet, run it again" in result.reason
    assert place.alerts == [(NO_TRADE, result.reason)]
    ledger.holder = ""
    place.ended(SLOT, RebalanceStatus.RUNNING)
    hold()
    result = rebalance_slot(place.platform, ACTOR, "daily", SLOT)
    assert "running there or was interrupted" in result.reason
    assert len(place.alerts) == 2
    ledger.holder = ""
    place.ended(SLOT, RebalanceStatus.DONE)
    hold()
    result = rebalance_slot(place.platform, ACTOR, "daily", SLOT)
    assert (result.status, result.already_done) == (RebalanceStatus.DONE, True)
    assert result.reason == "another process ended it as done"
    assert len(place.alerts) == 2
    assert not place.world.venue.submitted


@pytest.mark.parametrize(("symbol", "listed"), [("ADA/USDT", True), ("ADAUSDT", False)])
def test_limit_of_a_symbol_that_nobody_lists_is_refused(
    empty_place: Place, symbol: str, listed: bool
) -> None:
    """It would bind nothing. One that the market lists outside the universe is taken."""
    path = Path(empty_place.platform.settings.process.configs) / "risk.yaml"
    risk = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**risk, "max_position": {symbol: 2}}), encoding="utf-8")
    if listed:
        assert set(listed_limits(empty_place.platform).max_position) == {symbol}
    else:
        with pytest.raises(ConfigError, match=f"max_position of {symbol}"):
            listed_limits(empty_place.platform)
