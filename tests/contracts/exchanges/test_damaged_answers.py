"""Rows of which a field is missing or of a wrong type: read as what they are, or an error. Each of
these was read wrongly once; the fuzz of tests/crash found it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.errors import VenueUnavailableError
from penstock.core.orders import OrderState, Side
from tests.contracts.exchanges.constructed_venue import account_at

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
AT = 1_767_300_000_000
NAME = "0123456789abcdef0123456789abcdef"


def binance_trade(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "symbol": "AAAUSDT",
        "id": 7,
        "orderId": 1,
        "price": "2",
        "qty": "3",
        "commission": "0.006",
        "commissionAsset": "USDT",
        "time": AT,
        "isBuyer": True,
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not ...}


def fills_of_binance(row: Mapping[str, object]) -> list[tuple[Side, Decimal, Decimal, str]]:
    order = {"symbol": "AAAUSDT", "orderId": 1, "clientOrderId": NAME, "status": "NEW"}

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> tuple[int, object]:
        return 200, [row] if path.endswith("myTrades") else order

    exchange, _ = account_at("binance", answer)
    found = exchange.fills("AAA/USDT", SINCE)
    return [(each.side, each.quantity, each.fee, each.fee_asset) for each in found]


def test_whole_trade_is_read() -> None:
    """The row that the other cases change."""
    assert fills_of_binance(binance_trade()) == [(Side.BUY, Decimal(3), Decimal("0.006"), "USDT")]


@pytest.mark.parametrize(
    "changes",
    [
        {"isBuyer": None},  # ccxt would make a sell of these three
        {"isBuyer": [7]},
        {"isBuyer": "many"},
        {"commission": ...},
        {"commission": None},
        {"commission": "many"},
        {"commission": "NaN"},
        {"commissionAsset": ""},
        {"commissionAsset": None},
        {"qty": "NaN"},
        {"qty": "0"},
        {"price": "-2"},
        {"time": None},
        {"id": "many"},
    ],
)
def test_trade_that_lacks_what_a_fill_needs_is_an_error(changes: Mapping[str, object]) -> None:
    """No side, fee or quantity is made up: the trade is asked for again."""
    with pytest.raises(VenueUnavailableError):
        fills_of_binance(binance_trade(**changes))


@pytest.mark.parametrize("repeats", [False, True])
def test_trades_after_a_page_of_one_millisecond_are_read_or_unknown(repeats: bool) -> None:
    """A thousand of one instant fill a page: those after them are asked for by the last id. A page
    that comes again is not the end of the list.
    """
    rows = [binance_trade(id=number) for number in range(1, 1_101)]
    order = {"symbol": "AAAUSDT", "orderId": 1, "clientOrderId": NAME, "status": "NEW"}

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> tuple[int, object]:
        if not path.endswith("myTrades"):
            return 200, order
        first = 0 if repeats else int(fields.get("fromId", 1)) - 1
        return 200, rows[first : first + 1_000]

    exchange, _ = account_at("binance", answer)
    if repeats:
        with pytest.raises(VenueUnavailableError, match="the same trades again"):
            exchange.fills("AAA/USDT", SINCE)
    else:
        assert len(exchange.fills("AAA/USDT", SINCE)) == 1_100


def test_fee_of_zero_needs_no_asset() -> None:
    """Nothing was taken, so it does not matter of what."""
    row = binance_trade(commission="0", commissionAsset=None)
    assert fills_of_binance(row) == [(Side.BUY, Decimal(3), Decimal(0), "USDT")]


@pytest.mark.parametrize("filled", ["many", "NaN", "-1", [7], True])
def test_order_behind_a_trade_that_cannot_be_read_is_an_error_of_the_venue(filled: object) -> None:
    """Binance's trades name the order by its number, so a new process asks for it."""
    order = {"symbol": "AAAUSDT", "orderId": 1, "clientOrderId": NAME, "status": "NEW"}

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> tuple[int, object]:
        return 200, [binance_trade()] if path.endswith("myTrades") else {
            **order,
            "executedQty": filled,
        }

    exchange, _ = account_at("binance", answer)
    with pytest.raises(VenueUnavailableError):
        exchange.fills("AAA/USDT", SINCE)


#: An order for 10 of which 4 are filled: the fields of state and filled quantity, the states of one
#: that was cut short and of a whole one, and the venue's answer.
_ORDERS: Mapping[str, tuple[Mapping[str, object], str, str, str, str, Callable[[Any], object]]] = {
    "binance": (
        {
            "symbol": "AAAUSDT",
            "orderId": 7,
            "clientOrderId": NAME,
            "origQty": "10",
            "cummulativeQuoteQty": "8",
            "side": "BUY",
            "type": "LIMIT",
        },
        "executedQty",
        "status",
        "EXPIRED",
        "FILLED",
        lambda row: row,
    ),
    "bybit": (
        {
            "symbol": "AAAUSDT",
            "orderId": "7",
            "orderLinkId": NAME,
            "qty": "10",
            "leavesQty": "0",
            "side": "Buy",
            "orderType": "Limit",
        },
        "cumExecQty",
        "orderStatus",
        "PartiallyFilledCanceled",
        "Filled",
        lambda row: {"retCode": 0, "result": {"list": [row], "nextPageCursor": ""}},
    ),
    "okx": (
        {
            "instType": "SPOT",
            "instId": "AAA-USDT",
            "ordId": "7",
            "clOrdId": NAME,
            "sz": "10",
            "ordType": "limit",
            "side": "buy",
        },
        "accFillSz",
        "state",
        "canceled",
        "filled",
        lambda row: {"code": "0", "data": [row]},
    ),
    "kraken": (
        {
            "cl_ord_id": NAME,
            "vol": "10",
            "descr": {"pair": "AAAUSDT", "type": "buy", "ordertype": "limit"},
        },
        "vol_exec",
        "status",
        "canceled",
        "closed",
        lambda row: {"error": [], "result": {"open": {}, "closed": {"O-7": row}}},
    ),
}


@pytest.mark.parametrize("venue", _ORDERS)
@pytest.mark.parametrize("damage", ["4", None, "", "absent", True, "many"])
def test_filled_quantity_of_an_order_that_was_cut_short_is_the_venues_own(
    venue: str, damage: object
) -> None:
    """Without it ccxt makes one up: none at Binance, so that its quantity would leave again, and
    all of it at Bybit, so that its trades would be waited for and never come.
    """
    row, filled, state, cut_short, _, said = _ORDERS[venue]
    damaged = {**row, state: cut_short, **({} if damage == "absent" else {filled: damage})}
    exchange, _ = account_at(venue, lambda *_: (200, said(damaged)))
    if damage != "4":
        with pytest.raises(VenueUnavailableError):
            exchange.find_order(NAME, "AAA/USDT")
        return
    report = exchange.find_order(NAME, "AAA/USDT")
    assert report.state in (OrderState.CANCELED, OrderState.EXPIRED)
    assert report.filled_quantity == 4


@pytest.mark.parametrize("venue", _ORDERS)
def test_filled_order_without_its_quantity_has_all_that_was_ordered(venue: str) -> None:
    """Its trades are read until they come to that."""
    row, filled, state, _, whole, said = _ORDERS[venue]
    exchange, _ = account_at(venue, lambda *_: (200, said({**row, state: whole, filled: ""})))
    report = exchange.find_order(NAME, "AAA/USDT")
    assert (report.state, report.filled_quantity) == (OrderState.FILLED, 10)


@pytest.mark.parametrize("order_id", [True, None, "", 1])
def test_trade_belongs_to_the_order_that_it_names(order_id: object) -> None:
    """Bybit writes the client order id into its trades. Two trades with the same damaged order id
    keep their own names.
    """
    rows = [
        {
            "symbol": "AAAUSDT",
            "orderId": order_id,
            "orderLinkId": name,
            "side": "Buy",
            "execType": "Trade",
            "execId": f"T-{name}",
            "execPrice": "2",
            "execQty": "1",
            "execFee": "0.01",
            "feeCurrency": "USDT",
            "execTime": str(AT),
        }
        for name in ("one", "two")
    ]
    answer = {"retCode": 0, "result": {"list": rows, "nextPageCursor": ""}}
    exchange, _ = account_at("bybit", lambda *_: (200, answer))
    exchange.client.milliseconds = lambda: AT
    found = exchange.fills("AAA/USDT", SINCE)
    assert [(each.trade_id, each.client_order_id) for each in found] == [
        ("T-one", "one"),
        ("T-two", "two"),
    ]


_ROWS: Mapping[str, Callable[[list[Any]], object]] = {
    "binance": lambda rows: {"balances": rows},
    "bybit": lambda rows: {
        "retCode": 0,
        "result": {"list": [{"accountType": "UNIFIED", "coin": rows}]},
    },
    "okx": lambda rows: {"code": "0", "data": [{"details": rows}]},
}
_ROW = {
    "binance": ("asset", {"free": "5", "locked": "0"}),
    "bybit": ("coin", {"walletBalance": "5", "locked": "0", "equity": "5"}),
    "okx": ("ccy", {"eq": "5", "cashBal": "5", "availEq": "5", "availBal": "5", "frozenBal": "0"}),
}


@pytest.mark.parametrize("venue", _ROWS)
@pytest.mark.parametrize("damage", [None, "-", [], {}, "absent", "null", "empty", "list"])
def test_balance_without_its_asset_is_unknown(venue: str, damage: object) -> None:
    """ccxt passes over such a row: the coins would be gone, and their worth with them."""
    field, figures = _ROW[venue]
    names: dict[object, dict[str, object]] = {
        "absent": {},
        "null": {field: None},
        "empty": {field: ""},
        "list": {field: [7]},
    }
    whole = {field: "AAA", **figures}
    row = {**names[damage], **figures} if isinstance(damage, str) and damage in names else damage
    exchange, _ = account_at(venue, lambda *_: (200, _ROWS[venue]([whole])))
    assert exchange.balances() == {"AAA": Decimal(5)}
    exchange, _ = account_at(venue, lambda *_: (200, _ROWS[venue]([whole, row])))
    with pytest.raises(VenueUnavailableError):
        exchange.balances()


@pytest.mark.parametrize("kind", [None, "", "OTHER"])
def test_balances_that_ccxt_leaves_out_are_unknown(kind: object) -> None:
    """Without the account's type ccxt reads none of Bybit's coins."""
    coins = [{"coin": "AAA", "walletBalance": "5"}]
    answer = {"retCode": 0, "result": {"list": [{"accountType": kind, "coin": coins}]}}
    exchange, _ = account_at("bybit", lambda *_: (200, answer))
    with pytest.raises(VenueUnavailableError):
        exchange.balances()


@pytest.mark.parametrize("time", [None, "", "many", 10**17, 10**25, []])
def test_time_that_is_none_is_an_error_of_the_venue(time: object) -> None:
    """No clock is set by it, and nothing foreign is raised."""
    exchange, _ = account_at("binance", lambda *_: (200, {"serverTime": time}))
    with pytest.raises(VenueUnavailableError):
        exchange.now()


@pytest.mark.parametrize("cursor", ["again", True, 7])
def test_cursor_that_leads_back_is_an_error(cursor: object) -> None:
    """Pages without orders that lead to each other are no list, and are not asked for for ever."""
    answer = {"retCode": 0, "result": {"list": [], "nextPageCursor": cursor}}
    exchange, wire = account_at("bybit", lambda *_: (200, answer))
    with pytest.raises(VenueUnavailableError):
        exchange.open_orders()
    assert len(wire.requests) < 4


@pytest.mark.parametrize("row", [None, "5", [], 5])
def test_kraken_balance_that_is_no_row_is_unknown(row: object) -> None:
    """Its rows stand under the assets' names."""
    rows = {"USDT": {"balance": "5", "hold_trade": "0"}, "AAA": row}
    exchange, _ = account_at("kraken", lambda *_: (200, {"error": [], "result": rows}))
    with pytest.raises(VenueUnavailableError):
        exchange.balances()
