"""Which slots are due, missed and skipped, and what became of each."""

from datetime import datetime, timedelta

import pytest

from penstock.adapters.stores.postgres import Database, PostgresBarStore, Tier
from penstock.core.clock import VenueClock
from penstock.core.errors import ConfigError, PromotionError, VenueUnavailableError
from penstock.core.halts import TradingState
from penstock.core.instruments import Instrument
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
        "'daily-portfolio' has no champion yet: research and promote the study daily first"
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


def test_venue_that_does_not_tell_the_time_is_asked_again_with_one_alert(place: Place) -> None:
    answers = iter([False, False, *[True] * 9])

    def read() -> datetime:
        if not next(answers):
            raise VenueUnavailableError("no answer in 5 s")
        return place.world.clock.now()

    vars(place.platform)["clock"] = VenueClock(read, place.world.clock, poll_seconds=86_400)
    assert wait_for_slot(place.platform, ACTOR, "daily", None) == SLOT + DAY
    assert place.alerts == [
        (f"{ACCOUNT}: no slot can begin: the venue does not tell the time", "no answer in 5 s")
    ]


def test_without_the_venues_time_no_slot_is_said_to_be_due(place: Place) -> None:
    """Nor is any slot said to be late: its run asks again."""

    def read() -> datetime:
        raise VenueUnavailableError("no answer in 5 s")

    place.ended(SLOT - 2 * DAY)
    vars(place.platform)["clock"] = VenueClock(read, place.world.clock)
    assert [row.slot for row in list_slots(place.platform, ACTOR, "daily")] == [SLOT - 2 * DAY]
    assert trade_slot(place.platform, ACTOR, "daily", SLOT).lateness_seconds == 0


@pytest.mark.parametrize("known", [True, False])
def test_slots_that_cannot_be_accounted_for_leave_the_newest_due(place: Place, known: bool) -> None:
    """The account belongs to another venue in the ledger, or something that nobody foresaw."""
    if known:
        place.world.ledger.exchange = ("elsewhere", "USDT")
    else:
        place.world.ledger.slots[SLOT - DAY] = place.world.ledger.slots  # type: ignore[assignment]
    account = slots_due(place.platform, ACTOR, "daily", SLOT)
    assert account == SlotAccount((SLOT,))
    ((title, body),) = place.alerts
    assert title == f"{ACCOUNT}: missed slots are not accounted for yet"
    assert ("elsewhere" if known else "AttributeError") in body


def test_comparison_that_fails_after_a_slot_is_a_failure_of_that_slot(empty_place: Place) -> None:
    """The slot keeps its own end; the outcome and an alert say that its fills were not compared."""
    place = empty_place
    place.promoted()
    with_closed_database(place)
    place.world.control_store.set_trading_state(ACCOUNT, TradingState.HALTED, "a look", "ana", SLOT)
    known = place.world.venue.rules
    place.world.control_store.instruments = {"BTC/USDT": known("BTC/USDT")}

    def rules(symbol: str) -> Instrument:
        if place.rows().get(SLOT, (RebalanceStatus.RUNNING,))[0] is not RebalanceStatus.RUNNING:
            raise VenueUnavailableError("no answer in 5 s")
        return known(symbol)

    place.world.venue.rules = rules
    outcome = trade_slot(place.platform, ACTOR, "daily", SLOT)
    assert outcome.result is not None
    assert outcome.result.status is RebalanceStatus.SKIPPED
    assert (outcome.failure, outcome.failed) == ("no answer in 5 s", True)
    assert outcome.line().endswith("its fills were not compared: no answer in 5 s")
    assert place.rows()[SLOT] == (RebalanceStatus.SKIPPED, "halted: a look (set by ana)")
    assert place.alerts == [
        (f"{ACCOUNT}: the comparison of a slot's fills was not finished", "no answer in 5 s")
    ]
    place.world.venue.rules = known
    again = trade_slot(place.platform, ACTOR, "daily", SLOT)
    assert not again.failed
    assert len(place.alerts) == 1


def test_what_nobody_foresaw_while_bars_are_read_ends_the_slot_as_failed(place: Place) -> None:
    """It is an alert and the slot's reason."""
    place.ended(SLOT - DAY)
    vars(place.platform)["bars"] = None
    outcome = trade_slot(place.platform, ACTOR, "daily", SLOT)
    assert "AttributeError" in outcome.failure
    assert place.rows()[SLOT] == (RebalanceStatus.FAILED, outcome.failure)
    assert place.alerts == [(f"{ACCOUNT}: slot 2024-03-01 00:00 was not finished", outcome.failure)]


def with_closed_database(place: Place) -> None:
    """Give the platform a store of bars that must not be asked."""
    database = Database(place.platform.database_url, Tier.PLAIN, 1)
    database.close()
    vars(place.platform)["bars"] = PostgresBarStore(database)
