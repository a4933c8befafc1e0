"""Keeping the lease of an account."""

import pytest

from penstock.core.errors import StaleLeaseError
from penstock.execution.lease import take_lease
from penstock.testing.world import World


def test_lease_that_ended_with_its_slot_is_used_no_more(world: World) -> None:
    """Half of its life is not over: without that note the keeper would go on with it."""
    world.ledger.open_account("test", "memory", "USDT")
    keeper = take_lease(world.ledger, "test", 60, 0, clock=world.clock, ids=world.session.ids)
    assert keeper is not None
    lease = keeper.lease
    world.ledger.release_lease(lease)
    keeper.note_release()
    with pytest.raises(StaleLeaseError, match="given up"):
        _ = keeper.lease
    assert world.ledger.acquire_lease("test", "other", 60) is not None
    keeper.release()
    assert world.ledger.acquire_lease("test", "third", 60) is None
