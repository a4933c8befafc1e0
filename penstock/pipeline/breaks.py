"""Breaks as an operator sees them: what is open, what was, and the word that settles one."""

import getpass

import polars as pl

from penstock.core.errors import StoreError
from penstock.execution.lease import take_lease
from penstock.execution.reconciliation.acceptance import accept_break
from penstock.execution.reconciliation.remedies import remedy
from penstock.execution.session import AccountSession
from penstock.pipeline.alerts import alerting
from penstock.pipeline.reconcile import ReconcileOutcome
from penstock.wiring import Platform


def list_breaks(platform: Platform, portfolio: str, history: bool = False) -> pl.DataFrame:
    """Return the open breaks with what to do about each, or with `history` the newest ones and how
    they ended.
    """
    account = platform.environment.account_of(portfolio).name
    if history:
        return platform.control_store.break_history(account)
    rows = [
        (
            b.subject,
            b.kind.value,
            _text(b.ledger_value),
            _text(b.venue_value),
            b.told,
            remedy(b.kind, b.subject, portfolio),
        )
        for b in platform.control_store.open_breaks(account)
    ]
    return pl.DataFrame(
        rows,
        schema=dict.fromkeys(("locked", "kind", "ledger", "venue", "detail", "do"), pl.String),
        orient="row",
    )


def locked_elsewhere(platform: Platform, portfolio: str) -> list[str]:
    """Return a sentence for each other account of the environment with open breaks, with the
    command that lists them.
    """
    found = []
    for name, account in platform.environment.accounts.items():
        count = 0 if name == portfolio else len(platform.control_store.open_breaks(account.name))
        if count:
            found.append(
                f"{account.name} (portfolio {name}) has {count}: `penstock breaks -p {name}`"
            )
    return found


def accept(platform: Platform, portfolio: str, subject: str, reason: str) -> ReconcileOutcome:
    """Let the ledger take over what the venue has of `subject`, with the reason kept; return what
    is open afterwards.

    Raises StoreError where no break on it can be accepted, or another process holds the account.
    """
    with alerting(platform, portfolio):
        return _accept(platform.session(portfolio), subject, reason)


def _accept(session: AccountSession, subject: str, reason: str) -> ReconcileOutcome:
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
            f"another process is trading the account '{session.account}': accept the break once its slot is over"
        )
    try:
        found = accept_break(session, keeper, subject, reason, getpass.getuser())
    finally:
        keeper.release()
    return ReconcileOutcome(session.account, found)


def _text(value: object) -> str:
    return "" if value is None else str(value)
