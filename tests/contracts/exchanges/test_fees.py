"""Fees as each venue states them: the asset is the venue's own word, and a rebate is below zero.
Unmodified ccxt over answers made here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.core.accounting import changes_of
from penstock.core.errors import VenueError
from penstock.core.orders import Fill, OrderRequest, OrderType, Side
from tests.contracts.exchanges.conftest import TRADED
from tests.contracts.exchanges.constructed_venue import Said, account_at

NAME = "0123456789abcdef0123456789abcdef"
NOW = datetime.now(UTC)
AT = str(round((NOW - timedelta(minutes=5)).timestamp() * 1000))


@pytest.mark.parametrize("venue", TRADED)
@pytest.mark.parametrize("kind", OrderType)
@pytest.mark.parametrize("side", Side)
def test_kraken_order_asks_for_its_fee_in_quote(venue: str, kind: OrderType, side: Side) -> None:
    """Always: Kraken would take a sell's in the base asset. Another venue knows no such flag."""

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        if path.endswith("AddOrder"):
            return 200, {"error": [], "result": {"txid": ["O1"], "descr": {"order": ""}}}
        return 500, ""

    exchange, wire = account_at(venue, answer)
    price = None if kind is OrderType.MARKET else Decimal(2)
    request = OrderRequest(NAME, "AAA/USDT", side, kind, Decimal(1), price)
    if venue == "kraken":
        exchange.submit(request)
        (sent,) = wire.sent("/0/private/AddOrder")
        assert (sent["oflags"], sent["volume"], sent["cl_ord_id"]) == ("fciq", "1", NAME)
        return
    with pytest.raises(VenueError):
        exchange.submit(request)
    assert not any("oflags" in fields for _, _, fields in wire.requests)


def bybit_fill(**changes: str) -> Fill:
    row = {
        "symbol": "AAAUSDT",
        "orderId": "7",
        "orderLinkId": NAME,
        "execId": "t1",
        "side": "Buy",
        "execPrice": "2",
        "execQty": "1",
        "execFee": "0.001",
        "execTime": AT,
        "execType": "Trade",
        "isMaker": False,
        **changes,
    }

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        found = [row] if path == "/v5/execution/list" else []
        result = {"list": found, "nextPageCursor": ""}
        return 200, {"retCode": 0, "retMsg": "OK", "result": result, "time": int(AT)}

    exchange, _ = account_at("bybit", answer)
    (fill,) = exchange.fills("AAA/USDT", NOW - timedelta(hours=1))
    return fill


@pytest.mark.parametrize("side", ["Buy", "Sell"])
@pytest.mark.parametrize("fee", ["0.001", "-0.001", "0"])
@pytest.mark.parametrize("asset", ["AAA", "USDT", "MNT"])
def test_bybit_fee_is_in_the_asset_that_the_trade_names(side: str, fee: str, asset: str) -> None:
    """ccxt guesses it by side and sign, which is wrong for a rebate in the asset received and for a
    fee in a third asset.
    """
    fill = bybit_fill(side=side, execFee=fee, feeCurrency=asset)
    assert (fill.fee, fill.fee_asset) == (Decimal(fee), asset)
    assert fill.client_order_id == NAME


@pytest.mark.parametrize(
    ("changes", "asset"),
    [({"side": "Buy"}, "AAA"), ({"side": "Sell"}, "USDT"), ({"feeCurrency": ""}, "AAA")],
)
def test_bybit_trade_that_names_no_asset_keeps_ccxts(changes: dict[str, str], asset: str) -> None:
    """Older trades have no such field."""
    assert bybit_fill(**changes).fee_asset == asset


def test_rebate_adds_to_the_balance() -> None:
    """A maker is paid 0.002 USDT for selling 1 AAA at 2: the account has 2.002 more."""
    fill = bybit_fill(side="Sell", execFee="-0.002", feeCurrency="USDT", isMaker="true")
    assert changes_of(fill) == {"AAA": Decimal(-1), "USDT": Decimal("2.002")}


@pytest.mark.parametrize(("stated", "fee"), [("-0.001", "0.001"), ("0.0002", "-0.0002")])
def test_okx_states_a_rebate_above_zero(stated: str, fee: str) -> None:
    """OKX's sign is the balance's: below zero it takes, above zero it pays."""
    row = {
        "instType": "SPOT",
        "instId": "AAA-USDT",
        "tradeId": "1",
        "billId": "1",
        "ordId": "7",
        "clOrdId": NAME,
        "side": "buy",
        "fillPx": "2",
        "fillSz": "1",
        "fee": stated,
        "feeCcy": "AAA",
        "execType": "M",
        "ts": AT,
    }

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        rows = [row] if "fills" in path and "after" not in fields else []
        return 200, {"code": "0", "data": rows, "msg": ""}

    exchange, _ = account_at("okx", answer)
    (fill,) = exchange.fills("AAA/USDT", NOW - timedelta(hours=1))
    assert (fill.fee, fill.fee_asset) == (Decimal(fee), "AAA")


@pytest.mark.parametrize("fee", ["NaN", "Infinity", "soon"])
def test_fee_that_is_no_number_is_no_fill(fee: str) -> None:
    """The trades of an answer with it are not read: they are asked for again."""
    with pytest.raises(VenueError):
        bybit_fill(execFee=fee, feeCurrency="USDT")


@pytest.mark.parametrize(
    ("filled", "quantity", "expected"),
    [("1", "1", "1"), ("", "1", "1"), ("0.4", "1", "0.4"), ("", "", "0")],
)
def test_bybit_order_called_filled_tells_what_it_has(
    filled: str, quantity: str, expected: str
) -> None:
    """`Filled` with an empty quantity has all that was ordered. Where neither is stated it has
    nothing that is known: its trades tell.
    """
    row = {
        "symbol": "AAAUSDT",
        "orderId": "7",
        "orderLinkId": NAME,
        "orderStatus": "Filled",
        "qty": quantity,
        "cumExecQty": filled,
        "leavesQty": "",
        "side": "Buy",
        "orderType": "Market",
        "marketUnit": "baseCoin",
        "price": "",
    }

    def answer(method: str, path: str, fields: Mapping[str, Any]) -> Said:
        return 200, {"retCode": 0, "retMsg": "OK", "result": {"list": [row]}, "time": int(AT)}

    exchange, _ = account_at("bybit", answer)
    report = exchange.find_order(NAME, "AAA/USDT")
    assert (report.state, report.filled_quantity) == ("filled", Decimal(expected))
