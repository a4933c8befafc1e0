"""Alerts on their way from the commit of their cause to a channel. A kill, a failed run or a
channel that hangs loses none.
"""

import os
import signal
import threading
import time
from dataclasses import dataclass, field

import pytest

from penstock.adapters.stores.postgres import connect
from penstock.core.alerts import Alert
from penstock.core.errors import StaleDataError
from penstock.core.rebalances import RebalanceStatus
from penstock.pipeline import alerts as sending
from penstock.pipeline.reconcile import reconcile_account
from penstock.pipeline.slots import trade_slot
from penstock.settings import practice_keys
from tests.integration.pipeline.conftest import ACTOR, Deciding, Place

ACCOUNT = "practice-daily"


@dataclass
class HangingChannel:
    """A Notifier that does not answer until it is let go."""

    let_go: threading.Event = field(default_factory=threading.Event)
    said: list[tuple[str, str]] = field(default_factory=list)

    def notify(self, title: str, body: str) -> bool:
        self.said.append((title, body))
        return self.let_go.wait(60)


@pytest.fixture
def traded(place: Place) -> Place:
    """A place whose first slot is DONE."""
    outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert outcome.result is not None, outcome.failure
    assert outcome.result.status is RebalanceStatus.DONE
    place.alerts.clear()
    return place


def deposit(place: Place, *assets: str) -> None:
    """Let coins come that nobody bought."""
    key, _ = practice_keys(place.platform.home, ["daily"])["daily"]
    for asset in assets:
        place.control.deposit(key, asset, 1)


def test_alert_of_a_killed_run_comes_with_the_next_one(traded: Place) -> None:
    """A process is killed between a break's commit and its alert. The next run sends it, once,
    though it opens nothing.
    """
    deposit(traded, "ETH")
    environment = {**os.environ, **traded.environment}
    killed = traded.programs.run("tests.integration.pipeline.reconciler", environment=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "is locked" not in killed.stdout
    assert [found.subject for found in traded.platform.control_store.open_breaks(ACCOUNT)] == [
        "ETH"
    ]
    # stand in for waiting until the dead one's lease ends
    with (
        connect(traded.environment["PENSTOCK_DATABASE_URL"]) as database,
        database.transaction() as connection,
    ):
        connection.execute(
            "UPDATE lease SET expires_at = '-infinity' WHERE account = %s", [ACCOUNT]
        )
    assert not reconcile_account(traded.platform, ACTOR, "daily").found.opened
    assert [title for title, _ in traded.alerts] == [f"{ACCOUNT}: ETH is locked: deposit"]
    reconcile_account(traded.platform, ACTOR, "daily")
    assert len(traded.alerts) == 1


def test_several_openings_are_one_message_also_where_the_run_then_fails(traded: Place) -> None:
    """Two breaks are opened and the decision finds no bar. One message has three lines, and nothing
    is sent again later.
    """

    def no_bar() -> None:
        raise StaleDataError("drill")

    deposit(traded, "BTC", "ETH")
    Deciding.meanwhile = staticmethod(no_bar)
    assert trade_slot(traded.platform, ACTOR, "daily", traded.tomorrow()).failed
    ((title, body),) = traded.alerts
    assert title == f"{ACCOUNT}: 3 things to look at"
    subjects = [line.split(" ")[0] for line in body.splitlines()]
    assert subjects == ["BTC", "ETH", "slot"]
    Deciding.meanwhile = staticmethod(lambda: None)
    assert not trade_slot(traded.platform, ACTOR, "daily", traded.tomorrow()).failed
    assert not [body for _, body in traded.alerts[1:] if "is locked: deposit" in body]


def test_channel_that_hangs_delays_no_order_and_loses_no_alert(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older alert hangs from the start of the run. The slot is traded beside it, and all alerts
    are sent once it is released.
    """
    monkeypatch.setattr(sending, "PATIENCE_SECONDS", 0.5)
    channel = HangingChannel()
    vars(place.platform).update(notifier=channel)
    place.platform.outbox.add(ACCOUNT, [Alert("left by a killed run", "")])
    outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert outcome.result is not None, outcome.failure
    assert outcome.result.status is RebalanceStatus.DONE
    assert outcome.result.sent == 2
    assert [title for title, _ in channel.said] == [f"{ACCOUNT}: left by a killed run"]
    deposit(place, "ETH")
    reconcile_account(place.platform, ACTOR, "daily")
    assert len(channel.said) == 1, "one at a time"
    channel.let_go.set()
    while any(thread.name == f"alerts of {ACCOUNT}" for thread in threading.enumerate()):
        time.sleep(0.05)
    reconcile_account(place.platform, ACTOR, "daily")
    assert [title for title, _ in channel.said] == [
        f"{ACCOUNT}: left by a killed run",
        f"{ACCOUNT}: ETH is locked: deposit",
    ]
