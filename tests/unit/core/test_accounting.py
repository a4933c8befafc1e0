"""What a fill changes: the rule, stated once more by cases, and the laws that hold for any fill."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.accounting import balances_of, changes_of, effect_of, summed, venue_order
from penstock.core.errors import DataError
from penstock.core.orders import Fill, Side

AT = datetime(2025, 6, 1, tzinfo=UTC)
D = Decimal

#: From 1e-24 to 1e18, with up to 30 digits: more than venues and tokens have.
amounts = st.decimals(min_value=D("1e-24"), max_value=D("1e18"), places=24)
fills = st.builds(
    Fill,
    trade_id=st.just("t"),
    client_order_id=st.just("order"),
    symbol=st.just("BTC/USDT"),
    side=st.sampled_from(Side),
    quantity=amounts,
    price=amounts,
    fee=st.just(D(0)) | amounts,
    fee_asset=st.sampled_from(["BTC", "USDT", "BNB"]),
    at=st.just(AT),
)


def fill(side: Side, fee: str, fee_asset: str) -> Fill:
    return Fill("t", "order", "BTC/USDT", side, D(2), D(100), D(fee), fee_asset, AT)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (fill(Side.BUY, "0.002", "BTC"), {"BTC": D("1.998"), "USDT": D(-200)}),
        (fill(Side.SELL, "0.002", "BTC"), {"BTC": D("-2.002"), "USDT": D(200)}),
        (fill(Side.BUY, "0.2", "USDT"), {"BTC": D(2), "USDT": D("-200.2")}),
        (fill(Side.SELL, "0.2", "USDT"), {"BTC": D(-2), "USDT": D("199.8")}),
        (fill(Side.BUY, "0.1", "BNB"), {"BTC": D(2), "USDT": D(-200), "BNB": D("-0.1")}),
        (fill(Side.SELL, "-0.1", "BNB"), {"BTC": D(-2), "USDT": D(200), "BNB": D("0.1")}),
        (fill(Side.BUY, "0", "BNB"), {"BTC": D(2), "USDT": D(-200)}),
    ],
    ids=["base, buy", "base, sell", "quote, buy", "quote, sell", "third", "rebate", "no fee"],
)
def test_fill_moves_base_quote_and_the_asset_of_its_fee(
    made: Fill, expected: dict[str, Decimal]
) -> None:
    """A buy brings base and costs quote, a sell the opposite; a fee leaves in its own asset."""
    assert changes_of(made) == expected


@given(fills)
def test_fill_changes_exactly_what_its_figures_say(made: Fill) -> None:
    """Without the fee, base and quote move against each other at the price, to the last digit. With
    it, the fee alone is missing.
    """
    effect = effect_of(made, "BTC", "USDT")
    with localcontext(prec=200):
        assert effect.traded.amount * made.price == -effect.paid.amount
        bought = made.side is Side.BUY
        assert (effect.traded.amount > 0, effect.paid.amount < 0) == (bought, bought)
        moved = {"BTC": effect.traded.amount, "USDT": effect.paid.amount}
        for asset in ("BTC", "USDT", "BNB"):
            fee = made.fee if asset == made.fee_asset else D(0)
            assert effect.of(asset) == moved.get(asset, D(0)) - fee


@given(st.lists(fills, max_size=8), st.randoms(use_true_random=False))
def test_sum_does_not_depend_on_order_or_grouping(
    made: list[Fill], shuffler: random.Random
) -> None:
    """Positions are the same summed one by one, in another order, or in two parts."""
    changes = [changes_of(each) for each in made]
    whole = balances_of(changes)
    shuffled = shuffler.sample(changes, len(changes))
    assert balances_of(shuffled) == whole
    assert balances_of([summed(changes[:3]), summed(changes[3:])]) == whole
    assert all(whole.values())


def test_opposite_fills_leave_nothing() -> None:
    """What cancels is absent from positions; it stays, with zero, in a sum of changes."""
    both = [changes_of(fill(side, "0", "USDT")) for side in Side]
    assert balances_of(both) == {}
    assert summed(both) == {"BTC": D(0), "USDT": D(0)}


def test_symbol_of_no_spot_market_is_refused() -> None:
    """A perpetual moves no base: its fill is not taken for one of a spot market."""
    made = Fill("t", "o", "BTC/USDT:USDT", Side.BUY, D(1), D(1), D(0), "USDT", AT)
    with pytest.raises(DataError, match="BTC/USDT:USDT"):
        changes_of(made)


def test_fills_of_one_instant_are_in_the_order_of_their_numbers() -> None:
    """The venue numbered them: 9 comes before 10, whatever their texts sort to."""
    made = [replace(fill(Side.BUY, "0", "USDT"), trade_id=name) for name in ("10", "9", "100")]
    earlier = replace(made[0], trade_id="500", at=AT - timedelta(seconds=1))
    in_order = sorted([*made, earlier], key=venue_order)
    assert [each.trade_id for each in in_order] == ["500", "9", "10", "100"]
