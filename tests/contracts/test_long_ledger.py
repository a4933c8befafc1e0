"""The database cost of a slot does not grow with the age of the account. The answers equal the
plain sums.
"""

import json
import secrets
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.adapters.stores.postgres import Database, PostgresControlStore, PostgresLedger
from penstock.adapters.stores.postgres.control_store import _EQUITY_BY_DAY
from penstock.adapters.stores.postgres.entry_rows import _SELECT_CHECKPOINTS, _SELECT_SINCE
from penstock.adapters.stores.postgres.ledger_rows import (
    IN_SEQUENCE,
    SELECT_ORDERS,
    SELECT_SHORT,
    SELECT_UNSETTLED,
    UNFINISHED,
)
from penstock.adapters.stores.postgres.risk_rows import _LEVELS, _TRADE_MARKS
from penstock.core.halts import TradingState

START = datetime(2025, 1, 1, tzinfo=UTC)
MINUTES = 10_000
END = START + timedelta(minutes=MINUTES)
#: A day of minute slots, and something over: what is older must not be read.
_MOST_ROWS = 2_000

_FILLED = """
    INSERT INTO rebalance (account, slot, portfolio_version, status)
    SELECT %(name)s, %(start)s + n * interval '1 min', 'v', 'done'
    FROM generate_series(1, %(minutes)s) n;
    INSERT INTO equity
    SELECT %(name)s, %(start)s + n * interval '1 min', 100000 + n * 7919 %% 1000, 1, n / 480 * 10
    FROM generate_series(1, %(minutes)s) n;
    INSERT INTO orders (client_order_id, account, rebalance_id, symbol, side, type, quantity,
        phase, child, attempt, strategy_version, target_weight, reference_price, state, end_cause,
        filled_quantity, created_at, updated_at)
    SELECT %(name)s || id, %(name)s, id,
        CASE WHEN n = 2 THEN 'OLD/USDT' ELSE 'S' || n %% 10 || '/USDT' END,
        'buy', 'market', 1, 1, 0, 0, 'v', 0.1, 100,
        CASE WHEN n %% 1000 = 1 THEN 'expired' ELSE 'filled' END,
        CASE WHEN n %% 1000 = 1 THEN 'expired' ELSE 'filled' END,
        CASE WHEN n %% 1000 = 1 THEN 0 ELSE 1 END, slot, slot
    FROM (SELECT id, slot, row_number() OVER (ORDER BY slot) AS n
          FROM rebalance WHERE account = %(name)s) numbered;
    INSERT INTO fill
        (account, symbol, trade_id, client_order_id, side, quantity, price, fee, fee_asset, at)
    SELECT account, symbol, client_order_id, client_order_id, 'buy', 1, 100, 0, 'USDT', created_at
    FROM orders WHERE account = %(name)s AND state = 'filled' ORDER BY sequence;
    INSERT INTO break_acceptance (account, subject, kind, reason, accepted_by, at, value)
    SELECT %(name)s, 'USDT', 'deposit', 'r', 'ada', %(start)s + n * interval '8 hours', n * 10
    FROM generate_series(1, 3) n
"""


@pytest.fixture(scope="module")
def aged(database: Database) -> str:
    """An account of a week of minute slots, all of whose fills were compared."""
    return _age(database)


@pytest.fixture(scope="module")
def neighbour(database: Database, aged: str) -> str:
    """A second account like it, in the same tables from here on."""
    return _age(database)


def _age(database: Database) -> str:
    name = f"name-{secrets.token_hex(6)}"
    ledger, control_store = PostgresLedger(database), PostgresControlStore(database)
    ledger.open_account(name, "practice", "USDT")
    writer = ledger.acquire_lease(name, "test", 600)
    assert writer is not None
    with database.transaction() as connection:
        for statement in _FILLED.split(";"):
            connection.execute(
                statement.encode(), {"name": name, "start": START, "minutes": MINUTES}
            )
    with database.transaction() as connection:
        connection.execute("ANALYZE")
    control_store.record_compared(
        writer, {mark.symbol: mark.newest for mark in control_store.trade_marks(name)}
    )
    return name


def rows_read(database: Database, statement: str, arguments: Any) -> dict[str, float]:
    """Return how many rows of each table the statement looked at."""
    with database.transaction() as connection:
        row = connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), arguments
        ).fetchone()
    assert row is not None
    found: dict[str, float] = {}

    def walk(node: dict[str, Any]) -> None:
        if "Relation Name" in node:
            seen = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node[
                "Actual Loops"
            ]
            found[node["Relation Name"]] = found.get(node["Relation Name"], 0) + seen
        for child in node.get("Plans", []):
            walk(child)

    walk((json.loads(row[0]) if isinstance(row[0], str) else row[0])[0]["Plan"])
    return found


def test_a_slot_reads_no_more_rows_than_a_day_has(
    database: Database, aged: str, neighbour: str
) -> None:
    """Risk's history, the marks of compared trades and the orders in doubt are found without
    walking the account's past.
    """
    midnight = END.replace(hour=0, minute=0)
    levels = {"account": aged, "slot": END, "day": midnight, "midnight": midnight}
    levels |= {"minute": END - timedelta(minutes=1), "hour": END - timedelta(hours=1)}
    for statement, arguments in (
        (_LEVELS, levels),
        (_TRADE_MARKS, {"account": aged}),
        (_TRADE_MARKS, {"account": neighbour}),
        (SELECT_SHORT, [aged, "S1/USDT", 100]),
    ):
        read = rows_read(database, statement, arguments)
        assert read
        assert max(read.values()) < _MOST_ROWS, read


@pytest.mark.usefixtures("neighbour")
def test_orders_and_entries_of_a_slot_are_found_without_walking_the_past(
    database: Database, aged: str
) -> None:
    """Open orders, overfilled orders and the fills since a checkpoint take few rows. An account
    beside it that trades more changes nothing.
    """
    PostgresLedger(database).cost_bases(aged)
    with database.transaction() as connection:
        checkpoints = connection.execute(_SELECT_CHECKPOINTS, {"account": aged}).fetchall()
    keys = ("symbol", "quantity", "cost", "at", "trade_id", "sequence")
    since = [
        {"account": aged, **dict(zip(keys, row, strict=True))}
        for row in checkpoints
        if row[-1] is not None
    ]
    assert len(since) == 10
    of_account = {"account": aged}
    statements = [
        (SELECT_ORDERS + UNFINISHED + IN_SEQUENCE, of_account),
        (SELECT_UNSETTLED, of_account),
    ]
    statements += [(_SELECT_CHECKPOINTS, of_account)] + [(_SELECT_SINCE, known) for known in since]
    for statement, arguments in statements:
        read = rows_read(database, statement, arguments)
        assert read
        assert max(read.values()) < _MOST_ROWS / 4, (statement, read)


@pytest.mark.usefixtures("neighbour")
def test_figures_of_an_account_read_a_row_per_day(database: Database, aged: str) -> None:
    """Status looks up the last slot of each day, and walks no day."""
    read = rows_read(database, _EQUITY_BY_DAY, {"account": aged})
    days = MINUTES // (24 * 60) + 1
    assert days <= max(read.values()) < 3 * days, read
    assert PostgresControlStore(database).equity_by_day(aged).height == days + 1


def test_levels_are_those_of_the_plain_sums(database: Database, aged: str) -> None:
    """Equity less the transfers, row by row, gives the same peak and start of the day. It does so
    after a resume too.
    """
    control_store = PostgresControlStore(database)
    plain = """SELECT max(worth) FILTER (WHERE at >= %(since)s),
                      (array_agg(worth ORDER BY at DESC) FILTER (WHERE at <= %(day)s))[1]
               FROM (SELECT at, equity - transferred AS worth
                     FROM equity WHERE account = %(name)s AND at < %(slot)s) levels"""
    since = START - timedelta(days=1)
    for resumed, slot in (
        (None, END),
        (None, START + timedelta(days=4, hours=3)),
        (START + timedelta(hours=10), END),
    ):
        if resumed is not None:
            since = resumed
            control_store.set_trading_state(aged, TradingState.ACTIVE, "over", "ada", resumed)
        with database.transaction() as connection:
            arguments = {
                "name": aged,
                "slot": slot,
                "since": since,
                "day": slot.replace(hour=0, minute=0),
            }
            expected = connection.execute(plain.encode(), arguments).fetchone()
        history = control_store.risk_history(aged, slot, slot)
        assert (history.peak, history.day_start) == expected


def test_orders_are_found_by_name_and_by_what_they_lack(database: Database, aged: str) -> None:
    """Names of another account are not found. Short orders are those that were sent and not filled
    whole, the newest first.
    """
    ledger = PostgresLedger(database)
    short = ledger.short_orders(aged, "S1/USDT", 100)
    assert [order.created_at for order in short] == sorted(
        (order.created_at for order in short), reverse=True
    )
    assert (len(short), {order.filled_quantity for order in short}) == (
        MINUTES // 1000,
        {Decimal(0)},
    )
    assert ledger.short_orders(aged, "S1/USDT", 3) == short[:3]
    assert ledger.newest_orders(aged, 3) == ledger.orders(aged)[-3:]
    assert ledger.short_orders(aged, "S2/USDT", 100) == []
    names = [order.request.client_order_id for order in short[:2]]
    assert list(ledger.orders_named(aged, [*names, "of-nobody"])) == short[1::-1]
    assert ledger.orders_named(f"{aged}-other", names) == []
    slots = ledger.slots_of(aged, {short[0].rebalance_id})
    assert slots == {short[0].rebalance_id: short[0].created_at}


def test_account_begins_with_its_last_opening_balance_else_with_its_first_slot(
    database: Database, aged: str
) -> None:
    """What was traded before came in with the balances; other adjustments do not move the
    beginning.
    """
    ledger = PostgresLedger(database)
    assert ledger.beginning(aged, "opening balance") == START + timedelta(minutes=1)
    lease = ledger.acquire_lease(aged, "test", 60)
    assert lease is not None
    for minutes, reason in (
        (5, "opening balance"),
        (6, "opening balance"),
        (90, "accepted deposit"),
    ):
        ledger.book_adjustment(lease, "BTC", Decimal(1), reason, START + timedelta(minutes=minutes))
    assert ledger.beginning(aged, "opening balance") == START + timedelta(minutes=6)
    assert ledger.beginning(f"{aged}-other", "opening balance") is None
