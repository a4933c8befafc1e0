"""What a venue states of the largest order: read from each venue's own fields, and kept by the
practice exchange over the wire.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.adapters.exchanges.ccxt_market import CcxtMarketData
from penstock.core.errors import VenueRejectedError
from penstock.core.instruments import Instrument
from penstock.core.order_limits import NO_LIMITS, OrderLimits, PriceBand
from penstock.core.orders import OrderRequest, OrderType, Side
from penstock.execution.algorithms.pieces import pieces
from penstock.practice.control import PracticeControl
from tests.contracts.exchanges.constructed_venue import ConstructedVenue, Said

BAND = (Decimal("0.9"), Decimal("1.05"), Decimal("0.95"), Decimal("1.1"))


@pytest.fixture
def limited(control: PracticeControl) -> Iterator[PracticeControl]:
    """The practice exchange, whose orders are not bounded any more after the test."""
    yield control
    control.limit_orders("AAA/USDT", max_notional="9000000")


def order(quantity: str, side: Side = Side.BUY, price: Decimal | None = None) -> OrderRequest:
    kind = OrderType.MARKET if price is None else OrderType.LIMIT
    name = f"{side}-{quantity}-{price}".replace(".", "_")
    return OrderRequest(name, "AAA/USDT", side, kind, Decimal(quantity), price)


def price_of(exchange: CcxtExchange) -> Decimal:
    return exchange.last_prices(["AAA/USDT"])["AAA/USDT"]


def refused(exchange: CcxtExchange, request: OrderRequest) -> str:
    with pytest.raises(VenueRejectedError) as error:
        exchange.submit(request)
    assert error.value.code == "-1013"
    return str(error.value)


def test_instrument_has_the_limits_of_binances_filters(
    connect: Callable[..., CcxtExchange], limited: PracticeControl
) -> None:
    """All four filters are read over the wire. Where they are not stated, nothing is bounded."""
    exchange = connect()
    assert exchange.instruments()["BBB/USDT"].limits == OrderLimits(
        limit_notional=Decimal(9_000_000)
    )
    limited.limit_orders(
        "AAA/USDT",
        market_quantity="2.5",
        max_notional="5000",
        apply_max_to_market=True,
        position="60",
        price_band=BAND,
    )
    assert exchange.instruments()["AAA/USDT"].limits == OrderLimits(
        market_quantity=Decimal("2.5"),
        market_notional=Decimal(5000),
        limit_notional=Decimal(5000),
        position=Decimal(60),
        price_band=PriceBand(*BAND),
    )


def test_market_lot_size_bounds_market_orders_alone(
    connect: Callable[..., CcxtExchange], limited: PracticeControl
) -> None:
    """4 at the market are refused, and taken with a limit price. Their pieces are taken."""
    exchange = connect()
    limited.limit_orders("AAA/USDT", market_quantity="2.5")
    assert "MARKET_LOT_SIZE" in refused(exchange, order("4"))
    price, market = price_of(exchange), exchange.instruments()["AAA/USDT"]
    cut = pieces(OrderType.MARKET, Decimal(4), price, market)
    assert cut.quantities == (2, 2)
    for number, quantity in enumerate(cut.quantities):
        exchange.submit(
            OrderRequest(f"p{number}", "AAA/USDT", Side.BUY, OrderType.MARKET, quantity)
        )
    exchange.submit(order("4", price=price - 4))


@pytest.mark.parametrize("applies", [True, False])
def test_largest_notional_bounds_market_orders_where_it_applies(
    connect: Callable[..., CcxtExchange], limited: PracticeControl, applies: bool
) -> None:
    """A limit order is always bounded, a market order with applyMaxToMarket."""
    exchange = connect()
    price = price_of(exchange)
    limited.limit_orders("AAA/USDT", max_notional=price * 3, apply_max_to_market=applies)
    assert "NOTIONAL" in refused(exchange, order("4", price=price - 1))
    market = exchange.instruments()["AAA/USDT"]
    assert (market.excess(OrderType.MARKET, Decimal(4), price) is not None) is applies
    if applies:
        assert "NOTIONAL" in refused(exchange, order("4"))
    else:
        exchange.submit(order("4"))
    for kind in OrderType:
        for quantity in pieces(kind, Decimal(4), price, market).quantities:
            limit = None if kind is OrderType.MARKET else price - 1
            exchange.submit(OrderRequest(f"a-{kind}", "AAA/USDT", Side.BUY, kind, quantity, limit))
            break


@pytest.mark.parametrize(
    ("side", "distance", "is_taken"),
    [
        (Side.BUY, "0.89", False),
        (Side.BUY, "0.91", True),
        (Side.BUY, "1.04", True),
        (Side.BUY, "1.06", False),
        (Side.SELL, "0.94", False),
        (Side.SELL, "0.96", True),
        (Side.SELL, "1.09", True),
        (Side.SELL, "1.11", False),
    ],
)
def test_limit_price_has_a_band_for_each_side(
    connect: Callable[..., CcxtExchange],
    limited: PracticeControl,
    side: Side,
    distance: str,
    is_taken: bool,
) -> None:
    """What the instrument calls the lowest and the highest price is what the venue takes."""
    exchange = connect()
    limited.limit_orders("AAA/USDT", price_band=BAND)
    last, market = price_of(exchange), exchange.instruments()["AAA/USDT"]
    limit = market.round_price(last * Decimal(distance), "ROUND_FLOOR")
    request = order("1", side, limit)
    if is_taken:
        exchange.submit(request)
    else:
        assert "PERCENT_PRICE_BY_SIDE" in refused(exchange, request)
    ends = market.price_range(side, last)
    assert ends is not None
    assert (ends[0] <= limit <= ends[1]) is is_taken


def test_position_counts_what_is_held_and_what_open_buys_may_add(
    connect: Callable[..., CcxtExchange], limited: PracticeControl
) -> None:
    """50 are held and 60 allowed: with an open buy of 6, 5 more are refused and 4 taken. A sell is
    never refused.
    """
    exchange = connect()
    limited.limit_orders("AAA/USDT", position="60")
    exchange.submit(order("6", price=price_of(exchange) / 2))
    assert "MAX_POSITION" in refused(exchange, order("5"))
    exchange.submit(order("4"))
    exchange.submit(order("20", Side.SELL))


def listed(
    venue: str,
    answer: Callable[[str, str, Mapping[str, Any]], Said],
    symbol: str = "AAA/USDT",
) -> Instrument:
    """Return the symbol as unmodified ccxt reads it from these answers."""
    market = CcxtMarketData(venue, rate_limit_ms=0, read_attempts=1)
    market.session.mount("https://", ConstructedVenue(answer))
    return market.instruments()[symbol]


def okx(quote: str = "USDT", **sizes: str) -> Instrument:
    row = {
        "instType": "SPOT",
        "instId": f"AAA-{quote}",
        "baseCcy": "AAA",
        "quoteCcy": quote,
        "tickSz": "0.1",
        "lotSz": "0.0001",
        "minSz": "0.001",
        "state": "live",
        "uly": "",
        **sizes,
    }

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        if path.endswith("time"):
            return 200, {"code": "0", "data": [{"ts": "1764300000000"}]}
        found = [row] if fields.get("instType") == "SPOT" else []
        return 200, {"code": "0", "data": found, "msg": ""}

    return listed("okx", answer, f"AAA/{quote}")


def test_okx_bounds_a_spot_market_order_in_dollars() -> None:
    """`maxMktSz` of a spot market is in USDT: at a price of 4, 1,000,000 of them are 250,000 AAA,
    and not 1,000,000. The smaller of size and amount counts, and a tenth is kept from it.
    """
    market = okx(
        maxMktSz="1000000", maxMktAmt="2000000", maxLmtSz="9999999999", maxLmtAmt="20000000"
    )
    assert (market.max_quantity, market.limits) == (
        Decimal(9999999999),
        OrderLimits(market_notional=Decimal(1_000_000), limit_notional=Decimal(20_000_000)),
    )
    sizes = pieces(OrderType.MARKET, Decimal(600_000), Decimal(4), market).quantities
    assert (len(sizes), sum(sizes)) == (3, 600_000)
    assert all(size * 4 * Decimal("1.1") <= 1_000_000 for size in sizes)


@pytest.mark.parametrize("empty", ["", "0"])
def test_okx_listing_without_maximums_is_not_bounded(empty: str) -> None:
    """An empty text is no bound, and no listing is left out for it."""
    assert okx(maxMktSz=empty, maxMktAmt=empty, maxLmtSz="", maxLmtAmt=empty).limits == NO_LIMITS


def test_okx_dollars_bound_nothing_in_another_quote() -> None:
    """How many dollars a BTC is, is not known here: 1,000,000 BTC are no bound."""
    assert okx("BTC", maxMktSz="1000000", maxMktAmt="1000000").limits == NO_LIMITS


def bybit(**sizes: str) -> Instrument:
    row = {
        "symbol": "AAAUSDT",
        "baseCoin": "AAA",
        "quoteCoin": "USDT",
        "status": "Trading",
        "lotSizeFilter": {"basePrecision": "0.001", "minOrderQty": "0.001", **sizes},
        "priceFilter": {"tickSize": "0.01"},
    }

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        found = [row] if fields.get("category") == "spot" else []
        return 200, {"retCode": 0, "retMsg": "OK", "result": {"list": found}, "time": 1764300000000}

    return listed("bybit", answer)


def test_bybit_bounds_market_and_limit_orders_by_their_own_fields() -> None:
    """ccxt reads `maxOrderQty` and `maxOrderAmt`, which Bybit no longer uses for spot markets."""
    market = bybit(
        maxOrderQty="63",
        maxOrderAmt="100",
        maxLimitOrderQty="830",
        maxMarketOrderQty="41.5",
    )
    assert (market.max_quantity, market.limits) == (
        Decimal(830),
        OrderLimits(market_quantity=Decimal("41.5")),
    )
    assert pieces(OrderType.MARKET, Decimal(80), Decimal(4), market).quantities == (40, 40)
    assert market.excess(OrderType.LIMIT, Decimal(80), Decimal(4)) is None


def test_older_bybit_listing_has_one_maximum() -> None:
    """Where the newer fields are missing, the older one bounds both types."""
    market = bybit(maxOrderQty="63", maxMktOrderQty="20")
    assert (market.max_quantity, market.limits.market_quantity) == (63, 20)


def test_other_venue_has_the_limits_that_ccxt_reads() -> None:
    """WhiteBIT states the largest total of an order of any type."""

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        row = {
            "name": "AAA_USDT",
            "stock": "AAA",
            "money": "USDT",
            "stockPrec": "3",
            "moneyPrec": "2",
            "feePrec": "4",
            "makerFee": "0.1",
            "takerFee": "0.1",
            "minAmount": "0.001",
            "minTotal": "5",
            "maxTotal": "10000000",
            "tradesEnabled": True,
            "isCollateral": False,
            "type": "spot",
        }
        if path.endswith("time"):
            return 200, {"time": 1764300000}
        return 200, [row] if path.endswith("markets") else {}

    total = Decimal(10_000_000)
    limits = listed("whitebit", answer).limits
    assert limits == OrderLimits(market_notional=total, limit_notional=total)
