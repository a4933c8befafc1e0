"""Rows of which a field is missing or of a wrong type: read as what they are, or an error. Each of
these was read wrongly once; the fuzz of tests/crash found it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.errors import VenueUnavailableError
from penstock.core.orders import Side
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
    ],
)
def test_trade_that_lacks_what_a_fill_needs_is_an_error(changes: Mapping[str, object]) -> None:
    """No side, fee or quantity is made up: the trade is asked for again."""
    with pytest.raises(VenueUnavailableError):
        fills_of_binance(binance_trade(**changes))


def test_fee_of_zero_needs_no_asset() -> None:
    """Nothing was taken, so it does not matter of what."""
    row = binance_trade(commission="0", commissionAsset=None)
    assert fills_of_binance(row) == [(Side.BUY, Decimal(3), Decimal(0), "USDT")]


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
