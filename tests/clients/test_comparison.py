"""The comparison of a client's books with the exchange's journal sees every difference."""

from copy import deepcopy
from typing import Any

import pytest

from tests.clients.comparison import Books, differences

ORDER = {
    "order_id": 7,
    "client_id": "a",
    "symbol": "BTCUSDT",
    "side": "BUY",
    "status": "FILLED",
    "executed": "0.01",
    "executed_quote": "500",
}
TRADE = {
    "trade_id": 3,
    "order_id": 7,
    "price": "50000",
    "quantity": "0.01",
    "commission": "0.00001",
    "commission_asset": "BTC",
}
JOURNAL: list[dict[str, Any]] = [
    {"kind": "order", "account": "key", "order": {**ORDER, "status": "NEW", "executed": "0"}},
    {"kind": "order", "account": "key", "order": ORDER},
    {"kind": "order", "account": "other", "order": {**ORDER, "order_id": 8}},
    {"kind": "trade", "account": "key", "trade": TRADE},
    {"kind": "balance", "account": "key", "asset": "BTC", "free": "0.005", "locked": "0.00499"},
]


def client_books() -> dict[str, Any]:
    """Return what a client writes that saw the same."""
    order = {name: value for name, value in ORDER.items() if name != "order_id"}
    trade = {name: value for name, value in TRADE.items() if name != "trade_id"}
    return {
        "orders": {"7": {**order, "executed": "0.01000000"}},
        "trades": {"3": {**trade, "order_id": "7"}},
        "balances": {"BTC": "0.00999000"},
    }


def compared(books: dict[str, Any]) -> list[str]:
    return differences(Books.of_client(books), Books.of_journal(JOURNAL, "key"))


def test_books_that_saw_the_same_are_equal() -> None:
    """The journal's last state counts; decimals are numbers, not texts; fields may be missing."""
    assert compared(client_books()) == []
    fewer = client_books()
    del fewer["trades"], fewer["orders"]["7"]["client_id"]
    assert compared(fewer) == []


@pytest.mark.parametrize(
    ("part", "key", "field", "value"),
    [
        ("orders", "7", "executed", "0.01000001"),
        ("orders", "7", "status", "NEW"),
        ("trades", "3", "commission", "0"),
        ("trades", "3", "order_id", "8"),
    ],
)
def test_another_field_is_a_difference(part: str, key: str, field: str, value: str) -> None:
    """One digit in the eighth place is enough."""
    books = deepcopy(client_books())
    books[part][key][field] = value
    (found,) = compared(books)
    assert f"{field} is {value}" in found


def test_what_one_side_lacks_is_a_difference() -> None:
    """An order, a trade or a balance that only one of them has."""
    books = client_books()
    books["orders"]["9"] = books["orders"].pop("7")
    books["trades"] = {}
    books["balances"] = {"ETH": "1"}
    assert len(compared(books)) == 5
