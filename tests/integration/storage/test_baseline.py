"""The squashed migrations: a database of the first chain becomes what an empty one becomes."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from penstock.adapters.stores.embedded import TIMESCALE_SETTINGS, EmbeddedPostgres
from penstock.adapters.stores.postgres import (
    Database,
    PostgresLedger,
    PostgresLedgerHistory,
    PostgresParentOrderStore,
    connect,
    create_database,
    migrate,
)
from penstock.adapters.stores.postgres.migrations import read_migrations
from penstock.core.errors import StoreError
from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, OrderState, Phase

ROOT = Path(__file__).resolve().parents[3]
#: The files of the first chain as they were when it was squashed.
CHAIN = Path(__file__).parent / "chain"
SLOT = datetime(2025, 6, 1, tzinfo=UTC)

#: Everything of the schema that a statement could depend on, one line per thing. The order of
#: columns is left out: no statement of the store depends on it.
_CATALOGUE = """
    SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
           a.attidentity::text || a.attgenerated::text,
           coalesce(pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
    UNION ALL
    SELECT 'table', c.relname, c.relkind::text, coalesce(pg_get_partkeydef(c.oid), ''), '', '', ''
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', c.relname, pg_get_indexdef(c.oid), '', '', '', ''
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('i', 'I')
    UNION ALL
    SELECT 'function', p.proname, pg_get_functiondef(p.oid), '', '', '', ''
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = p.oid AND e.deptype = 'e')
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid),
           tgenabled::text, '', ''
    FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid IN
        (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
"""
_DIMENSIONS = """
    SELECT 'dimension', hypertable_name, column_name, column_type::text, time_interval::text, '', ''
    FROM timescaledb_information.dimensions
"""


@pytest.fixture(scope="module", params=["plain", "timescale"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a server of either layout."""
    layout: str = request.param
    binaries = None
    if layout == "timescale":
        binaries = Path(
            os.environ.get("PENSTOCK_TEST_TIMESCALE_BIN", ROOT / ".timescaledb" / "bin")
        )
        if not (binaries / "postgres").is_file():
            pytest.skip("no TimescaleDB on this machine: `make timescaledb` makes one")
    settings = {"fsync": "off", **(TIMESCALE_SETTINGS if binaries else {})}
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp(f"baseline-{layout}"), binaries, settings)
    try:
        yield embedded.start()
    finally:
        embedded.destroy()


@contextmanager
def database_of(server: str, name: str) -> Iterator[Database]:
    with connect(create_database(server, name)) as database:
        yield database


def apply_chain(database: Database, until: int = 9999) -> None:
    """Make what the first chain made, as its version did."""
    with database.dedicated() as connection:
        layout = database_layout(database)
        if layout == "timescale":
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        connection.execute(
            """CREATE TABLE schema_migration (
                   number integer PRIMARY KEY, name text NOT NULL, layout text NOT NULL,
                   checksum text NOT NULL,
                   applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
        )
        for path in sorted(CHAIN.glob("[0-9]*.sql")):
            stem, _, of = path.stem.partition(".")
            number, _, name = stem.partition("_")
            if of not in {"", layout} or int(number) > until:
                continue
            text = path.read_text(encoding="utf-8")
            connection.execute(text.encode())
            connection.execute(
                (
                    "INSERT INTO schema_migration (number, name, layout, checksum) "
                    "VALUES (%s, %s, %s, %s)"
                ),
                [int(number), name, layout, hashlib.sha256(text.encode()).hexdigest()],
            )
    database.detect_tier_again()


def database_layout(database: Database) -> str:
    with database.dedicated() as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"
        ).fetchone()
    return "timescale" if row is not None and row[0] else "plain"


def catalogue(database: Database) -> set[tuple[object, ...]]:
    with database.dedicated() as connection:
        found = set(connection.execute(_CATALOGUE).fetchall())
        if database.tier.has_hypertables:
            found |= set(connection.execute(_DIMENSIONS).fetchall())
    return found


def test_first_chain_becomes_what_an_empty_database_becomes(server: str) -> None:
    """Tables, columns, defaults, constraints, indexes, functions and triggers are the same, and the
    rows of schema_migration too.
    """
    with database_of(server, "fresh") as fresh, database_of(server, "chain") as chained:
        migrate(fresh)
        apply_chain(chained)
        later = [each.name for each in read_migrations() if each.number > 6]
        assert migrate(chained)[0] == "baseline"
        assert set(migrate(chained)) <= set(later)
        expected, found = catalogue(fresh), catalogue(chained)
        assert len(expected) > 200
        assert (sorted(map(str, found - expected)), sorted(map(str, expected - found))) == ([], [])
        rows = "SELECT number, name, layout, checksum FROM schema_migration ORDER BY number"
        with fresh.dedicated() as one, chained.dedicated() as other:
            assert one.execute(rows).fetchall() == other.execute(rows).fetchall()


def test_part_of_the_first_chain_is_refused(server: str) -> None:
    """A database that stopped in the middle of the chain is left as it is."""
    with database_of(server, "part") as database:
        apply_chain(database, until=20)
        before = catalogue(database)
        with pytest.raises(StoreError, match="up to 0020_transfers_with_equity, and not all"):
            migrate(database)
        assert catalogue(database) == before


_OLD_ROWS = """
    INSERT INTO account (name, exchange, quote) VALUES ('main', 'venue', 'USDT');
    INSERT INTO lease (account) VALUES ('main');
    INSERT INTO rebalance (account, slot, portfolio_version, status)
    VALUES ('main', '2025-06-01', 'trend/1', 'running');
    INSERT INTO worked_order (account, rebalance_id, symbol, side, leg, quantity, reference_price,
        target_weight, strategy_version, plan, started_at)
    VALUES ('main', 1, 'BTC/USDT', 'buy', 1, 5, 100, 0.5, 'trend/1', '{}', '2025-06-01')
"""
_OLD_ORDER = """
    INSERT INTO orders (client_order_id, account, rebalance_id, symbol, side, type, quantity, leg,
        attempt, strategy_version, target_weight, reference_price, state, reason, created_at,
        updated_at)
    VALUES (%s, 'main', 1, 'BTC/USDT', 'buy', 'market', 1, %s, 0, 'trend/1', 0.5, 100,
        %s, %s, %s, %s)
"""
_OLD_EVENT = """
    INSERT INTO order_event (client_order_id, kind, from_state, to_state, at, reason, lease_token)
    VALUES (%s, %s, %s, %s, %s, %s, 1)
"""
#: How orders of the first chain ended: leg, the events as (kind, state after, reason), and the
#: cause that the reason meant.
_ENDS: dict[str, tuple[int, list[tuple[str, str, str]], EndCause | None]] = {
    "unsent": (1, [("abandon", "canceled", "never sent: its run ended")], EndCause.NEVER_SENT),
    "held": (
        3,
        [("abandon", "canceled", "stopped by the kill switch: halted, x")],
        EndCause.STOPPED,
    ),
    "denied": (
        0,
        [("submit", "submitting", ""), ("reject", "rejected", "never arrived: asked for 95 s")],
        EndCause.NEVER_ARRIVED,
    ),
    "paced": (
        0,
        [("submit", "submitting", ""), ("reject", "rejected", "never arrived: paced for 30 s")],
        EndCause.PACED_OUT,
    ),
    "refused": (
        2,
        [("submit", "submitting", ""), ("reject", "rejected", "no funds")],
        EndCause.REFUSED,
    ),
    "late": (
        5,
        [
            ("submit", "submitting", ""),
            ("accept", "open", ""),
            ("request_cancel", "pending_cancel", "not filled in time"),
            ("cancel", "canceled", "by the user"),
        ],
        EndCause.NOT_FILLED_IN_TIME,
    ),
    "back": (
        7,
        [
            ("submit", "submitting", ""),
            ("reject", "rejected", "never arrived: asked for 95 s"),
            ("accept", "open", ""),
        ],
        None,
    ),
    "filled": (1, [("submit", "submitting", ""), ("fill", "filled", "trade t1")], EndCause.FILLED),
}


def _known(order: OrderRecord) -> tuple[object, ...]:
    """What the first chain knew of an order, and why it ended."""
    became = (order.state, order.filled_quantity, order.venue_order_id, order.reason)
    return order.request, *became, order.end_cause, order.updated_at


def test_orders_of_the_first_chain_keep_what_they_mean(server: str) -> None:
    """The leg becomes phase and child, the first words of a reason become the end cause, and a
    rebuild agrees.
    """
    with database_of(server, "rows") as database:
        apply_chain(database)
        with database.dedicated() as connection:
            connection.execute(_OLD_ROWS.encode())
            for name, (leg, events, _) in _ENDS.items():
                reason = next(
                    (text for kind, _, text in reversed(events) if text and kind != "fill"), ""
                )
                last = SLOT + timedelta(seconds=len(events))
                state = events[-1][1]
                connection.execute(_OLD_ORDER, [name, leg, state, reason, SLOT, last])
                before = "planned"
                for second, (kind, after, text) in enumerate(events, 1):
                    at = SLOT + timedelta(seconds=second)
                    connection.execute(_OLD_EVENT, [name, kind, before, after, at, text])
                    before = after
            connection.execute(
                """INSERT INTO fill (account, symbol, trade_id, client_order_id, side, quantity,
                                     price, fee, fee_asset, at)
                   VALUES ('main', 'BTC/USDT', 't1', 'filled', 'buy', 1, 100, 0, 'USDT', %s);""",
                [SLOT + timedelta(seconds=2)],
            )
            connection.execute(
                "UPDATE orders SET filled_quantity = 1 WHERE client_order_id = 'filled'"
            )
            connection.execute(
                "INSERT INTO position VALUES ('main', 'BTC', 1), ('main', 'USDT', -100)"
            )
        migrate(database)
        ledger = PostgresLedger(database)
        orders = {order.request.client_order_id: order for order in ledger.orders("main")}
        assert {name: order.end_cause for name, order in orders.items()} == {
            name: cause for name, (_, _, cause) in _ENDS.items()
        }
        assert {name: order.phase + 2 * order.child for name, order in orders.items()} == {
            name: leg for name, (leg, _, _) in _ENDS.items()
        }
        assert orders["back"].state is OrderState.OPEN
        (parent,) = PostgresParentOrderStore(database).work_of(1)
        assert (parent.order.phase, parent.order.quantity) == (Phase.BUYS, Decimal(5))
        # columns of later migrations have no value yet: only what the chain knew is compared
        PostgresLedgerHistory(database).rebuild(replace=True)
        rebuilt = {order.request.client_order_id: order for order in ledger.orders("main")}
        assert [_known(order) for order in rebuilt.values()] == [
            _known(order) for order in orders.values()
        ]
