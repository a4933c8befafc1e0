"""What a foreign client did, and what its books say, to be compared with the exchange's journal.

The scripts of the Python clients use it. It imports the standard library only: they run in
environments of their own.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

URL, KEY, SECRET = (os.environ[f"CLIENT_{name}"] for name in ("URL", "KEY", "SECRET"))
SYMBOL = "BTCUSDT"
INTERVALS = (
    *("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h"),
    *("1d", "3d", "1w", "1M"),
)

Row = Mapping[str, Any]


class Calls:
    """Makes a client's calls one by one and keeps what failed."""

    def __init__(self) -> None:
        self.made = 0
        self.failed: list[str] = []

    def __call__(self, call: Callable[..., Any], *values: object, **parameters: object) -> Any:
        """Return what the client's method returns; None where it raises, which is kept."""
        self.made += 1
        try:
            return call(*values, **parameters)
        except Exception as error:  # noqa: BLE001  each library has errors of its own
            self.failed.append(f"{getattr(call, '__name__', call)}: {error!r}")
            return None


def price(quoted: object, share: float) -> str:
    """Return `share` of a quoted price, on the tick of two decimals."""
    return f"{float(str(quoted)) * share:.2f}"


def order_row(order: Row) -> Row:
    """Return an order of a book from one as Binance names its fields."""
    return {
        "symbol": order["symbol"],
        "client_id": order["clientOrderId"],
        "side": order["side"],
        "status": order["status"],
        "executed": order["executedQty"],
        "executed_quote": order["cummulativeQuoteQty"],
    }


def trade_row(trade: Row) -> Row:
    """Return a trade of a book from one as Binance names its fields."""
    return {
        "order_id": str(trade["orderId"]),
        "price": trade["price"],
        "quantity": trade["qty"],
        "commission": trade["commission"],
        "commission_asset": trade["commissionAsset"],
    }


def write_books(calls: Calls, orders: Iterable[Row], trades: Iterable[Row], held: Row) -> None:
    """Write what the client sees: orders and trades as Binance lists them, `held` by asset."""
    books = {
        "calls": calls.made,
        "failed": calls.failed,
        "orders": {str(each["orderId"]): order_row(each) for each in orders or ()},
        "trades": {str(each["id"]): trade_row(each) for each in trades or ()},
        "balances": {asset: str(total) for asset, total in held.items() if Decimal(str(total))},
    }
    Path(os.environ["CLIENT_BOOKS"]).write_text(json.dumps(books, indent=1), encoding="utf-8")


def totals(balances: Iterable[Row]) -> dict[str, Decimal]:
    """Return what is held by asset, from the balances of Binance's account."""
    return {each["asset"]: Decimal(each["free"]) + Decimal(each["locked"]) for each in balances}
