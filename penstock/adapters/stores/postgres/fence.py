"""The fence around every write of a run: the database refuses a lease that was replaced."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.connection import Database
from penstock.core.errors import StoreError
from penstock.core.leases import Lease

_FENCE = "SELECT assert_lease(%s, %s)"
_FENCE_WITHOUT_WAIT = f"{_FENCE}, set_config('synchronous_commit', 'off', true)"


@contextmanager
def fenced(
    database: Database, lease: Lease, *, on_disk: bool = True
) -> "Iterator[psycopg.Connection[Any]]":
    """Yield a transaction at whose begin the database has confirmed that the lease is the newest.

    No later lease can be given before its end. Unless it must be `on_disk` the commit does not wait
    for the disk. That is for what no order and no fill depends on: targets, verdicts, equity. The
    next commit that waits has everything before it on disk too. A crash of the server in between is
    as a crash before this transaction.
    """
    question = _FENCE if on_disk else _FENCE_WITHOUT_WAIT
    with database.transaction() as connection:
        connection.execute(question, [lease.account, lease.token])
        yield connection


def require_own(lease: Lease, account: str) -> None:
    """Raise StoreError where the lease is on another account than `account`."""
    if account != lease.account:
        raise StoreError(
            f"the lease is on account '{lease.account}' and this is of '{account}': take that "
            "account's lease"
        )
