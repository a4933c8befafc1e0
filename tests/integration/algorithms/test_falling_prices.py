"""A TWAP on the practice exchange while prices fall: risk's limits end it in its middle, on a real
ledger.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.adapters.stores.postgres import PostgresControlStore
from penstock.core.halts import TradingState
from penstock.core.orders import OrderState
from tests.integration.algorithms.conftest import Stage

BTC = "BTC/USDT"
TWAP = {"algorithm": "twap", "duration_seconds": 240, "slices": 4, "finish": "market"}
LIMITS: dict[str, dict[str, Any]] = {
    "daily_loss": {"daily_loss": {"limit": "0.05", "state": "reduce_only"}},
    "drawdown": {"daily_loss": None, "drawdown": {"limit": "0.05", "state": "reduce_only"}},
    "stop_loss": {"daily_loss": None, "drawdown": None, "stop_loss": "0.05"},
}


def said_by_risk(stage: Stage, account: str) -> list[tuple[str, str, Decimal, Decimal]]:
    with stage.database.transaction() as connection:
        rows: list[tuple[str, str, Decimal, Decimal]] = connection.execute(
            "SELECT rule, verdict, wanted, passed FROM risk_verdict WHERE account = %s ORDER BY id",
            [account],
        ).fetchall()
    return rows


@pytest.mark.parametrize("rule", LIMITS)
def test_price_fall_in_mid_twap_ends_the_buys(falling: Stage, rule: str) -> None:
    """100,000 USDT buy BTC for 90% in four slices a minute apart. After two the price falls by 15%,
    and the other two are never sent.

    The slot before midnight records the day's first equity. The verdict has what the order still
    lacked. The state is set where the limit asks for it, and ledger and venue agree.
    """
    account = f"falling-{rule}"
    first = falling.open(account, {"only": {"USDT": "100000"}})
    done = falling.run(account, first, TWAP, {BTC: 0.0}, limits=LIMITS[rule])
    assert done.get("status") == "done", done
    slot = first + timedelta(minutes=2)
    falling.control.step(to=slot + timedelta(seconds=1))
    report = falling.run(account, slot, TWAP, {BTC: 0.9}, limits=LIMITS[rule])
    assert "error" not in report, report
    orders = falling.ledger.orders(account)
    sent = [order for order in orders if order.state is OrderState.FILLED]
    assert len(sent) == report["sent"] == 2, report
    (parent,) = falling.work.work_of(orders[0].rebalance_id)
    filled = sum((fill.quantity for fill in falling.ledger.fills(account)), Decimal(0))
    assert filled / parent.order.quantity == pytest.approx(Decimal("0.5"), abs=Decimal("0.01"))
    assert falling.ledger.balances(account) == falling.exchange(account).balances()
    lacking = [word[1:] for word in said_by_risk(falling, account) if word[0] == rule]
    assert lacking == [("deny", parent.order.quantity - filled, Decimal(0))]
    assert rule in report["rules"]
    halt = PostgresControlStore(falling.database).trading_state(account)
    if rule == "stop_loss":
        assert (report["status"], halt.state) == ("done", TradingState.ACTIVE)
        assert "the next slot closes the position" in report["alerts"][0]
    else:
        assert (report["status"], halt.state) == ("failed", TradingState.REDUCE_ONLY)
        assert halt.by == f"risk rule {rule}"
