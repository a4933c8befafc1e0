"""The fence that every write on behalf of a run passes: the database itself refuses a holder whose
lease was replaced.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from penstock.adapters.stores.postgres.connection import Database
from penstock.core.errors import StoreError
from penstock.core.leases import Lease


@contextmanager
def fenced(database: Database, lease: Lease) -> "Iterator[psycopg.Connection[Any]]":
    """Yield a transaction in which the database has confirmed, and holds, that this lease is the
    newest.
    """
    with database.transaction() as connection:
        connection.execute("SELECT assert_lease(%s, %s)", [lease.account, lease.token])
        yield connection


def require_own(lease: Lease, account: str) -> None:
    """Raise StoreError where something of another account is to be written under the lease."""
    if account != lease.account:
        raise StoreError(
            f"the lease is on account '{lease.account}' and this is of '{account}': take that "
            "account's lease"
        )
