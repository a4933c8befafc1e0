"""What orders may say and what the answers say of them, as Binance documents it; amounts add up."""

import json
from dataclasses import replace as replace_fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.order_limits import OrderLimits
from penstock.core.orders import Side
from penstock.core.timeframes import Timeframe
from penstock.practice.binance_errors import PracticeRefusal
from penstock.practice.binance_json import symbol_answer
from penstock.practice.book import TopOfBook
from penstock.practice.filters import rules_of
from penstock.simulation.journal import Journal
from tests.unit.practice.conftest import Frames, Row, Sessions, SignedAccount, bars_frame

D = Timeframe.D1
DAY = timedelta(days=1)
LIMIT = {"symbol": "AAAUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
MARKET = {"symbol": "AAAUSDT", "side": "BUY", "type": "MARKET"}


@pytest.fixture
def wide(open_account: Sessions, frame: Frames) -> SignedAccount:
    """An account on days at 10 with bid 9.95 and ask 10.05."""
    return open_account(
        {D: frame([(10.0, 11.0, 9.0, 10.0, 500.0)] * 3, D)}, slippage_bps=Decimal(50)
    )


@pytest.mark.parametrize(("side", "price"), [("BUY", "10.04"), ("SELL", "9.96")])
@pytest.mark.parametrize("kind", ["LIMIT", "LIMIT_MAKER"])
def test_limit_inside_the_spread_rests_and_fills_as_maker(
    wide: SignedAccount, side: str, price: str, kind: str
) -> None:
    """Nobody sells under the ask or buys above the bid: the order waits for the market, whatever
    its type, and trades at its own price.
    """
    more = {"timeInForce": "GTC"} if kind == "LIMIT" else {}
    given = {"symbol": "AAAUSDT", "side": side, "type": kind, "quantity": "1", "price": price}
    order = wide.ask("POST /api/v3/order", **given, **more)["orderId"]
    assert wide.order(order)["status"] == "NEW"
    wide.step(DAY)
    (trade,) = wide.ask("GET /api/v3/myTrades", symbol="AAAUSDT")
    assert (trade["isMaker"], Decimal(trade["price"])) == (True, Decimal(price))


@pytest.mark.parametrize(("side", "price"), [("BUY", "10.05"), ("SELL", "9.95")])
def test_limit_at_the_other_side_takes_and_a_post_only_one_is_refused(
    wide: SignedAccount, side: str, price: str
) -> None:
    given = {"symbol": "AAAUSDT", "side": side, "quantity": "1", "price": price}
    with pytest.raises(PracticeRefusal, match="immediately match"):
        wide.ask("POST /api/v3/order", **given, type="LIMIT_MAKER")
    answer = wide.ask("POST /api/v3/order", **given, type="LIMIT", timeInForce="GTC")
    assert [Decimal(fill["price"]) for fill in answer["fills"]] == [Decimal(price)]


@pytest.mark.parametrize(
    ("side", "quantity", "spent"),
    [("BUY", "9.95", "99.99750000"), ("SELL", "10.05", "99.99750000")],
)
def test_market_order_in_quote_units_trades_whole_lots_within_the_amount(
    wide: SignedAccount, side: str, quantity: str, spent: str
) -> None:
    """100 USDT buy 9.95 at an ask of 10.05, and 10.05 have to be sold at a bid of 9.95."""
    answer = wide.ask("POST /api/v3/order", **MARKET | {"side": side}, quoteOrderQty="100")
    assert (Decimal(answer["origQty"]), answer["status"]) == (Decimal(quantity), "FILLED")
    assert (answer["origQuoteOrderQty"], answer["cummulativeQuoteQty"]) == ("100.00000000", spent)


def test_quantity_that_quote_units_buy_must_pass_the_filters(wide: SignedAccount) -> None:
    """Nine units are the most of a market order, and 100 USDT would buy 9.95."""
    rules = wide.engine.rules["AAAUSDT"]
    limits = OrderLimits(market_quantity=Decimal(9))
    bounded = replace_fields(rules, instrument=replace_fields(rules.instrument, limits=limits))
    wide.engine.rules["AAAUSDT"] = bounded
    with pytest.raises(PracticeRefusal, match="MARKET_LOT_SIZE"):
        wide.ask("POST /api/v3/order", **MARKET, quoteOrderQty="100")
    assert not wide.account.orders


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (MARKET, -1102),
        (MARKET | {"quantity": "1", "quoteOrderQty": "10"}, -1106),
        (MARKET | {"quoteOrderQty": "4.99"}, -1013),
        (MARKET | {"quoteOrderQty": "10.123456789"}, -1111),
        (LIMIT | {"price": "9", "quoteOrderQty": "10"}, -1102),
        (LIMIT | {"price": "9", "quantity": "1", "stopPrice": "9"}, -1106),
        (LIMIT | {"price": "9", "quantity": "1", "icebergQty": "0.5"}, -1013),
        (LIMIT | {"price": "9", "quantity": "1", "trailingDelta": "100"}, -1013),
        (LIMIT | {"price": "9", "quantity": "1", "selfTradePreventionMode": "TRANSFER"}, -1013),
        (LIMIT | {"price": "9", "quantity": "1", "strategyType": "999999"}, -1134),
        (MARKET | {"type": "STOP_LOSS", "quantity": "1"}, -1102),
        (MARKET | {"type": "STOP_LOSS", "quantity": "1", "stopPrice": "11.001"}, -1013),
        (MARKET | {"type": "STOP_LOSS", "quantity": "1", "stopPrice": "12", "price": "12"}, -1106),
        (LIMIT | {"type": "STOP_LOSS_LIMIT", "quantity": "1", "stopPrice": "12"}, -1102),
    ],
)
def test_order_that_a_type_or_a_symbol_does_not_take_has_binances_code(
    wide: SignedAccount, parameters: dict[str, str], code: int
) -> None:
    """The order and a test of it are refused alike, and nothing changes."""
    for call in ("POST /api/v3/order", "POST /api/v3/order/test"):
        with pytest.raises(PracticeRefusal) as refusal:
            wide.ask(call, **parameters)
        assert refusal.value.code == code
    assert wide.held("USDT") == (Decimal(1000), Decimal(0))
    assert not wide.account.orders


def test_tested_order_is_checked_and_not_placed(wide: SignedAccount) -> None:
    """The answer is empty, or has the commission rates. Funds are not looked at, as at Binance."""
    order = MARKET | {"quantity": "400"}
    assert wide.ask("POST /api/v3/order/test", **order) == {}
    rates = wide.ask("POST /api/v3/order/test", **order, computeCommissionRates="true")
    assert rates["standardCommissionForOrder"]["taker"] == "0.00100000"
    assert wide.account.orders == {}


def test_answer_has_the_form_that_was_asked_for(wide: SignedAccount) -> None:
    """ACK names the order, RESULT describes it, FULL has its fills. A label comes back."""
    order = MARKET | {"quantity": "1", "strategyId": "7", "selfTradePreventionMode": "EXPIRE_BOTH"}
    ack, result, full = (
        wide.ask("POST /api/v3/order", **order, newOrderRespType=kind)
        for kind in ("ACK", "RESULT", "FULL")
    )
    assert set(ack) < set(result) < set(full)
    assert set(full) - set(result) == {"fills"}
    assert (full["strategyId"], full["selfTradePreventionMode"]) == (7, "EXPIRE_BOTH")
    assert full["workingTime"] == full["transactTime"] == wide.time.now_ms()


def test_all_orders_of_a_symbol_are_cancelled_at_once(wide: SignedAccount) -> None:
    """One call ends them and frees what they reserve; without any it is refused."""
    for price in ("8", "9"):
        wide.place("BUY", "1", price)
    answers = wide.ask("DELETE /api/v3/openOrders", symbol="AAAUSDT")
    assert [(each["orderId"], each["status"]) for each in answers] == [
        (1, "CANCELED"),
        (2, "CANCELED"),
    ]
    assert wide.held("USDT") == (Decimal(1000), Decimal(0))
    with pytest.raises(PracticeRefusal, match="Unknown order") as refusal:
        wide.ask("DELETE /api/v3/openOrders", symbol="AAAUSDT")
    assert refusal.value.code == -2011


def replace(session: SignedAccount, mode: str, order_id: int, price: str) -> Any:
    return session.ask(
        "POST /api/v3/order/cancelReplace",
        **LIMIT | {"quantity": "1", "price": price, "cancelReplaceMode": mode},
        cancelOrderId=str(order_id),
        newOrderRespType="ACK",
    )


def test_order_is_replaced_by_another(wide: SignedAccount) -> None:
    first = wide.place("BUY", "1", "8")["orderId"]
    answer = replace(wide, "STOP_ON_FAILURE", first, "8.5")
    assert (answer["cancelResult"], answer["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert answer["cancelResponse"]["orderId"] == first
    (left,) = wide.ask("GET /api/v3/openOrders")
    assert (left["orderId"], left["price"]) == (answer["newOrderResponse"]["orderId"], "8.50000000")


@pytest.mark.parametrize(
    ("mode", "code", "results", "orders"),
    [
        ("STOP_ON_FAILURE", -2022, ("FAILURE", "NOT_ATTEMPTED"), 0),
        ("ALLOW_FAILURE", -2021, ("FAILURE", "SUCCESS"), 1),
    ],
)
def test_order_that_cannot_be_cancelled_is_replaced_only_where_that_is_asked(
    wide: SignedAccount, mode: str, code: int, results: tuple[str, str], orders: int
) -> None:
    with pytest.raises(PracticeRefusal) as refusal:
        replace(wide, mode, 99, "8.5")
    data = refusal.value.body["data"]
    assert (refusal.value.code, data["cancelResponse"]["code"]) == (code, -2011)
    assert (data["cancelResult"], data["newOrderResult"]) == results
    assert len(wide.account.orders) == orders


@pytest.mark.parametrize("mode", ["STOP_ON_FAILURE", "ALLOW_FAILURE"])
def test_replacement_that_names_no_order_is_refused_and_places_nothing(
    wide: SignedAccount, mode: str
) -> None:
    given = LIMIT | {"quantity": "1", "price": "8", "cancelReplaceMode": mode}
    with pytest.raises(PracticeRefusal, match="'cancelOrderId' must be sent") as refusal:
        wide.ask("POST /api/v3/order/cancelReplace", **given)
    assert (refusal.value.code, wide.account.orders) == (-1102, {})


def test_replacing_order_that_breaks_a_filter_leaves_the_old_one(wide: SignedAccount) -> None:
    """Filters are looked at before the cancellation; funds after it, so that half is done then."""
    first = wide.place("BUY", "1", "8")["orderId"]
    with pytest.raises(PracticeRefusal, match="PRICE_FILTER"):
        replace(wide, "STOP_ON_FAILURE", first, "8.001")
    assert wide.order(first)["status"] == "NEW"
    with pytest.raises(PracticeRefusal) as refusal:
        wide.ask(
            "POST /api/v3/order/cancelReplace",
            **LIMIT | {"quantity": "200", "price": "8", "cancelReplaceMode": "STOP_ON_FAILURE"},
            cancelOrderId=str(first),
        )
    assert (refusal.value.code, refusal.value.status) == (-2021, 409)
    assert refusal.value.body["data"]["newOrderResponse"]["code"] == -2010
    assert wide.order(first)["status"] == "CANCELED"


def test_exchange_info_claims_the_order_types_that_are_served(wide: SignedAccount) -> None:
    """Every type of the list can be tested, and what is denied is refused."""
    listing = wide.market.listings["AAAUSDT"]
    claimed = symbol_answer(listing, wide.engine.rules["AAAUSDT"])
    sent = {"timeInForce": "GTC", "quantity": "1", "price": "10", "stopPrice": "12"}
    for kind in claimed["orderTypes"]:
        needed = [name for name in sent if _takes(kind, name)]
        order = {name: sent[name] for name in needed} | {"symbol": "AAAUSDT", "side": "BUY"}
        assert wide.ask("POST /api/v3/order/test", **order, type=kind) == {}, kind
    assert [name for name, is_served in claimed.items() if is_served is True] == [
        "quoteOrderQtyMarketAllowed",
        "cancelReplaceAllowed",
        "isSpotTradingAllowed",
    ]
    assert wide.ask("GET /api/v3/openOrderList") == []


def _takes(kind: str, name: str) -> bool:
    is_limit = "LIMIT" in kind
    return {
        "timeInForce": is_limit and kind != "LIMIT_MAKER",
        "price": is_limit,
        "stopPrice": kind.startswith(("STOP", "TAKE")),
    }.get(name, True)


def test_tick_of_a_given_exchange_info_is_large_enough_for_eight_decimals(
    wide: SignedAccount, tmp_path: Path
) -> None:
    """Binance's own of ETHBTC are 0.00001 and 0.0001, so that trades have nine decimals there, and
    balances eight.
    """
    price = {"filterType": "PRICE_FILTER", "tickSize": "0.00001000", "maxPrice": "922327"}
    lot = {"filterType": "LOT_SIZE", "stepSize": "0.00010000", "minQty": "0.0001", "maxQty": "9000"}
    info = {"symbols": [{"symbol": "AAAUSDT", "filters": [price, lot]}]}
    (tmp_path / "info.json").write_text(json.dumps(info))
    rules = rules_of(wide.market.table, wide.market.listings, tmp_path / "info.json")
    instrument = rules["AAAUSDT"].instrument
    assert (instrument.price_tick, instrument.lot_step) == (Decimal("0.0001"), Decimal("0.0001"))


ticks = st.sampled_from([2, 4, 6, 8])
steps = st.lists(
    st.tuples(
        st.sampled_from(["MARKET", "LIMIT", "QUOTE", "STOP_LOSS"]),
        st.sampled_from(Side),
        st.floats(0.001, 2),
        st.floats(0.9, 1.1),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(
    first=st.floats(0.001, 50_000),
    moves=st.lists(st.floats(0.8, 1.25), min_size=9, max_size=9),
    orders=steps,
    decimals=ticks,
    slippage=st.decimals(0, 100, places=2),
    fee_asset=st.sampled_from(["received", "quote"]),
)
def test_trades_add_up_to_the_account_and_none_is_better_than_the_book(
    first: float,
    moves: list[float],
    orders: list[tuple[str, Side, float, float]],
    decimals: int,
    slippage: Decimal,
    fee_asset: str,
) -> None:
    """Whatever is traded, each price is on the tick. A taker buys at the ask and sells at the bid.
    Every amount on the wire has eight decimals and is exact: the opening balances and the trades of
    the wire give the balances of the wire, to the last digit.
    """
    rows: list[Row | None] = []
    price = first
    for move in moves:
        opened, price = round(price, decimals), price * move
        rows.append((opened, max(opened, price) * 1.05, min(opened, price) * 0.95, price, 1e6))
    session = SignedAccount(
        {D: bars_frame(rows, D)}, Journal(), slippage_bps=slippage, fee_asset=fee_asset
    )
    opening = {"USDT": Decimal(1000), "AAA": Decimal(100)}
    rules = session.engine.rules["AAAUSDT"].instrument
    books = TopOfBook(session.market, session.engine.rules, session.engine.fill_model)
    for kind, side, size, distance in orders:
        book = books.at(session.market.listings["AAAUSDT"], session.time.now_ms())
        assert book is not None
        near = rules.round_price(book.mid * Decimal(distance), "ROUND_HALF_UP")
        amount = f"{rules.round_lots(Decimal(size) * 100 / book.mid):f}"
        given = {"symbol": "AAAUSDT", "side": side.name, "type": kind, "quantity": amount}
        if kind == "LIMIT":
            given |= {"price": f"{near:f}", "timeInForce": "GTC"}
        elif kind == "STOP_LOSS":
            given |= {"stopPrice": f"{near:f}"}
        elif kind == "QUOTE":
            given |= {"type": "MARKET", "quoteOrderQty": f"{size * 100:.8f}"}
            del given["quantity"]
        try:
            answer = session.ask("POST /api/v3/order", **given, newOrderRespType="FULL")
        except PracticeRefusal:
            continue
        for fill in answer["fills"]:
            assert Decimal(fill["price"]) == (book.ask if side is Side.BUY else book.bid)
        session.step(DAY)
    traded = session.ask("GET /api/v3/myTrades", symbol="AAAUSDT")
    held = dict(opening)
    for trade in traded:
        sign = 1 if trade["isBuyer"] else -1
        quantity, cost = Decimal(trade["qty"]), Decimal(trade["quoteQty"])
        assert Decimal(trade["price"]) % rules.price_tick == 0
        assert cost == quantity * Decimal(trade["price"])
        held["AAA"] += sign * quantity
        held["USDT"] -= sign * cost
        held[trade["commissionAsset"]] -= Decimal(trade["commission"])
    shown = session.ask("GET /api/v3/account")["balances"]
    sums = {each["asset"]: Decimal(each["free"]) + Decimal(each["locked"]) for each in shown}
    assert {asset: sums.get(asset, Decimal(0)) for asset in held} == held
    assert all(
        amount == amount.quantize(Decimal("1e-8"))
        for balance in session.account.balances.assets.values()
        for amount in (balance.free, balance.locked)
    )
