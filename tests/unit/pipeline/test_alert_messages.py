"""Several alerts are one readable message."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from penstock.core.alerts import Alert, break_alert, state_alert, urgent
from penstock.core.breaks import Break, BreakKind
from penstock.core.halts import TradingState
from penstock.pipeline.alerts import message

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


def told(*alerts: Alert) -> tuple[str, str]:
    """The message of the account live-daily."""
    return message(
        "live-daily", [replace(alert, made_at=alert.made_at or NOW) for alert in alerts], NOW
    )


def broken(asset: str) -> Alert:
    return break_alert(Break("live-daily", asset, BreakKind.DEPOSIT, f"1 {asset} came"))


def test_single_alert_is_a_message_of_its_own() -> None:
    """One alert gives its title, account and subject to the message; a break adds its remedy."""
    title, body = told(broken("BTC"))
    assert title == "live-daily: BTC is locked: deposit"
    assert body == "1 BTC came; do: if it is yours: accept the break"


def test_several_alerts_are_a_line_each() -> None:
    """One message, in the order in which they were made; a body of several lines stays below its
    own.
    """
    state = state_alert(TradingState.HALTED, "25% lost", "risk rule drawdown")
    title, body = told(
        broken("BTC"), broken("ETH"), state, Alert("2 symbols have no fresh bar", "A: no\nB: no")
    )
    assert title == "live-daily: 4 things to look at"
    lines = body.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "BTC is locked",
        "ETH is locked",
        "the account is set to halted",
        "2 symbols have no fresh bar",
        "  B",
    ]
    assert lines[2] == "the account is set to halted: 25% lost (by risk rule drawdown)"


def test_alert_of_a_killed_run_says_from_when_it_is() -> None:
    """A late alert says that it is late. A break that has closed since then asks for nothing."""
    late = replace(broken("BTC"), made_at=NOW - timedelta(hours=2))
    assert " (since 2025-06-01 10:00 UTC); do: " in told(late)[1]
    assert (
        told(replace(late, is_over=True))[1]
        == "1 BTC came (since 2025-06-01 10:00 UTC); it has closed since"
    )
    assert "since" not in told(broken("BTC"))[1]


def test_urgent_alert_comes_first_and_the_message_says_so() -> None:
    """One of two is urgent: it is the first line, and the title of the whole message says it."""
    title, body = told(broken("BTC"), urgent(Alert("slot 1: 2 orders were refused", "no funds")))
    assert title == "live-daily: URGENT: 2 things to look at"
    assert body.splitlines()[0] == "URGENT: slot 1: 2 orders were refused: no funds"
    assert told(urgent(Alert("one", "it")))[0] == "live-daily: URGENT: one"
