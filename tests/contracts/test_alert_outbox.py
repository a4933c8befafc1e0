"""What every AlertOutbox promises, and that ledger and supervision put an alert there with its
cause, on every tier.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

import pytest

from penstock.adapters.stores.postgres import (
    Database,
    PostgresAlertOutbox,
    PostgresControlStore,
    PostgresLedger,
)
from penstock.core.alerts import Alert, urgent
from penstock.core.breaks import Break, BreakKind
from penstock.core.errors import IllegalTransitionError, StoreError
from penstock.core.halts import TradingState
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
from penstock.core.rebalances import RebalanceStatus

AT = datetime(2025, 6, 1, tzinfo=UTC)
REFUSED = "an illegal order event was refused"
_numbers = count()


@pytest.fixture
def outbox(database: Database) -> PostgresAlertOutbox:
    return PostgresAlertOutbox(database)


@pytest.fixture
def order(ledger: PostgresLedger, writer: Lease) -> str:
    """The id of an order that was planned and never sent."""
    request = OrderRequest(
        f"alert-{os.getpid()}-{next(_numbers)}", "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal(1)
    )
    rebalance_id = ledger.start_rebalance(writer, AT, "v/1").id
    ledger.plan_orders(
        writer,
        rebalance_id,
        [OrderIntent(request, Phase.SELLS, 0, 0, "trend/1", 0.5, Decimal(100))],
        AT,
    )
    return request.client_order_id


def waiting(outbox: PostgresAlertOutbox, account: str) -> list[Alert]:
    """Look at the account's unsent alerts and leave them unsent."""
    seen: list[Alert] = []

    def look(alerts: Sequence[Alert]) -> bool:
        seen.extend(alerts)
        return False

    assert outbox.deliver(account, look) == 0
    return seen


def take(outbox: PostgresAlertOutbox, account: str) -> list[str]:
    """Send the account's alerts and return their titles."""
    sent: list[str] = []

    def send(alerts: Sequence[Alert]) -> bool:
        sent.extend(alert.title for alert in alerts)
        return True

    marked = outbox.deliver(account, send)
    assert marked == len(sent)
    return sent


def found(account: str, subject: str = "BTC") -> Break:
    return Break(account, subject, BreakKind.DEPOSIT, f"1 {subject} came", Decimal(0), Decimal(1))


def test_break_leaves_one_alert_however_often_it_is_found(
    outbox: PostgresAlertOutbox, control_store: PostgresControlStore, writer: Lease, name: str
) -> None:
    """A break leaves one alert while it is open, and another one where it opens again. The alert
    says so once it is closed.
    """
    assert control_store.open_break(writer, found(name), AT)
    assert not control_store.open_break(writer, found(name), AT)
    (alert,) = waiting(outbox, name)
    assert (alert.found, alert.is_over, alert.title) == (
        found(name),
        False,
        "BTC is locked: deposit",
    )
    control_store.close_break(writer, "BTC", BreakKind.DEPOSIT, AT, "agrees")
    assert [alert.is_over for alert in waiting(outbox, name)] == [True]
    control_store.open_break(writer, found(name), AT)
    assert [alert.is_over for alert in waiting(outbox, name)] == [True, False]


def test_state_that_a_rule_sets_leaves_an_alert_and_an_operators_none(
    outbox: PostgresAlertOutbox, control_store: PostgresControlStore, name: str
) -> None:
    """Who halts by hand knows of it."""
    control_store.set_trading_state(name, TradingState.HALTED, "drill", "ada", AT)
    assert waiting(outbox, name) == []
    control_store.set_trading_state(
        name, TradingState.REDUCE_ONLY, "25% lost", "risk rule drawdown", AT, alert=True
    )
    (alert,) = waiting(outbox, name)
    assert (alert.title, alert.body) == (
        "the account is set to reduce_only",
        "25% lost (by risk rule drawdown)",
    )
    for _ in range(2):
        control_store.set_trading_state(
            name, TradingState.HALTED, "40% lost", "risk", AT, only_tighten=True, alert=True
        )
    assert len(waiting(outbox, name)) == 2, "what is not set again is not told again"


def test_refused_event_leaves_its_alert_and_an_accepted_one_none(
    outbox: PostgresAlertOutbox, ledger: PostgresLedger, writer: Lease, order: str
) -> None:
    """The alert names the order; a second refusal is another one."""
    for _ in range(2):
        with pytest.raises(IllegalTransitionError):
            ledger.record_event(writer, order, OrderEventKind.ACCEPT, AT)
    ledger.record_event(writer, order, OrderEventKind.SUBMIT, AT)
    alerts = waiting(outbox, writer.account)
    assert [alert.title for alert in alerts] == [REFUSED, REFUSED]
    assert order in alerts[0].body


def test_trade_that_cannot_be_booked_is_told_once(
    outbox: PostgresAlertOutbox, ledger: PostgresLedger, writer: Lease, order: str
) -> None:
    """Every look offers it again and is refused again; another trade of the order is news."""
    for trade in ("t1", "t1", "t2"):
        fill = Fill(
            trade, order, "BTC/USDT", Side.BUY, Decimal(1), Decimal(100), Decimal(0), "USDT", AT
        )
        with pytest.raises(IllegalTransitionError):
            ledger.book_fill(writer, fill)
    bodies = [alert.body for alert in waiting(outbox, writer.account)]
    assert [
        next(trade for trade in ("t1", "t2") if f"trade {trade}" in body) for body in bodies
    ] == ["t1", "t2"]


def test_cause_that_is_rolled_back_leaves_no_alert(
    outbox: PostgresAlertOutbox,
    ledger: PostgresLedger,
    writer: Lease,
    order: str,
    database: Database,
) -> None:
    """Alert and refusal are one transaction: where the batch fails after it, neither is there."""
    with database.dedicated() as connection:
        connection.execute(
            """CREATE FUNCTION fail_alert() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'no alert can be written'; END $$"""
        )
        connection.execute(
            "CREATE TRIGGER fail_alert AFTER INSERT ON alert EXECUTE FUNCTION fail_alert()"
        )
    try:
        with pytest.raises(StoreError, match="no alert can be written"):
            ledger.record_events(writer, [OrderEvent(order, OrderEventKind.ACCEPT, AT)])
    finally:
        with database.dedicated() as connection:
            connection.execute("DROP TRIGGER fail_alert ON alert")
            connection.execute("DROP FUNCTION fail_alert()")
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT count(*) FROM order_event WHERE client_order_id = %s", [order]
        ).fetchone()
    assert rows == (0,)
    assert waiting(outbox, writer.account) == []


def test_sent_alerts_are_sent_once_in_their_order_and_by_account(
    outbox: PostgresAlertOutbox, name: str
) -> None:
    """One call of `send` has all of an account's; marked, they come no more."""
    outbox.add(name, [Alert("first", ""), Alert("second", "two\nlines")])
    outbox.add(f"{name}-other", [Alert("other", "")])
    outbox.add(name, [Alert("third", "")])
    outbox.add(name, [])
    assert take(outbox, name) == ["first", "second", "third"]
    assert take(outbox, name) == []
    assert take(outbox, f"{name}-other") == ["other"]


def test_alerts_that_could_not_be_sent_stay(outbox: PostgresAlertOutbox, name: str) -> None:
    """A channel that refuses or raises leaves them for the next call."""
    outbox.add(name, [Alert("stays", "")])
    assert outbox.deliver(name, lambda _: False) == 0
    with pytest.raises(ZeroDivisionError):
        outbox.deliver(name, lambda _: bool(1 // 0))
    assert take(outbox, name) == ["stays"]


def test_alerts_being_sent_are_nobody_elses(outbox: PostgresAlertOutbox, name: str) -> None:
    """While one process sends, another is handed only what came since."""
    outbox.add(name, [Alert("mine", "")])
    others: list[list[str]] = []

    def send(alerts: Sequence[Alert]) -> bool:
        others.append(take(outbox, name))
        outbox.add(name, [Alert("later", "")])
        others.append(take(outbox, name))
        return True

    assert outbox.deliver(name, send) == 1
    assert others == [[], ["later"]]
    assert take(outbox, name) == []


def test_sender_that_loses_the_database_leaves_its_alerts(
    outbox: PostgresAlertOutbox, name: str, database: Database
) -> None:
    """It may have sent them: they are sent again. At least once is what is promised."""
    outbox.add(name, [Alert("twice", "")])

    def send(alerts: Sequence[Alert]) -> bool:
        with database.transaction() as connection:
            connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND state = 'idle in transaction'"""
            )
        return True

    with pytest.raises(StoreError):
        outbox.deliver(name, send)
    assert take(outbox, name) == ["twice"]


def test_long_list_goes_in_parts(outbox: PostgresAlertOutbox, name: str) -> None:
    """More than a hundred things are several messages, none lost."""
    outbox.add(name, [Alert(str(number), "") for number in range(130)])
    parts = [take(outbox, name) for _ in range(3)]
    assert [len(part) for part in parts] == [100, 30, 0]
    assert [*parts[0], *parts[1]] == [str(number) for number in range(130)]


def test_alert_of_a_slots_end_is_committed_with_it(
    outbox: PostgresAlertOutbox, ledger: PostgresLedger, writer: Lease
) -> None:
    """The row says skipped and the alert waits. A write that is refused leaves neither."""
    row = ledger.start_rebalance(writer, AT, "v/1")
    skipped = Alert("slot was skipped", "halted")
    ledger.end_rebalance(writer, row.id, RebalanceStatus.SKIPPED, "halted", [skipped])
    assert [(alert.title, alert.body) for alert in waiting(outbox, writer.account)] == [
        ("slot was skipped", "halted")
    ]
    with pytest.raises(StoreError, match="start it first"):
        ledger.end_rebalance(writer, row.id + 10**6, RebalanceStatus.SKIPPED, "", [skipped])
    assert len(waiting(outbox, writer.account)) == 1


def test_urgent_alert_does_not_wait_behind_a_pile_of_others(
    outbox: PostgresAlertOutbox, name: str
) -> None:
    """A channel was down for days. The first message that passes has the exit that was refused."""
    outbox.add(name, [Alert(f"slot {n}", "skipped") for n in range(250)])
    outbox.add(name, [urgent(Alert("an exit was refused", "BTC/USDT is still held"))])
    assert take(outbox, name)[:2] == ["URGENT: an exit was refused", "slot 0"]
    rest = take(outbox, name) + take(outbox, name)
    assert rest[-1] == "slot 249"
    assert not take(outbox, name)
