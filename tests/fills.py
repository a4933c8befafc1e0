"""Comparing the fills of a ledger with the trades of a venue."""

from collections import Counter
from collections.abc import Iterable

from penstock.core.orders import Fill


def counted(fills: Iterable[Fill]) -> Counter[tuple[object, ...]]:
    """Return how often each fill is there: the same trade of the same order, with the same figures.

    What is left of one side minus the other is lost, or there twice.
    """
    return Counter(
        (
            fill.symbol,
            fill.trade_id,
            fill.client_order_id,
            fill.quantity,
            fill.price,
            fill.fee,
            fill.fee_asset,
        )
        for fill in fills
    )
