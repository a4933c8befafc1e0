"""Dividing orders over what venues offer. Orders share free balances, and the result has the rest
that no venue takes.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from penstock.core.instruments import Instrument, common_rules
from penstock.core.orders import Phase, Side
from penstock.core.proposals import ProposedOrder
from penstock.core.quotes import Quote
from penstock.execution.routing.limits import PartLimits
from penstock.execution.routing.router import route_orders
from penstock.ports import VenueOffer

ZERO = Decimal(0)


def offer(
    name: str,
    free: Mapping[str, str],
    fee: str = "0",
    ask: str = "100",
    size: str = "1000",
    **more: str,
) -> VenueOffer:
    lot = Decimal(more.get("lot", "0.001"))
    symbols = more.get("symbols", "X/USDT Y/USDT").split()
    rules = {s: Instrument(s, s[0], "USDT", Decimal("0.01"), lot, lot, Decimal(5)) for s in symbols}
    quote = Quote(Decimal(ask), Decimal(ask), Decimal(size), Decimal(size))
    return VenueOffer(
        name,
        rules,
        dict.fromkeys(symbols, quote),
        {a: Decimal(q) for a, q in free.items()},
        Decimal(fee),
    )


def draft(symbol: str, quantity: str, side: Side = Side.BUY) -> ProposedOrder:
    return ProposedOrder(
        symbol,
        side,
        Decimal(quantity),
        Decimal(100),
        0.1,
        Phase.BUYS if side is Side.BUY else Phase.SELLS,
    )


def test_buys_share_the_cash_of_a_venue() -> None:
    """The first order spends the cheaper venue's cash. The second one finds the rest of it and the
    other venue's.
    """
    offers = [offer("dear", {"USDT": "1000"}, fee="20"), offer("cheap", {"USDT": "500"})]
    routed = route_orders([draft("X/USDT", "4"), draft("Y/USDT", "4")], offers, ZERO, PartLimits())
    assert [(part.symbol, part.venue, part.quantity) for part in routed.parts] == [
        ("X/USDT", "cheap", 4),
        ("Y/USDT", "cheap", 1),
        ("Y/USDT", "dear", 3),
    ]
    assert routed.skipped == ()


def test_margin_is_kept_back_of_the_cash_and_limits_bound_what_a_buy_may_cost() -> None:
    """Of 1,000 with 10% kept back, 9.09 units at 100 can be paid for; at a limit of 125, 7.27."""
    offers = [offer("only", {"USDT": "1000"})]
    assert [
        part.quantity
        for part in route_orders(
            [draft("X/USDT", "20")], offers, Decimal("0.1"), PartLimits()
        ).parts
    ] == [Decimal("9.09")]
    limited = route_orders(
        [draft("X/USDT", "20")], offers, Decimal("0.1"), PartLimits(), {"X/USDT": Decimal(125)}
    )
    assert [part.quantity for part in limited.parts] == [Decimal("7.272")]


def test_sells_go_where_the_asset_is_and_the_rest_is_told() -> None:
    """Seven are held at two venues; of ten wanted three are left out, with what each venue had."""
    offers = [offer("a", {"X": "4"}, ask="101"), offer("b", {"X": "3.0004"})]
    routed = route_orders([draft("X/USDT", "10", Side.SELL)], offers, ZERO, PartLimits())
    assert {part.venue: part.quantity for part in routed.parts} == {"a": 4, "b": 3}
    (skipped,) = routed.skipped
    assert skipped.reason == (
        "sell of 3 of 10 fits no venue: a takes 4, it has 4 X free; b takes 3, it has 3.0004 X free"
    )


def test_every_venue_says_why_it_takes_nothing() -> None:
    """An unreachable venue, an unlisted symbol and a missing quote have different reasons."""
    unquoted = replace(offer("dry", {"USDT": "1000"}), quotes={})
    offers = [
        VenueOffer("gone", error="no answer in 5 s"),
        offer("other", {"USDT": "9"}, symbols="Y/USDT"),
        unquoted,
    ]
    (skipped,) = route_orders([draft("X/USDT", "1")], offers, ZERO, PartLimits()).skipped
    why = "gone does not answer (no answer in 5 s); other does not list it; dry quotes no price"
    assert skipped.reason == f"buy of 1 of 1 fits no venue: {why}"


steps = st.sampled_from(["0.00001", "0.0003", "0.001", "0.002", "0.5", "1", "3", "10"]).map(Decimal)


@given(
    st.lists(
        st.builds(lambda *a: Instrument("X/USDT", "X", "USDT", *a), steps, steps, steps, steps),
        min_size=1,
        max_size=4,
    )
)
def test_common_rules_are_legal_at_every_venue(instruments: list[Instrument]) -> None:
    """A whole number of common lots and ticks is one at every venue. What passes the common
    minimums passes each venue's.
    """
    common = common_rules(instruments)
    for instrument in instruments:
        assert common.lot_step % instrument.lot_step == 0
        assert common.price_tick % instrument.price_tick == 0
        assert common.min_quantity >= instrument.min_quantity
        assert common.min_notional >= instrument.min_notional
    assert common_rules(instruments[:1]) == instruments[0]


def test_common_maximum_is_the_smallest() -> None:
    """A larger order is sent in pieces, each of which every venue takes."""
    one = Decimal(1)
    small = Instrument("X/USDT", "X", "USDT", one, one, one, one, max_quantity=Decimal(7))
    assert common_rules([small, replace(small, max_quantity=Decimal(9))]).max_quantity == 7
    assert common_rules([small, replace(small, max_quantity=None)]).max_quantity == 7


@given(
    st.lists(
        st.tuples(st.sampled_from(["X/USDT", "Y/USDT"]), st.integers(1, 50_000)),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(0, 5_000), min_size=1, max_size=3),
    st.sampled_from(["0", "0.001", "0.01"]),
)
def test_parts_of_all_orders_together_cost_no_more_than_is_free(
    wanted: list[tuple[str, int]], cash: list[int], margin: str
) -> None:
    """However many buys share the venues: at no venue do they cost more than its cash less the
    margin.
    """
    offers = [
        offer(f"v{n}", {"USDT": str(free)}, fee=str(n * 10), size="3")
        for n, free in enumerate(cash)
    ]
    orders = [draft(symbol, str(Decimal(lots) / 1000)) for symbol, lots in wanted]
    routed = route_orders(orders, offers, Decimal(margin), PartLimits())
    for each in offers:
        price = 100 * (1 + each.fee_bps / 10_000)
        spent = (
            sum((part.quantity for part in routed.parts if part.venue == each.venue), ZERO) * price
        )
        assert spent <= each.free["USDT"] / (1 + Decimal(margin)) + Decimal("1e-12")
    total = sum((part.quantity for part in routed.parts), ZERO)
    assert total <= sum((order.quantity for order in orders), ZERO)


def test_venue_whose_mid_is_beyond_the_collar_gets_nothing() -> None:
    """A price 40% below or 60% above the approved one is more likely wrong than true. The other
    venue takes all, or the rest is reported.
    """
    collar = PartLimits(collar=Decimal("0.03"))
    cash = {"USDT": "100000"}
    for wrong in ("60", "160", "103.01"):
        offers = [offer("good", cash), offer("wrong", cash, ask=wrong)]
        routed = route_orders([draft("X/USDT", "4")], offers, ZERO, collar)
        assert [(part.venue, part.quantity) for part in routed.parts] == [("good", 4)]
        (skipped,) = route_orders([draft("X/USDT", "4")], offers[1:], ZERO, collar).skipped
        assert f"wrong quotes {wrong}, " in skipped.reason
        assert "from the approved price 100; at most 3.0% is allowed" in skipped.reason
    near = route_orders([draft("X/USDT", "4")], [offer("near", cash, ask="97")], ZERO, collar)
    assert [(part.venue, part.quantity) for part in near.parts] == [("near", 4)]


def test_exit_is_not_held_back_by_collar_or_notional() -> None:
    """A position that is being closed goes where it can be sold, whatever the venue quotes; other
    sells do not.
    """
    offers = [offer("only", {"X": "4", "Y": "4"}, ask="60")]
    orders = [draft("X/USDT", "4", Side.SELL), draft("Y/USDT", "4", Side.SELL)]
    bounds = PartLimits(Decimal("0.03"), Decimal(100), {"X/USDT": Decimal(4)})
    routed = route_orders(orders, offers, ZERO, bounds)
    assert [(part.symbol, part.quantity) for part in routed.parts] == [("X/USDT", 4)]
    assert not route_orders([draft("X/USDT", "4")], offers, ZERO, bounds).parts, "a buy is no exit"


def test_dearer_venue_gets_fewer_lots_so_that_no_more_is_spent_than_was_approved() -> None:
    """Four were approved at 100. At 102 the 400 buy 3.921 of them, and the result has the rest."""
    offers = [offer("dearer", {"USDT": "1000"}, ask="102")]
    routed = route_orders([draft("X/USDT", "4")], offers, ZERO, PartLimits(Decimal("0.03")))
    assert [part.quantity for part in routed.parts] == [Decimal("3.921")]
    assert routed.skipped[0].reason.startswith(
        "buy of 0.079 of 4 fits no venue: dearer takes 3.921"
    )
    assert routed.skipped[0].reason.endswith("more than 400.00 is not approved")


def test_sell_is_bounded_by_the_order_limit_and_not_by_what_was_approved() -> None:
    """A better price is no reason to sell less, but no order of ours comes to more than
    max_order_notional.
    """
    offers = [offer("better", {"X": "4"}, ask="102")]
    order = draft("X/USDT", "4", Side.SELL)
    assert [part.quantity for part in route_orders([order], offers, ZERO, PartLimits()).parts] == [
        4
    ]
    limited = route_orders([order], offers, ZERO, PartLimits(max_notional=Decimal(405)))
    assert [part.quantity for part in limited.parts] == [Decimal("3.970")]


@given(
    st.lists(
        st.tuples(
            st.integers(80, 125), st.integers(1, 60), st.sampled_from(["0.001", "0.03", "1"])
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 60_000),
    st.sampled_from(Side),
    st.none() | st.integers(1, 5_000),
)
def test_parts_keep_the_collar_and_the_notional_whatever_is_quoted(
    venues: list[tuple[int, int, str]], lots: int, side: Side, limit: int | None
) -> None:
    """No part passes the collar. No sum passes the approved notional (buys) and the order limit.
    Parts are whole lots, and the rest is returned.
    """
    wealth = {"USDT": "1000000", "X": "1000"}
    offers = [
        offer(f"v{n}", wealth, ask=str(ask), size=str(size), lot=lot)
        for n, (ask, size, lot) in enumerate(venues)
    ]
    order = draft("X/USDT", str(Decimal(lots) / 1000), side)
    bounds = PartLimits(Decimal("0.05"), None if limit is None else Decimal(limit))
    routed = route_orders([order], offers, ZERO, bounds)
    by_name = {each.venue: each.instruments["X/USDT"] for each in offers}
    for part in routed.parts:
        assert 95 <= part.price <= 105
        assert by_name[part.venue].round_lots(part.quantity) == part.quantity
        assert by_name[part.venue].refusal(part.quantity, part.price) is None
    worth = sum((part.notional for part in routed.parts), ZERO)
    assert side is Side.SELL or worth <= order.notional
    assert limit is None or worth <= limit
    sent = sum((part.quantity for part in routed.parts), ZERO)
    assert sent == order.quantity or (sent < order.quantity and len(routed.skipped) == 1)
