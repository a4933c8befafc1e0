"""Breaks as an operator sees them: what is open, what was, and the acceptance that settles one."""

from dataclasses import dataclass

from penstock.core.actors import Actor
from penstock.core.breaks import Break, PastBreak
from penstock.core.errors import StoreError
from penstock.execution.lease import take_lease
from penstock.execution.reconciliation.acceptance import accept_break as settle
from penstock.execution.session import AccountSession
from penstock.pipeline.alerts import alerting
from penstock.pipeline.reconcile import ReconcileOutcome
from penstock.pipeline.use_case import use_case
from penstock.wiring import Platform


@dataclass(frozen=True)
class OpenBreaks:
    """The open breaks of an account."""

    portfolio: str
    """The portfolio that trades the account."""
    account: str
    """The account's name."""
    breaks: tuple[Break, ...]
    """The breaks that are open."""


@use_case
def list_breaks(platform: Platform, actor: Actor) -> tuple[OpenBreaks, ...]:
    """Return the open breaks of every account of the environment, in the order of its accounts."""
    return tuple(
        OpenBreaks(name, account.name, tuple(platform.control_store.open_breaks(account.name)))
        for name, account in platform.environment.accounts.items()
    )


@use_case
def break_history(platform: Platform, actor: Actor, portfolio: str) -> tuple[PastBreak, ...]:
    """Return the account's newest breaks, closed ones too, newest first."""
    account = platform.environment.account_of(portfolio).name
    return tuple(platform.control_store.break_history(account))


@use_case
def accept_break(
    platform: Platform, actor: Actor, portfolio: str, subject: str, reason: str
) -> ReconcileOutcome:
    """Let the ledger take over what the venue has of `subject`; return what is open afterwards. The
    reason and the actor's name are kept.

    Raises StoreError where no break on it can be accepted, or another process holds the account.
    """
    with alerting(platform, portfolio):
        return _accept(platform.session(portfolio), subject, reason, actor.name)


def _accept(session: AccountSession, subject: str, reason: str, by: str) -> ReconcileOutcome:
    keeper = take_lease(
        session.ledger,
        session.account,
        session.policy.lease_ttl_seconds,
        session.policy.lease_wait_seconds,
        clock=session.machine_clock,
        ids=session.ids,
    )
    if keeper is None:
        raise StoreError(
            f"another process is trading the account '{session.account}': accept the break once "
            "its slot is over"
        )
    try:
        found = settle(session, keeper, subject, reason, by)
    finally:
        keeper.release()
    return ReconcileOutcome(session.account, found)
