"""Slots between two runs: each is done, skipped with a reason, or failed with a reason."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.leases import Lease
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.execution.rebalance.run import rebalance
from penstock.execution.rebalance.slots import (
    MissedSlots,
    account_for_missed,
    find_gaps,
    record_failure,
)
from penstock.testing.world import World

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WEIGHTS = {"BTC/USDT": 0.5}


def rows(world: World) -> dict[int, tuple[RebalanceStatus, str]]:
    """Status and reason by minutes after the first slot."""
    return {
        int((row.slot - SLOT) / MINUTE): (row.status, row.reason)
        for row in sorted(world.ledger.slots.values(), key=lambda r: r.slot)
    }


def account(world: World, minutes: int, policy: MissedSlots = MissedSlots.SKIP, **more: Any) -> Any:
    return account_for_missed(world.session, Timeframe.M1, SLOT + minutes * MINUTE, policy, **more)


@pytest.fixture
def traded(world: World) -> Any:
    """An account whose first slot is DONE."""
    rebalance(world.session, world.inputs(WEIGHTS))
    return world


def test_brand_new_account_has_missed_nothing(world: World) -> None:
    """Before the first run there is no slot to account for, and no row that would hide the opening
    balances.
    """
    assert account(world, 1000).to_run == (SLOT + 1000 * MINUTE,)
    assert not world.ledger.slots


def test_next_slot_in_time_writes_nothing(traded: World) -> None:
    """Slot after slot, the account is read and not written."""
    writes = traded.ledger.writes
    assert account(traded, 1).to_run == (SLOT + MINUTE,)
    assert traded.ledger.writes == writes


def test_skip_writes_a_row_for_each_missed_slot(traded: World) -> None:
    """The process is back after five minutes. Four slots are SKIPPED with the reason, and the fifth
    runs if it is not late.
    """
    found = account(traded, 5)
    assert found.to_run == (SLOT + 5 * MINUTE,)
    assert not found.late
    assert [status for status, _ in rows(traded).values()] == [RebalanceStatus.DONE] + [
        RebalanceStatus.SKIPPED
    ] * 4
    assert {
        reason for status, reason in rows(traded).values() if status is RebalanceStatus.SKIPPED
    } == {"missed: no run had the account before 2024-03-01 00:05 was due; policy skip"}


def test_accounting_twice_writes_once(traded: World) -> None:
    """A second call finds nothing missing."""
    account(traded, 5)
    before = rows(traded)
    again = account(traded, 5)
    assert not again.skipped
    assert rows(traded) == before


def test_run_latest_runs_the_newest_however_late(traded: World) -> None:
    """Only the newest is run, and it may be late."""
    found = account(traded, 3, MissedSlots.RUN_LATEST)
    assert found.to_run == (SLOT + 3 * MINUTE,)
    assert found.late == {SLOT + 3 * MINUTE}
    assert len(found.skipped) == 2


def test_run_all_runs_each_oldest_first(traded: World) -> None:
    """No row is written: each slot gets its own by being run."""
    found = account(traded, 3, MissedSlots.RUN_ALL)
    assert found.to_run == tuple(SLOT + n * MINUTE for n in (1, 2, 3))
    assert list(rows(traded)) == [0]


def test_run_all_takes_up_an_interrupted_slot(traded: World) -> None:
    """A slot that is still RUNNING is run before those after it."""
    lease = traded.ledger.acquire_lease("test", "other", 60)
    assert lease
    traded.ledger.start_rebalance(lease, SLOT + MINUTE, "trend/1")
    traded.ledger.release_lease(lease)
    assert account(traded, 2, MissedSlots.RUN_ALL).to_run == (SLOT + MINUTE, SLOT + 2 * MINUTE)
    assert account(traded, 2).to_run == (SLOT + 2 * MINUTE,)


def test_many_missed_slots_are_bounded_and_still_counted(traded: World) -> None:
    """Of 100 missed slots the newest ten have rows of their own. One row before them states how
    many it stands for.
    """
    found = account(traded, 101, most_rows=10)
    written = rows(traded)
    assert list(written) == [0, 91, *range(92, 101)]
    assert found.together == 91
    assert "with it 91 slots since 2024-03-01 00:01" in written[91][1]
    assert "91" in found.summary() or "100" in found.summary()
    again = account(traded, 101, most_rows=10)
    assert (again.skipped, again.together) == ((), 0)


def test_slot_between_two_runs_is_found_behind_a_newer_one(traded: World) -> None:
    """An operator ran a later slot by hand: what lies between is accounted for by the next call."""
    later = SLOT + 3 * MINUTE
    traded.clock.at = later
    rebalance(traded.session, traded.inputs(WEIGHTS, later))
    account(traded, 4)
    assert [status for status, _ in rows(traded).values()] == [
        RebalanceStatus.DONE,
        RebalanceStatus.SKIPPED,
        RebalanceStatus.SKIPPED,
        RebalanceStatus.DONE,
    ]


def test_account_held_by_another_process_is_left_alone(traded: World) -> None:
    """Without the lease nothing is written; the newest slot's own run will say who trades."""
    traded.ledger.acquire_lease("test", "other", 60)
    assert account(traded, 5).to_run == (SLOT + 5 * MINUTE,)
    assert list(rows(traded)) == [0]


def test_late_slots_that_run_all_chose_are_really_run(traded: World) -> None:
    """The catch-up leaves every slot DONE, in order."""
    traded.clock.at += 5 * MINUTE
    session = replace(
        traded.session,
        policy=traded.session.policy.model_copy(update={"max_lateness_seconds": float("inf")}),
    )
    for slot in account(traded, 3, MissedSlots.RUN_ALL).to_run:
        rebalance(session, traded.inputs(WEIGHTS, slot))
    assert [status for status, _ in rows(traded).values()] == [RebalanceStatus.DONE] * 4


def failed(world: World, minutes: int, version: str | None = "trend/1") -> bool:
    """Keep that the run of this slot raised."""
    return record_failure(
        world.session, Timeframe.M1, SLOT + minutes * MINUTE, "no answer in 5 s", version
    )


def test_slot_whose_run_raised_can_be_run_again_while_it_is_the_newest(traded: World) -> None:
    """Its row stays RUNNING with the error, and the next run of it trades it."""
    traded.clock.at += MINUTE
    assert failed(traded, 1)
    assert rows(traded)[1] == (RebalanceStatus.RUNNING, "interrupted: no answer in 5 s")
    assert (
        rebalance(traded.session, traded.inputs(WEIGHTS, SLOT + MINUTE)).status
        is RebalanceStatus.DONE
    )
    assert rows(traded)[1] == (RebalanceStatus.DONE, "")


def test_slot_whose_run_raised_too_late_is_failed_with_its_reason(traded: World) -> None:
    """Once the next slot is due nobody runs this one again: it is FAILED with the error. A slot
    that ended stays as it is.
    """
    traded.clock.at += 2 * MINUTE
    assert failed(traded, 1)
    assert rows(traded)[1] == (RebalanceStatus.FAILED, "no answer in 5 s")
    assert not failed(traded, 0)
    assert rows(traded)[0][0] is RebalanceStatus.DONE


@pytest.mark.parametrize("ends", ["the account of slots", "the next rebalance"])
def test_interrupted_slot_that_nobody_ran_again_ends_with_what_stopped_it(
    traded: World, ends: str
) -> None:
    """Whoever comes next ends it as FAILED, and the first error is still in the reason."""
    traded.clock.at += MINUTE
    failed(traded, 1)
    traded.clock.at += MINUTE
    if ends == "the account of slots":
        account(traded, 2)
    else:
        rebalance(traded.session, traded.inputs(WEIGHTS, SLOT + 2 * MINUTE))
    assert rows(traded)[1] == (
        RebalanceStatus.FAILED,
        "interrupted: no answer in 5 s; the slot 2024-03-01 00:02 took over",
    )


def test_interrupted_slot_that_is_too_late_ends_with_both_reasons(traded: World) -> None:
    """A slot that is run again too late is skipped as late, and its first reason is kept."""
    traded.clock.at += MINUTE
    failed(traded, 1)
    traded.clock.at += 2 * MINUTE
    session = replace(
        traded.session, policy=traded.session.policy.model_copy(update={"max_lateness_seconds": 60})
    )
    rebalance(session, traded.inputs(WEIGHTS, SLOT + MINUTE))
    status, reason = rows(traded)[1]
    assert status is RebalanceStatus.SKIPPED
    assert "late" in reason
    assert "no answer in 5 s" in reason


def test_slot_that_failed_before_its_version_was_known_is_left_without_a_row(traded: World) -> None:
    """A row would fix a version that nobody decided; the slot can be run once there is one."""
    traded.clock.at += MINUTE
    assert not failed(traded, 1, version=None)
    assert list(rows(traded)) == [0]
    traded.clock.at += MINUTE
    assert failed(traded, 1, version=None)
    assert rows(traded)[1] == (RebalanceStatus.FAILED, "no answer in 5 s")


def test_pile_of_interrupted_slots_is_ended_whatever_its_height(traded: World) -> None:
    """A venue that is down for hours leaves more interrupted slots than a rebalance looks back for.
    All of them end.
    """
    for minute in range(1, 151):
        traded.clock.at = SLOT + minute * MINUTE
        failed(traded, minute)
    found = account(traded, 151)
    assert found.to_run == (SLOT + 151 * MINUTE,)
    assert not found.failed  # each has had its alert
    assert [status for status, _ in rows(traded).values()] == [RebalanceStatus.DONE] + [
        RebalanceStatus.FAILED
    ] * 150


def test_killed_run_is_told_apart_from_one_that_said_why(traded: World) -> None:
    """A slot that stands RUNNING without a reason was killed. It ends as FAILED and is named,
    because nobody got an alert.
    """
    lease = traded.ledger.acquire_lease("test", "other", 60)
    assert lease
    traded.ledger.start_rebalance(lease, SLOT + MINUTE, "trend/1")
    traded.ledger.release_lease(lease)
    found = account(traded, 2)
    assert found.failed == (SLOT + MINUTE,)
    assert rows(traded)[1] == (
        RebalanceStatus.FAILED,
        "interrupted; the slot 2024-03-01 00:02 took over",
    )


def test_next_slot_commits_the_alert_of_a_killed_one_with_its_end(traded: World) -> None:
    """Whoever dies after it loses no alert. A slot that said why has had its alert."""
    lease = traded.ledger.acquire_lease("test", "other", 60)
    assert lease
    traded.ledger.start_rebalance(lease, SLOT + MINUTE, "trend/1")
    traded.ledger.release_lease(lease)
    traded.clock.at += 2 * MINUTE
    failed(traded, 2)
    traded.clock.at += MINUTE
    rebalance(traded.session, traded.inputs(WEIGHTS, SLOT + 3 * MINUTE))
    assert [status for status, _ in rows(traded).values()] == [
        RebalanceStatus.DONE,
        RebalanceStatus.FAILED,
        RebalanceStatus.FAILED,
        RebalanceStatus.DONE,
    ]
    assert [alert.title for alert in traded.ledger.slot_alerts] == [
        "slot 2024-03-01 00:01 was cut short"
    ]


def test_failure_before_the_first_slot_leaves_the_account_new(world: World) -> None:
    """Opening balances are taken over by the first run that reaches the venue: no row may come
    before it.
    """
    assert not record_failure(world.session, Timeframe.M1, SLOT, "no answer in 5 s", "trend/1")
    assert not world.ledger.slots


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(0, 90), st.integers(1, 40))
def test_no_slot_is_lost_between_rows_gaps_and_their_count(
    known: set[int], newest: int, most: int
) -> None:
    """Known, missing and uncounted slots together are exactly the grid from the oldest known to the
    newest.
    """
    gaps = find_gaps({SLOT + n * MINUTE for n in known}, SLOT + newest * MINUTE, Timeframe.M1, most)
    missing = {int((slot - SLOT) / MINUTE) for slot in gaps.missing}
    grid = set(range(min(known), newest + 1))
    absent = grid - known
    assert missing <= absent
    assert len(missing) + gaps.uncounted == len(absent)
    assert list(gaps.missing) == sorted(gaps.missing)
    if gaps.uncounted:
        assert gaps.before is not None
        assert int((gaps.before - SLOT) / MINUTE) == max(absent - missing)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("writes", range(16, 25))
def test_killed_accounting_leaves_no_slot_running_for_ever(traded: World, writes: int) -> None:
    """A kill at any write of the rows changes nothing. The next call ends the slot that was cut
    short, however many rows follow it.
    """
    ledger = traded.ledger
    lease = ledger.acquire_lease("test", "earlier", 60)
    assert lease
    ledger.start_rebalance(lease, SLOT + MINUTE, "trend/1")
    ledger.release_lease(lease)
    end, left = ledger.end_rebalance, [writes]

    def dying(*given: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        end(*given)

    ledger.end_rebalance = dying  # type: ignore[assignment]  # it fails instead
    with suppress(Killed):
        account(traded, 32, most_rows=20)
    ledger.end_rebalance, ledger.holder = end, ""
    for minutes in (32, 33):
        account(traded, minutes, most_rows=20)
    assert {
        minute for minute, (status, _) in rows(traded).items() if status is RebalanceStatus.RUNNING
    } <= {32, 33}
    assert rows(traded)[1][0] is RebalanceStatus.FAILED


def test_alert_of_missed_slots_is_written_though_another_process_ended_the_first(
    traded: World,
) -> None:
    """Between reading the rows and having the account another process skips the first of them: the
    alert comes with the next one.
    """
    ledger = traded.ledger
    acquire = ledger.acquire_lease

    def late(account: str, holder: str, ttl_seconds: float) -> Lease | None:
        lease = acquire(account, "another", ttl_seconds)
        assert lease
        row = ledger.start_rebalance(lease, SLOT + MINUTE, "none")
        ledger.end_rebalance(lease, row.id, RebalanceStatus.SKIPPED, "by another process")
        ledger.release_lease(lease)
        return acquire(account, holder, ttl_seconds)

    ledger.acquire_lease = late  # type: ignore[method-assign]  # another process comes first
    account(traded, 4, MissedSlots.SKIP)
    assert [alert.title for alert in ledger.slot_alerts] == ["3 slots were missed or interrupted"]
