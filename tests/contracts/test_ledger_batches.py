"""Many events, intents and fills in one transaction. The promises are those of one at a time, and a
failure writes nothing.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

import pytest

from penstock.adapters.stores.postgres import Database
from penstock.core.errors import IllegalTransitionError, StaleLeaseError, StoreError
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
from penstock.ports import Ledger

AT = datetime(2025, 6, 1, tzinfo=UTC)
E, S = OrderEventKind, OrderState
_numbers = count()


@pytest.fixture
def rebalance_id(ledger: Ledger, writer: Lease) -> int:
    return ledger.start_rebalance(writer, AT, "v/1").id


def planned(symbol: str = "BTC/USDT") -> OrderIntent:
    request = OrderRequest(
        f"batch-{os.getpid()}-{next(_numbers)}", symbol, Side.BUY, OrderType.MARKET, Decimal(1)
    )
    return OrderIntent(request, Phase.SELLS, 0, 0, "trend/1", 0.5, Decimal(100))


def begun(ledger: Ledger, writer: Lease, rebalance_id: int, *orders: OrderIntent) -> list[str]:
    names = [order.request.client_order_id for order in orders]
    ledger.write_ahead(
        writer, rebalance_id, orders, [OrderEvent(name, E.SUBMIT, AT) for name in names], AT
    )
    return names


def fill(name: str, trade: str, quantity: str, symbol: str = "BTC/USDT") -> Fill:
    return Fill(
        trade, name, symbol, Side.BUY, Decimal(quantity), Decimal(100), Decimal("0.1"), "USDT", AT
    )


def states(ledger: Ledger, writer: Lease) -> list[OrderState]:
    return [order.state for order in ledger.orders(writer.account)]


def test_intents_and_their_start_are_one_commit(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """After write_ahead every order is SUBMITTING, in the order planned; one that has begun refuses
    to begin again.
    """
    first, second = planned(), planned("ETH/USDT")
    begun(ledger, writer, rebalance_id, first, second)
    assert [order.request for order in ledger.orders(writer.account)] == [
        first.request,
        second.request,
    ]
    assert states(ledger, writer) == [S.SUBMITTING, S.SUBMITTING]
    with pytest.raises(IllegalTransitionError, match=second.request.client_order_id):
        begun(ledger, writer, rebalance_id, second)


def test_bad_intent_leaves_neither_intents_nor_events(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """An event of an order that is not among the intents, and was never planned, undoes the whole
    write.
    """
    order = planned()
    events = [
        OrderEvent(order.request.client_order_id, E.SUBMIT, AT),
        OrderEvent("stranger", E.SUBMIT, AT),
    ]
    with pytest.raises(StoreError, match="'stranger': it was never planned"):
        ledger.write_ahead(writer, rebalance_id, [order], events, AT)
    assert ledger.orders(writer.account) == []


def test_id_that_stands_twice_in_a_batch_writes_nothing(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """Two intents under one id would become one order: the whole batch is refused, the good one in
    it too.
    """
    good, twin = planned(), planned("ETH/USDT")
    orders = [good, twin, replace(twin, child=1)]
    for write in (
        lambda: ledger.plan_orders(writer, rebalance_id, orders),
        lambda: begun(ledger, writer, rebalance_id, *orders),
    ):
        with pytest.raises(
            StoreError, match=f"twice in one batch, first '{twin.request.client_order_id}'"
        ):
            write()
    assert ledger.orders(writer.account) == []


@pytest.mark.several_accounts
def test_id_of_another_accounts_order_writes_nothing(
    ledger: Ledger, writer: Lease, rebalance_id: int, name: str
) -> None:
    """An intent whose id another account has is not dropped as if it were planned: the batch is
    refused.
    """
    ours, theirs = planned(), planned("ETH/USDT")
    ledger.open_account(f"{name}-2", "venue", "USDT")
    other = ledger.acquire_lease(f"{name}-2", "writer", 60)
    assert other is not None
    begun(ledger, other, ledger.start_rebalance(other, AT, "v/1").id, theirs)
    for orders in ([theirs], [ours, theirs]):
        with pytest.raises(StoreError, match=f"'{theirs.request.client_order_id}' to '{name}-2'"):
            ledger.plan_orders(writer, rebalance_id, orders)
        with pytest.raises(StoreError):
            begun(ledger, writer, rebalance_id, *orders)
    assert ledger.orders(writer.account) == []
    assert states(ledger, other) == [S.SUBMITTING]


def test_events_of_one_batch_follow_one_another(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """Several events of one order in a batch are applied in turn; the states returned say where
    each one led.
    """
    (name,) = begun(ledger, writer, rebalance_id, planned())
    led_to = ledger.record_events(
        writer,
        [
            OrderEvent(name, E.ACCEPT, AT, "", "v-1"),
            OrderEvent(name, E.REQUEST_CANCEL, AT, "late"),
            OrderEvent(name, E.CANCEL, AT),
        ],
    )
    assert list(led_to) == [S.OPEN, S.PENDING_CANCEL, S.CANCELED]
    (order,) = ledger.orders(writer.account)
    assert (order.state, order.venue_order_id, order.reason) == (S.CANCELED, "v-1", "late")
    assert list(ledger.record_events(writer, [])) == []


def test_illegal_event_of_a_batch_is_kept_and_the_others_hold(
    ledger: Ledger, writer: Lease, rebalance_id: int, database: Database
) -> None:
    """The legal events take effect, the illegal one stands in the history with its refusal and is
    named.
    """
    good, bad = begun(ledger, writer, rebalance_id, planned(), planned())
    with pytest.raises(IllegalTransitionError, match=bad):
        ledger.record_events(
            writer, [OrderEvent(bad, E.SUBMIT, AT), OrderEvent(good, E.ACCEPT, AT)]
        )
    assert states(ledger, writer) == [S.OPEN, S.SUBMITTING]
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT count(*) FROM order_event WHERE client_order_id = %s AND refusal IS NOT NULL",
            [bad],
        ).fetchone()
    assert row == (1,)


def test_fills_of_several_orders_are_one_commit_and_booked_once(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """Copies within the batch and from before are not booked again; balances are the exact sum of
    what was.
    """
    first, second = begun(ledger, writer, rebalance_id, planned(), planned("ETH/USDT"))
    ledger.book_fill(writer, fill(first, "1", "0.25"))
    batch = [
        fill(first, "1", "0.25"),
        fill(first, "2", "0.75"),
        fill(second, "1", "0.5", "ETH/USDT"),
        fill(first, "2", "0.75"),
    ]
    assert list(ledger.book_fills(writer, batch)) == [batch[1], batch[2]]
    assert list(ledger.book_fills(writer, batch)) == []
    assert states(ledger, writer) == [S.FILLED, S.PARTIALLY_FILLED]
    expected = {"BTC": Decimal(1), "ETH": Decimal("0.5"), "USDT": Decimal("-150.3")}
    assert ledger.balances(writer.account) == expected


def test_refused_fill_of_a_batch_is_kept_and_the_others_are_booked(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """A trade of an order that was never sent is named; the batch's other trades count."""
    (sent,) = begun(ledger, writer, rebalance_id, planned())
    waiting = planned()
    ledger.plan_orders(writer, rebalance_id, [waiting])
    with pytest.raises(IllegalTransitionError, match="trade 2"):
        ledger.book_fills(
            writer, [fill(waiting.request.client_order_id, "2", "1"), fill(sent, "3", "1")]
        )
    assert [each.trade_id for each in ledger.fills(writer.account)] == ["3"]
    assert ledger.balances(writer.account) == {"BTC": Decimal(1), "USDT": Decimal("-100.1")}


def test_stranger_among_fills_undoes_the_batch(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """A trade of no order of ours is reconciliation's affair: nothing of its batch is booked."""
    (sent,) = begun(ledger, writer, rebalance_id, planned())
    with pytest.raises(StoreError, match="reconciliation"):
        ledger.book_fills(writer, [fill(sent, "1", "1"), fill("stranger", "2", "1")])
    assert ledger.fills(writer.account) == []
    assert ledger.balances(writer.account) == {}


def test_acceptance_and_fill_are_one_commit(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """The answer to an order may show its fill: both are written together, the acceptance first."""
    first, second = begun(ledger, writer, rebalance_id, planned(), planned("ETH/USDT"))
    events = [OrderEvent(name, E.ACCEPT, AT, venue_order_id="9") for name in (first, second)]
    booked = ledger.book_fills(writer, [fill(first, "1", "1")], events)
    assert [each.trade_id for each in booked] == ["1"]
    assert states(ledger, writer) == [S.FILLED, S.OPEN]
    assert {order.venue_order_id for order in ledger.orders(writer.account)} == {"9"}
    assert list(ledger.book_fills(writer, [fill(first, "1", "1")], [])) == []


def test_acceptances_are_written_where_every_fill_is_booked_already(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """Of fills that come a second time nothing is booked, and the events beside them count."""
    first, second = begun(ledger, writer, rebalance_id, planned(), planned("ETH/USDT"))
    ledger.book_fills(writer, [fill(first, "1", "1")])
    again = ledger.book_fills(writer, [fill(first, "1", "1")], [OrderEvent(second, E.ACCEPT, AT)])
    assert list(again) == []
    assert states(ledger, writer) == [S.FILLED, S.OPEN]


def test_refused_event_beside_fills_is_named_and_the_fills_are_booked(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """An order that has begun refuses to begin again. The trades beside it moved money: they
    count.
    """
    begun_twice, sent = begun(ledger, writer, rebalance_id, planned(), planned("ETH/USDT"))
    events = [OrderEvent(begun_twice, E.SUBMIT, AT), OrderEvent(sent, E.ACCEPT, AT)]
    with pytest.raises(IllegalTransitionError, match=begun_twice):
        ledger.book_fills(writer, [fill(sent, "1", "1", "ETH/USDT")], events)
    assert states(ledger, writer) == [S.SUBMITTING, S.FILLED]
    assert ledger.balances(writer.account)["ETH"] == Decimal(1)


def test_stranger_beside_fills_undoes_both(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """An event of no order of ours, or one that is a fill itself, leaves neither event nor fill."""
    (sent,) = begun(ledger, writer, rebalance_id, planned())
    for wrong in (OrderEvent("stranger", E.ACCEPT, AT), OrderEvent(sent, E.FILL, AT)):
        with pytest.raises(StoreError):
            ledger.book_fills(
                writer, [fill(sent, "1", "1")], [OrderEvent(sent, E.ACCEPT, AT), wrong]
            )
    assert states(ledger, writer) == [S.SUBMITTING]
    assert ledger.fills(writer.account) == []
    assert ledger.balances(writer.account) == {}


def test_fill_of_a_rejected_order_is_booked_and_opens_it_again(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """The venue rejects the order and then shows its trade. The balance moves because the money
    moved, and the order is followed again.
    """
    (name,) = begun(ledger, writer, rebalance_id, planned())
    ledger.record_event(writer, name, E.REJECT, AT, "never arrived")
    ledger.book_fills(writer, [fill(name, "1", "0.5")])
    assert states(ledger, writer) == [S.PARTIALLY_FILLED]
    assert ledger.balances(writer.account)["BTC"] == Decimal("0.5")


def test_stale_lease_is_refused_by_every_batch(
    ledger: Ledger, writer: Lease, rebalance_id: int
) -> None:
    """Batches are fenced as single writes are."""
    (name,) = begun(ledger, writer, rebalance_id, planned())
    assert ledger.acquire_lease(writer.account, writer.holder, 60) is not None
    writes: list[Callable[[], object]] = [
        lambda: ledger.write_ahead(writer, rebalance_id, [planned()], [], AT),
        lambda: ledger.record_events(writer, [OrderEvent(name, E.ACCEPT, AT)]),
        lambda: ledger.book_fills(writer, [fill(name, "1", "1")]),
        lambda: ledger.book_fills(writer, [], [OrderEvent(name, E.ACCEPT, AT)]),
    ]
    for write in writes:
        with pytest.raises(StaleLeaseError, match="replaced"):
            write()
    assert states(ledger, writer) == [S.SUBMITTING]
