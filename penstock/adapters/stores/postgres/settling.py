"""Writes what follows from an accepted break, in one transaction of the account's writer."""

from typing import Any

import psycopg

from penstock.adapters.stores.postgres.booking import write_adjustment
from penstock.adapters.stores.postgres.fence import require_own
from penstock.adapters.stores.postgres.order_events import refusals, write_events
from penstock.adapters.stores.postgres.risk_rows import insert_acceptance, write_instruments
from penstock.core.breaks import BreakAcceptance, Settlement
from penstock.core.errors import StoreError
from penstock.core.leases import Lease
from penstock.core.orders import EndCause, OrderEvent, OrderEventKind

CLOSE_BREAK = """
    UPDATE account_break SET closed_at = %s, closed_reason = %s
    WHERE account = %s AND subject = %s AND kind = %s AND closed_at IS NULL
    RETURNING id
"""


def settle(connection: psycopg.Connection[Any], lease: Lease, settlement: Settlement) -> None:
    """Write the settlement.

    An error must roll back all of it: otherwise the next attempt books a part of it again.
    """
    accepted = settlement.accepted
    require_own(lease, accepted.account)
    _close(connection, accepted)  # first: where nothing is open, nothing is booked
    for asset, change in settlement.changes.items():
        if change:
            write_adjustment(connection, lease, asset, change, accepted.message, accepted.at)
    ended = [
        OrderEvent(
            name,
            OrderEventKind.CANCEL,
            accepted.at,
            accepted.message,
            end_cause=EndCause.ACCEPTED_BREAK,
        )
        for name in settlement.orders
    ]
    refusals(write_events(connection, lease, ended))
    if settlement.instrument is not None:
        write_instruments(connection, lease.account, [settlement.instrument])
    insert_acceptance(connection, accepted)


def _close(connection: psycopg.Connection[Any], accepted: BreakAcceptance) -> None:
    values = [
        accepted.at,
        accepted.message,
        accepted.account,
        accepted.subject,
        accepted.kind.value,
    ]
    if connection.execute(CLOSE_BREAK, values).fetchone() is None:
        raise StoreError(
            f"no {accepted.kind} break on '{accepted.subject}' of account '{accepted.account}' is "
            "open: it was settled or has closed by itself; nothing was booked"
        )
