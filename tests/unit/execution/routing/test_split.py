"""Splitting an order over venues by quoted cost."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.instruments import Instrument
from penstock.core.orders import Phase, Side
from penstock.core.proposals import ProposedOrder
from penstock.execution.routing.split import Route, VenueQuote, route, unit_price

LOT = Decimal("0.001")


def venue(
    name: str, price: str = "100", fee: str = "10", spread: str = "2", depth: str = "5", **more: str
) -> VenueQuote:
    lot = Decimal(more.get("lot", "0.001"))
    instrument = Instrument(
        "X/USDT", "X", "USDT", Decimal("0.01"), lot, lot, Decimal(more.get("minimum", "5"))
    )
    free = Decimal(more["free"]) if "free" in more else None
    return VenueQuote(
        name, instrument, Decimal(price), Decimal(fee), Decimal(spread), Decimal(depth), free
    )


def order_of(quantity: str, side: Side = Side.BUY) -> ProposedOrder:
    return ProposedOrder(
        "X/USDT",
        side,
        Decimal(quantity),
        Decimal(100),
        0.1,
        Phase.BUYS if side is Side.BUY else Phase.SELLS,
    )


def test_cheapest_venue_is_taken_to_its_depth_then_the_next() -> None:
    """Of 8 the cheaper venue has 5: it gets those, the dearer 3."""
    parts = route(order_of("8"), [venue("dear", fee="20"), venue("cheap", fee="5")]).parts
    assert [(part.venue, part.order.quantity) for part in parts] == [
        ("cheap", Decimal(5)),
        ("dear", Decimal(3)),
    ]
    assert parts[0].cost == Decimal(5) * Decimal("0.06")


def test_fee_and_spread_decide_together_with_the_price() -> None:
    """A lower price loses to a lower fee where price, half the spread and fee come to more."""
    lower_price = venue("lower", price="99.95", fee="20", spread="10")
    assert unit_price(lower_price, Side.BUY) > unit_price(
        venue("flat", fee="5", spread="1"), Side.BUY
    )
    parts = route(order_of("2"), [lower_price, venue("flat", fee="5", spread="1")]).parts
    assert [part.venue for part in parts] == ["flat"]


def test_sell_goes_where_it_yields_most() -> None:
    """For a sell the best venue is the one that pays most after costs."""
    parts = route(
        order_of("2", Side.SELL), [venue("low", price="99"), venue("high", price="101")]
    ).parts
    assert [part.venue for part in parts] == ["high"]
    assert parts[0].order.price == Decimal(101)


def test_what_exceeds_all_depth_goes_to_the_deepest() -> None:
    """20 against depths of 5 and 8: the deeper one takes the 7 that are over."""
    parts = route(order_of("20"), [venue("shallow", fee="1"), venue("deep", depth="8")]).parts
    assert {part.venue: part.order.quantity for part in parts} == {
        "shallow": Decimal(5),
        "deep": Decimal(15),
    }


def test_part_under_a_venues_minimum_joins_another() -> None:
    """The dearer venue would get 0.01, worth 1 and under its minimum: the other takes it too."""
    parts = route(order_of("5.01"), [venue("cheap", fee="1"), venue("dear")]).parts
    assert [(part.venue, part.order.quantity) for part in parts] == [("cheap", Decimal("5.01"))]


def test_account_is_not_asked_for_more_than_it_has() -> None:
    """A venue whose account has 201 USDT gets at most what that buys, all in."""
    parts = route(
        order_of("4"), [venue("poor", fee="0", spread="0", free="201"), venue("rich")]
    ).parts
    assert {part.venue: part.order.quantity for part in parts} == {
        "poor": Decimal("2.01"),
        "rich": Decimal("1.99"),
    }


def test_what_no_venue_takes_is_left() -> None:
    """Free balances, lots and minimums can forbid a part. The result has all that is left, to the
    last lot.
    """
    poor, poorer = (
        venue("a", free="100", fee="0", spread="0"),
        venue("b", free="50", fee="0", spread="0"),
    )
    found = route(order_of("4"), [poor, poorer])
    assert ({part.venue: part.order.quantity for part in found.parts}, found.left) == (
        {"a": 1, "b": Decimal("0.5")},
        Decimal("2.5"),
    )
    assert route(order_of("4"), []) == Route((), Decimal(4))


def test_what_exceeds_all_depth_goes_on_to_who_can_pay_for_it() -> None:
    """The deepest venue has money for 10 of the 12 that it would get: the next deepest takes the
    rest.
    """
    poor = venue("deep", depth="8", free="1000", fee="0", spread="0")
    found = route(order_of("20"), [venue("shallow", fee="1", spread="0"), poor])
    assert ({part.venue: part.order.quantity for part in found.parts}, found.left) == (
        {"deep": 10, "shallow": 10},
        0,
    )


def test_part_may_be_larger_than_its_venue_takes_at_once() -> None:
    """The cheapest venue gets its depth whatever it takes at once: the part leaves in pieces."""
    small = venue("small", fee="0")
    small = replace(small, instrument=replace(small.instrument, max_quantity=Decimal(2)))
    found = route(order_of("5"), [small, venue("large")])
    assert {part.venue: part.order.quantity for part in found.parts} == {"small": Decimal(5)}


@pytest.mark.parametrize(
    ("side", "expected"),
    [(Side.BUY, {"full": Decimal(2), "large": Decimal(3)}), (Side.SELL, {"full": Decimal(5)})],
)
def test_venue_gets_no_more_than_it_lets_the_account_hold(
    side: Side, expected: dict[str, Decimal]
) -> None:
    """A venue that lets two more be held gets a buy of two. A sell is not bounded by it."""
    full = replace(venue("full", fee="0"), room=Decimal(2))
    found = route(order_of("5", side), [full, venue("large")])
    assert {part.venue: part.order.quantity for part in found.parts} == expected


quotes = st.builds(
    lambda name, price, fee, spread, depth, minimum: venue(
        name, str(price), str(fee), str(spread), str(depth), minimum=str(minimum)
    ),
    st.sampled_from("abcdefgh"),
    st.decimals("90", "110", places=2),
    st.integers(0, 50),
    st.integers(0, 50),
    st.decimals("0", "50", places=3),
    st.sampled_from([0, 5, 10]),
)


@given(
    st.lists(quotes, min_size=1, max_size=6, unique_by=lambda quote: quote.venue),
    st.integers(200, 60_000),
    st.sampled_from(Side),
)
@settings(max_examples=300)
def test_parts_sum_exactly_and_are_legal_and_no_dearer_than_one_venue(
    venues: list[VenueQuote], lots: int, side: Side
) -> None:
    """Parts are whole legal lots that sum to the order. No venue with enough depth would alone be
    cheaper by more than a minimum.
    """
    order = order_of(str(lots * LOT), side)
    found = route(order, venues)
    parts = found.parts
    assert (sum(part.order.quantity for part in parts), found.left) == (order.quantity, 0)
    by_name = {quote.venue: quote for quote in venues}
    for part in parts:
        instrument = by_name[part.venue].instrument
        assert instrument.refusal(part.order.quantity, part.order.price) is None
        assert instrument.round_lots(part.order.quantity) == part.order.quantity
    paid = (
        sum(unit_price(by_name[part.venue], side) * part.order.quantity for part in parts)
        * side.sign
    )
    alone = [
        unit_price(quote, side) * order.quantity * side.sign
        for quote in venues
        if quote.depth >= order.quantity
    ]
    # a rest under a venue's minimum of 10 may go to a dearer one
    slack = Decimal(10) * Decimal("0.3") + Decimal("0.01")
    assert not alone or paid <= min(alone) + slack


@given(
    st.lists(
        st.builds(
            lambda quote, lot, free: replace(
                quote,
                instrument=replace(
                    quote.instrument, lot_step=Decimal(lot), min_quantity=Decimal(lot)
                ),
                free=free,
            ),
            quotes,
            st.sampled_from(["0.001", "0.003", "0.01", "1"]),
            st.none() | st.decimals("0", "3000", places=2),
        ),
        max_size=5,
        unique_by=lambda quote: quote.venue,
    ),
    st.integers(1, 60_000),
    st.sampled_from(Side),
)
@settings(max_examples=300)
def test_no_part_is_more_than_its_account_has_and_nothing_is_lost(
    venues: list[VenueQuote], lots: int, side: Side
) -> None:
    """Whatever the lots and balances, the parts are legal and paid for. With what is left they sum
    to the order exactly.
    """
    order = order_of(str(lots * LOT), side)
    found = route(order, venues)
    assert sum((part.order.quantity for part in found.parts), found.left) == order.quantity
    assert found.left >= 0
    by_name = {quote.venue: quote for quote in venues}
    for part in found.parts:
        quote, quantity = by_name[part.venue], part.order.quantity
        assert quote.instrument.refusal(quantity, part.order.price) is None
        assert quote.instrument.round_lots(quantity) == quantity
        assert part.order.venue == part.venue
        spent = quantity * unit_price(quote, side) if side is Side.BUY else quantity
        assert quote.free is None or spent <= quote.free
