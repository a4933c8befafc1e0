"""Profit and loss: average cost, fees in every asset, and figures that do not depend on the order
of arrival.
"""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from penstock.core.orders import Fill, Side
from penstock.core.profit import Holding, profits

START = datetime(2025, 6, 1, 23, tzinfo=UTC)
D = Decimal


def fill(
    number: int, side: Side, quantity: str, price: str, fee: str = "0", fee_asset: str = "USDT"
) -> Fill:
    at = START + timedelta(minutes=20 * number)
    return Fill(
        f"t{number}", "order", "BTC/USDT", side, D(quantity), D(price), D(fee), fee_asset, at
    )


def holding_of(*fills: Fill) -> Holding:
    (holding,) = profits([("trend/1", each) for each in fills]).holdings
    return holding


def test_sale_realises_over_the_average_cost() -> None:
    """Two buys at 100 and 200 cost 150 on average. One sold at 180 brings 30, and a cost of 150
    stays for the other.
    """
    held = holding_of(
        fill(1, Side.BUY, "1", "100"), fill(2, Side.BUY, "1", "200"), fill(3, Side.SELL, "1", "180")
    )
    assert (held.quantity, held.cost, held.realised) == (D(1), D(150), D(30))
    assert held.unrealised(D(140)) == D(-10)


def test_quote_fee_raises_the_cost_and_lowers_the_proceeds() -> None:
    """A fee in quote is paid twice over a round trip: what is left of ten is eight."""
    held = holding_of(fill(1, Side.BUY, "1", "100", "1"), fill(2, Side.SELL, "1", "110", "1"))
    assert (held.quantity, held.cost, held.realised, held.fees) == (D(0), D(0), D(8), D(2))


def test_base_fee_leaves_less_at_the_same_cost() -> None:
    """A fee in the base asset changes the position: 0.999 has cost what one cost, and selling it
    says so.
    """
    bought = fill(1, Side.BUY, "1", "100", "0.001", "BTC")
    held = holding_of(bought)
    assert (held.quantity, held.cost, held.fees) == (D("0.999"), D(100), D("0.1"))
    assert holding_of(bought, fill(2, Side.SELL, "0.999", "100")).realised == D("-0.1")


def test_fee_in_a_third_asset_is_kept_in_that_asset() -> None:
    """Nobody says what it is worth here: it is named by asset and stands in no quote figure."""
    held = holding_of(
        fill(1, Side.BUY, "1", "100", "0.02", "BNB"), fill(2, Side.SELL, "1", "100", "0.03", "BNB")
    )
    assert (held.realised, held.fees, held.other_fees) == (D(0), D(0), {"BNB": D("0.05")})


def test_sale_through_zero_begins_anew_at_its_own_price() -> None:
    """A sell of three from a holding of one closes it and owes two at the price of the sell."""
    held = holding_of(fill(1, Side.BUY, "1", "100"), fill(2, Side.SELL, "3", "120"))
    assert (held.quantity, held.cost, held.realised) == (D(-2), D(-240), D(20))


def test_days_and_strategies_are_told_apart() -> None:
    """Each strategy has its own books, and each UTC day its own line. The days add up to the
    realised profit.
    """
    result = profits(
        [
            ("trend/1", fill(1, Side.BUY, "1", "100")),
            ("trend/1", fill(4, Side.SELL, "1", "130", "1")),
            ("pairs/2", fill(2, Side.BUY, "1", "100")),
        ]
    )
    assert [
        (day.day, day.strategy, day.realised, day.traded, day.fills) for day in result.days
    ] == [
        (date(2025, 6, 1), "pairs/2", D(0), D(100), 1),
        (date(2025, 6, 1), "trend/1", D(0), D(100), 1),
        (date(2025, 6, 2), "trend/1", D(29), D(130), 1),
    ]
    assert [(held.strategy, held.quantity) for held in result.holdings] == [
        ("pairs/2", D(1)),
        ("trend/1", D(0)),
    ]


amounts = st.decimals(min_value="0.00000001", max_value="99999999", places=8)
traded = st.tuples(
    st.sampled_from(Side),
    amounts,
    amounts,
    st.decimals(0, 10, places=8),
    st.sampled_from(["BTC", "USDT", "BNB"]),
)


@given(st.lists(traded, max_size=12), st.randoms(use_true_random=False))
def test_no_cash_is_made_or_lost_in_whatever_order_fills_arrive(
    drawn: list[tuple[Side, Decimal, Decimal, Decimal, str]], shuffler: random.Random
) -> None:
    """Realised less cost is the cash that moved, to the last digit, and shuffling the fills changes
    no figure.
    """
    fills = [
        ("trend/1", fill(number, side, str(quantity), str(price), str(fee), asset))
        for number, (side, quantity, price, fee, asset) in enumerate(drawn)
    ]
    result = profits(fills)
    assert profits(shuffler.sample(fills, len(fills))) == result
    with localcontext(prec=400):
        paid = {
            asset: sum((f.fee for _, f in fills if f.fee_asset == asset), D(0))
            for asset in ("BTC", "USDT", "BNB")
        }
        base = sum((f.side.sign * f.quantity for _, f in fills), -paid["BTC"])
        cash = sum((-f.side.sign * f.quantity * f.price for _, f in fills), -paid["USDT"])
        for held in result.holdings:
            assert (held.quantity, held.realised - held.cost) == (base, cash)
            assert held.other_fees.get("BNB", D(0)) == paid["BNB"]
            assert sum((day.realised for day in result.days), D(0)) == held.realised
