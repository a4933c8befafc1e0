"""What every Ledger promises, held against every tier."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores.postgres import Database
from penstock.core.account_totals import AccountTotals
from penstock.core.errors import IllegalTransitionError, StaleLeaseError, StoreError
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    Fill,
    OrderEventKind,
    OrderRequest,
    OrderState,
    OrderType,
    Phase,
    Side,
)
from penstock.core.rebalances import RebalanceStatus
from penstock.ports import Ledger

SLOT = datetime(2025, 6, 1, tzinfo=UTC)
AT = SLOT + timedelta(seconds=30)
_numbers = count()


def planned(
    quantity: str = "1", side: Side = Side.BUY, symbol: str = "BTC/USDT", identity: str = ""
) -> OrderIntent:
    request = OrderRequest(
        identity or f"order-{os.getpid()}-{next(_numbers)}",
        symbol,
        side,
        OrderType.MARKET,
        Decimal(quantity),
    )
    return OrderIntent(
        request,
        phase=Phase.SELLS,
        child=0,
        attempt=0,
        strategy_version="trend/1",
        target_weight=0.5,
        reference_price=Decimal(100),
    )


def fill_of(
    order: OrderIntent,
    trade: str,
    quantity: str,
    price: str = "100",
    fee: str = "0",
    fee_asset: str = "USDT",
) -> Fill:
    request = order.request
    amounts = (Decimal(quantity), Decimal(price), Decimal(fee))
    return Fill(
        trade, request.client_order_id, request.symbol, request.side, *amounts, fee_asset, AT
    )


@pytest.fixture
def lease(ledger: Ledger, writer: Lease) -> Lease:
    """The right to write for a new account with 1000 USDT."""
    ledger.book_adjustment(writer, "USDT", Decimal(1000), "opening balance", AT)
    return writer


@pytest.fixture
def rebalance_id(ledger: Ledger, lease: Lease) -> int:
    return ledger.start_rebalance(lease, SLOT, "portfolio/1").id


def sent(ledger: Ledger, lease: Lease, rebalance_id: int, order: OrderIntent) -> OrderIntent:
    ledger.plan_orders(lease, rebalance_id, [order])
    ledger.record_event(lease, order.request.client_order_id, OrderEventKind.SUBMIT, AT)
    return order


def test_order_keeps_the_venue_that_it_goes_to(
    ledger: Ledger, lease: Lease, rebalance_id: int, database: Database
) -> None:
    """The venue is part of the intent: it is read back, and nothing can change it afterwards."""
    named, plain = planned(), planned()
    named = replace(named, request=replace(named.request, venue="second"))
    ledger.plan_orders(lease, rebalance_id, [named, plain])
    assert [order.request for order in ledger.orders(lease.account)] == [
        named.request,
        plain.request,
    ]
    with pytest.raises(StoreError, match="append-only"), database.transaction() as connection:
        connection.execute("UPDATE orders SET venue = 'first' WHERE account = %s", [lease.account])


# --- the account and its lease


def test_account_opened_again_is_the_same_and_never_another_venues(
    ledger: Ledger, name: str
) -> None:
    """Opening twice changes nothing; opening under another venue is refused, for the balances
    would mix.
    """
    ledger.open_account(name, "venue", "USDT")
    ledger.open_account(name, "venue", "USDT")
    with pytest.raises(StoreError, match="belongs to"):
        ledger.open_account(name, "other", "USDT")


def test_second_holder_waits_and_tokens_rise(ledger: Ledger, name: str) -> None:
    """While a lease lives another holder gets none; the same holder renews; after release anyone
    gets a higher token.
    """
    ledger.open_account(name, "venue", "USDT")
    first = ledger.acquire_lease(name, "a", 60)
    assert first is not None
    assert ledger.acquire_lease(name, "b", 60) is None
    renewed = ledger.acquire_lease(name, "a", 60)
    assert renewed is not None
    assert renewed.token > first.token
    ledger.release_lease(first)  # stale: changes nothing
    assert ledger.acquire_lease(name, "b", 60) is None
    ledger.release_lease(renewed)
    taken = ledger.acquire_lease(name, "b", 60)
    assert taken is not None
    assert taken.token > renewed.token


def test_expired_lease_is_taken_over(ledger: Ledger, name: str) -> None:
    """A writer that died is replaced once its time is over."""
    ledger.open_account(name, "venue", "USDT")
    assert ledger.acquire_lease(name, "dead", 0.05) is not None
    time.sleep(0.1)
    assert ledger.acquire_lease(name, "heir", 60) is not None


def test_of_many_holders_at_once_one_gets_the_lease(ledger: Ledger, name: str) -> None:
    """Eight holders that ask at the same moment: one lease."""
    ledger.open_account(name, "venue", "USDT")
    with ThreadPoolExecutor(8) as pool:
        leases = list(
            pool.map(lambda holder: ledger.acquire_lease(name, f"holder-{holder}", 60), range(8))
        )
    assert len([lease for lease in leases if lease is not None]) == 1


def test_stale_lease_is_refused_by_every_write(
    ledger: Ledger, lease: Lease, rebalance_id: int
) -> None:
    """Once a later lease exists the database refuses each write of the older one, and nothing of it
    stays.
    """
    order = sent(ledger, lease, rebalance_id, planned())
    heir = ledger.acquire_lease(lease.account, lease.holder, 60)
    assert heir is not None
    identity = order.request.client_order_id
    writes: list[Callable[[], object]] = [
        lambda: ledger.start_rebalance(lease, SLOT + timedelta(days=1), "portfolio/1"),
        lambda: ledger.end_rebalance(lease, rebalance_id, RebalanceStatus.DONE),
        lambda: ledger.record_targets(lease, rebalance_id, {"BTC/USDT": 1.0}),
        lambda: ledger.plan_orders(lease, rebalance_id, [planned()]),
        lambda: ledger.record_event(lease, identity, OrderEventKind.ACCEPT, AT),
        lambda: ledger.book_fill(lease, fill_of(order, "t", "1")),
        lambda: ledger.book_adjustment(lease, "USDT", Decimal(1), "", AT),
    ]
    for write in writes:
        with pytest.raises(StaleLeaseError, match="replaced"):
            write()
    assert [found.state for found in ledger.orders(lease.account)] == [OrderState.SUBMITTING]
    assert [found.status for found in ledger.rebalances(lease.account)] == [RebalanceStatus.RUNNING]
    assert ledger.balances(lease.account) == {"USDT": Decimal(1000)}


def test_unknown_account_is_named(ledger: Ledger, name: str) -> None:
    """Neither a lease nor a write is possible for an account that was never opened."""
    with pytest.raises(StoreError, match=name):
        ledger.acquire_lease(name, "writer", 60)
    with pytest.raises(StoreError, match="its first reconciliation or rebalance begins it"):
        ledger.book_adjustment(Lease(name, "writer", 1, AT), "USDT", Decimal(1), "", AT)


def test_new_lease_waits_for_a_write_of_the_old_one(
    ledger: Ledger, lease: Lease, database: Database
) -> None:
    """A token cannot be replaced in the middle of a write: the write ends first, whole."""
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            connection.execute("SELECT assert_lease(%s, %s)", [lease.account, lease.token])
            renewal = pool.submit(ledger.acquire_lease, lease.account, lease.holder, 60)
            with pytest.raises(TimeoutError):
                renewal.result(timeout=0.3)
        renewed = renewal.result(timeout=10)
    assert renewed is not None
    assert renewed.token == lease.token + 1


# --- rebalances and intents


def test_slot_has_one_rebalance(ledger: Ledger, lease: Lease) -> None:
    """A slot that is started again returns the first rebalance with its version and status."""
    first = ledger.start_rebalance(lease, SLOT, "portfolio/1")
    ledger.end_rebalance(lease, first.id, RebalanceStatus.SKIPPED, "too late")
    again = ledger.start_rebalance(lease, SLOT, "portfolio/2")
    assert (again.id, again.portfolio_version, again.status, again.reason) == (
        first.id,
        "portfolio/1",
        RebalanceStatus.SKIPPED,
        "too late",
    )
    later = ledger.start_rebalance(lease, SLOT + timedelta(days=1), "portfolio/2")
    assert [found.id for found in ledger.rebalances(lease.account)] == [later.id, first.id]
    assert [found.id for found in ledger.rebalances(lease.account, limit=1)] == [later.id]


def test_lease_ends_with_the_slot_or_not_at_all(
    ledger: Ledger, lease: Lease, rebalance_id: int
) -> None:
    """Anyone gets the lease once the slot has ended with it. A slot that cannot be ended keeps it,
    and a stale lease ends no other.
    """

    def end(held: Lease, number: int = rebalance_id) -> None:
        ledger.end_rebalance(held, number, RebalanceStatus.DONE, releases_lease=True)

    renewed = ledger.acquire_lease(lease.account, lease.holder, 60)
    assert renewed is not None
    with pytest.raises(StaleLeaseError):
        end(lease)
    with pytest.raises(StoreError, match="is not one of account"):
        end(renewed, rebalance_id + 10**6)
    assert ledger.acquire_lease(lease.account, "other", 60) is None
    end(renewed)
    assert ledger.acquire_lease(lease.account, "other", 60) is not None
    assert [found.status for found in ledger.rebalances(lease.account)] == [RebalanceStatus.DONE]


def test_intents_are_planned_all_or_none_and_once(
    ledger: Ledger, lease: Lease, rebalance_id: int
) -> None:
    """A refused intent takes its companions with it; planning an intent again leaves the first as
    it is.
    """
    good, bad = planned("1"), planned("-1")
    with pytest.raises(StoreError):
        ledger.plan_orders(lease, rebalance_id, [good, bad])
    assert ledger.orders(lease.account) == []
    sent(ledger, lease, rebalance_id, good)
    ledger.plan_orders(
        lease,
        rebalance_id,
        [planned("7", identity=good.request.client_order_id), planned("2")],
        at=AT,
    )
    first, second = ledger.orders(lease.account)
    assert (first.request, first.state) == (good.request, OrderState.SUBMITTING)
    assert (second.state, second.created_at, second.rebalance_id) == (
        OrderState.PLANNED,
        AT,
        rebalance_id,
    )


@pytest.mark.several_accounts
def test_rebalance_of_another_account_takes_no_orders(
    ledger: Ledger, lease: Lease, rebalance_id: int, name: str
) -> None:
    """A rebalance id is only good with its own account's lease."""
    ledger.open_account(f"{name}-2", "venue", "USDT")
    other = ledger.acquire_lease(f"{name}-2", "writer", 60)
    assert other is not None
    with pytest.raises(StoreError, match="is not one of account"):
        ledger.plan_orders(other, rebalance_id, [planned()])
    with pytest.raises(StoreError, match="is not one of account"):
        ledger.end_rebalance(other, rebalance_id, RebalanceStatus.DONE)


def test_orders_are_filtered_by_state_and_rebalance(
    ledger: Ledger, lease: Lease, rebalance_id: int
) -> None:
    """Unfinished orders and the orders of one rebalance can be asked for, oldest first."""
    later = ledger.start_rebalance(lease, SLOT + timedelta(days=1), "portfolio/1").id
    ended, working = planned(), planned()
    ledger.plan_orders(lease, rebalance_id, [ended])
    ledger.plan_orders(lease, later, [working])
    ledger.record_event(
        lease, ended.request.client_order_id, OrderEventKind.ABANDON, AT, reason="not needed"
    )
    assert [o.request for o in ledger.orders(lease.account)] == [ended.request, working.request]
    assert [o.request for o in ledger.orders(lease.account, unfinished_only=True)] == [
        working.request
    ]
    assert [o.reason for o in ledger.orders(lease.account, rebalance_id=rebalance_id)] == [
        "not needed"
    ]


def test_totals_count_what_the_account_did(
    ledger: Ledger, lease: Lease, rebalance_id: int, name: str
) -> None:
    """Slots by status, orders, fills and traded notional are those of the rows; an account without
    any has zeros.
    """
    assert ledger.totals(lease.account) == AccountTotals({RebalanceStatus.RUNNING: 1})
    filled, _ = [sent(ledger, lease, rebalance_id, planned("2")) for _ in range(2)]
    ledger.book_fills(
        lease, [fill_of(filled, "t1", "1.5", price="3"), fill_of(filled, "t2", "0.5", price="100")]
    )
    later = ledger.start_rebalance(lease, SLOT + timedelta(days=1), "portfolio/1").id
    ledger.end_rebalance(lease, later, RebalanceStatus.DONE)
    assert ledger.totals(lease.account) == AccountTotals(
        slots={RebalanceStatus.RUNNING: 1, RebalanceStatus.DONE: 1},
        orders=2,
        fills=2,
        traded_notional=Decimal("54.5"),
    )
    assert ledger.totals(f"{name}-other") == AccountTotals({})


# --- events


def test_event_moves_the_order_and_keeps_the_venues_id(
    ledger: Ledger, lease: Lease, rebalance_id: int
) -> None:
    """A legal event changes the state. A venue order id stays once it is known."""
    order = sent(ledger, lease, rebalance_id, planned())
    identity = order.request.client_order_id
    assert (
        ledger.record_event(lease, identity, OrderEventKind.ACCEPT, AT, venue_order_id="v-1")
        is OrderState.OPEN
    )
    assert (
        ledger.record_event(lease, identity, OrderEventKind.REQUEST_CANCEL, AT)
        is OrderState.PENDING_CANCEL
    )
    (found,) = ledger.orders(lease.account)
    assert (found.state, found.venue_order_id, found.updated_at) == (
        OrderState.PENDING_CANCEL,
        "v-1",
        AT,
    )


def test_illegal_event_is_kept_with_its_refusal(
    ledger: Ledger, lease: Lease, rebalance_id: int, database: Database
) -> None:
    """An event that the machine does not allow raises, changes no state, and stands in the history
    with the reason.
    """
    order = planned()
    ledger.plan_orders(lease, rebalance_id, [order])
    with pytest.raises(IllegalTransitionError, match=order.request.client_order_id):
        ledger.record_event(lease, order.request.client_order_id, OrderEventKind.ACCEPT, AT)
    assert [found.state for found in ledger.orders(lease.account)] == [OrderState.PLANNED]
    ((kind, after, refusal),) = _events(database, order)
    assert (kind, after) == ("accept", "planned")
    assert "not legal" in refusal


def test_event_of_an_unknown_order_is_refused(ledger: Ledger, lease: Lease) -> None:
    """An order that was never written ahead has no history to add to."""
    with pytest.raises(StoreError, match="never planned"):
        ledger.record_event(lease, "stranger", OrderEventKind.ACCEPT, AT)


def test_fill_events_must_be_booked(ledger: Ledger, lease: Lease, rebalance_id: int) -> None:
    """A fill event without its fill would leave the balance behind, so record_event does not take
    one.
    """
    order = sent(ledger, lease, rebalance_id, planned())
    with pytest.raises(StoreError, match="book the fill"):
        ledger.record_event(lease, order.request.client_order_id, OrderEventKind.FILL, AT)


@pytest.mark.parametrize("table", ["order_event", "fill", "adjustment"])
@pytest.mark.parametrize(
    "change", ["DELETE FROM {}", "UPDATE {} SET at = now()", "TRUNCATE {} CASCADE"]
)
def test_history_cannot_be_changed(database: Database, table: str, change: str) -> None:
    """The database itself refuses to alter or delete what was appended."""
    with pytest.raises(StoreError, match="append-only"), database.transaction() as connection:
        connection.execute(change.format(table).encode())


# --- fills and balances


def test_fill_moves_base_quote_and_fee(ledger: Ledger, lease: Lease, rebalance_id: int) -> None:
    """A buy adds base and takes quote. The fee leaves in its own asset, also where that is base or
    quote.
    """
    order = sent(ledger, lease, rebalance_id, planned("3"))
    ledger.book_fill(lease, fill_of(order, "t1", "1", "100.5", fee="0.001", fee_asset="BTC"))
    ledger.book_fill(lease, fill_of(order, "t2", "1", "100.5", fee="0.1", fee_asset="USDT"))
    ledger.book_fill(lease, fill_of(order, "t3", "1", "100.5", fee="0.02", fee_asset="BNB"))
    assert ledger.balances(lease.account) == {
        "BTC": Decimal("2.999"),
        "USDT": Decimal("698.4"),
        "BNB": Decimal("-0.02"),
    }
    sale = sent(ledger, lease, rebalance_id, planned("2.999", Side.SELL))
    ledger.book_fill(lease, fill_of(sale, "t4", "2.999", "100"))
    assert ledger.balances(lease.account) == {"USDT": Decimal("998.3"), "BNB": Decimal("-0.02")}
    assert ledger.positions(lease.account) == {}  # spot trading moves balances alone


def test_fill_is_booked_once(ledger: Ledger, lease: Lease, rebalance_id: int) -> None:
    """The same venue trade again returns False and moves nothing; the same number in another symbol
    is another trade.
    """
    order = sent(ledger, lease, rebalance_id, planned("2"))
    other = sent(ledger, lease, rebalance_id, planned("2", symbol="ETH/USDT"))
    assert ledger.book_fill(lease, fill_of(order, "7", "1"))
    assert not ledger.book_fill(lease, fill_of(order, "7", "1"))
    assert ledger.book_fill(lease, fill_of(other, "7", "1"))
    assert ledger.balances(lease.account) == {
        "BTC": Decimal(1),
        "ETH": Decimal(1),
        "USDT": Decimal(800),
    }
    assert [fill.trade_id for fill in ledger.fills(lease.account, "BTC/USDT")] == ["7"]
    assert len(ledger.fills(lease.account)) == 2


def test_fills_and_unsettled_orders_can_be_asked_for_alone(
    ledger: Ledger, lease: Lease, rebalance_id: int
) -> None:
    """Fills from an instant on, that instant included; orders that have not ended, or were filled
    beyond their quantity, oldest first.
    """
    exact, over, sole = (sent(ledger, lease, rebalance_id, planned("1")) for _ in range(3))
    assert ledger.unsettled_orders(f"{lease.account}-other") == []
    ledger.book_fill(lease, fill_of(exact, "1", "1"))
    ledger.book_fill(lease, replace(fill_of(over, "2", "1.5"), at=AT + timedelta(minutes=1)))
    assert [fill.trade_id for fill in ledger.fills(lease.account, since=AT)] == ["1", "2"]
    assert [
        fill.trade_id for fill in ledger.fills(lease.account, "BTC/USDT", AT + timedelta(seconds=1))
    ] == ["2"]
    assert ledger.unsettled_orders(lease.account) == ledger.orders(lease.account)[1:]
    ledger.book_fill(lease, fill_of(sole, "3", "1"))
    (found,) = ledger.unsettled_orders(lease.account)
    assert (found.request, found.filled_quantity) == (over.request, Decimal("1.5"))


def test_fills_lead_from_partial_to_full_and_beyond(
    ledger: Ledger, lease: Lease, rebalance_id: int
) -> None:
    """What leaves something open is partial; what completes the order fills it; what goes beyond is
    booked as it is.
    """
    order = sent(ledger, lease, rebalance_id, planned("1"))
    states = []
    for trade, quantity in (("a", "0.4"), ("b", "0.6"), ("c", "0.5")):
        ledger.book_fill(lease, fill_of(order, trade, quantity))
        (found,) = ledger.orders(lease.account)
        states.append((found.state, found.filled_quantity))
    assert states == [
        (OrderState.PARTIALLY_FILLED, Decimal("0.4")),
        (OrderState.FILLED, Decimal(1)),
        (OrderState.FILLED, Decimal("1.5")),
    ]


def test_late_fill_of_a_cancelled_order_is_booked(
    ledger: Ledger, lease: Lease, rebalance_id: int
) -> None:
    """The venue's books may be ahead of its answer: the balance follows the fill."""
    order = sent(ledger, lease, rebalance_id, planned("1"))
    ledger.record_event(lease, order.request.client_order_id, OrderEventKind.CANCEL, AT)
    assert ledger.book_fill(lease, fill_of(order, "late", "0.4"))
    assert ledger.orders(lease.account)[0].state is OrderState.CANCELED
    assert ledger.balances(lease.account)["BTC"] == Decimal("0.4")


def test_fill_of_an_unknown_order_is_refused(ledger: Ledger, lease: Lease) -> None:
    """A trade that is not ours is reconciliation's affair and never a balance by itself."""
    with pytest.raises(StoreError, match="reconciliation"):
        ledger.book_fill(lease, fill_of(planned(), "t", "1"))
    assert ledger.balances(lease.account) == {"USDT": Decimal(1000)}


def test_fill_that_cannot_be_is_recorded_and_raised(
    ledger: Ledger, lease: Lease, rebalance_id: int, database: Database
) -> None:
    """A fill of an order that was never sent moves no balance; its refusal is in the history."""
    order = planned()
    ledger.plan_orders(lease, rebalance_id, [order])
    with pytest.raises(IllegalTransitionError, match="trade t"):
        ledger.book_fill(lease, fill_of(order, "t", "1"))
    assert ledger.fills(lease.account) == []
    assert [kind for kind, _, refusal in _events(database, order) if refusal] == ["fill"]


@contextmanager
def position_writes_run(database: Database, body: str) -> Iterator[None]:
    """Put `body` (PL/pgSQL) between the fill and the balance change of every booking."""
    with database.dedicated() as connection:
        function = (
            "CREATE OR REPLACE FUNCTION interfere() RETURNS trigger "
            f"LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$"
        )
        connection.execute(function.encode())
        connection.execute(
            "CREATE TRIGGER interfere BEFORE INSERT ON balance FOR EACH ROW "
            "EXECUTE FUNCTION interfere()"
        )
        try:
            yield
        finally:
            connection.execute("DROP TRIGGER interfere ON balance")


def test_error_between_fill_and_position_undoes_both(
    ledger: Ledger, lease: Lease, rebalance_id: int, database: Database
) -> None:
    """When the balance cannot be written there is no fill and no event either, and booking again
    works.
    """
    order = sent(ledger, lease, rebalance_id, planned())
    with (
        position_writes_run(database, "RAISE EXCEPTION 'disk on fire'"),
        pytest.raises(StoreError, match="disk on fire"),
    ):
        ledger.book_fill(lease, fill_of(order, "t", "1"))
    assert ledger.fills(lease.account) == []
    assert [kind for kind, _, _ in _events(database, order)] == ["submit"]
    assert ledger.book_fill(lease, fill_of(order, "t", "1"))
    assert ledger.balances(lease.account)["BTC"] == Decimal(1)


_BOOKS_ONE_FILL = """
import sys
from datetime import datetime
from decimal import Decimal, localcontext
from penstock.adapters.stores.postgres import PostgresLedger, connect
from penstock.core.leases import Lease
from penstock.core.orders import Fill, Side
url, account, token, order, at = sys.argv[1:]
at = datetime.fromisoformat(at)
ledger = PostgresLedger(connect(url))
one = Decimal(1)
fill = Fill("t", order, "BTC/USDT", Side.BUY, one, one, one, "USDT", at)
ledger.book_fill(Lease(account, "writer", int(token), at), fill)
"""


def test_kill_between_fill_and_position_leaves_both_or_neither(
    ledger: Ledger, lease: Lease, rebalance_id: int, database: Database, database_url: str
) -> None:
    """Neither is left where the server's process ends after the fill's row and before the
    balance's. Where the writer is killed then, its COMMIT has left, and the server goes on.
    """
    order = sent(ledger, lease, rebalance_id, planned())
    arguments = [
        database_url,
        lease.account,
        str(lease.token),
        order.request.client_order_id,
        AT.isoformat(),
    ]
    command = [sys.executable, "-c", _BOOKS_ONE_FILL, *arguments]
    with position_writes_run(database, "PERFORM pg_sleep(1)"):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as writer:
            _wait_until_sleeping(database)
            with database.dedicated() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE wait_event = 'PgSleep' AND datname = current_database()"
                )
        assert writer.returncode != 0
        assert ledger.fills(lease.account) == []
        assert ledger.balances(lease.account) == {"USDT": Decimal(1000)}
        with subprocess.Popen(command) as writer:
            _wait_until_sleeping(database)
            writer.send_signal(signal.SIGKILL)
    assert len(ledger.fills(lease.account)) == 1  # removing the trigger has waited for it
    assert not ledger.book_fill(lease, fill_of(order, "t", "1", "1", "1"))
    assert ledger.balances(lease.account) == {"BTC": Decimal(1), "USDT": Decimal(998)}


amounts = st.decimals(min_value="0.00000001", max_value="99999999", places=8)
fees = st.decimals(min_value=0, max_value=10, places=8)
trades = st.tuples(
    st.integers(0, 5),
    st.sampled_from(Side),
    amounts,
    amounts,
    fees,
    st.sampled_from(["BTC", "USDT", "BNB"]),
)


@pytest.mark.several_accounts  # one for each example
@given(st.lists(trades, max_size=8))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_positions_are_exactly_the_sum_of_fills(
    ledger: Ledger, booked: list[tuple[int, Side, Decimal, Decimal, Decimal, str]]
) -> None:
    """Whatever the fills, repeated ones included, every balance is their exact sum: no rounding,
    nothing counted twice.
    """
    account = f"sums-{os.getpid()}-{next(_numbers)}"
    ledger.open_account(account, "venue", "USDT")
    lease = ledger.acquire_lease(account, "writer", 60)
    assert lease is not None
    rebalance = ledger.start_rebalance(lease, SLOT, "portfolio/1").id
    orders = {side: sent(ledger, lease, rebalance, planned("5", side)) for side in Side}
    with localcontext(prec=60):
        expected: dict[str, Decimal] = {}
        seen: set[int] = set()
        for number, side, quantity, price, fee, fee_asset in booked:
            identity = orders[side].request.client_order_id
            fill = Fill(
                str(number), identity, "BTC/USDT", side, quantity, price, fee, fee_asset, AT
            )
            assert ledger.book_fill(lease, fill) == (number not in seen)
            if number in seen:
                continue
            seen.add(number)
            changes = (
                ("BTC", side.sign * quantity),
                ("USDT", -side.sign * quantity * price),
                (fee_asset, -fee),
            )
            for asset, change in changes:
                expected[asset] = expected.get(asset, Decimal(0)) + change
        assert ledger.balances(account) == {
            asset: quantity for asset, quantity in expected.items() if quantity
        }


def _events(database: Database, order: OrderIntent) -> list[tuple[str, str, str]]:
    with database.transaction() as connection:
        statement = (
            "SELECT kind, to_state, refusal FROM order_event WHERE client_order_id = %s ORDER BY id"
        )
        return connection.execute(statement, [order.request.client_order_id]).fetchall()


def _wait_until_sleeping(database: Database) -> None:
    deadline = time.monotonic() + 20
    with database.dedicated() as connection:
        while time.monotonic() < deadline:
            if _someone_sleeps(connection):
                return
            time.sleep(0.02)
    pytest.fail("the writer never reached the balance change")


def _someone_sleeps(connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    found = connection.execute(
        "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    return found.fetchone() is not None
