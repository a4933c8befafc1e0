"""A ban (418) is waited for, also where its end stands only in the text. Until then nothing is
sent, because every request would make it longer.
"""

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.errors import RateLimitedError
from penstock.core.orders import OrderRequest, OrderType, Side
from penstock.practice.control import PracticeControl
from penstock.practice.faults import FaultKind
from tests.contracts.exchanges.constructed_venue import Said, account_at

ORDER = OrderRequest("banned", "AAA/USDT", Side.BUY, OrderType.MARKET, Decimal(1))


def ban(seconds: float) -> dict[str, Any]:
    """Return Binance's answer to who goes on after 429, as the practice exchange can be told."""
    until = round((time.time() + seconds) * 1000)
    message = f"Way too much request weight used; IP banned until {until}. Please use websockets."
    return {"body": f'{{"code":-1003,"msg":"{message}"}}', "body_status": 418}


def requests_at(control: PracticeControl) -> int:
    """Return how many requests the venue has seen, the control calls left out."""
    counts = control.stats()["requests"]
    return sum(count for route, count in counts.items() if "/api/" in route)


def test_ban_whose_end_stands_in_the_text_is_waited_for(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """Two seconds: the second request leaves after them, and there are two in all."""
    exchange = connect()
    exchange.instruments()
    control.arm_next(FaultKind.REFUSAL, "GET", "/api/v3/account", **ban(2))
    before, began = requests_at(control), time.monotonic()
    assert exchange.balances()["AAA"] == 50
    assert 0.9 < time.monotonic() - began < 5
    assert requests_at(control) - before == 2


def test_nothing_is_sent_during_a_long_ban(
    connect: Callable[..., CcxtExchange], control: PracticeControl
) -> None:
    """Ten minutes are handed to the caller at once. No question, order or cancellation leaves."""
    exchange = connect()
    exchange.instruments()
    control.arm_next(FaultKind.REFUSAL, "GET", "/api/v3/account", **ban(600))
    before = requests_at(control)
    calls: list[Callable[[], object]] = [
        exchange.balances,
        exchange.open_orders,
        lambda: exchange.last_prices(["AAA/USDT"]),
        lambda: exchange.submit(ORDER),
        lambda: exchange.find_order("banned", "AAA/USDT"),
        lambda: exchange.cancel("banned", "AAA/USDT"),
    ]
    began = time.monotonic()
    for call in calls:
        with pytest.raises(RateLimitedError) as error:
            call()
        assert error.value.retry_after_seconds is not None
        assert 590 < error.value.retry_after_seconds <= 602  # an answer's date is in seconds
    assert requests_at(control) - before == 1
    assert time.monotonic() - began < 5


def test_end_of_the_ban_counts_by_the_venues_clock() -> None:
    """Ours is a year behind: the answer's own date tells how long the ban is."""
    answers = iter([(418, "Way too many requests; IP banned until 1764300005000."), (200, {})])

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        return next(answers)

    exchange, wire = account_at("binance", answer)
    wire.headers["Date"] = "Fri, 28 Nov 2025 03:20:00 GMT"
    with pytest.raises(RateLimitedError) as error:
        exchange.submit(ORDER)
    assert error.value.retry_after_seconds == 5


@pytest.mark.parametrize("header", [None, "-5", "nan", "inf", "soon"])
@pytest.mark.parametrize("status", [418, 429])
def test_wait_that_is_not_stated_is_none(status: int, header: str | None) -> None:
    """The caller waits as long as it thinks fit. What cannot be waited for is no wait."""
    exchange, wire = account_at("binance", lambda *_: (status, {"code": -1003, "msg": "Too many."}))
    wire.headers |= {} if header is None else {"Retry-After": header}
    with pytest.raises(RateLimitedError) as error:
        exchange.submit(ORDER)
    assert error.value.retry_after_seconds is None
