"""Whether an order that its venue denied may leave under a new id: that denial alone has been wrong before.

Deciding that an order never arrived is for following and recovery. Here the venue is asked in other ways before a second
attempt leaves: its trades, its open orders and its balances are compared with the ledger.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from penstock.core.accounts import OrderRecord, PlannedOrder, Rebalance
from penstock.core.instruments import Instrument
from penstock.core.orders import Fill
from penstock.execution.desk import TradingDesk
from penstock.execution.lease import LeaseKeeper
from penstock.execution.reconciliation import reconcile


@dataclass(frozen=True)
class Cleared:
    """The orders that may leave, those held back, and the fills that were found and booked on the way."""

    orders: tuple[PlannedOrder, ...]
    held_back: tuple[PlannedOrder, ...] = ()
    fills: tuple[Fill, ...] = ()


def cleared(
    desk: TradingDesk,
    keeper: LeaseKeeper,
    rebalance: Rebalance,
    instruments: Mapping[str, Instrument],
    orders: Sequence[PlannedOrder],
) -> Cleared:
    """Return first attempts as they are, and further ones where nothing at the venue speaks of an earlier attempt.

    What speaks of one is booked, or stays as a break that locks the symbol: the next slot then finds it.
    """
    if not any(order.attempt for order in orders):
        return Cleared(tuple(orders))
    found = reconcile(desk, keeper, instruments)
    standing = desk.ledger.orders(desk.account, rebalance_id=rebalance.id)
    held = {
        order.request.client_order_id for order in orders if order.attempt and _spoken_for(order, standing, found.locks.keys())
    }
    return Cleared(
        tuple(order for order in orders if order.request.client_order_id not in held),
        tuple(order for order in orders if order.request.client_order_id in held),
        found.fills,
    )


def _spoken_for(order: PlannedOrder, standing: Sequence[OrderRecord], locked: Collection[str]) -> bool:
    symbol = order.request.symbol
    earlier = [each for each in standing if each.request.symbol == symbol and each.leg == order.leg]
    alive = any(each.filled_quantity or not each.state.is_final for each in earlier)
    return alive or symbol in locked or symbol.split("/")[0] in locked
