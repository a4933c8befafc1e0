"""The ledger as event store: read models rebuilt row for row, and the account at a past time."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock.adapters.stores.postgres import (
    Database,
    PostgresLedger,
    PostgresLedgerHistory,
    connect,
    migrate,
)
from penstock.core.errors import IllegalTransitionError, StoreError
from penstock.core.leases import Lease
from penstock.core.order_records import OrderIntent
from penstock.core.orders import (
    EndCause,
    Fill,
    OrderEvent,
    OrderEventKind,
    OrderRequest,
    OrderState,
    OrderType,
    Phase,
    Side,
)
from penstock.core.profit import profits

START = datetime(2025, 6, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def own_database(new_database_url: Callable[[], str]) -> Iterator[Database]:
    """A database of this test's own: a rebuild is of everything in it."""
    with connect(new_database_url()) as database:
        migrate(database)
        yield database


@pytest.fixture
def ledger(own_database: Database) -> PostgresLedger:
    return PostgresLedger(own_database)


@pytest.fixture
def lease(ledger: PostgresLedger) -> Lease:
    """The lease of an account that has traded. It has a buy with a base fee, a sell in two fills, a
    refusal and an illegal event.
    """
    ledger.open_account("main", "venue", "USDT")
    lease = ledger.acquire_lease("main", "writer", 600)
    assert lease is not None
    ledger.book_adjustment(lease, "USDT", Decimal(1000), "opening balance", after(0))
    rebalance = ledger.start_rebalance(lease, START, "trend/1").id
    orders = [
        planned("buy", Side.BUY, "2"),
        planned("sell", Side.SELL, "1"),
        planned("refused", Side.BUY, "5"),
    ]
    begin = [
        OrderEvent(order.request.client_order_id, OrderEventKind.SUBMIT, after(10))
        for order in orders
    ]
    ledger.write_ahead(lease, rebalance, orders, begin, after(10))
    words = [
        OrderEvent("buy", OrderEventKind.ACCEPT, after(11), "", "v-1"),
        OrderEvent("sell", OrderEventKind.ACCEPT, after(11), "", "v-2"),
        OrderEvent("refused", OrderEventKind.REJECT, after(12), "no funds"),
    ]
    ledger.record_events(lease, words)
    ledger.book_fills(lease, [fill("t1", "buy", Side.BUY, "2", "100", "0.002", "BTC", 20)])
    ledger.book_fills(
        lease,
        [
            fill("t2", "sell", Side.SELL, "0.4", "110", "0.044", "USDT", 30),
            fill("t3", "sell", Side.SELL, "0.6", "120", "0.01", "BNB", 40),
        ],
    )
    with pytest.raises(IllegalTransitionError):
        ledger.record_event(lease, "sell", OrderEventKind.REQUEST_CANCEL, after(50))
    return lease


def planned(name: str, side: Side, quantity: str) -> OrderIntent:
    request = OrderRequest(name, "BTC/USDT", side, OrderType.MARKET, Decimal(quantity))
    return OrderIntent(request, Phase.SELLS, 0, 0, "trend/1", 0.5, Decimal(100))


def fill(
    trade: str,
    order: str,
    side: Side,
    quantity: str,
    price: str,
    fee: str,
    fee_asset: str,
    at: float,
) -> Fill:
    return Fill(
        trade,
        order,
        "BTC/USDT",
        side,
        Decimal(quantity),
        Decimal(price),
        Decimal(fee),
        fee_asset,
        after(at),
    )


def test_rebuild_of_an_untouched_ledger_finds_every_row_equal(
    own_database: Database, lease: Lease
) -> None:
    """Orders and balances are exactly what events, fills and adjustments lead to, refused events
    included.
    """
    result = PostgresLedgerHistory(own_database).rebuild(replace=False)
    assert (result.orders, result.balances, result.events, result.fills, result.adjustments) == (
        3,
        3,
        10,
        3,
        1,
    )
    assert (result.different, result.replaced) == (0, False)


def test_first_events_of_an_order_are_kept_whole(
    own_database: Database, ledger: PostgresLedger, lease: Lease
) -> None:
    """What an intent begins with, the venue's id among it, is what a rebuild finds."""
    rebalance = ledger.start_rebalance(lease, after(60), "trend/1").id
    orders = [planned("known", Side.BUY, "1"), planned("held", Side.BUY, "1")]
    begin = [
        OrderEvent("known", OrderEventKind.SUBMIT, after(60)),
        OrderEvent("known", OrderEventKind.ACCEPT, after(61), "", "v-9"),
        OrderEvent("held", OrderEventKind.ABANDON, after(60), "stop", end_cause=EndCause.STOPPED),
    ]
    ledger.write_ahead(lease, rebalance, orders, begin, after(60))
    known, held = ledger.orders_named("main", ["known", "held"])
    assert (known.state, known.venue_order_id, known.end_cause) == (OrderState.OPEN, "v-9", None)
    assert (held.state, held.reason, held.end_cause) == (
        OrderState.CANCELED,
        "stop",
        EndCause.STOPPED,
    )
    assert PostgresLedgerHistory(own_database).rebuild(replace=False).different == 0


def test_cause_of_an_end_is_kept_and_rebuilt(
    own_database: Database, ledger: PostgresLedger, lease: Lease
) -> None:
    """Whoever asks for orders sees why each has ended; the rebuild and the past agree."""
    rebalance = ledger.start_rebalance(lease, after(60), "trend/1").id
    orders = [planned(name, Side.BUY, "1") for name in ("late", "denied", "back")]
    begin = [
        OrderEvent(order.request.client_order_id, OrderEventKind.SUBMIT, after(60))
        for order in orders
    ]
    ledger.write_ahead(lease, rebalance, orders, begin, after(60))
    ledger.record_events(
        lease,
        [
            OrderEvent("late", OrderEventKind.ACCEPT, after(61)),
            OrderEvent(
                "late",
                OrderEventKind.REQUEST_CANCEL,
                after(62),
                "too long",
                end_cause=EndCause.NOT_FILLED_IN_TIME,
            ),
            OrderEvent("late", OrderEventKind.CANCEL, after(63), "by the user"),
            *(
                OrderEvent(name, OrderEventKind.REJECT, after(64), end_cause=EndCause.NEVER_ARRIVED)
                for name in ("denied", "back")
            ),
            OrderEvent("back", OrderEventKind.ACCEPT, after(65)),
        ],
    )
    causes = {
        order.request.client_order_id: order.end_cause
        for order in ledger.orders("main", rebalance_id=rebalance)
    }
    assert causes == {
        "late": EndCause.NOT_FILLED_IN_TIME,
        "denied": EndCause.NEVER_ARRIVED,
        "back": None,
    }
    (buy,) = ledger.orders_named("main", ["buy"])
    assert buy.end_cause is EndCause.FILLED
    history = PostgresLedgerHistory(own_database)
    assert history.rebuild(replace=False).different == 0
    then = {
        order.request.client_order_id: order.end_cause
        for order in history.state_at("main", after(64)).orders
    }
    assert (then["late"], then["back"]) == (EndCause.NOT_FILLED_IN_TIME, EndCause.NEVER_ARRIVED)


def test_phase_child_and_attempt_are_kept(ledger: PostgresLedger, lease: Lease) -> None:
    """Both phases and a child beyond the first come back as they were planned."""
    rebalance = ledger.start_rebalance(lease, after(60), "trend/1").id
    places = [(Phase.SELLS, 0, 0), (Phase.SELLS, 3, 1), (Phase.BUYS, 0, 0), (Phase.BUYS, 2, 2)]
    orders = [
        dataclasses.replace(
            planned(f"p{number}", Side.BUY, "1"), phase=phase, child=child, attempt=attempt
        )
        for number, (phase, child, attempt) in enumerate(places)
    ]
    ledger.plan_orders(lease, rebalance, orders, after(60))
    found = ledger.orders("main", rebalance_id=rebalance)
    assert [(order.phase, order.child, order.attempt) for order in found] == places
    assert all(isinstance(order.phase, Phase) for order in found)


@pytest.mark.parametrize(
    ("damage", "row"),
    [
        ("UPDATE orders SET state = 'open' WHERE client_order_id = 'sell'", "sell"),
        ("UPDATE orders SET filled_quantity = 1.9 WHERE client_order_id = 'buy'", "buy"),
        ("UPDATE orders SET reason = '' WHERE client_order_id = 'refused'", "refused"),
        ("UPDATE orders SET end_cause = 'refused' WHERE client_order_id = 'buy'", "buy"),
        ("UPDATE orders SET venue_order_id = '' WHERE client_order_id = 'buy'", "buy"),
        ("UPDATE balance SET quantity = quantity + 0.00000001 WHERE asset = 'BTC'", "main BTC"),
        ("DELETE FROM balance WHERE asset = 'BNB'", "main BNB"),
        ("INSERT INTO balance VALUES ('main', 'DOGE', 1)", "main DOGE"),
        ("INSERT INTO position VALUES ('main', 'BTC/USDT:USDT', -1)", "main BTC/USDT:USDT"),
    ],
)
def test_damaged_read_model_is_named_and_mended(
    own_database: Database, lease: Lease, damage: str, row: str
) -> None:
    """A check names the row that differs and changes nothing. A rebuild repairs it, and the next
    check finds all rows equal.
    """
    with own_database.transaction() as connection:
        connection.execute(damage.encode())
    history = PostgresLedgerHistory(own_database)
    for _ in range(2):  # the check changes nothing
        found = history.rebuild(replace=False)
        assert [difference.row for difference in found.differences] == [row]
    assert history.rebuild(replace=True).replaced
    assert history.rebuild(replace=False).different == 0


def test_rebuild_replaces_all_or_nothing(own_database: Database, lease: Lease) -> None:
    """A rebuild that fails half-way leaves the read models as they were."""
    with own_database.transaction() as connection:
        connection.execute("UPDATE orders SET state = 'open' WHERE client_order_id = 'sell'")
        connection.execute(
            "ALTER TABLE balance ADD CONSTRAINT no_bnb CHECK (asset <> 'BNB') NOT VALID"
        )
    with pytest.raises(StoreError, match="no_bnb"):
        PostgresLedgerHistory(own_database).rebuild(replace=True)
    with own_database.transaction() as connection:
        assert connection.execute(
            "SELECT state FROM orders WHERE client_order_id = 'sell'"
        ).fetchone() == ("open",)
        assert connection.execute("SELECT count(*) FROM balance").fetchone() == (3,)


@pytest.mark.parametrize(
    "change",
    ["UPDATE orders SET quantity = 9", "UPDATE orders SET side = 'buy'", "DELETE FROM orders"],
)
def test_intent_cannot_be_changed(own_database: Database, lease: Lease, change: str) -> None:
    """What an order was meant to be is as fixed as the events: the database refuses to alter it."""
    with pytest.raises(StoreError, match="append-only"), own_database.transaction() as connection:
        connection.execute(change.encode())


def states_at(
    database: Database, seconds: float
) -> tuple[dict[str, OrderState], dict[str, Decimal]]:
    state = PostgresLedgerHistory(database).state_at("main", after(seconds))
    return {order.request.client_order_id: order.state for order in state.orders}, dict(
        state.balances
    )


def test_account_is_known_as_of_any_time(own_database: Database, lease: Lease) -> None:
    """Orders and balances before the plan, between events, between two fills of one order, and at
    the end.
    """
    s = OrderState
    assert states_at(own_database, -1) == ({}, {})
    assert states_at(own_database, 5) == ({}, {"USDT": Decimal(1000)})
    assert states_at(own_database, 10)[0] == dict.fromkeys(("buy", "sell", "refused"), s.SUBMITTING)
    assert states_at(own_database, 15)[0] == {"buy": s.OPEN, "sell": s.OPEN, "refused": s.REJECTED}
    states, balances = states_at(own_database, 35)
    assert states == {"buy": s.FILLED, "sell": s.PARTIALLY_FILLED, "refused": s.REJECTED}
    assert balances == {"BTC": Decimal("1.598"), "USDT": Decimal("843.956")}
    states, balances = states_at(own_database, 60)
    assert states["sell"] is s.FILLED
    assert balances == PostgresLedger(own_database).balances("main")


def test_state_at_the_end_is_the_read_model(
    own_database: Database, ledger: PostgresLedger, lease: Lease
) -> None:
    """Asked for now, the fold by time gives the very records that are stored."""
    assert list(PostgresLedgerHistory(own_database).state_at("main", after(3600)).orders) == list(
        ledger.orders("main")
    )


def test_unknown_account_has_no_past(own_database: Database, lease: Lease) -> None:
    """An account that was never opened is an error, not an empty one."""
    with pytest.raises(StoreError, match="'other' is not in the ledger"):
        PostgresLedgerHistory(own_database).state_at("other", after(60))


def test_profit_and_positions_agree_to_the_last_digit(
    own_database: Database, ledger: PostgresLedger, lease: Lease
) -> None:
    """What the books say was bought, paid and charged is what the balances say, fees in every
    asset included.
    """
    (holding,) = profits(PostgresLedgerHistory(own_database).fills("main")).holdings
    held = ledger.balances("main")
    assert held["BTC"] == holding.quantity
    assert held["USDT"] == 1000 + holding.realised - holding.cost
    assert held["BNB"] == -holding.other_fees["BNB"]
