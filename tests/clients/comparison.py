"""Whether a client's books are those of the exchange's journal, to the last of eight decimals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_EIGHT_PLACES = Decimal("1e-8")
Rows = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Books:
    """Orders, trades and balances of one account."""

    orders: Rows
    """The orders by the exchange's id."""
    trades: Rows | None
    """The trades by the exchange's id; None where a client keeps none."""
    balances: dict[str, str]
    """What is held of each asset, free and locked together."""

    @classmethod
    def of_client(cls, read: Mapping[str, Any]) -> "Books":
        """Return what a client's script has written."""
        return cls(read["orders"], read.get("trades"), read["balances"])

    @classmethod
    def of_journal(cls, entries: Iterable[Mapping[str, Any]], account: str) -> "Books":
        """Return what the exchange's journal says of an account."""
        books = cls({}, {}, {})
        assert books.trades is not None
        for entry in entries:
            if entry["account"] != account:
                continue
            if entry["kind"] == "order":
                order = entry["order"]
                books.orders[str(order["order_id"])] = {
                    "symbol": order["symbol"],
                    "client_id": order["client_id"],
                    "side": order["side"],
                    "status": order["status"],
                    "executed": order["executed"],
                    "executed_quote": order["executed_quote"],
                }
            elif entry["kind"] == "trade":
                trade = entry["trade"]
                books.trades[str(trade["trade_id"])] = {
                    "order_id": str(trade["order_id"]),
                    "price": trade["price"],
                    "quantity": trade["quantity"],
                    "commission": trade["commission"],
                    "commission_asset": trade["commission_asset"],
                }
            elif entry["kind"] == "balance":
                held = Decimal(entry["free"]) + Decimal(entry["locked"])
                books.balances[entry["asset"]] = str(held)
        return books


def differences(seen: Books, journal: Books) -> list[str]:
    """Return where a client's books differ from the journal, one sentence each.

    Of an order or trade the fields are compared that the client keeps.
    """
    found = _row_differences("order", seen.orders, journal.orders)
    if seen.trades is not None:
        found += _row_differences("trade", seen.trades, journal.trades or {})
    for asset in sorted(seen.balances.keys() | journal.balances.keys()):
        held, kept = seen.balances.get(asset, "0"), journal.balances.get(asset, "0")
        if not _same(held, kept):
            found.append(f"{asset}: the client has {held}, the journal {kept}")
    return found


def _row_differences(what: str, seen: Rows, journal: Rows) -> list[str]:
    found = [f"{what} {each}: the client has none" for each in sorted(journal.keys() - seen.keys())]
    found += [
        f"{what} {each}: the journal has none" for each in sorted(seen.keys() - journal.keys())
    ]
    for identity in sorted(seen.keys() & journal.keys()):
        for name, value in seen[identity].items():
            kept = journal[identity][name]
            if not _same(value, kept):
                found.append(f"{what} {identity}: {name} is {value}, in the journal {kept}")
    return found


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return _rounded(one) == _rounded(other)
    except ArithmeticError:
        return False


def _rounded(text: str) -> Decimal:
    return Decimal(text).quantize(_EIGHT_PLACES)
