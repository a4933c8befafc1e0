"""Which slots are due, missed and skipped, and what became of each."""

from datetime import timedelta

import pytest

from penstock.core.errors import ConfigError, PromotionError
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.slots import SlotAccount
from penstock.pipeline.slots import (
    DueSlot,
    due_slots,
    list_slots,
    require_ready,
    slots_due,
    trade_slot,
    wait_for_slot,
    why_idle,
)
from penstock.testing.instruments import SLOT
from tests.unit.pipeline.conftest import ACCOUNT, ACTOR, Place

DAY = timedelta(days=1)


def test_next_slot_is_waited_for_and_the_newest_of_several_is_taken(place: Place) -> None:
    """The venue gets 0.2 s to have the bar. A slot that is past is not waited for."""
    clock = place.world.clock
    assert wait_for_slot(place.platform, ACTOR, "daily", None) == SLOT + DAY
    assert clock.now() == SLOT + DAY + timedelta(seconds=0.2)
    assert wait_for_slot(place.platform, ACTOR, "daily", SLOT - 5 * DAY) == SLOT + DAY
    assert clock.now() == SLOT + DAY + timedelta(seconds=0.2)
    assert wait_for_slot(place.platform, ACTOR, "daily", SLOT + DAY) == SLOT + 2 * DAY


def test_newest_slot_is_due_and_those_that_passed_are_skipped_with_the_reason(
    place: Place,
) -> None:
    """The row and the alert say it once; a second call finds nothing more."""
    place.ended(SLOT - 3 * DAY)
    account = slots_due(place.platform, ACTOR, "daily", SLOT)
    missed = (SLOT - 2 * DAY, SLOT - DAY)
    assert account == SlotAccount((SLOT,), skipped=missed)
    reason = "missed: no run had the account before 2024-03-01 00:00 was due; policy skip"
    for slot in missed:
        assert place.rows()[slot] == (RebalanceStatus.SKIPPED, reason)
    assert SLOT not in place.rows()
    (alert,) = place.world.ledger.slot_alerts
    assert alert.title == "2 slots were missed or interrupted"
    assert due_slots(place.platform, ACTOR, "daily") == [DueSlot(SLOT, False, 1800.0)]
    assert len(place.world.ledger.slot_alerts) == 1


def test_interrupted_slot_ends_as_failed_when_the_next_is_due(place: Place) -> None:
    place.ended(SLOT - DAY, RebalanceStatus.RUNNING)
    account = slots_due(place.platform, ACTOR, "daily", SLOT)
    assert account.failed == (SLOT - DAY,)
    status, reason = place.rows()[SLOT - DAY]
    assert status is RebalanceStatus.FAILED
    assert "interrupted" in reason


def test_asked_slot_is_due_alone_and_must_be_a_bar_close(place: Place) -> None:
    place.ended(SLOT - 9 * DAY)
    asked = due_slots(place.platform, ACTOR, "daily", SLOT - DAY)
    assert asked == [DueSlot(SLOT - DAY, False, 1800.0)]
    assert set(place.rows()) == {SLOT - 9 * DAY}, "nothing is accounted for"
    with pytest.raises(ConfigError):
        due_slots(place.platform, ACTOR, "daily", SLOT + timedelta(hours=1))


def test_listed_slots_name_those_that_no_run_has_had(place: Place) -> None:
    place.ended(SLOT - 2 * DAY, version="daily-portfolio/1")
    newest, missing, oldest = list_slots(place.platform, ACTOR, "daily")
    assert [newest.slot, missing.slot, oldest.slot] == [SLOT, SLOT - DAY, SLOT - 2 * DAY]
    assert newest.status is missing.status is None
    assert missing.reason.startswith("no run has had it yet")
    assert (oldest.status, oldest.version) == (RebalanceStatus.DONE, "daily-portfolio/1")
    assert list_slots(place.platform, ACTOR, "daily", 1) == (newest,)


def test_account_is_idle_until_it_has_a_champion_or_a_slot(place: Place) -> None:
    place.register()
    assert why_idle(place.platform, ACTOR, "daily") == (
        "'daily-portfolio' has no champion yet: promote one first"
    )
    with pytest.raises(PromotionError, match="promote one first"):
        require_ready(place.platform, ACTOR, "daily")
    place.promoted()
    assert why_idle(place.platform, ACTOR, "daily") == ""
    require_ready(place.platform, ACTOR, "daily")
    place.registry.aliases.clear()
    place.ended(SLOT - DAY)
    assert why_idle(place.platform, ACTOR, "daily") == ""


def test_database_that_is_down_leaves_the_slot_failed_with_its_alert(place: Place) -> None:
    """The service goes on with an outcome. The slot stays open: it may be run again today."""
    place.promoted()
    place.ended(SLOT - DAY)
    outcome = trade_slot(place.platform, ACTOR, "daily", SLOT)
    assert outcome.failed
    assert outcome.result is None
    assert "127.0.0.1:1" in outcome.failure
    assert outcome.lateness_seconds == 2
    assert outcome.line().endswith(f"0 bars  failed: {outcome.failure}")
    assert place.alerts == [(f"{ACCOUNT}: slot 2024-03-01 00:00 was not finished", outcome.failure)]
    assert SLOT not in place.rows(), "without a version nothing of it is kept while it may be run"
    assert not place.world.venue.submitted


def test_late_slot_whose_bars_cannot_be_stored_ends_as_failed(place: Place) -> None:
    """The next slot is due already: the reason stays with the row."""
    place.ended(SLOT - DAY)
    place.world.clock.sleep(DAY.total_seconds())
    outcome = trade_slot(place.platform, ACTOR, "daily", SLOT)
    assert place.rows()[SLOT] == (RebalanceStatus.FAILED, outcome.failure)
    assert place.world.ledger.slots[SLOT].portfolio_version == "none"
