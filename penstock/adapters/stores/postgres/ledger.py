"""The write-ahead record of an account's orders: penstock.ports.Ledger.

Decides what is written together and who may write. Which event leads to which state is for
penstock.core.orders.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from psycopg.types.json import Jsonb

from penstock.adapters.stores.postgres.alert_outbox import insert_alerts
from penstock.adapters.stores.postgres.booking import write_adjustment, write_fills
from penstock.adapters.stores.postgres.connection import Database
from penstock.adapters.stores.postgres.entry_rows import read_entries
from penstock.adapters.stores.postgres.fence import fenced
from penstock.adapters.stores.postgres.ledger_rows import (
    BY_TIME,
    FILL,
    IN_SEQUENCE,
    OF_REBALANCE,
    OF_SYMBOL,
    REBALANCE_COLUMNS,
    SELECT_BEGINNING,
    SELECT_FILLS,
    SELECT_NAMED,
    SELECT_ORDERS,
    SELECT_SHORT,
    SELECT_TOTALS,
    SELECT_UNSETTLED,
    SINCE,
    UNFINISHED,
    order_of,
    rebalance_of,
    totals_of,
)
from penstock.adapters.stores.postgres.order_events import (
    refusals,
    update_rebalance,
    write_events,
    write_intents,
)
from penstock.adapters.stores.postgres.risk_rows import write_equity
from penstock.core.account_totals import AccountTotals
from penstock.core.alerts import Alert
from penstock.core.cost_basis import CostBasis
from penstock.core.errors import StoreError, UnknownAccountError
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent, OrderRecord
from penstock.core.orders import EndCause, Fill, OrderEvent, OrderEventKind, OrderState
from penstock.core.rebalances import Rebalance, RebalanceStatus, SlotEquity

_RELEASE = "UPDATE lease SET expires_at = '-infinity' WHERE account = %s AND token = %s"


class PostgresLedger:
    """Ledger on TimescaleDB or plain PostgreSQL. Money is exact; every write is fenced by the lease
    in the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_account(self, account: str, exchange: str, quote: str) -> None:
        """Create the account; opening it again changes nothing. StoreError where it exists for
        another venue or quote.
        """
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT exchange, quote FROM account JOIN lease ON lease.account = account.name "
                "WHERE account.name = %s",
                [account],
            ).fetchone()
        if row == (exchange, quote):
            return
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO account VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [account, exchange, quote],
            )
            connection.execute(
                "INSERT INTO lease (account) VALUES (%s) ON CONFLICT DO NOTHING", [account]
            )
            row = connection.execute(
                "SELECT exchange, quote FROM account WHERE name = %s", [account]
            ).fetchone()
        if row != (exchange, quote):
            raise StoreError(
                f"account '{account}' belongs to {row}, not to ({exchange}, {quote}): give the "
                "other one its own name"
            )

    def acquire_lease(self, account: str, holder: str, ttl_seconds: float) -> Lease | None:
        """Return a lease with a new, higher token, or None while another holder's lease is alive
        (by the database's clock).
        """
        with self._database.together() as connection:
            taken = connection.execute(
                """UPDATE lease
                   SET token = token + 1, holder = %(holder)s,
                       expires_at = clock_timestamp() + %(ttl)s * interval '1 s'
                   WHERE account = %(account)s
                     AND (holder = %(holder)s OR expires_at <= clock_timestamp())
                   RETURNING token, expires_at""",
                {"account": account, "holder": holder, "ttl": ttl_seconds},
            )
        row = taken.fetchone()
        if row is not None:
            return Lease(account, holder, row[0], row[1])
        with self._database.reading() as connection:
            known = connection.execute("SELECT FROM lease WHERE account = %s", [account]).fetchone()
        if known is None:
            raise UnknownAccountError(
                f"account '{account}' is not in the ledger: its first reconciliation or "
                "rebalance begins it"
            )
        return None

    def release_lease(self, lease: Lease) -> None:
        """Let go of the lease; releasing a stale one changes nothing."""
        with self._database.together() as connection:
            connection.execute(_RELEASE, [lease.account, lease.token])

    def start_rebalance(self, lease: Lease, slot: datetime, portfolio_version: str) -> Rebalance:
        """Return the rebalance of (account, slot), created as RUNNING where there is none yet."""
        with fenced(self._database, lease) as connection:
            connection.execute(
                """INSERT INTO rebalance (account, slot, portfolio_version, status)
                   VALUES (%s, %s, %s, 'running')
                   ON CONFLICT (account, slot) DO NOTHING""",
                [lease.account, slot, portfolio_version],
            )
            stored = connection.execute(
                f"SELECT {REBALANCE_COLUMNS} FROM rebalance WHERE account = %s AND slot = %s",  # noqa: S608 - our own constant
                [lease.account, slot],
            )
        row = stored.fetchone()
        if row is None:
            raise StoreError(
                f"the rebalance of '{lease.account}' for {slot} was deleted by someone else"
            )
        return rebalance_of(row)

    def end_rebalance(
        self,
        lease: Lease,
        rebalance_id: int,
        status: RebalanceStatus,
        reason: str = "",
        alerts: Sequence[Alert] = (),
        equity: SlotEquity | None = None,
        *,
        releases_lease: bool = False,
    ) -> None:
        """Set the final status of a rebalance. With it the alerts are put into the outbox, the
        equity is recorded, and the lease is let go where that is asked for.
        """
        change = "UPDATE rebalance SET status = %s, reason = %s, ended_at = clock_timestamp()"
        with fenced(self._database, lease) as connection:
            update_rebalance(connection, lease, rebalance_id, change, [status.value, reason])
            if alerts:
                insert_alerts(connection, lease.account, alerts)
            if equity is not None:
                write_equity(connection, lease.account, equity)
            if releases_lease:
                connection.execute(_RELEASE, [lease.account, lease.token])

    def record_targets(self, lease: Lease, rebalance_id: int, targets: Mapping[str, float]) -> None:
        """Keep the target weights (fractions of equity by symbol) of a rebalance."""
        change = "UPDATE rebalance SET targets = %s"
        with fenced(self._database, lease) as connection:
            update_rebalance(connection, lease, rebalance_id, change, [Jsonb(dict(targets))])

    def slots_of(self, account: str, rebalance_ids: Collection[int]) -> Mapping[int, datetime]:
        """Return the slot of each of these rebalances of the account."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, slot FROM rebalance WHERE account = %s AND id = ANY(%s)",
                [account, list(rebalance_ids)],
            ).fetchall()
        return dict(rows)

    def beginning(self, account: str, opening_reason: str) -> datetime | None:
        """Return when the last opening balance was booked, else the first slot; None where the
        account has neither.
        """
        with self._database.reading() as connection:
            row = connection.execute(
                SELECT_BEGINNING, {"account": account, "opening": opening_reason}
            ).fetchone()
        return None if row is None else row[0]

    def rebalances(self, account: str, limit: int = 100) -> Sequence[Rebalance]:
        """Return the newest rebalances (by slot) first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                (
                    f"SELECT {REBALANCE_COLUMNS} FROM rebalance WHERE account = %s "  # noqa: S608 - constant
                    "ORDER BY slot DESC LIMIT %s"
                ),
                [account, limit],
            ).fetchall()
        return [rebalance_of(row) for row in rows]

    def plan_orders(
        self,
        lease: Lease,
        rebalance_id: int,
        orders: Sequence[OrderIntent],
        at: datetime | None = None,
    ) -> None:
        """Commit the intents as PLANNED, all or none, stamped `at` (default: the database's time).

        An intent whose client order id exists already is left as it is.
        """
        self.write_ahead(lease, rebalance_id, orders, [], at)

    def write_ahead(
        self,
        lease: Lease,
        rebalance_id: int,
        orders: Sequence[OrderIntent],
        events: Sequence[OrderEvent],
        at: datetime | None = None,
    ) -> None:
        """Commit the intents as plan_orders does and, in the same transaction, the events that they
        begin with.
        """
        with fenced(self._database, lease) as connection:
            lines = write_intents(connection, lease, rebalance_id, orders, events, at)
        refusals(lines)

    def record_event(
        self,
        lease: Lease,
        client_order_id: str,
        event: OrderEventKind,
        at: datetime,
        reason: str = "",
        venue_order_id: str = "",
        end_cause: EndCause | None = None,
    ) -> OrderState:
        """Append the event and move the order along the table; return the new state.

        An illegal event is appended with its refusal and raises IllegalTransitionError.
        """
        (state,) = self.record_events(
            lease, [OrderEvent(client_order_id, event, at, reason, venue_order_id, end_cause)]
        )
        return state

    def record_events(self, lease: Lease, events: Sequence[OrderEvent]) -> Sequence[OrderState]:
        """Append the events in their order, in one transaction; return the state that each one led
        to.

        Illegal events are appended with their refusal, the others take effect, and then
        IllegalTransitionError names the illegal ones. StoreError (an unknown order, a fill event)
        leaves nothing.
        """
        with fenced(self._database, lease) as connection:
            lines = write_events(connection, lease, events)
        refusals(lines)
        return [line.after.state for line in lines]

    def book_fill(self, lease: Lease, fill: Fill) -> bool:
        """Append the fill, its order event and the balance changes in one transaction; False where
        it is booked already.

        StoreError for a fill of an order that this account does not have. A fill of an order that
        was never sent is appended as a refused event, moves nothing, and raises
        IllegalTransitionError.
        """
        return bool(self.book_fills(lease, [fill]))

    def book_fills(
        self, lease: Lease, fills: Sequence[Fill], events: Sequence[OrderEvent] = ()
    ) -> Sequence[Fill]:
        """Append the events and then the fills in their order, in one transaction; return the fills
        that were not booked before.

        Refused fills are appended as refused events, the others are booked, and then
        IllegalTransitionError names the refused ones. StoreError (an unknown order) leaves nothing.
        """
        with fenced(self._database, lease) as connection:
            begun, lines = write_fills(connection, lease, fills, events)
        refusals([*begun, *(line for _, line in lines)])
        return [fill for fill, _ in lines]

    def book_adjustment(
        self, lease: Lease, asset: str, quantity: Decimal, reason: str, at: datetime
    ) -> None:
        """Append a change of a balance that no fill explains: opening balance, deposit,
        withdrawal, accepted break.
        """
        with fenced(self._database, lease) as connection:
            write_adjustment(connection, lease, asset, quantity, reason, at)

    def orders(
        self,
        account: str,
        unfinished_only: bool = False,
        rebalance_id: int | None = None,
    ) -> Sequence[OrderRecord]:
        """Return the account's orders, oldest first."""
        question = (
            SELECT_ORDERS + UNFINISHED * unfinished_only + OF_REBALANCE * (rebalance_id is not None)
        )
        question += IN_SEQUENCE
        with self._database.reading() as connection:
            rows = connection.execute(
                question.encode(), {"account": account, "rebalance_id": rebalance_id}
            ).fetchall()
        return [order_of(row) for row in rows]

    def unsettled_orders(self, account: str) -> Sequence[OrderRecord]:
        """Return the account's orders that have not ended or were filled beyond their quantity,
        oldest first.
        """
        with self._database.reading() as connection:
            rows = connection.execute(SELECT_UNSETTLED.encode(), {"account": account}).fetchall()
        return [order_of(row) for row in rows]

    def newest_orders(self, account: str, limit: int) -> Sequence[OrderRecord]:
        """Return the account's newest orders, the oldest of them first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                (SELECT_ORDERS + " ORDER BY sequence DESC LIMIT %(limit)s").encode(),
                {"account": account, "limit": limit},
            ).fetchall()
        return [order_of(row) for row in reversed(rows)]

    def orders_named(self, account: str, names: Collection[str]) -> Sequence[OrderRecord]:
        """Return those of the account's orders that have one of these client order ids, oldest
        first.
        """
        with self._database.reading() as connection:
            rows = connection.execute(SELECT_NAMED.encode(), [account, list(names)]).fetchall()
        return [order_of(row) for row in rows]

    def short_orders(self, account: str, symbol: str, limit: int) -> Sequence[OrderRecord]:
        """Return the newest orders of a symbol that were sent and filled with less than their
        quantity, newest first.
        """
        with self._database.reading() as connection:
            rows = connection.execute(SELECT_SHORT.encode(), [account, symbol, limit]).fetchall()
        return [order_of(row) for row in rows]

    def fills(
        self, account: str, symbol: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        """Return the account's booked fills that were traded at or after `since`, oldest first."""
        question = (
            SELECT_FILLS + OF_SYMBOL * (symbol is not None) + SINCE * (since is not None) + BY_TIME
        )
        with self._database.reading() as connection:
            rows = connection.execute(
                question.encode(), {"account": account, "symbol": symbol, "since": since}
            ).fetchall()
        return [FILL.value(row) for row in rows]

    def cost_bases(self, account: str) -> Mapping[str, CostBasis]:
        """Return what the fills have left and what was paid for it, by symbol. Newer fills are
        added to the checkpoint.
        """
        with self._database.transaction() as connection:
            return read_entries(connection, account)

    def totals(self, account: str) -> AccountTotals:
        """Return how much the account has done."""
        with self._database.reading() as connection:
            rows = connection.execute(SELECT_TOTALS, {"account": account}).fetchall()
        return totals_of(rows)

    def balances(self, account: str) -> Mapping[str, Decimal]:
        """Return what the account has of every asset, the quote asset included, without zeros."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT asset, quantity FROM balance
                   WHERE account = %s AND quantity <> 0 ORDER BY asset""",
                [account],
            ).fetchall()
        return dict(rows)

    def positions(self, account: str) -> Mapping[str, Decimal]:
        """Return the signed quantity of every open position by symbol; spot has none."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT symbol, quantity FROM position
                   WHERE account = %s AND quantity <> 0 ORDER BY symbol""",
                [account],
            ).fetchall()
        return dict(rows)
