"""Pieces: what is more than the venue takes at once leaves in legal pieces, never more of it."""

from decimal import Decimal
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.instruments import Instrument
from penstock.core.order_limits import OrderLimits
from penstock.core.orders import OrderType
from penstock.execution.algorithms.pieces import Pieces, least_quantity, pieces

PRICE = Decimal(10)


def market(
    *,
    minimum: int = 1,
    most: int | None = None,
    market_most: int | None = None,
    notional: int = 0,
    market_notional: int | None = None,
    lot: str = "1",
) -> Instrument:
    """Return an instrument with these bounds: quantities in lots, notionals in quote units."""
    step = Decimal(lot)
    limits = OrderLimits(
        market_quantity=None if market_most is None else step * market_most,
        market_notional=None if market_notional is None else Decimal(market_notional),
    )
    return Instrument(
        "X/USDT",
        "X",
        "USDT",
        Decimal("0.01"),
        step,
        step * minimum,
        Decimal(notional),
        None if most is None else step * most,
        limits=limits,
    )


def sizes(quantity: int, instrument: Instrument, kind: OrderType = OrderType.MARKET) -> list[int]:
    return [int(piece) for piece in pieces(kind, Decimal(quantity), PRICE, instrument).quantities]


def test_market_order_over_its_maximum_leaves_in_equal_pieces() -> None:
    """LOT_SIZE allows 90,000, MARKET_LOT_SIZE 2,500: 4,000 at the market are twice 2,000."""
    binance = market(most=90_000, market_most=2_500)
    assert sizes(4_000, binance) == [2_000, 2_000]
    assert sizes(4_000, binance, OrderType.LIMIT) == [4_000]
    assert sizes(200_000, binance, OrderType.LIMIT) == [66_667, 66_667, 66_666]
    assert sizes(2_500, binance) == [2_500]


def test_notional_maximum_is_kept_with_headroom() -> None:
    """A market order of 1,100 quote units at most: 100 lots at 10, for the price may rise."""
    assert sizes(300, market(market_notional=1_100)) == [100, 100, 100]


def test_rest_that_no_piece_can_have_is_left() -> None:
    """Pieces of six to ten: eleven are no two pieces, so ten leave and one is left."""
    narrow = market(minimum=6, market_most=10)
    assert pieces(OrderType.MARKET, Decimal(11), PRICE, narrow) == Pieces(
        (Decimal(10),), Decimal(1)
    )
    assert sizes(12, narrow) == [6, 6]


@pytest.mark.parametrize("most", [0, 3])
def test_maximum_below_the_minimum_leaves_nothing_to_send(most: int) -> None:
    """A venue whose bounds exclude each other takes nothing: all is left."""
    impossible = market(minimum=5, market_most=most)
    assert pieces(OrderType.MARKET, Decimal(20), PRICE, impossible) == Pieces((), Decimal(20))


bounds = st.none() | st.integers(1, 5_000)


@given(
    st.integers(1, 50_000),
    st.integers(1, 400),
    bounds,
    bounds,
    st.integers(0, 2_000),
    st.none() | st.integers(1, 100_000),
    st.sampled_from(["1", "0.001", "0.05"]),
    st.sampled_from(OrderType),
)
@settings(max_examples=1_000)
def test_pieces_are_legal_and_never_more_than_asked(
    lots: int,
    minimum: int,
    most: int | None,
    market_most: int | None,
    notional: int,
    market_notional: int | None,
    lot: str,
    kind: OrderType,
) -> None:
    """Pieces and what is left sum to the quantity. Each piece is in whole lots, within the bounds,
    and equal to the others up to a lot. Something is left only where the bounds are closer than a
    factor of two, and it is less than another piece needs.
    """
    instrument = market(
        minimum=minimum,
        most=most,
        market_most=market_most,
        notional=notional,
        market_notional=market_notional,
        lot=lot,
    )
    quantity = instrument.lot_step * lots
    if instrument.refusal(quantity, PRICE) is not None:
        return
    cut = pieces(kind, quantity, PRICE, instrument)
    assert sum(cut.quantities, cut.left) == quantity
    assert cut.left >= 0
    for piece in cut.quantities:
        assert piece == instrument.round_lots(piece)
        assert instrument.refusal(piece, PRICE) is None
        assert instrument.excess(kind, piece, PRICE) is None
    largest, least = instrument.largest(kind, PRICE), least_quantity(instrument, PRICE)
    if cut.quantities:
        assert max(cut.quantities) - min(cut.quantities) <= instrument.lot_step
    if cut.left:
        assert largest is not None
        assert largest < 2 * least
        assert not cut.quantities or set(cut.quantities) == {largest}
    if largest is not None and cut.quantities and not cut.left:
        assert len(cut.quantities) == ceil(quantity / largest)
