"""Entry prices equal those of all fills in the venue's order, whatever the order of arrival. A long
ledger reads few rows for them.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores.postgres import (
    Database,
    PostgresLedger,
    PostgresLedgerHistory,
    connect,
    migrate,
)
from penstock.core.cost_basis import cost_bases, entry_prices
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderType,
    Phase,
    Side,
)

START = datetime(2025, 6, 1, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT")


class Account:
    """An account with one order per side and symbol: every fill of the test belongs to one."""

    def __init__(self, database: Database) -> None:
        self.database, self.name = database, f"entries-{secrets.token_hex(6)}"
        self.ledger = PostgresLedger(database)
        self.ledger.open_account(self.name, "venue", "USDT")
        self.lease = self._lease()
        slot = self.ledger.start_rebalance(self.lease, START, "v").id
        names = [(symbol, side) for symbol in SYMBOLS for side in Side]
        orders = [
            OrderIntent(
                OrderRequest(
                    self.order(symbol, side), symbol, side, OrderType.MARKET, Decimal(10**12)
                ),
                Phase.SELLS,
                0,
                0,
                "v",
                0.5,
                Decimal(1),
            )
            for symbol, side in names
        ]
        begun = [
            OrderEvent(order.request.client_order_id, OrderEventKind.SUBMIT, START)
            for order in orders
        ]
        self.ledger.write_ahead(self.lease, slot, orders, begun, START)

    def _lease(self) -> Lease:
        lease = self.ledger.acquire_lease(self.name, "test", 600)
        assert lease is not None
        return lease

    def order(self, symbol: str, side: Side) -> str:
        return f"{self.name}-{symbol}-{side}"

    def fill(
        self,
        trade: int,
        seconds: float,
        side: Side = Side.BUY,
        quantity: str = "1",
        price: str = "100",
        **more: Any,
    ) -> Fill:
        symbol, fee, fee_asset = (
            more.get("symbol", SYMBOLS[0]),
            more.get("fee", "0"),
            more.get("fee_asset", "USDT"),
        )
        amounts = Decimal(quantity), Decimal(price), Decimal(fee)
        return Fill(
            str(trade),
            self.order(symbol, side),
            symbol,
            side,
            *amounts,
            fee_asset,
            START + timedelta(seconds=seconds),
        )

    def checkpoints(self) -> list[tuple[Any, ...]]:
        with self.database.transaction() as connection:
            return connection.execute(
                (
                    "SELECT symbol, at, trade_id, sequence FROM entry_checkpoint "
                    "WHERE account = %s ORDER BY symbol"
                ),
                [self.name],
            ).fetchall()


trades = st.tuples(
    st.integers(0, 30),  # seconds: many at the same instant
    st.sampled_from(Side),
    st.decimals("0.00000001", 1000, places=8),
    st.decimals("0.00000001", 100_000, places=8),
    st.decimals(0, "0.01", places=8),
    st.sampled_from(["BTC", "ETH", "USDT", "BNB"]),
    st.sampled_from(SYMBOLS),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(trades, min_size=1, max_size=40), data=st.data())
def test_entry_prices_are_those_of_all_fills_in_any_order_of_arrival(
    database: Database, monkeypatch: pytest.MonkeyPatch, made: list[Any], data: st.DataObject
) -> None:
    """Fills come shuffled, in batches, with a reading after each batch. Quantity and cost are
    always the fold of all of them, to the digit.
    """
    monkeypatch.setattr("penstock.adapters.stores.postgres.entry_rows._BEHIND", 2)
    monkeypatch.setattr("penstock.adapters.stores.postgres.entry_rows._AT_ONCE", 3)
    account = Account(database)
    # 8, 9, 10: by number, not by text
    fills = [
        account.fill(
            n, at, side, str(quantity), str(price), fee=str(fee), fee_asset=asset, symbol=symbol
        )
        for n, (at, side, quantity, price, fee, asset, symbol) in enumerate(made, 8)
    ]
    arriving = data.draw(st.permutations(fills))
    booked: list[Fill] = []
    while arriving:
        size = data.draw(st.integers(1, 15))
        batch, arriving = arriving[:size], arriving[size:]
        booked += account.ledger.book_fills(account.lease, batch)
        assert account.ledger.cost_bases(account.name) == cost_bases(booked)
    assert len(booked) == len(fills)


def test_late_fill_moves_the_entry_as_if_it_had_come_in_time(database: Database) -> None:
    """One late fill is older than a far checkpoint; another lies between two that are not counted
    yet. Both give the figure of all fills.
    """
    account = Account(database)
    fills = [
        account.fill(n, 10 * n, Side.SELL if n % 3 == 2 else Side.BUY, price=str(100 + n))
        for n in range(200)
    ]
    account.ledger.book_fills(account.lease, fills)
    before = account.ledger.cost_bases(account.name)
    (checkpoint,) = account.checkpoints()
    assert before == cost_bases(fills)
    assert START < checkpoint[1] < fills[-1].at
    for late in (
        account.fill(1000, 5, quantity="50", price="7"),
        account.fill(1001, 1985, quantity="3", price="5"),
    ):
        fills.append(late)
        account.ledger.book_fills(account.lease, [late])
        assert account.ledger.cost_bases(account.name) == cost_bases(fills) != before
        before = cost_bases(fills)


def test_checkpoint_moves_on_and_is_read_alone(database: Database) -> None:
    """Fills that were counted are not read again. Where the checkpoint holds another cost, the
    entry price follows it.
    """
    account = Account(database)
    account.ledger.book_fills(account.lease, [account.fill(n, n, price="100") for n in range(100)])
    account.ledger.cost_bases(account.name)
    first = account.checkpoints()
    account.ledger.book_fills(
        account.lease, [account.fill(n, n, price="100") for n in range(100, 200)]
    )
    assert entry_prices(account.ledger.cost_bases(account.name)) == {"BTC/USDT": Decimal(100)}
    assert account.checkpoints() > first
    with database.transaction() as connection:
        connection.execute(
            "UPDATE entry_checkpoint SET cost = cost + 1000 WHERE account = %s", [account.name]
        )
    assert entry_prices(account.ledger.cost_bases(account.name)) == {"BTC/USDT": Decimal(105)}
    with database.transaction() as connection:
        connection.execute("DELETE FROM entry_checkpoint WHERE account = %s", [account.name])
    assert entry_prices(account.ledger.cost_bases(account.name)) == {"BTC/USDT": Decimal(100)}


def test_rebuild_names_a_wrong_checkpoint_and_drops_it(new_database_url: Callable[[], str]) -> None:
    """A checkpoint is checked against the fills that it counted. A late fill that it could not know
    is no damage.
    """
    with connect(new_database_url()) as database:
        migrate(database)
        account, history = Account(database), PostgresLedgerHistory(database)
        account.ledger.book_fills(account.lease, [account.fill(n, n) for n in range(100)])
        account.ledger.cost_bases(account.name)
        account.ledger.book_fills(account.lease, [account.fill(500, 0.5, price="9")])
        assert history.rebuild(replace=False).different == 0
        with database.transaction() as connection:
            connection.execute("UPDATE entry_checkpoint SET cost = cost + 1")
        found = history.rebuild(replace=False)
        assert [(each.table, each.row) for each in found.differences] == [
            ("entry_checkpoint", f"{account.name} BTC/USDT")
        ]
        assert history.rebuild(replace=True).replaced
        assert account.checkpoints() == []
        assert history.rebuild(replace=False).different == 0
