"""The database refuses what an earlier holder of the lease writes to supervision, and leaves no
settlement half done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from inspect import signature

import pytest

from penstock.adapters.stores.postgres import Database, PostgresControlStore, PostgresLedger
from penstock.core.breaks import Break, BreakAcceptance, BreakKind, Settlement
from penstock.core.errors import StaleLeaseError, StoreError
from penstock.core.instruments import Instrument
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderState,
    OrderType,
    Phase,
    Side,
)
from penstock.core.risk_records import PositionMark, RecordedFinding, RiskVerdict
from penstock.ports import ControlStore

AT = datetime(2025, 6, 1, tzinfo=UTC)
STEPS = Instrument(
    "BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5)
)
WORD = RecordedFinding("BTC/USDT", RiskVerdict.DENY, "stale_bars", "old", Decimal(1), Decimal(0))

READS = {
    "break_history",
    "open_breaks",
    "trading_state",
    "equity_history",
    "equity_by_day",
    "risk_history",
    "planned_instruments",
    "acceptances",
    "trade_marks",
}
#: Whoever wants an account stopped must be able to stop it, whoever trades it now.
WITHOUT_LEASE = {"set_trading_state"}


def fee(account: str) -> Break:
    return Break(
        account, "BTC/USDT", BreakKind.BASE_ASSET_FEE, "0.1 taken", changes={"BTC": Decimal("-0.1")}
    )


def order_of(account: str) -> str:
    return f"{account}-order"


def settlement(account: str) -> Settlement:
    """What accepting the fee would write, with something of every kind in it."""
    accepted = BreakAcceptance(
        account, "BTC/USDT", BreakKind.BASE_ASSET_FEE, "seen", "ada", AT, Decimal(-10)
    )
    return Settlement(
        accepted,
        {"BTC": Decimal("-0.1"), "USDT": Decimal(3)},
        (order_of(account),),
        replace(STEPS, listed=False),
    )


def newest_fill(control_store: PostgresControlStore, account: str) -> dict[str, int]:
    return {mark.symbol: mark.newest for mark in control_store.trade_marks(account)}


#: Every write of the port, as an account's writer makes it. Each changes something in the account
#: of the fixture below.
WRITES: dict[str, Callable[[PostgresControlStore, Lease], object]] = {
    "open_break": lambda s, lease: s.open_break(
        lease, Break(lease.account, "ETH", BreakKind.DEPOSIT, "1 came"), AT
    ),
    "close_break": lambda s, lease: s.close_break(
        lease, "BTC/USDT", BreakKind.BASE_ASSET_FEE, AT, "agrees"
    ),
    "settle_breaks": lambda s, lease: s.settle_breaks(lease, [settlement(lease.account)]),
    "record_equity": lambda s, lease: s.record_equity(lease, AT, Decimal(2), Decimal(1)),
    "record_verdicts": lambda s, lease: s.record_verdicts(lease, AT, [WORD], AT),
    "record_marks": lambda s, lease: s.record_marks(lease, {}),
    "record_instruments": lambda s, lease: s.record_instruments(
        lease, [replace(STEPS, lot_step=Decimal(1))]
    ),
    "record_compared": lambda s, lease: s.record_compared(lease, newest_fill(s, lease.account)),
}


@pytest.fixture
def account(database: Database, control_store: PostgresControlStore, writer: Lease) -> str:
    """An account with an order at work and half filled, a break, a stop-loss, equity and steps on
    record.
    """
    ledger, name = PostgresLedger(database), writer.account
    request = OrderRequest(order_of(name), "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal(2))
    rebalance = ledger.start_rebalance(writer, AT, "trend/1")
    sent = [
        OrderEvent(request.client_order_id, kind, AT)
        for kind in (OrderEventKind.SUBMIT, OrderEventKind.ACCEPT)
    ]
    ledger.write_ahead(
        writer,
        rebalance.id,
        [OrderIntent(request, Phase.SELLS, 0, 0, "trend/1", 0.5, Decimal(1))],
        sent,
    )
    ledger.book_fill(
        writer,
        Fill(
            "1",
            request.client_order_id,
            "BTC/USDT",
            Side.BUY,
            Decimal(1),
            Decimal(1),
            Decimal(1),
            "USDT",
            AT,
        ),
    )
    control_store.open_break(writer, fee(name), AT)
    control_store.record_marks(writer, {"BTC/USDT": PositionMark(Decimal(5), AT)})
    control_store.record_instruments(writer, [STEPS])
    control_store.record_equity(writer, AT, Decimal(1), Decimal(1))
    return name


@pytest.fixture
def contents(database: Database, account: str) -> Callable[[], dict[str, list[str]]]:
    """Tells every row of the account in every table."""

    def read() -> dict[str, list[str]]:
        with database.transaction() as connection:
            names = connection.execute(
                "SELECT table_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND column_name = 'account'"
            ).fetchall()
            chosen = {
                name: f"SELECT t::text FROM {name} t WHERE account = %s ORDER BY 1"  # noqa: S608 (from the catalogue)
                for (name,) in names
            }
            chosen["order_event"] = (
                "SELECT t::text FROM order_event t JOIN orders USING (client_order_id) "
                "WHERE account = %s"
            )
            found = {
                name: connection.execute(text.encode(), [account]).fetchall()
                for name, text in chosen.items()
            }
        assert len(found) > 12
        return {name: [row for (row,) in rows] for name, rows in found.items()}

    return read


def test_every_write_of_the_port_is_held_against_the_fence() -> None:
    """A new method is a read, or is in the table below, or is named as one that takes no lease."""
    methods = {
        name
        for name in dir(ControlStore)
        if callable(getattr(ControlStore, name)) and not name.startswith("_")
    }
    assert methods == READS | WITHOUT_LEASE | WRITES.keys()
    assert {
        name for name in methods if "lease" in signature(getattr(ControlStore, name)).parameters
    } == WRITES.keys()


@pytest.mark.parametrize("write", WRITES)
def test_write_of_a_former_holder_is_refused_and_changes_nothing(
    database: Database,
    control_store: PostgresControlStore,
    account: str,
    writer: Lease,
    contents: Callable[[], dict[str, list[str]]],
    write: str,
) -> None:
    """Once another has taken the lease the database refuses the first; what the new holder writes
    takes effect.
    """
    ledger = PostgresLedger(database)
    ledger.release_lease(writer)
    successor = ledger.acquire_lease(account, "successor", 60)
    assert successor is not None
    before = contents()
    with pytest.raises(StaleLeaseError, match="was replaced by token"):
        WRITES[write](control_store, writer)
    assert contents() == before
    WRITES[write](control_store, successor)
    assert contents() != before


def test_break_of_another_account_is_not_written_under_the_lease(
    control_store: PostgresControlStore, account: str, writer: Lease
) -> None:
    """The lease covers its own account only."""
    with pytest.raises(StoreError, match="take that account's lease"):
        control_store.open_break(writer, fee(f"{account}-other"), AT)
    with pytest.raises(StoreError, match="take that account's lease"):
        control_store.settle_breaks(writer, [settlement(f"{account}-other")])
    assert control_store.open_breaks(f"{account}-other") == []


def test_settlement_is_written_whole(
    database: Database, control_store: PostgresControlStore, account: str, writer: Lease
) -> None:
    """Balances, the order, the steps, the operator's reason and the end of the break."""
    ledger = PostgresLedger(database)
    before = ledger.balances(account)
    control_store.settle_breaks(writer, [settlement(account)])
    after = ledger.balances(account)
    assert {asset: after[asset] - before.get(asset, 0) for asset in after} == {
        "BTC": Decimal("-0.1"),
        "USDT": Decimal(3),
    }
    (order,) = ledger.orders(account)
    assert (order.state, order.reason) == (
        OrderState.CANCELED,
        "accepted base_asset_fee by ada: seen",
    )
    assert control_store.planned_instruments(account) == {"BTC/USDT": replace(STEPS, listed=False)}
    assert control_store.acceptances(account) == [settlement(account).accepted]
    assert control_store.open_breaks(account) == []
    assert [past.closed_reason for past in control_store.break_history(account)] == [
        "accepted base_asset_fee by ada: seen"
    ]


def test_settlement_of_a_break_that_is_not_open_books_nothing(
    control_store: PostgresControlStore,
    account: str,
    writer: Lease,
    contents: Callable[[], dict[str, list[str]]],
) -> None:
    """A difference that is accepted twice is booked once. Of two that are settled together none is
    booked where one is not open.
    """
    dust = Break(account, "ETH", BreakKind.DUST, "dust")
    control_store.open_break(writer, dust, AT)
    control_store.settle_breaks(writer, [settlement(account)])
    before = contents()
    other = Settlement(
        BreakAcceptance(account, "ETH", BreakKind.DUST, "seen", "ada", AT), {"ETH": Decimal(1)}
    )
    for settlements in ([settlement(account)], [other, settlement(account)]):
        with pytest.raises(StoreError, match="nothing was booked"):
            control_store.settle_breaks(writer, settlements)
        assert contents() == before


@contextmanager
def dying_at(database: Database, table: str, account: str) -> Iterator[None]:
    """Kill the session that has just written a row of the account to the table."""
    whose = "NEW.client_order_id" if table == "order_event" else "NEW.account"
    with database.transaction() as connection:
        connection.execute(
            f"""CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF starts_with({whose}, '{account}') THEN
                        PERFORM pg_terminate_backend(pg_backend_pid());
                    END IF;
                    RETURN NULL; END $$;
                CREATE TRIGGER die AFTER INSERT OR UPDATE ON {table}
                    FOR EACH ROW EXECUTE FUNCTION die()""".encode()
        )
    try:
        yield
    finally:
        with database.transaction() as connection:
            connection.execute(f"DROP TRIGGER die ON {table}; DROP FUNCTION die()".encode())


@pytest.mark.parametrize(
    "table",
    [
        "account_break",
        "adjustment",
        "balance",
        "order_event",
        "orders",
        "planned_instrument",
        "break_acceptance",
    ],
)
def test_settlement_that_dies_between_its_parts_leaves_nothing(
    database: Database,
    control_store: PostgresControlStore,
    account: str,
    writer: Lease,
    contents: Callable[[], dict[str, list[str]]],
    table: str,
) -> None:
    """Killed after any of its parts it is undone, and accepting again books the difference once."""
    before = contents()
    with dying_at(database, table, account), pytest.raises(StoreError, match="cannot be used"):
        control_store.settle_breaks(writer, [settlement(account)])
    assert contents() == before
    control_store.settle_breaks(writer, [settlement(account)])
    assert [each.value for each in control_store.acceptances(account)] == [-10]
    assert len(contents()["adjustment"]) == 2
