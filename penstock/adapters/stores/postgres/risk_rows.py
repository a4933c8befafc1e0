"""What risk rules and reconciliation remember, in SQL.

What follows from it is decided in penstock.risk and penstock.execution.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg

from penstock.core.breaks import BreakAcceptance, BreakKind, TradeMark
from penstock.core.instruments import Instrument, InstrumentKind
from penstock.core.rebalances import SlotEquity
from penstock.core.risk_records import PositionMark, RecordedFinding, RiskHistory
from penstock.core.timeframes import day_before

_LEVELS = """
    SELECT coalesce(
               (SELECT without_transfers FROM equity WHERE account = %(account)s
                  AND at < %(slot)s AND at <= %(day)s
                ORDER BY at DESC LIMIT 1),
               (SELECT without_transfers FROM equity WHERE account = %(account)s
                  AND at < %(slot)s ORDER BY at LIMIT 1)),
           (SELECT max(without_transfers) FROM equity WHERE account = %(account)s AND at < %(slot)s
              AND at >= (SELECT coalesce(max(at), '-infinity') FROM trading_state
                         WHERE account IN (%(account)s, '*') AND state = 'active')),
           (SELECT coalesce(sum(value), 0) FROM break_acceptance WHERE account = %(account)s),
           (SELECT count(*) FROM orders WHERE account = %(account)s AND created_at > %(minute)s),
           (SELECT count(*) FROM orders WHERE account = %(account)s AND created_at >= %(midnight)s),
           (SELECT coalesce(sum(quantity * price), 0) FROM fill
            WHERE account = %(account)s AND at >= %(hour)s)
"""

#: The symbols are found by skips from one to the next in the fills' key, and so are the fills that
#: were not compared yet. Each skip asks for the next row in the order of a whole key, which one
#: index has: the planner cannot choose another one by what it believes of the account's size.
_TRADE_MARKS = """
    WITH RECURSIVE traded AS (
        (SELECT symbol FROM fill WHERE account = %(account)s ORDER BY symbol LIMIT 1)
        UNION ALL
        SELECT (SELECT f.symbol FROM fill f
                WHERE f.account = %(account)s AND f.symbol > t.symbol ORDER BY f.symbol LIMIT 1)
        FROM traded t WHERE t.symbol IS NOT NULL
    )
    SELECT t.symbol, least(c.at, fresh.oldest), coalesce(fresh.newest, c.sequence), fresh.oldest
    FROM traded t
    LEFT JOIN compared_trades c ON c.account = %(account)s AND c.symbol = t.symbol
    CROSS JOIN LATERAL (
        WITH RECURSIVE newer AS (
            (SELECT f.account, f.symbol, f.sequence, f.at FROM fill f
             WHERE (f.account, f.symbol, f.sequence)
                 > (%(account)s, t.symbol, coalesce(c.sequence, 0))
             ORDER BY f.account, f.symbol, f.sequence LIMIT 1)
            UNION ALL
            SELECT following.* FROM newer n CROSS JOIN LATERAL (
                SELECT f.account, f.symbol, f.sequence, f.at FROM fill f
                WHERE (f.account, f.symbol, f.sequence) > (n.account, n.symbol, n.sequence)
                ORDER BY f.account, f.symbol, f.sequence LIMIT 1) following
            WHERE n.account = %(account)s AND n.symbol = t.symbol
        )
        SELECT min(at) AS oldest, max(sequence) AS newest FROM newer
        WHERE account = %(account)s AND symbol = t.symbol
    ) fresh
    WHERE t.symbol IS NOT NULL
"""
_RECORD_COMPARED = """
    INSERT INTO compared_trades (account, symbol, sequence, at)
    SELECT account, symbol, sequence, at FROM fill
    WHERE account = %s AND symbol = %s AND sequence = %s
    ON CONFLICT (account, symbol) DO UPDATE SET sequence = excluded.sequence, at = excluded.at
        WHERE excluded.sequence > compared_trades.sequence
"""


def read_history(
    connection: psycopg.Connection[Any], account: str, slot: datetime, now: datetime
) -> RiskHistory:
    arguments = {
        "account": account,
        "slot": slot,
        "day": day_before(slot),
        "minute": now - timedelta(minutes=1),
        "midnight": now.replace(hour=0, minute=0, second=0, microsecond=0),
        "hour": slot - timedelta(hours=1),
    }
    with connection.pipeline():  # three questions in one round trip
        levels = connection.execute(_LEVELS, arguments)
        targets = connection.execute(
            """SELECT targets FROM rebalance
               WHERE account = %s AND slot < %s AND targets IS NOT NULL
               ORDER BY slot DESC LIMIT 2""",
            [account, slot],
        )
        marks = connection.execute(
            "SELECT symbol, best, stopped_at FROM position_mark WHERE account = %s", [account]
        )
    row = levels.fetchone()
    assert row is not None
    return RiskHistory(
        day_start=row[0],
        peak=row[1],
        transferred=Decimal(row[2]),
        targets=tuple(found[0] for found in targets),
        orders_last_minute=row[3],
        orders_today=row[4],
        traded_last_hour=Decimal(row[5]),
        marks={symbol: PositionMark(best, stopped_at) for symbol, best, stopped_at in marks},
    )


def write_equity(connection: psycopg.Connection[Any], account: str, recorded: SlotEquity) -> None:
    """Record what an account was worth. A second record of the same instant replaces it."""
    connection.execute(
        """INSERT INTO equity (account, at, equity, cash, transferred)
           VALUES (%s, %s, %s, %s,
                   %s + (SELECT coalesce(sum(value), 0) FROM break_acceptance
                         WHERE account = %s))
           ON CONFLICT (account, at) DO UPDATE
               SET equity = excluded.equity, cash = excluded.cash,
                   transferred = excluded.transferred""",
        [account, recorded.at, recorded.equity, recorded.cash, recorded.in_doubt, account],
    )


def insert_verdicts(
    connection: psycopg.Connection[Any],
    account: str,
    slot: datetime,
    verdicts: Sequence[RecordedFinding],
    at: datetime,
) -> None:
    connection.cursor().executemany(
        """INSERT INTO risk_verdict
               (account, slot, symbol, verdict, rule, reason, wanted, passed, at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        [
            (account, slot, v.symbol, v.verdict.value, v.rule, v.reason, v.wanted, v.passed, at)
            for v in verdicts
        ],
    )


def replace_marks(
    connection: psycopg.Connection[Any], account: str, marks: Mapping[str, PositionMark]
) -> None:
    connection.execute("DELETE FROM position_mark WHERE account = %s", [account])
    connection.cursor().executemany(
        "INSERT INTO position_mark (account, symbol, best, stopped_at) VALUES (%s, %s, %s, %s)",
        [(account, symbol, mark.best, mark.stopped_at) for symbol, mark in sorted(marks.items())],
    )


def read_instruments(connection: psycopg.Connection[Any], account: str) -> dict[str, Instrument]:
    rows = connection.execute(
        """SELECT symbol, kind, base, quote, settle, contract_size,
                  price_tick, lot_step, min_quantity, min_notional, listed
           FROM planned_instrument WHERE account = %s""",
        [account],
    ).fetchall()
    return {row[0]: _instrument(*row) for row in rows}


def _instrument(
    symbol: str,
    kind: str,
    base: str,
    quote: str,
    settle: str,
    contract_size: Decimal,
    price_tick: Decimal,
    lot_step: Decimal,
    min_quantity: Decimal,
    min_notional: Decimal,
    listed: bool,
) -> Instrument:
    return Instrument(
        symbol=symbol,
        kind=InstrumentKind(kind),
        base=base,
        quote=quote,
        settle=settle,
        contract_size=contract_size,
        price_tick=price_tick,
        lot_step=lot_step,
        min_quantity=min_quantity,
        min_notional=min_notional,
        listed=listed,
    )


def write_instruments(
    connection: psycopg.Connection[Any], account: str, instruments: Sequence[Instrument]
) -> None:
    connection.cursor().executemany(
        """INSERT INTO planned_instrument
           (account, symbol, kind, base, quote, settle, contract_size,
            price_tick, lot_step, min_quantity, min_notional, listed)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (account, symbol) DO UPDATE
           SET kind = excluded.kind, base = excluded.base, quote = excluded.quote,
               settle = excluded.settle, contract_size = excluded.contract_size,
               price_tick = excluded.price_tick, lot_step = excluded.lot_step,
               min_quantity = excluded.min_quantity, min_notional = excluded.min_notional,
               listed = excluded.listed""",
        [
            (
                *(account, i.symbol, i.kind.value, i.base, i.quote, i.settle, i.contract_size),
                *(i.price_tick, i.lot_step, i.min_quantity, i.min_notional, i.listed),
            )
            for i in instruments
        ],
    )


def insert_acceptance(connection: psycopg.Connection[Any], accepted: BreakAcceptance) -> None:
    connection.execute(
        """INSERT INTO break_acceptance (account, subject, kind, reason, accepted_by, at, value)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        [
            *(accepted.account, accepted.subject, accepted.kind.value, accepted.reason),
            *(accepted.by, accepted.at, accepted.value),
        ],
    )


def read_acceptances(connection: psycopg.Connection[Any], account: str) -> list[BreakAcceptance]:
    rows = connection.execute(
        (
            "SELECT subject, kind, reason, accepted_by, at, value FROM break_acceptance "
            "WHERE account = %s ORDER BY id"
        ),
        [account],
    ).fetchall()
    return [
        BreakAcceptance(account, subject, BreakKind(kind), reason, by, at, value)
        for subject, kind, reason, by, at, value in rows
    ]


def read_trade_marks(connection: psycopg.Connection[Any], account: str) -> list[TradeMark]:
    rows = connection.execute(_TRADE_MARKS, {"account": account}).fetchall()
    return [TradeMark(*row) for row in rows]


def write_trade_marks(
    connection: psycopg.Connection[Any], account: str, newest: Mapping[str, int]
) -> None:
    connection.cursor().executemany(
        _RECORD_COMPARED, [(account, symbol, mark) for symbol, mark in sorted(newest.items())]
    )
