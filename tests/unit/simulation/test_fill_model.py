"""One fill model: its laws, and that practice exchange, paper account and replay fill alike."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.exchanges.bars_market import BarsMarketData
from penstock.core.bars import BARS_SCHEMA
from penstock.core.clock import SteppedClock
from penstock.core.instruments import Instrument
from penstock.core.machine import RANDOM_IDS, SYSTEM_CLOCK
from penstock.core.orders import OrderRequest, OrderState, OrderType, Side
from penstock.core.proposals import ProposedOrder
from penstock.core.timeframes import Timeframe
from penstock.portfolio.rebalancing import Book, RebalancePolicy, plan_buys, plan_sells
from penstock.practice.candles import GivenCandles
from penstock.practice.clock import VenueTime, stepped_clock
from penstock.practice.filters import SymbolRules
from penstock.practice.market import PracticeMarket
from penstock.practice.matching import MatchingEngine
from penstock.practice.order_api import OrderApi
from penstock.practice.venue import PracticeVenue
from penstock.research.engine.costs import Costs
from penstock.simulation.fill_model import (
    BnbWallet,
    FillModel,
    crosses,
    decimal_of,
    first_bar_through,
    is_through,
)
from penstock.simulation.journal import Journal
from penstock.simulation.paper import PaperExchange
from penstock.simulation.replay import replay

D = Decimal
AT = datetime(2024, 3, 1, tzinfo=UTC)
LOT = D("0.0001")
DAY = timedelta(days=1)
CASH = D(1000)
POLICY = RebalancePolicy()
AAA = Instrument("AAA/USDT", "AAA", "USDT", D("0.01"), LOT, LOT, D(0))

ticks = st.sampled_from([D("1e-8"), D("0.0001"), D("0.01"), D("0.5"), D(10)])
prices = st.decimals("0.00000001", "100000", places=8)
quantities = st.decimals("0.00000001", "100000", places=8)
models = st.builds(
    FillModel,
    taker_fee_bps=st.decimals(0, 1000, places=3),
    maker_fee_bps=st.none() | st.decimals(0, 1000, places=3),
    slippage_bps=st.decimals(0, 1000, places=3),
    fee_asset=st.sampled_from(["received", "quote", "BNB"]),
)


@given(models, st.sampled_from(Side), quantities, prices, st.booleans())
def test_commission_is_its_share_truncated_to_eight_decimals(
    model: FillModel, side: Side, quantity: Decimal, price: Decimal, is_maker: bool
) -> None:
    """The commission is never more than the exact share and less than 1e-8 under it. It is in the
    asset that the model names.
    """
    fill = model.fill(AAA, side, quantity, price, at=AT, is_maker=is_maker)
    in_quote = side is Side.SELL or model.fee_asset == "quote"
    assert fill.fee_asset == ("USDT" if in_quote else "AAA")
    exact = (fill.notional if in_quote else quantity) * model.fee_bps(is_maker) / 10_000
    assert 0 <= exact - fill.fee < D("1e-8")
    assert fill.fee == fill.fee.quantize(D("1e-8"))


@given(models, st.sampled_from(Side), prices, ticks)
def test_taker_fills_on_the_tick_and_never_better_than_the_market(
    model: FillModel, side: Side, known: Decimal, tick: Decimal
) -> None:
    """The price is the known one, worse by the slippage, on the nearest tick that is not better
    than the known price. Where there is none, under one tick, it is the known price.
    """
    price = model.taker_price(side, known, tick)
    assert price > 0
    assert side.sign * (price - known) >= 0
    assert price % tick == 0 or (price == known < tick and side is Side.SELL)
    exact = known + side.sign * max(known * model.slippage_bps / 10_000, tick / 2)
    assert abs(price - exact) <= tick


@given(models, prices, ticks)
def test_bid_is_always_below_the_ask(model: FillModel, known: Decimal, tick: Decimal) -> None:
    """Half a tick of slippage on both sides is a spread of one tick at least."""
    bid, ask = (model.taker_price(side, known, tick) for side in (Side.SELL, Side.BUY))
    assert ask - bid >= tick or bid == min(known, tick)


@given(quantities, st.floats(0, 1e6), st.floats(0.01, 1), quantities)
def test_fills_of_a_bar_are_whole_lots_within_its_share(
    quantity: Decimal, volume: float, participation: float, taken: Decimal
) -> None:
    """The fills of a bar are at most its share of the volume. Without a share only a bar without
    volume binds: it fills nothing.
    """
    got = FillModel(participation=participation).fillable(AAA, quantity, volume, taken)
    assert 0 <= got <= quantity
    assert got in (0, quantity) or (got % LOT == 0 and got + taken <= D(volume * participation))
    unbound = FillModel(participation=None).fillable(AAA, quantity, volume, taken)
    assert unbound == (quantity if volume > 0 else 0)


@given(st.sampled_from(Side), prices, prices)
def test_resting_order_fills_only_where_the_market_went_through_its_limit(
    side: Side, limit: Decimal, price: Decimal
) -> None:
    """One price and a row of bars say the same; a limit that was only touched does not fill."""
    bar = np.array([float(price)])
    assert (first_bar_through(side, limit, bar, bar) is not None) == is_through(side, limit, price)
    assert not is_through(side, limit, limit)
    assert not (is_through(side, limit, price) and not crosses(side, limit, price))


@pytest.mark.parametrize(("free", "paid_in"), [("0.0003", "BNB"), ("0.00009", "USDT")])
def test_commission_in_bnb_needs_enough_of_it(free: str, paid_in: str) -> None:
    """40 USDT at 10 bps are 0.0001 BNB at 400; who has less pays in what the sale brings."""
    wallet = BnbWallet(D(free), D(400))
    fill = FillModel(fee_asset="BNB").fill(AAA, Side.SELL, D(4), D(10), at=AT, bnb=wallet)
    assert (fill.fee_asset, fill.fee) == (paid_in, D("0.0001") if paid_in == "BNB" else D("0.04"))


def test_model_has_the_costs_of_the_backtest() -> None:
    """Research states costs as floats; the model has the same figures as exact decimals."""
    model = FillModel.of(Costs(fee_bps=7.5, slippage_bps=0.3, max_volume_share=0.2))
    assert (model.taker_fee_bps, model.slippage_bps) == (D("7.5"), D("0.3"))
    assert (model.min_slippage_ticks, model.participation) == (D("0.5"), 0.2)
    assert model.fee_bps(is_maker=True) == D("7.5")


@pytest.mark.parametrize(
    ("known", "bid", "ask"),
    [("0.13", "0.13", "0.14"), ("1000", "999.50", "1000.50"), ("1000.01", "999.51", "1000.51")],
)
def test_spread_is_the_slippage_and_a_tick_at_least(known: str, bid: str, ask: str) -> None:
    """Five basis points of 0.13 are far under a tick of 0.01: the known price is the bid then, and
    the next tick the ask. Of 1,000 they are fifty ticks.
    """
    model = FillModel.of(Costs(slippage_bps=5))
    prices = [model.taker_price(side, D(known), AAA.price_tick) for side in (Side.SELL, Side.BUY)]
    assert prices == [D(bid), D(ask)]


class OnPractice:
    """One account of a practice exchange in this process, reached by its signed calls."""

    def __init__(self, frame: pl.DataFrame, model: FillModel) -> None:
        market = PracticeMarket.of(GivenCandles({Timeframe.D1: frame}).load())
        self.venue = PracticeVenue(
            Journal(), VenueTime(stepped_clock(AT), machine_clock=SYSTEM_CLOCK)
        )
        rules = {"AAAUSDT": SymbolRules(AAA, D(10**6), D(10**15))}
        self.account = self.venue.open_account("key", "secret", {"USDT": CASH})
        self.api = OrderApi(MatchingEngine(market, rules, self.venue, model), RANDOM_IDS)

    def move(self, at: datetime) -> None:
        self.venue.move_clock(round(at.timestamp() * 1000))

    def send(self, order: ProposedOrder) -> None:
        sent = {"symbol": "AAAUSDT", "side": order.side.name, "type": "MARKET"}
        self.api.place(self.account, {**sent, "quantity": f"{order.quantity:f}"})

    def balances(self) -> dict[str, Decimal]:
        return {asset: held.total for asset, held in self.account.balances.assets.items()}


class OnPaper:
    """One paper account over the same bars."""

    def __init__(self, frame: pl.DataFrame, model: FillModel) -> None:
        self.clock = SteppedClock(AT)
        market = BarsMarketData({Timeframe.D1: frame}, {"AAA/USDT": AAA}, self.clock)
        self.paper = PaperExchange(market, model, {"USDT": CASH})

    def move(self, at: datetime) -> None:
        self.clock.at = at

    def send(self, order: ProposedOrder) -> None:
        request = OrderRequest(
            f"{self.clock.at}", "AAA/USDT", order.side, OrderType.MARKET, order.quantity
        )
        self.paper.submit(request)

    def balances(self) -> dict[str, Decimal]:
        return dict(self.paper.balances())


@pytest.mark.parametrize("path", [(10.0, 9.9), (10.0, 11.0, 10.0)])
def test_paper_order_inside_the_spread_waits_for_another_price(path: tuple[float, ...]) -> None:
    """At a last price of 10 with an ask of 10.05, a buy at 10.02 rests. The price that it found
    fills nothing. A next one under the limit does, at the limit, even where it is 10 again.
    """
    rows = [("AAA/USDT", AT + day * DAY, *[price] * 4, 1e3) for day, price in enumerate(path)]
    frame = pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")
    venue = OnPaper(frame, FillModel(slippage_bps=D(50)))
    order = OrderRequest("inside", "AAA/USDT", Side.BUY, OrderType.LIMIT, D(1), D("10.02"))
    assert venue.paper.submit(order).state is OrderState.OPEN
    for day in range(1, len(path)):
        assert [each.client_order_id for each in venue.paper.open_orders()] == ["inside"]
        venue.move(AT + day * DAY)
    (fill,) = venue.paper.fills("AAA/USDT", AT)
    assert fill.price == D("10.02")


def traded(
    venue: OnPractice | OnPaper, prices: list[float], weights: list[float]
) -> list[dict[str, Decimal]]:
    """Return the balances after each day on which the planner's order was sent."""
    after = []
    for day, (price, weight) in enumerate(zip(prices, weights, strict=True)):
        venue.move(AT + day * DAY)
        known, held = {"AAA/USDT": decimal_of(price)}, venue.balances()
        book = Book({"AAA/USDT": weight}, held, known, {"AAA/USDT": AAA}, POLICY)
        for order in plan_sells(book)[0] or plan_buys(book)[0]:
            venue.send(order)
        after.append({asset: amount for asset, amount in venue.balances().items() if amount})
    return after


days = st.tuples(st.floats(0.05, 1000).map(lambda price: round(price, 8)), st.floats(0, 0.8))


@settings(max_examples=60)
@given(
    model=st.builds(
        FillModel,
        taker_fee_bps=st.decimals(0, 100, places=2),
        slippage_bps=st.decimals(0, 50, places=2),
        min_slippage_ticks=st.sampled_from([D(0), D("0.5")]),
        fee_asset=st.sampled_from(["received", "quote"]),
        participation=st.none() | st.floats(0.01, 1),
    ),
    path=st.lists(days, min_size=1, max_size=4),
    volume=st.floats(0, 10_000),
)
def test_practice_paper_and_replay_fill_alike(
    model: FillModel, path: list[tuple[float, float]], volume: float
) -> None:
    """The same targets over the same bars leave the same balances, day for day and to the last
    digit. Practice and replay always agree; paper agrees where volume does not bind.
    """
    prices, weights = [price for price, _ in path], [weight for _, weight in path]
    rows = [
        ("AAA/USDT", AT + day * DAY, *[price] * 4, volume)
        for day, price in enumerate([prices[0], *prices], start=-1)
    ]
    frame = pl.DataFrame(rows, schema=BARS_SCHEMA, orient="row")
    targets = {AT + day * DAY: {"AAA/USDT": weight} for day, weight in enumerate(weights)}
    replayed = replay(frame, targets, POLICY, {"AAA/USDT": AAA}, CASH, model)
    balances = [
        {asset: amount for asset, amount in row.balances.items() if amount} for row in replayed.rows
    ]
    assert traded(OnPractice(frame, model), prices, weights) == balances
    if model.participation is None and volume > 0:
        assert traded(OnPaper(frame, model), prices, weights) == balances


def test_resting_order_pays_the_makers_commission() -> None:
    """A maker's fill of 100 USDT at 2 bps costs 0.02, a taker's at 10 bps 0.1. Without a rate of
    its own a maker pays the taker's.
    """
    model = FillModel(maker_fee_bps=D(2))
    fees = [
        each.fill(AAA, Side.SELL, D(10), D(10), at=AT, is_maker=is_maker).fee
        for each, is_maker in ((model, True), (model, False), (FillModel(), True))
    ]
    assert fees == [D("0.02"), D("0.1"), D("0.1")]
