"""The fence around every write of a run: the database refuses a lease that was replaced."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.connection import Database
from penstock.core.errors import StoreError
from penstock.core.leases import Lease


@contextmanager
def fenced(database: Database, lease: Lease) -> "Iterator[psycopg.Connection[Any]]":
    """Yield a transaction whose first statement has the database confirm that the lease is the
    newest.

    No later lease can be given before its end. Its statements leave together: see
    `Database.together`.
    """
    with database.together() as connection:
        connection.execute("SELECT assert_lease(%s, %s)", [lease.account, lease.token])
        yield connection


def require_own(lease: Lease, account: str) -> None:
    """Raise StoreError where the lease is on another account than `account`."""
    if account != lease.account:
        raise StoreError(
            f"the lease is on account '{lease.account}' and this is of '{account}': take that "
            "account's lease"
        )
