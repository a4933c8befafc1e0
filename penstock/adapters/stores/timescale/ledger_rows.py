"""The ledger's rows as values of penstock.core. Decides nothing; the statements that read them are in ledger."""

from collections.abc import Sequence
from typing import Any

from penstock.core.accounts import OrderRecord, PlannedOrder, Rebalance, RebalanceStatus
from penstock.core.orders import Fill, OrderRequest, OrderState, OrderType, Side

REBALANCE_COLUMNS = "id, account, slot, portfolio_version, status, reason"

SELECT_ORDERS = """
    SELECT account, rebalance_id, client_order_id, symbol, side, type, quantity, price, strategy_version, state,
           filled_quantity, venue_order_id, created_at, updated_at, reason, leg, attempt
    FROM orders
    WHERE account = %(account)s
      AND (NOT %(unfinished_only)s OR state NOT IN ('filled', 'canceled', 'rejected', 'expired'))
      AND (%(rebalance_id)s::bigint IS NULL OR rebalance_id = %(rebalance_id)s)
    ORDER BY sequence
"""

SELECT_FILLS = """
    SELECT trade_id, client_order_id, symbol, side, quantity, price, fee, fee_asset, at
    FROM fill WHERE account = %s AND symbol = coalesce(%s, symbol) ORDER BY at, sequence
"""

INSERT_ORDER = """
    INSERT INTO orders (client_order_id, account, rebalance_id, symbol, side, type, quantity, price, leg, attempt,
                        strategy_version, target_weight, reference_price, state, created_at, updated_at)
    VALUES (%(client_order_id)s, %(account)s, %(rebalance_id)s, %(symbol)s, %(side)s, %(type)s, %(quantity)s, %(price)s,
            %(leg)s, %(attempt)s, %(strategy_version)s, %(target_weight)s, %(reference_price)s, 'planned',
            coalesce(%(at)s, clock_timestamp()), coalesce(%(at)s, clock_timestamp()))
    ON CONFLICT (client_order_id) DO NOTHING
"""


def rebalance_of(row: Sequence[Any]) -> Rebalance:
    """Return the rebalance of a row with REBALANCE_COLUMNS."""
    identity, account, slot, version, status, reason = row
    return Rebalance(identity, account, slot, version, RebalanceStatus(status), reason)


def order_of(row: Sequence[Any]) -> OrderRecord:
    """Return the order of a row of SELECT_ORDERS."""
    account, rebalance_id, client_order_id, symbol, side, kind, quantity, price, version, state, filled, venue_id, *rest = row
    created_at, updated_at, reason, leg, attempt = rest
    return OrderRecord(
        account=account,
        rebalance_id=rebalance_id,
        request=OrderRequest(client_order_id, symbol, Side(side), OrderType(kind), quantity, price),
        strategy_version=version,
        state=OrderState(state),
        filled_quantity=filled,
        venue_order_id=venue_id,
        created_at=created_at,
        updated_at=updated_at,
        reason=reason,
        leg=leg,
        attempt=attempt,
    )


def fill_of(row: Sequence[Any]) -> Fill:
    """Return the fill of a row of SELECT_FILLS."""
    trade_id, client_order_id, symbol, side, quantity, price, fee, fee_asset, at = row
    return Fill(trade_id, client_order_id, symbol, Side(side), quantity, price, fee, fee_asset, at)


def intent_of(order: PlannedOrder) -> dict[str, object]:
    """Return the arguments of INSERT_ORDER that come from the planned order."""
    request = order.request
    return {
        "client_order_id": request.client_order_id,
        "symbol": request.symbol,
        "side": request.side.value,
        "type": request.type.value,
        "quantity": request.quantity,
        "price": request.price,
        "leg": order.leg,
        "attempt": order.attempt,
        "strategy_version": order.strategy_version,
        "target_weight": order.target_weight,
        "reference_price": order.reference_price,
    }
