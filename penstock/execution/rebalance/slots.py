"""Slots that passed without a run: some are run after all, the others get a row as skipped.

After `account_for_missed` every slot up to the newest has a row or is about to be run. A slot whose
run raised can be run again until the next one is due or it is too late. Then it ends as FAILED,
with the reason.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from penstock.core.alerts import Alert
from penstock.core.errors import VenueError
from penstock.core.rebalances import RebalanceStatus
from penstock.core.timeframes import Timeframe
from penstock.execution.lease import LeaseKeeper, take_lease
from penstock.execution.orders.recover import taken_over
from penstock.execution.session import AccountSession

#: How many missed slots get a row of their own: one day at one slot per minute. Those before them
#: share one row.
MOST_ROWS = 1440
#: How many missed slots "run_all" runs; older ones are skipped.
MOST_RUNS = 100
#: The portfolio version of a slot for which nothing was decided.
NO_VERSION = "none"


class MissedSlots(StrEnum):
    """What is done about slots that passed without a run."""

    SKIP = "skip"
    """The newest is run if it is not too late, the others are not."""
    RUN_LATEST = "run_latest"
    """The newest is run however late, the others are not."""
    RUN_ALL = "run_all"
    """Each is run, oldest first, however late."""


@dataclass(frozen=True)
class SlotAccount:
    """What became of the slots up to the newest."""

    to_run: tuple[datetime, ...]
    """The slots to be run now, oldest first."""

    skipped: tuple[datetime, ...] = ()
    """The slots without a run that got a row each."""

    together: int = 0
    """How many more had no run, and share one row."""

    late: frozenset[datetime] = frozenset()
    """The slots of `to_run` that may be run however late they are."""

    failed: tuple[datetime, ...] = ()
    """The slots that this call ended because their runs had stopped without a reason."""

    def summary(self) -> str:
        """Return in one line how many slots were skipped and run after all."""
        skipped = len(self.skipped) + self.together
        named = (
            f" ({self.skipped[0]:%Y-%m-%d %H:%M} to {self.skipped[-1]:%Y-%m-%d %H:%M})"
            if self.skipped
            else ""
        )
        failed = f", {len(self.failed)} interrupted slots ended as failed" if self.failed else ""
        return f"{skipped} missed slots skipped{named}{failed}, {len(self.to_run)} to run now"


@dataclass(frozen=True)
class SlotGaps:
    """Slots without a row."""

    missing: tuple[datetime, ...]
    """The newest of them, oldest first."""
    uncounted: int = 0
    """How many more are older than these."""
    since: datetime | None = None
    """The start of the time in which those lie; None where there are none."""
    before: datetime | None = None
    """The newest of those; None where there are none."""


def find_gaps(
    known: Collection[datetime], newest: datetime, timeframe: Timeframe, most: int = MOST_ROWS
) -> SlotGaps:
    """Return the slots without a row between the oldest known slot and `newest`.

    At most `most` of them are listed; the others are counted. An account without slots has no gaps.
    """
    if not known:
        return SlotGaps(())
    oldest, step, slots = min(known), timeframe.duration, set(known)
    missing: list[datetime] = []
    slot = newest
    while slot > oldest and len(missing) < most:
        if slot not in slots:
            missing.append(slot)
        slot -= step
    first = timeframe.floor(oldest) + step
    between = max(0, (slot - first) // step + 1)
    uncounted = between - sum(
        first <= each <= slot and timeframe.floor(each) == each for each in slots
    )
    if uncounted <= 0:
        return SlotGaps(tuple(reversed(missing)))
    while slot in slots:
        slot -= step
    return SlotGaps(tuple(reversed(missing)), uncounted, first, slot)


def account_for_missed(
    session: AccountSession,
    timeframe: Timeframe,
    newest: datetime,
    policy: MissedSlots,
    most_rows: int = MOST_ROWS,
) -> SlotAccount:
    """Record every missed slot that `policy` does not run as SKIPPED; return what is to be run now.

    `newest` is the newest slot that is due. Where another process has the account, nothing is
    written and only `newest` is to be run. A slot whose run never ended is run again by "run_all";
    otherwise it ends as FAILED.
    """
    session.ledger.open_account(session.account, session.exchange_name, session.quote)
    rows = session.ledger.rebalances(session.account, limit=most_rows)
    gaps = find_gaps({row.slot for row in rows}, newest, timeframe, most_rows)
    interrupted = tuple(
        row for row in reversed(rows) if row.status is RebalanceStatus.RUNNING and row.slot < newest
    )
    to_run = _chosen(gaps.missing, tuple(row.slot for row in interrupted), newest, policy)
    late = frozenset() if policy is MissedSlots.SKIP else frozenset(to_run)
    skipped = tuple(slot for slot in gaps.missing if slot not in to_run)
    passed = tuple(row for row in interrupted if row.slot not in to_run)
    if not skipped and not gaps.uncounted and not passed:
        return SlotAccount(to_run, late=late)
    patience = session.policy
    keeper = take_lease(
        session.ledger,
        session.account,
        patience.lease_ttl_seconds,
        patience.lease_wait_seconds,
        clock=session.machine_clock,
        ids=session.ids,
    )
    if keeper is None:
        return SlotAccount((newest,))
    account = SlotAccount(
        to_run, skipped, gaps.uncounted, late, tuple(row.slot for row in passed if not row.reason)
    )
    try:
        # These come first: behind many new rows a later call would not find them.
        # The first row that is written carries the alert of them all: whoever dies after it leaves
        # the others to the next call, and its alert.
        alerts = _missed_alerts(account)
        for row in passed:
            failed, reason = RebalanceStatus.FAILED, taken_over(row, newest)
            if _end_slot(session, keeper, row.slot, failed, reason, alerts=alerts):
                alerts = ()
        reason = (
            f"missed: no run had the account before {newest:%Y-%m-%d %H:%M} was due; policy "
            f"{policy}"
        )
        _write_skipped(session, keeper, gaps, skipped, reason, alerts)
    finally:
        keeper.release()
    return account


def _missed_alerts(account: SlotAccount) -> tuple[Alert, ...]:
    """Return the alert of missed and interrupted slots; none where each has one already."""
    undone = len(account.skipped) + account.together + len(account.failed)
    if not undone:
        return ()
    return (Alert(f"{undone} slots were missed or interrupted", account.summary()),)


def record_failure(
    session: AccountSession,
    timeframe: Timeframe,
    slot: datetime,
    reason: str,
    version: str | None,
    *,
    for_good: bool = False,
) -> bool:
    """Record why a slot's run raised; return whether that was done.

    `version` is the portfolio version that the run would have traded, where known. While the slot
    may still be traded, its row stays RUNNING with the reason. Afterwards, or with `for_good`, it
    ends as FAILED.

    Nothing is recorded in these cases:

    - The account has no slot yet: its opening balances are not taken over.
    - Another process has the account.
    - The slot has ended.
    - The slot may still be traded, and has neither a row nor a version.
    """
    known = session.ledger.rebalances(session.account, limit=MOST_ROWS)
    again = not for_good and _may_be_run_again(session, timeframe, slot)
    if not known or (again and version is None and slot not in {row.slot for row in known}):
        return False
    keeper = take_lease(
        session.ledger,
        session.account,
        session.policy.lease_ttl_seconds,
        0.0,
        clock=session.machine_clock,
        ids=session.ids,
    )
    if keeper is None:
        return False
    try:
        status = RebalanceStatus.RUNNING if again else RebalanceStatus.FAILED
        return _end_slot(
            session,
            keeper,
            slot,
            status,
            f"interrupted: {reason}" if again else reason,
            version or NO_VERSION,
        )
    finally:
        keeper.release()


def _may_be_run_again(session: AccountSession, timeframe: Timeframe, slot: datetime) -> bool:
    """Return whether the slot is the newest and not too late.

    True where the venue's time cannot be read.
    """
    try:
        lateness = session.clock.now() - slot
    except VenueError:
        return True
    return (
        lateness < timeframe.duration
        and lateness.total_seconds() <= session.policy.max_lateness_seconds
    )


def _chosen(
    missing: tuple[datetime, ...],
    interrupted: tuple[datetime, ...],
    newest: datetime,
    policy: MissedSlots,
) -> tuple[datetime, ...]:
    """Return the slots to run, oldest first. The newest is always among them."""
    if policy is not MissedSlots.RUN_ALL:
        return (newest,)
    return tuple(sorted({*sorted({*missing, *interrupted})[-MOST_RUNS:], newest}))


def _write_skipped(
    session: AccountSession,
    keeper: LeaseKeeper,
    gaps: SlotGaps,
    skipped: tuple[datetime, ...],
    reason: str,
    alerts: Sequence[Alert],
) -> None:
    """Write the rows oldest first, so that a later call can go on after an interruption.

    The first row that is written has the alerts.
    """
    ended = RebalanceStatus.SKIPPED
    if gaps.before is not None:
        together = (
            f"{reason}; with it {gaps.uncounted} slots since {gaps.since:%Y-%m-%d %H:%M}, not "
            "listed one by one"
        )
        if _end_slot(session, keeper, gaps.before, ended, together, alerts=alerts):
            alerts = ()
    for slot in skipped:
        if _end_slot(session, keeper, slot, ended, reason, alerts=alerts):
            alerts = ()


def _end_slot(
    session: AccountSession,
    keeper: LeaseKeeper,
    slot: datetime,
    status: RebalanceStatus,
    reason: str,
    version: str = NO_VERSION,
    alerts: Sequence[Alert] = (),
) -> bool:
    row = session.ledger.start_rebalance(keeper.lease, slot, version)
    if row.status is not RebalanceStatus.RUNNING:
        return False
    session.ledger.end_rebalance(keeper.lease, row.id, status, reason, alerts)
    return True
