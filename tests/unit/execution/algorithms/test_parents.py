"""How far a parent order is, read off its children as the ledger has them."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice

import pytest

from penstock.core.order_records import OrderRecord
from penstock.core.orders import EndCause, OrderRequest, OrderState, OrderType, Phase, Side
from penstock.core.parent_orders import ParentOrder
from penstock.core.proposals import ProposedOrder
from penstock.execution.algorithms import Finished, MarketStyle, Send, plan_order
from penstock.execution.algorithms.parents import MAX_ATTEMPTS, WorkingParent
from penstock.testing.instruments import SLOT, instrument

BTC = "BTC/USDT"
ORDER = ProposedOrder(BTC, Side.BUY, Decimal("0.1"), Decimal(50_000), 0.5, Phase.BUYS)
PLAN = plan_order(ORDER, instrument(BTC), MarketStyle(), SLOT).model_dump_json()
PARENT = WorkingParent(ParentOrder(1, ORDER, "trend/1", PLAN, SLOT), instrument(BTC))


def child(
    number: int,
    *,
    attempt: int = 0,
    filled: str = "0",
    cause: EndCause = EndCause.NEVER_ARRIVED,
    at: datetime = SLOT,
) -> OrderRecord:
    request = OrderRequest(
        f"{number}-{attempt}", BTC, Side.BUY, OrderType.MARKET, Decimal("0.05"), venue=f"v{number}"
    )
    state = OrderState.FILLED if cause is EndCause.FILLED else OrderState.REJECTED
    return OrderRecord(
        account="a",
        rebalance_id=1,
        request=request,
        phase=Phase.BUYS,
        child=number,
        attempt=attempt,
        strategy_version="trend/1",
        reference_price=ORDER.price,
        created_at=at,
        updated_at=at,
        state=state,
        filled_quantity=Decimal(filled),
        end_cause=cause,
    )


def next_step(*children: OrderRecord) -> object:
    return PARENT.next_step(children, SLOT, ORDER.price, None)


def test_part_that_never_arrived_is_sent_again_under_its_own_number() -> None:
    """One of two parts was filled and the other never arrived. Its number is free again. The child
    may be sent again though the venue's clock stands still.
    """
    children = [child(0), child(1, filled="0.05", cause=EndCause.FILLED)]
    step = next_step(*children)
    assert isinstance(step, Send)
    assert step.child.quantity == Decimal("0.05")
    assert list(islice(PARENT.free_numbers(children), 2)) == [0, 2]
    assert PARENT.attempt(0, children) == 1


def test_refused_second_attempt_ends_the_work_though_time_stands_still() -> None:
    """The venue refuses what never arrived before: nothing more is due, at the same instant too."""
    filled = child(1, filled="0.05", cause=EndCause.FILLED)
    refused = child(0, attempt=1, cause=EndCause.REFUSED)
    assert next_step(child(0), filled, refused) == Finished(Decimal("0.05"))


def test_attempts_are_used_up() -> None:
    """A child that never arrives is tried three times in all, then its turn is over."""
    tries = [child(0, attempt=n) for n in range(MAX_ATTEMPTS)]
    assert isinstance(next_step(*tries[:-1]), Send)
    assert next_step(*tries) == Finished(ORDER.quantity)


def test_clock_that_was_set_back_makes_nothing_due_twice() -> None:
    """The child is dated before the work began: the market order is sent once all the same."""
    partly = child(0, filled="0.02", cause=EndCause.EXPIRED, at=SLOT - timedelta(seconds=1))
    assert next_step(partly) == Finished(Decimal("0.08"))


@pytest.mark.parametrize("clock_runs", [True, False])
@pytest.mark.parametrize("parts", [[1, *[2] * 19], [2, 1], [2, 3, 1, 3], [3, 1, 1, 2]])
def test_parts_that_no_venue_takes_are_given_up_however_the_order_is_divided(
    parts: list[int], clock_runs: bool
) -> None:
    """Every part of every attempt is rejected, and each time the order is divided otherwise. All
    parts together use up the attempts, so that the work ends.
    """
    children: list[OrderRecord] = []
    for turn in range(20):
        if not isinstance(next_step(*children), Send):
            break
        now = SLOT + timedelta(minutes=turn) * clock_runs
        numbers = islice(PARENT.free_numbers(children), parts[turn % len(parts)])
        children += [
            child(number, attempt=PARENT.attempt(number, children), at=now) for number in numbers
        ]
    else:
        pytest.fail(f"still sending after {len(children)} requests")
    assert len({(order.child, order.attempt) for order in children}) == len(children)
