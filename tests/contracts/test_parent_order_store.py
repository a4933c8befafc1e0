"""What every ParentOrderStore promises, held against every tier."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import psycopg
import pytest

from penstock.adapters.stores.postgres import Database, PostgresParentOrderStore
from penstock.core.errors import StaleLeaseError, StoreError
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderState,
    OrderType,
    Phase,
    Side,
)
from penstock.core.parent_orders import ParentOrder
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms import ChildOrder, Plan, Twap
from penstock.ports import Ledger, ParentOrderStore
from penstock.testing.memory_ledger import MemoryLedger
from penstock.testing.memory_parent_orders import MemoryParentOrderStore

SLOT = datetime(2025, 6, 1, tzinfo=UTC)
AT = SLOT + timedelta(seconds=30, microseconds=123_456)
_numbers = count()


def _piece(quantity: str) -> ChildOrder:
    return ChildOrder(OrderType.MARKET, Decimal(quantity))


PLAN = Plan(style=Twap(slices=2), children=(_piece("0.5"), _piece("0.25")))


@pytest.fixture
def store(ledger: Ledger, request: pytest.FixtureRequest) -> ParentOrderStore:
    if isinstance(ledger, MemoryLedger):
        return MemoryParentOrderStore(ledger)
    return PostgresParentOrderStore(request.getfixturevalue("database"))


@pytest.fixture
def rebalance_id(ledger: Ledger, writer: Lease) -> int:
    return ledger.start_rebalance(writer, SLOT, "portfolio/1").id


def parent(
    rebalance_id: int,
    symbol: str = "BTC/USDT",
    phase: Phase = Phase.BUYS,
    quantity: str = "0.75000000001",
) -> ParentOrder:
    order = ProposedOrder(symbol, Side.BUY, Decimal(quantity), Decimal("50000.01"), 0.3, phase)
    return ParentOrder(rebalance_id, order, "trend/1", PLAN.model_dump_json(), AT)


def test_parents_come_back_as_they_were_begun(
    store: ParentOrderStore, writer: Lease, rebalance_id: int
) -> None:
    """Exact quantities and instants, in the order in which they were begun, with a plan that reads
    the same.
    """
    begun = [parent(rebalance_id, "ETH/USDT"), parent(rebalance_id)]
    store.begin_work(writer, begun)
    found = store.work_of(rebalance_id)
    assert [replace(each, plan="") for each in found] == [replace(each, plan="") for each in begun]
    assert Plan.model_validate_json(found[0].plan) == PLAN


def test_parent_begun_twice_is_left_as_it_is(
    store: ParentOrderStore, writer: Lease, rebalance_id: int
) -> None:
    """There is one parent per rebalance, symbol and phase: a second beginning changes nothing."""
    store.begin_work(writer, [parent(rebalance_id)])
    store.begin_work(
        writer, [parent(rebalance_id, quantity="9"), parent(rebalance_id, phase=Phase.SELLS)]
    )
    assert [(each.order.phase, each.order.quantity) for each in store.work_of(rebalance_id)] == [
        (1, Decimal("0.75000000001")),
        (0, Decimal("0.75000000001")),
    ]


def child() -> tuple[OrderIntent, OrderEvent]:
    name = f"child-{os.getpid()}-{next(_numbers)}"
    request = OrderRequest(name, "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal("0.75"))
    intent = OrderIntent(request, Phase.BUYS, 0, 0, "trend/1", 0.3, Decimal(50_000))
    return intent, OrderEvent(name, OrderEventKind.SUBMIT, AT)


def test_children_that_leave_at_once_are_committed_with_their_parents(
    ledger: Ledger, store: ParentOrderStore, writer: Lease, rebalance_id: int
) -> None:
    """One write has the parent, its child and the event that it begins with."""
    intent, submit = child()
    store.begin_work(writer, [parent(rebalance_id)], [intent], [submit], AT)
    assert [each.order.symbol for each in store.work_of(rebalance_id)] == ["BTC/USDT"]
    (order,) = ledger.orders(writer.account, rebalance_id=rebalance_id)
    assert order.request == intent.request
    assert (order.state, order.created_at) == (OrderState.SUBMITTING, AT)


def test_child_that_cannot_be_written_leaves_no_parent(
    ledger: Ledger, store: ParentOrderStore, writer: Lease, rebalance_id: int
) -> None:
    """All or none: neither the parent nor the good child stands."""
    intent, submit = child()
    stranger = replace(submit, client_order_id="stranger")
    with pytest.raises(StoreError, match="never planned"):
        store.begin_work(writer, [parent(rebalance_id)], [intent], [submit, stranger], AT)
    assert store.work_of(rebalance_id) == []
    assert ledger.orders(writer.account) == []


@pytest.mark.parametrize("with_child", [False, True])
def test_stale_lease_begins_nothing(
    ledger: Ledger, store: ParentOrderStore, writer: Lease, rebalance_id: int, with_child: bool
) -> None:
    """Once a later writer exists the database refuses the parent, and the child with it."""
    intent, submit = child()
    assert ledger.acquire_lease(writer.account, writer.holder, 60) is not None
    children, begun = ([intent], [submit]) if with_child else ([], [])
    with pytest.raises(StaleLeaseError):
        store.begin_work(writer, [parent(rebalance_id)], children, begun, AT)
    assert store.work_of(rebalance_id) == []
    assert ledger.orders(writer.account) == []


@pytest.mark.several_accounts
def test_rebalance_of_another_account_is_refused(
    ledger: Ledger, store: ParentOrderStore, rebalance_id: int, name: str
) -> None:
    """A parent belongs to a rebalance of the writer's own account."""
    ledger.open_account(f"{name}-other", "venue", "USDT")
    other = ledger.acquire_lease(f"{name}-other", "writer", 60)
    assert other is not None
    with pytest.raises(StoreError, match="is not one of account"):
        store.begin_work(other, [parent(rebalance_id)])


def test_parents_are_append_only(
    database: Database, store: ParentOrderStore, writer: Lease, rebalance_id: int
) -> None:
    """What was begun is never changed or deleted."""
    store.begin_work(writer, [parent(rebalance_id)])
    for statement in (
        "UPDATE worked_order SET quantity = 1",
        "DELETE FROM worked_order",
        "TRUNCATE worked_order",
    ):
        with (
            pytest.raises((StoreError, psycopg.Error), match="append-only"),
            database.transaction() as connection,
        ):
            connection.execute(statement.encode())


def test_parent_of_an_unknown_rebalance_is_refused(
    store: ParentOrderStore, writer: Lease, rebalance_id: int
) -> None:
    """All or none: the parent of the known rebalance is not begun either."""
    with pytest.raises(StoreError, match="is not one of account"):
        store.begin_work(writer, [parent(rebalance_id), parent(rebalance_id + 1_000_000)])
    assert store.work_of(rebalance_id) == []
