"""The trades in the answer to a new order: those of the venue's own list, or none."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from penstock.adapters.exchanges.answered_fills import answered_fills
from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.practice.control import PracticeControl
from penstock.practice.server import PracticeServer

ORDER = OrderRequest("ours", "AAA/USDT", Side.BUY, OrderType.MARKET, Decimal("1.5"))


def answer() -> dict[str, Any]:
    """Return Binance's answer to a market order, as its documentation shows one."""
    return {
        "symbol": "AAAUSDT",
        "orderId": 28,
        "clientOrderId": "ours",
        "transactTime": 1507725176595,
        "executedQty": "1.50000000",
        "cummulativeQuoteQty": "150.50000000",
        "status": "FILLED",
        "fills": [
            {
                "price": "100.00000000",
                "qty": "1.00000000",
                "commission": "0.10000000",
                "commissionAsset": "USDT",
                "tradeId": 56,
            },
            {
                "price": "101.00000000",
                "qty": "0.50000000",
                "commission": "-0.00500000",
                "commissionAsset": "BNB",
                "tradeId": 57,
            },
        ],
    }


def test_answer_shows_the_trades_of_the_list(
    server: PracticeServer, control: PracticeControl
) -> None:
    """Over the wire the trades of an answer equal those that are listed, to the last field."""
    control.create_account("answered", "secret", {"USDT": 10_000})
    exchange = CcxtExchange("binance", "answered", "secret", base_url=server.url, rate_limit_ms=0)
    since = exchange.now()
    report = exchange.submit(replace(ORDER, client_order_id="answered-1"))
    assert report.state is OrderState.FILLED
    assert sum(fill.quantity for fill in report.fills) == ORDER.quantity
    assert report.fills == tuple(exchange.fills("AAA/USDT", since))


def test_order_that_rests_has_no_trades(server: PracticeServer, control: PracticeControl) -> None:
    """An order that is not filled has none."""
    control.create_account("resting", "secret", {"USDT": 10_000})
    exchange = CcxtExchange("binance", "resting", "secret", base_url=server.url, rate_limit_ms=0)
    order = OrderRequest(
        "resting-1", "AAA/USDT", Side.BUY, OrderType.LIMIT, Decimal(1), Decimal("50.00")
    )
    assert exchange.submit(order).fills == ()


def test_documented_answer_is_read_whole() -> None:
    """Both trades, with a rebate in a third asset."""
    first, second = answered_fills(answer(), ORDER, Decimal("1.5"))
    assert (first.trade_id, first.quantity, first.price) == ("56", Decimal(1), Decimal(100))
    assert (second.fee, second.fee_asset) == (Decimal("-0.005"), "BNB")
    assert {first.client_order_id, second.client_order_id} == {"ours"}


def _lacks(part: str) -> Callable[[dict[str, Any]], object]:
    return lambda said: said["fills"][1].pop(part)


def _says(part: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda said: said["fills"][1].update({part: value})


#: Values from which no trade can be read, by field.
_WRONG: dict[str, tuple[object, ...]] = {
    "price": ("102", "0", "-1", "NaN", "", None, [], "x"),
    "qty": ("0.4", "0", "-0.5", "Infinity", None, {}),
    "commission": ("NaN", "", None, "x"),
    "tradeId": (56, None, "", "x", -1),
    "commissionAsset": (None, 5, []),
}


@pytest.mark.parametrize(
    "change",
    [
        *(_lacks(part) for part in _WRONG),
        *(_says(part, value) for part, values in _WRONG.items() for value in values),
        lambda said: said["fills"].pop(),
        lambda said: said.update(fills=None),
        lambda said: said.update(fills="fills"),
        lambda said: said.update(fills=[None]),
        lambda said: said.pop("fills"),
        lambda said: said.update(transactTime=None),
        lambda said: said.update(transactTime=10**30),
        lambda said: said.update(cummulativeQuoteQty="150.4"),
        lambda said: said.pop("cummulativeQuoteQty"),
    ],
)
def test_answer_that_cannot_be_read_whole_has_no_trades(
    change: Callable[[dict[str, Any]], object],
) -> None:
    """One figure that is absent or does not add up, and the venue's list is asked instead."""
    said = answer()
    change(said)
    assert answered_fills(said, ORDER, Decimal("1.5")) == ()


@pytest.mark.parametrize("said", [None, [], "text", {}])
def test_what_is_no_answer_has_no_trades(said: object) -> None:
    """Other venues confirm an order without any of it."""
    assert answered_fills(said, ORDER, Decimal("1.5")) == ()
