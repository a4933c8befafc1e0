"""Keeps what stops trading: breaks, halts and equity; see penstock.ports.ControlStore.

What causes them is decided elsewhere.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from penstock.adapters.stores.postgres.alert_outbox import insert_alerts
from penstock.adapters.stores.postgres.connection import Database
from penstock.adapters.stores.postgres.fence import fenced, require_own
from penstock.adapters.stores.postgres.risk_rows import (
    insert_verdicts,
    read_acceptances,
    read_history,
    read_instruments,
    read_trade_marks,
    replace_marks,
    write_equity,
    write_instruments,
    write_trade_marks,
)
from penstock.adapters.stores.postgres.settling import CLOSE_BREAK, settle
from penstock.core.alerts import break_alert, state_alert
from penstock.core.bars import TS
from penstock.core.breaks import (
    Break,
    BreakAcceptance,
    BreakKind,
    PastBreak,
    Settlement,
    TradeMark,
)
from penstock.core.halts import EVERY_ACCOUNT, Halt, TradingState, stricter, united
from penstock.core.instruments import Instrument
from penstock.core.leases import Lease
from penstock.core.rebalances import SlotEquity
from penstock.core.risk_records import PositionMark, RecordedFinding, RiskHistory

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

#: The first row, and the last of each day: one look into the primary key per day.
_EQUITY_BY_DAY = """
    WITH ends AS (
        SELECT min(at) AS oldest, max(at) AS newest FROM equity WHERE account = %(account)s
    )
    SELECT at, equity::float8, cash::float8, transferred::float8
    FROM ends JOIN equity ON account = %(account)s AND at = oldest
    UNION
    SELECT found.at, found.equity::float8, found.cash::float8, found.transferred::float8
    FROM ends
    CROSS JOIN generate_series(
        date_trunc('day', oldest - interval '1 microsecond', 'UTC'), newest, interval '24 hours'
    ) AS midnight
    CROSS JOIN LATERAL (
        SELECT * FROM equity
        WHERE account = %(account)s AND at > midnight AND at <= midnight + interval '24 hours'
        ORDER BY at DESC LIMIT 1
    ) AS found
    ORDER BY at"""


def _in_force(connection: psycopg.Connection[Any], account: str) -> Halt:
    rows = connection.execute(
        """SELECT DISTINCT ON (account)
                  id, account, state, reason, set_by, at, cancel_orders, flatten
           FROM trading_state
           WHERE account IN (%s, %s) ORDER BY account, id DESC""",
        [account, EVERY_ACCOUNT],
    ).fetchall()
    last_first = sorted(rows, key=lambda row: row[0], reverse=True)
    standing = [Halt(name, TradingState(state), *rest) for _, name, state, *rest in last_first]
    return united(standing or [Halt(account, TradingState.ACTIVE, "never set", "", _NEVER)])


def _quantities(changes: Mapping[str, str] | None) -> dict[str, Decimal] | None:
    return (
        None if changes is None else {asset: Decimal(change) for asset, change in changes.items()}
    )


def _equity_frame(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    amounts = dict.fromkeys(("equity", "cash", "transferred"), pl.Float64())
    return pl.DataFrame(rows, {"at": TS, **amounts}, orient="row")


class PostgresControlStore:
    """ControlStore on TimescaleDB or plain PostgreSQL.

    The database refuses what a run writes under a lease that was replaced.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_break(self, lease: Lease, found: Break, at: datetime) -> bool:
        """Record a break and its alert, in one transaction.

        Returns False, and writes nothing, where the same (account, subject, kind) is open already.
        """
        require_own(lease, found.account)
        alert = break_alert(found)
        changes = (
            None
            if found.changes is None
            else Jsonb({asset: str(change) for asset, change in found.changes.items()})
        )
        with fenced(self._database, lease) as connection:
            done = connection.execute(
                """WITH opened AS (
                       INSERT INTO account_break
                           (account, subject, kind, detail, ledger_value, venue_value, changes,
                            opened_at)
                       VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
                       ON CONFLICT (account, subject, kind) WHERE closed_at IS NULL DO NOTHING
                       RETURNING id, account)
                   INSERT INTO alert (account, title, body, break_id)
                   SELECT account, %s, %s, id FROM opened""",
                [
                    *(
                        found.account,
                        found.subject,
                        found.kind.value,
                        found.detail,
                        found.ledger_value,
                        found.venue_value,
                    ),
                    *(changes, at, alert.title, alert.body),
                ],
            )
        return done.rowcount == 1

    def close_break(
        self, lease: Lease, subject: str, kind: BreakKind, at: datetime, reason: str
    ) -> bool:
        """Close an open break; False where there is none."""
        with fenced(self._database, lease) as connection:
            done = connection.execute(CLOSE_BREAK, [at, reason, lease.account, subject, kind.value])
        return done.rowcount == 1

    def open_breaks(self, account: str) -> Sequence[Break]:
        """Return the breaks that lock something now, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT subject, kind, detail, ledger_value, venue_value, changes
                   FROM account_break
                   WHERE account = %s AND closed_at IS NULL ORDER BY id""",
                [account],
            ).fetchall()
        return [
            Break(
                account,
                subject,
                BreakKind(kind),
                detail,
                ledger_value,
                venue_value,
                _quantities(changes),
            )
            for subject, kind, detail, ledger_value, venue_value, changes in rows
        ]

    def set_trading_state(
        self,
        account: str,
        state: TradingState,
        reason: str,
        by: str,
        at: datetime,
        cancel: bool = False,
        flatten: bool = False,
        only_tighten: bool = False,
        alert: bool = False,
    ) -> None:
        """Set the state of an account, or of every account with "*". Earlier states are kept.

        With `only_tighten` nothing is set where the state in force is as strict already. With
        `alert` an alert is written in the same transaction.
        """
        with self._database.transaction() as connection:
            if only_tighten:  # writers wait until this one is done, readers do not
                connection.execute("LOCK TABLE trading_state IN SHARE ROW EXCLUSIVE MODE")
                if not stricter(state, _in_force(connection, account).state):
                    return
            connection.execute(
                """INSERT INTO trading_state
                       (account, state, reason, set_by, at, cancel_orders, flatten)
                   VALUES (%s, %s, %s, %s, %s, %s, %s)""",
                [account, state.value, reason, by, at, cancel, flatten],
            )
            if alert:
                insert_alerts(connection, account, [state_alert(state, reason, by)])

    def trading_state(self, account: str) -> Halt:
        """Return what is in force for the account: its own state and that of "*", united.

        ACTIVE where none was ever set. Where both are as strict, the later one comes first.
        """
        with self._database.reading() as connection:
            return _in_force(connection, account)

    def record_equity(
        self,
        lease: Lease,
        at: datetime,
        equity: Decimal,
        cash: Decimal,
        in_doubt: Decimal = Decimal(0),
    ) -> None:
        """Record the equity in quote units. A second record of the same instant replaces it."""
        with fenced(self._database, lease) as connection:
            write_equity(connection, lease.account, SlotEquity(at, equity, cash, in_doubt))

    def equity_history(self, account: str) -> pl.DataFrame:
        """Return the columns at (ms, UTC), equity, cash, transferred (float64, quote units).

        The rows are sorted by time, the oldest first.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                (
                    "SELECT at, equity::float8, cash::float8, transferred::float8 FROM equity "
                    "WHERE account = %s ORDER BY at"
                ),
                [account],
            ).fetchall()
        return _equity_frame(rows)

    def equity_by_day(self, account: str) -> pl.DataFrame:
        """Return the first row of the equity history, and the last of each day (UTC).

        One row is looked up per day, however many slots the day has.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(_EQUITY_BY_DAY, {"account": account}).fetchall()
        return _equity_frame(rows)

    def break_history(self, account: str, limit: int = 50) -> Sequence[PastBreak]:
        """Return the account's newest breaks, closed ones too, newest first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """SELECT opened_at, closed_at, subject, kind, detail, coalesce(closed_reason, '')
                   FROM account_break
                   WHERE account = %s ORDER BY id DESC LIMIT %s""",
                [account, limit],
            ).fetchall()
        return [
            PastBreak(opened, closed, subject, BreakKind(kind), detail, reason)
            for opened, closed, subject, kind, detail, reason in rows
        ]

    def risk_history(self, account: str, slot: datetime, now: datetime) -> RiskHistory:
        """Return what the account did before `slot`, and shortly before `now`."""
        with self._database.reading() as connection:
            return read_history(connection, account, slot, now)

    def record_verdicts(
        self, lease: Lease, slot: datetime, verdicts: Sequence[RecordedFinding], at: datetime
    ) -> None:
        """Append what the rules found at a slot."""
        with fenced(self._database, lease) as connection:
            insert_verdicts(connection, lease.account, slot, verdicts, at)

    def record_marks(self, lease: Lease, marks: Mapping[str, PositionMark]) -> None:
        """Replace what is remembered of the account's positions, by symbol."""
        with fenced(self._database, lease) as connection:
            replace_marks(connection, lease.account, marks)

    def planned_instruments(self, account: str) -> Mapping[str, Instrument]:
        """Return the instruments that the account's orders were planned with, by symbol."""
        with self._database.reading() as connection:
            return read_instruments(connection, account)

    def record_instruments(self, lease: Lease, instruments: Sequence[Instrument]) -> None:
        """Keep the instruments that orders are planned with from now on.

        They replace what was kept of their symbols.
        """
        with fenced(self._database, lease) as connection:
            write_instruments(connection, lease.account, instruments)

    def settle_breaks(self, lease: Lease, settlements: Sequence[Settlement]) -> None:
        """Write the settlements in one transaction: see penstock.ports.ControlStore.

        Raises StoreError, and writes nothing, where one of the breaks is not open.
        """
        with fenced(self._database, lease) as connection:
            for settlement in settlements:
                settle(connection, lease, settlement)

    def acceptances(self, account: str) -> Sequence[BreakAcceptance]:
        """Return the account's accepted breaks, oldest first."""
        with self._database.reading() as connection:
            return read_acceptances(connection, account)

    def trade_marks(self, account: str) -> Sequence[TradeMark]:
        """Return how far the fills of each symbol were compared with the venue's trades."""
        with self._database.reading() as connection:
            return read_trade_marks(connection, account)

    def record_compared(self, lease: Lease, newest: Mapping[str, int]) -> None:
        """Keep up to which mark a symbol's fills were found equal to the venue's trades."""
        with fenced(self._database, lease) as connection:
            write_trade_marks(connection, lease.account, newest)
