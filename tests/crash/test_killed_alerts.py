"""A break that was opened, or a state that a rule has set, leads to exactly one alert. A kill at
any point changes nothing.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.adapters.stores.postgres import PostgresAlertOutbox, PostgresControlStore
from tests.crash.conftest import LIMITS, SLOT, Scenario, Stage

SEED = 20240301


def break_two_coins(stage: Stage, scene: Scenario, account: str) -> dict[str, Any]:
    """Trade, then let two coins come that nobody bought. The slot has ended: a run of it finds them
    and trades nothing.
    """
    stage.run(account, scene)
    for asset in ("BTC", "ETH"):
        stage.control.deposit(account, asset, 1)
    return {}


def lose_a_quarter(stage: Stage, scene: Scenario, account: str) -> dict[str, Any]:
    """Have had more than twice as much a day before, under a limit that then lets the account only
    reduce.
    """
    stage.ledger.open_account(account, "practice", "USDT")
    lease = stage.ledger.acquire_lease(account, "the day before", 60)
    PostgresControlStore(stage.database).record_equity(
        lease, SLOT - timedelta(days=1), Decimal(100_000), Decimal(0)
    )
    stage.ledger.release_lease(lease)
    return {"limits": {**LIMITS, "drawdown": {"limit": "0.2", "state": "reduce_only"}}}


CASES = [
    (break_two_coins, "open_break", ["BTC is locked: deposit", "ETH is locked: deposit"]),
    (lose_a_quarter, "set_trading_state", ["the account is set to reduce_only"]),
]


def told(stage: Stage, account: str) -> list[str]:
    """Send what the outbox holds; return the titles in order of the alphabet."""
    titles: list[str] = []
    PostgresAlertOutbox(stage.database).deliver(
        account, lambda alerts: not titles.extend(alert.title for alert in alerts)
    )
    return sorted(titles)


@pytest.mark.parametrize(
    ("cause", "write", "titles"), CASES, ids=lambda value: getattr(value, "__name__", None)
)
def test_alert_outlives_a_kill_around_the_commit_of_its_cause(
    stage: Stage,
    make_scenario: Callable[[int], Scenario],
    cause: Any,
    write: str,
    titles: list[str],
) -> None:
    """Killed before or after each commit and run once more: every cause has one alert, not yet
    sent.
    """
    scene = make_scenario(SEED)
    stage.open(f"told-{write}", scene)
    details = cause(stage, scene, f"told-{write}")
    boundaries = stage.run(f"told-{write}", scene, **details)["boundaries"]
    assert told(stage, f"told-{write}") == titles
    points = [
        n for n, name in enumerate(boundaries, start=1) if name.endswith(f"commit of {write}")
    ]
    assert len(points) == 2 * len(titles)
    for point in points:
        account = f"told-{write}-{point}"
        stage.open(account, scene)
        details = cause(stage, scene, account)
        assert stage.run(account, scene, strike_at=point, **details)["killed"]
        stage.let_lease_run_out(account)
        mended = stage.run(account, scene, **details)
        assert "error" not in mended, mended
        assert stage.inspect(account, scene).untold == 0
        assert told(stage, account) == titles, f"killed at {boundaries[point - 1]}"
        assert told(stage, account) == []
    print(
        f"\nalerts: {len(points)} kills around the commit of {write}: each cause has one alert, "
        "none lost"
    )
