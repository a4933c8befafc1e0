"""The account's lease: taking it, renewing it in time, and noticing its loss."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from penstock.core.clock import MachineClock
from penstock.core.errors import StaleLeaseError, StoreError
from penstock.core.ids import IdSource
from penstock.core.leases import Lease
from penstock.execution.session import AccountSession
from penstock.ports import LeaseStore


def holder_name(ids: IdSource) -> str:
    """Return a name that no other process and no earlier run of this one has."""
    return f"{ids.process_name()}:{ids.new_id()[-8:]}"


class LeaseKeeper:
    """Keeps a lease: renews it after half of its life, and raises StaleLeaseError once it is over.

    Age is measured in the machine's elapsed seconds, which count while the machine is suspended. It
    counts from just before the request for the lease, so this process gives up before the database
    does. A process that was suspended past its lease must not act again: another may have finished
    its work. Threads may share a keeper: only one of them renews, because each renewal voids the
    token before it.
    """

    def __init__(
        self,
        leases: LeaseStore,
        lease: Lease,
        ttl_seconds: float,
        asked_at: float,
        *,
        clock: MachineClock,
    ) -> None:
        """`asked_at` is what `clock` had elapsed just before the lease was asked for."""
        self._leases = leases
        self._lease = lease
        self._ttl = ttl_seconds
        self._asked_at = asked_at
        self._clock = clock
        self._renewing = threading.Lock()
        self._is_released = False

    @property
    def lease(self) -> Lease:
        """A lease that is alive, renewed where half of its life is over.

        Raises StaleLeaseError where it lapsed, was given up, or another process has it.
        """
        with self._renewing:
            return self._alive()

    def _alive(self) -> Lease:
        if self._is_released:
            raise StaleLeaseError(f"the lease on {self._lease.account} was given up: take it again")
        asked_at = self._clock.elapsed_seconds()
        age = asked_at - self._asked_at
        if age >= self._ttl:
            raise StaleLeaseError(
                f"the lease on {self._lease.account} lapsed after {age:.1f} s "
                f"(it lives {self._ttl:g} s): run the slot again"
            )
        if age >= self._ttl / 2:
            renewed = self._leases.acquire_lease(self._lease.account, self._lease.holder, self._ttl)
            if renewed is None:
                raise StaleLeaseError(
                    f"the lease on {self._lease.account} was taken by another process: "
                    "this one stops"
                )
            # Another process has had the lease in between: the plan here is old.
            if renewed.token != self._lease.token + 1:
                self._leases.release_lease(renewed)
                raise StaleLeaseError(
                    f"another process has had the lease on {self._lease.account} meanwhile: "
                    "this one stops"
                )
            self._lease, self._asked_at = renewed, asked_at
        return self._lease

    def note_release(self) -> None:
        """Note that the lease was given up in a transaction of its account."""
        self._is_released = True

    def release(self) -> None:
        """Give up the lease, unless that is done already. An error of the database is ignored: the
        lease ends by itself.
        """
        if not self._is_released:
            with suppress(StoreError):
                self._leases.release_lease(self._lease)


def take_lease(
    leases: LeaseStore,
    account: str,
    ttl_seconds: float,
    wait_seconds: float,
    *,
    clock: MachineClock,
    ids: IdSource,
) -> LeaseKeeper | None:
    """Return a keeper of the account's lease, or None where another holder keeps it.

    It waits up to `wait_seconds` for the other holder's lease to end.
    """
    holder, step = holder_name(ids), min(0.5, max(ttl_seconds / 10, 0.05))
    begun = clock.elapsed_seconds()
    while True:
        asked_at = clock.elapsed_seconds()
        lease = leases.acquire_lease(account, holder, ttl_seconds)
        if lease is not None:
            return LeaseKeeper(leases, lease, ttl_seconds, asked_at, clock=clock)
        if asked_at - begun >= wait_seconds:
            return None
        clock.sleep(step)


@contextmanager
def held_lease(session: AccountSession, advice: str) -> Iterator[LeaseKeeper]:
    """Hold the lease of the session's account for the duration.

    Raises StoreError where another process holds it; `advice` says what to do then.
    """
    keeper = take_lease(
        session.ledger,
        session.account,
        session.policy.lease_ttl_seconds,
        session.policy.lease_wait_seconds,
        clock=session.machine_clock,
        ids=session.ids,
    )
    if keeper is None:
        raise StoreError(f"another process is trading the account '{session.account}': {advice}")
    try:
        yield keeper
    finally:
        keeper.release()
