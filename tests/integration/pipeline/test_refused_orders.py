"""Orders that the venue refuses: an alert each slot, an urgent one where an exit is refused, and no
closing that did not happen.
"""

from decimal import Decimal
from threading import Lock

import pytest

from penstock.core.orders import EndCause
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.run import rebalance
from penstock.pipeline import slots
from penstock.pipeline.halts import halt_trading
from penstock.pipeline.rebalance import _inputs, rebalance_slot
from penstock.pipeline.slots import trade_slot
from penstock.risk.limits import RiskLimits
from penstock.settings import practice_keys
from tests.integration.pipeline.conftest import ACTOR, Deciding, Place

pytestmark = pytest.mark.slow

ACCOUNT = "practice-daily"
#: Any move of the price closes the position, by one of the two.
EITHER_WAY = RiskLimits(
    price_collar=None, stop_loss=Decimal("0.000001"), take_profit=Decimal("0.000001")
)


def take_away(place: Place, *assets: str) -> None:
    """While the next decisions are made, let all of these assets leave the account at the venue."""
    key, _ = practice_keys(place.platform.home, ["daily"])["daily"]

    def leave() -> None:
        held = place.control.balances(key)
        for asset in assets:
            if held.get(asset):
                place.control.withdraw(key, asset, held[asset])

    Deciding.meanwhile = staticmethod(leave)


def lines(place: Place) -> list[str]:
    """The lines of every message since the last look, titles included."""
    found = [f"{title}\n{body}" for title, body in place.alerts]
    place.alerts.clear()
    return "\n".join(found).splitlines()


def test_slot_whose_every_order_is_refused_is_an_alert_each_time(place: Place) -> None:
    """-2010 for both buys: the slot is done, and an alert gives the reasons. So does that of the
    next slot.
    """
    key, _ = practice_keys(place.platform.home, ["daily"])["daily"]
    for _ in range(2):
        take_away(place, "USDT")
        outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
        assert outcome.result is not None, outcome.failure
        assert outcome.result.status is RebalanceStatus.DONE
        assert {order.end_cause for order in outcome.result.orders} == {EndCause.REFUSED}
        said = lines(place)
        assert any("2 orders failed" in line for line in said), said
        assert any("buy BTC/USDT: " in line and "insufficient balance" in line for line in said), (
            said
        )
        assert not any("URGENT" in line for line in said), said
        place.control.deposit(key, "USDT", 100_000)


def test_alert_of_refused_orders_is_committed_with_the_slot_s_end(place: Place) -> None:
    """The process dies once the slot is done: the next run sends the alert, once."""
    slot = place.tomorrow()
    slots._ingest(place.platform, "daily", slot)
    take_away(place, "USDT")
    inputs = _inputs(place.platform, "daily", slot)
    result = rebalance(place.platform.session("daily"), inputs)
    assert result.status is RebalanceStatus.DONE
    assert len(result.failed_orders) == 2
    assert not place.alerts, "nothing of the pipeline has run after it: as after a kill"
    assert rebalance_slot(place.platform, ACTOR, "daily", slot).already_done
    assert len([line for line in lines(place) if "2 orders failed" in line]) == 1
    assert rebalance_slot(place.platform, ACTOR, "daily", slot).already_done
    assert not place.alerts


def test_refused_exit_is_urgent_and_not_reported_as_closed(place: Place) -> None:
    """Stops fire and the venue refuses both sells. The alert is urgent, names what is still held
    and why, and nothing says closed.
    """
    assert not trade_slot(place.platform, ACTOR, "daily", place.tomorrow()).failed
    lines(place)
    vars(place.platform.settings).update(risk=EITHER_WAY)
    take_away(place, "BTC", "ETH")
    outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert outcome.result is not None, outcome.failure
    result = outcome.result
    assert {order.request.symbol for order in result.failed_orders} == {"BTC/USDT", "ETH/USDT"}
    assert result.not_closed == {"BTC/USDT", "ETH/USDT"}
    said = lines(place)
    assert said[0].startswith(f"{ACCOUNT}: URGENT: "), said
    for symbol in ("BTC/USDT", "ETH/USDT"):
        assert any(
            f"{symbol} is to be closed by " in line and "still held" in line for line in said
        )
        assert ("not closed", symbol) in {(row["what"], row["symbol"]) for row in result.rows()}
    assert any("2 orders failed" in line and "URGENT" in line for line in said), said
    assert not any("was closed" in line for line in said), said


def test_exit_that_is_filled_is_reported_as_closed_afterwards(place: Place) -> None:
    """The same stops without a refusal: both are closed, and nothing is urgent."""
    assert not trade_slot(place.platform, ACTOR, "daily", place.tomorrow()).failed
    lines(place)
    vars(place.platform.settings).update(risk=EITHER_WAY)
    outcome = trade_slot(place.platform, ACTOR, "daily", place.tomorrow())
    assert outcome.result is not None, outcome.failure
    assert not outcome.result.not_closed
    said = lines(place)
    assert any("BTC/USDT was closed by " in line for line in said), said
    assert not any("URGENT" in line for line in said), said
    assert ("closed", "BTC/USDT") in {(row["what"], row["symbol"]) for row in outcome.result.rows()}


def test_flatten_whose_sells_are_refused_is_urgent(place: Place) -> None:
    """An operator flattens a moment after the coins have left: the alert of what is left is
    urgent.
    """
    assert not trade_slot(place.platform, ACTOR, "daily", place.tomorrow()).failed
    lines(place)
    key, _ = practice_keys(place.platform.home, ["daily"])["daily"]
    exchange = place.platform.exchange("daily")
    submit, turn = exchange.submit, Lock()

    def late(order: object) -> object:
        with turn:  # several orders leave at once
            held = place.control.balances(key)
            for asset in ("BTC", "ETH"):
                if held.get(asset):
                    place.control.withdraw(key, asset, held[asset])
        return submit(order)  # type: ignore[arg-type]

    vars(exchange).update(submit=late)
    (done,) = halt_trading(place.platform, ACTOR, "daily", "drill", flatten=True).endings
    assert done.flattened is not None
    assert done.flattened.failed_orders
    said = lines(place)
    assert any("URGENT: the halt is set, but not finished" in line for line in said), said
