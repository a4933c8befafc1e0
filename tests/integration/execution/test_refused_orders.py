"""Refusals over the wire of the practice exchange: what it took is found, and nothing is bought
twice.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from penstock.core.bars import BARS_SCHEMA
from penstock.core.orders import EndCause, OrderRequest, OrderState, OrderType, Side
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.algorithms import Iceberg
from penstock.execution.orders.cancel import cancel_working
from penstock.execution.rebalance.run import rebalance
from penstock.practice.faults import FaultKind
from tests.integration.execution.conftest import Stage

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
PRICES = {"BTC/USDT": 50_000.0, "ETH/USDT": 2_500.0, "SOL/USDT": 120.0}
WEIGHTS = {"BTC/USDT": 0.4, "ETH/USDT": 0.3, "SOL/USDT": 0.2}
BARS = pl.DataFrame(
    [
        (symbol, SLOT + timedelta(days=day), *(price,) * 4, 1e9)
        for symbol, price in PRICES.items()
        for day in (-2, -1, 0, 1)
    ],
    schema=BARS_SCHEMA,
    orient="row",
)
ORDER_PATH = "/api/v3/order"
LOT_SIZE = '{"code":-1013,"msg":"Filter failure: LOT_SIZE"}'
#: Answers to an order that the venue took: status and body.
ANSWERS = [
    (200, "{}"),
    (200, "[]"),
    (200, "null"),
    (200, ""),
    (200, "<html>busy</html>"),
    (200, '{"code":-2010,"msg":"Account has insufficient balance for requested action."}'),
    (400, LOT_SIZE),
    (400, '{"code":-2010,"msg":"Account has insufficient balance for requested action."}'),
    (400, '{"code":-2010,"msg":"Duplicate order sent."}'),
    (400, '{"code":-98765,"msg":"Something new."}'),
    (400, '{"code":-1003,"msg":"Too much request weight used."}'),
    (429, "{}"),
    (523, "<html>origin is unreachable</html>"),
    (524, "<html>a timeout occurred</html>"),
]


@pytest.fixture
def stage(stage_on_practice: Callable[..., Any]) -> Any:
    return stage_on_practice(BARS, SLOT)


@pytest.mark.parametrize(("status", "body"), ANSWERS)
def test_order_that_was_taken_is_bought_once_whatever_the_answer_says(
    stage: Stage, status: int, body: str
) -> None:
    """The second order is carried out and answered so. It is found by its name, no order leaves a
    second time, and the slot is DONE.
    """
    assert stage.control is not None
    stage.control.arm_next(
        FaultKind.OTHER_ANSWER,
        "POST",
        ORDER_PATH,
        nth=(2,),
        body=body,
        body_status=status,
    )
    report = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    assert report.status is RebalanceStatus.DONE, report
    assert {order.state for order in report.orders} == {OrderState.FILLED}
    assert stage.control.stats()["requests"][f"POST {ORDER_PATH}"] == 3
    fills = [fill for symbol in WEIGHTS for fill in stage.session.exchange.fills(symbol, SLOT)]
    assert Counter(fill.symbol for fill in fills) == dict.fromkeys(WEIGHTS, 1)
    session = stage.session
    assert session.ledger.balances(session.account) == session.exchange.balances()


def test_refusal_that_the_venue_confirms_is_written(stage: Stage) -> None:
    """Asked by name, the venue has no such order: REJECTED with the venue's reason, and the others
    are filled.
    """
    assert stage.control is not None
    stage.control.arm_next(
        FaultKind.REFUSAL, "POST", ORDER_PATH, nth=(2,), body=LOT_SIZE, body_status=400
    )
    report = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    (refused,) = [order for order in report.orders if order.state is OrderState.REJECTED]
    assert refused.end_cause is EndCause.REFUSED
    assert "LOT_SIZE" in refused.reason
    assert Counter(order.state for order in report.orders)[OrderState.FILLED] == 2


@pytest.mark.parametrize("hides_seconds", [0, 86_400])
@pytest.mark.parametrize("body", [LOT_SIZE, '{"code":-98765,"msg":"Something new."}'])
def test_worked_target_is_never_exceeded_by_refused_pieces(
    stage: Stage, body: str, hides_seconds: int
) -> None:
    """A target of 0.45 is worked in three pieces. Each is filled, answered as refused, and may be
    hidden from questions for a day. Its quantity is not bought again: what is held comes to 0.45 at
    most.
    """
    control = stage.control
    assert control is not None

    def pause(seconds: float) -> None:
        control.step(seconds=timedelta(seconds=max(seconds, 1.0)))

    session = replace(
        stage.session,
        style=Iceberg(display_fraction=Decimal("0.34"), piece_seconds=20, offset_bps=Decimal(10)),
        pause=pause,
    )
    stage.control.arm_next(
        FaultKind.OTHER_ANSWER,
        "POST",
        ORDER_PATH,
        body=body,
        body_status=400,
        hides_seconds=hides_seconds,
    )
    rebalance(session, stage.inputs({"BTC/USDT": 0.45}, SLOT))
    held = session.exchange.balances()["BTC"] * 50_000 / 100_000
    assert Decimal("0.14") < held <= Decimal("0.4501"), held


def test_refused_cancellation_does_not_keep_the_others(stage: Stage) -> None:
    """Sixty orders rest and the first cancellation is refused: 59 are cancelled, one is named."""
    assert stage.control is not None
    exchange = stage.session.exchange
    for number in range(60):
        exchange.submit(
            OrderRequest(
                f"resting-{number}",
                "BTC/USDT",
                Side.BUY,
                OrderType.LIMIT,
                Decimal("0.001"),
                Decimal(20_000),
            )
        )
    stage.control.arm_next(
        FaultKind.REFUSAL, "DELETE", ORDER_PATH, body='{"code":-1013,"msg":"no"}', body_status=400
    )
    done = cancel_working(stage.session)
    assert len(done.cancelled) == 59
    assert [left.split()[1] for left in done.left] == ["resting-0"]
    again = cancel_working(stage.session)
    assert (again.cancelled, again.left) == (("resting-0",), ())
    assert not exchange.open_orders()
