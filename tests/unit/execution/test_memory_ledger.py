"""The ledger in memory that execution's tests use refuses what the real one refuses."""

from dataclasses import replace
from decimal import Decimal

import pytest

from penstock.core.errors import StoreError
from penstock.core.order_records import OrderIntent
from penstock.core.orders import OrderRequest, OrderType, Phase, Side
from penstock.testing.world import World


def intent(name: str) -> OrderIntent:
    request = OrderRequest(name, "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal(1))
    return OrderIntent(request, Phase.SELLS, 0, 0, "trend/1", 0.5, Decimal(100))


def test_ids_twice_in_a_batch_or_of_another_account_write_nothing(world: World) -> None:
    """As tests/contracts/test_ledger_batches.py has it of the ledger in the database."""
    ledger = world.ledger
    lease = ledger.acquire_lease("test", "writer", 60)
    assert lease
    with pytest.raises(StoreError):
        ledger.plan_orders(lease, 1, [intent("a"), intent("b"), replace(intent("b"), child=1)])
    assert not ledger.book
    ledger.plan_orders(lease, 1, [intent("a")])
    ledger.plan_orders(lease, 1, [intent("a")])
    with pytest.raises(StoreError):
        ledger.plan_orders(replace(lease, account="other"), 2, [intent("a"), intent("c")])
    assert list(ledger.book) == ["a"]
