"""The trades in a venue's answer to a new order. Binance shows them; other venues only confirm.

An answer from which not every trade can be read has none: they are asked for then. The comparison
of ledger and venue reads the venue's list of trades in any case.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from penstock.core.orders import Fill, OrderRequest

_ZERO = Decimal(0)


def answered_fills(answer: object, order: OrderRequest, filled: Decimal) -> tuple[Fill, ...]:
    """Return the trades of an order from the venue's own answer to it.

    `filled` is the order's filled quantity. The result is empty where the trades do not come to it,
    or to the amount that the answer names, or where any of them lacks a figure.
    """
    if not isinstance(answer, Mapping) or filled <= 0:
        return ()
    try:
        at = datetime.fromtimestamp(int(answer["transactTime"]) / 1000, UTC)
        fills = tuple(_fill(row, order, at) for row in answer["fills"])
        spent = Decimal(str(answer["cummulativeQuoteQty"]))
    except (KeyError, TypeError, ValueError, OverflowError, OSError, InvalidOperation):
        return ()
    is_whole = sum((fill.quantity for fill in fills), _ZERO) == filled
    is_paid = sum((fill.notional for fill in fills), _ZERO) == spent
    is_told_apart = len({fill.trade_id for fill in fills}) == len(fills)
    return fills if is_whole and is_paid and is_told_apart else ()


def _fill(row: Mapping[str, Any], order: OrderRequest, at: datetime) -> Fill:
    """Return one trade; raise ValueError or KeyError where it lacks a figure."""
    quantity, price, fee = (Decimal(str(row[name])) for name in ("qty", "price", "commission"))
    trade_id, fee_asset = row["tradeId"], row["commissionAsset"]
    if not (quantity.is_finite() and price.is_finite() and fee.is_finite()):
        raise ValueError(f"a trade of {quantity} at {price} with fee {fee}")
    if quantity <= 0 or price <= 0 or not str(trade_id).isdigit() or not isinstance(fee_asset, str):
        raise ValueError(f"a trade {trade_id} of {quantity} at {price} with a fee in {fee_asset}")
    return Fill(
        trade_id=str(trade_id),
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=quantity,
        price=price,
        fee=fee,
        fee_asset=fee_asset,
        at=at,
    )
