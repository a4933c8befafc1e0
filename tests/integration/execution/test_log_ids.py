"""The log of a slot over the wire: each line has the slot's, the order's and the run's ids, and no
line has a secret.
"""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import structlog

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.bars import BARS_SCHEMA
from penstock.core.rebalances import RebalanceStatus
from penstock.execution.rebalance.run import rebalance
from penstock.monitoring.log_output import send_logs
from penstock.practice.faults import FaultKind
from tests.integration.execution.conftest import Stage

SLOT = datetime(2024, 3, 1, tzinfo=UTC)
SYMBOLS = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT"]
WEIGHTS = dict.fromkeys(SYMBOLS, 0.2)
BARS = pl.DataFrame(
    [
        (symbol, SLOT + timedelta(days=day), *(10.0,) * 4, 1e9)
        for symbol in SYMBOLS
        for day in range(-2, 2)
    ],
    schema=BARS_SCHEMA,
    orient="row",
)
ORDER_PATH = "/api/v3/order"
#: What a line about one order is called.
ABOUT_ORDERS = {"order_answered", "fill_booked", "order_recorded"}
KEY, SECRET = "key-of-the-account-7f3a", "secret-of-the-account-91c2"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Write every line of every library to a text, from "debug" on."""
    lines = io.StringIO()
    root = logging.getLogger()
    before, level, own = list(root.handlers), root.level, structlog.get_config()
    send_logs("debug", lines)
    yield lines
    structlog.configure(**own)
    root.handlers, root.level = before, level


@pytest.fixture
def stage(stage_on_practice: Callable[..., Any]) -> Any:
    """Make an account with keys that can be told apart, and several senders."""
    stage = stage_on_practice(BARS, SLOT)
    stage.control.create_account(KEY, SECRET, {"USDT": 100_000})
    session = stage.session
    exchange = CcxtExchange(
        "binance",
        KEY,
        SECRET,
        base_url=stage.control.url,
        rate_limit_ms=0,
        timeout_seconds=1,
        retry_wait_seconds=0.05,
    )
    policy = session.policy.model_copy(update={"senders": 4})
    stage.session = replace(session, exchange=exchange, policy=policy)
    return stage


def test_every_line_of_a_slot_has_its_ids_and_no_secret(stage: Stage, log: io.StringIO) -> None:
    """One order is answered with an error after the venue took it, and one is refused for its rate.
    Lines come from several threads and from other libraries.
    """
    assert stage.control is not None
    stage.control.arm_next(FaultKind.ERROR_AFTER, "POST", ORDER_PATH, nth=(2,))
    stage.control.arm_next(FaultKind.RATE_LIMIT, "POST", ORDER_PATH, nth=(4,), seconds=0.1)
    result = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    assert result.status is RebalanceStatus.DONE, result.summary()
    text = log.getvalue()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["slot"] for line in lines} == {"2024-03-01T00:00:00Z"}
    assert {line["account"] for line in lines} == {stage.session.account}
    (trace_id,) = {line["trace_id"] for line in lines}
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id)
    events = {line["event"] for line in lines}
    assert {"slot_begun", "orders_written_ahead", "slot_ended", *ABOUT_ORDERS} <= events
    names = {order.request.client_order_id for order in result.orders}
    assert {line["order"] for line in lines if line["event"] == "order_answered"} == names
    assert {line["order"] for line in lines if line["event"] == "fill_booked"} == names
    assert {line["order"] for line in lines if line["event"] in ABOUT_ORDERS} == names
    assert KEY not in text
    assert SECRET not in text
    assert "signature" not in text


def test_two_slots_are_told_apart(stage: Stage, log: io.StringIO) -> None:
    """Each run has a trace of its own, and nothing stays bound after its end."""
    rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    stage.move_to(SLOT + timedelta(days=1))
    rebalance(stage.session, stage.inputs(WEIGHTS, SLOT + timedelta(days=1)))
    found = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len({(line["slot"], line["trace_id"]) for line in found}) == 2
    assert len({line["trace_id"] for line in found}) == 2
    assert structlog.contextvars.get_contextvars() == {}


def test_line_of_another_library_has_the_ids(stage: Stage, log: io.StringIO) -> None:
    """What a library logs on a sender's thread goes through the same output."""
    sent = stage.session.exchange.submit

    def submit(order: Any) -> Any:
        logging.getLogger("some.library").warning("about %s", order.symbol)
        return sent(order)

    stage.session.exchange.submit = submit  # type: ignore[method-assign]
    result = rebalance(stage.session, stage.inputs(WEIGHTS, SLOT))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    foreign = [line for line in lines if line.get("logger") == "some.library"]
    assert {line["order"] for line in foreign} == {
        order.request.client_order_id for order in result.orders
    }
    assert {line["event"] for line in foreign} == {f"about {symbol}" for symbol in SYMBOLS}
