"""The answers of Binance: see venue_wires."""

from decimal import Decimal
from typing import Any

from tests.crash.true_venue import CENT, PRICES, TrueOrder, TrueVenue
from tests.crash.venue_wires import Call, Fields, Said, Wire, assets, at_ms, ms


def _binance_order(order: TrueOrder) -> dict[str, Any]:
    done, part = order.filled == order.quantity, bool(order.filled)
    status = "FILLED" if done else "CANCELED" if order.canceled else "NEW"
    return {
        "symbol": f"{order.base}USDT",
        "orderId": order.number,
        "orderListId": -1,
        "clientOrderId": order.name,
        "price": "0.00",
        "origQty": f"{order.quantity}",
        "executedQty": f"{order.filled}",
        "cummulativeQuoteQty": f"{order.filled * PRICES[order.base]}",
        "status": "PARTIALLY_FILLED" if part and order.is_open else status,
        "timeInForce": "GTC",
        "type": "MARKET",
        "side": order.side.value.upper(),
        "time": at_ms(order),
        "updateTime": at_ms(order),
        "transactTime": at_ms(order),
        "isWorking": order.is_open,
    }


def _binance_refused(code: str) -> Said:
    number, _, text = code.partition(" ")
    return 400, {"code": int(number), "msg": text or "refused"}


def _binance_place(venue: TrueVenue, fields: Fields) -> Said:
    base = fields["symbol"].removesuffix("USDT")
    order = venue.place(fields["newClientOrderId"], base, fields["side"], fields["quantity"])
    return 200, _binance_order(order)


def _binance_find(venue: TrueVenue, fields: Fields) -> Said:
    if "orderId" in fields:
        return 200, _binance_order(venue.orders[int(fields["orderId"]) - 1])
    order = venue.shown(fields["origClientOrderId"])
    return (
        _binance_refused("-2013 Order does not exist.")
        if order is None
        else (200, _binance_order(order))
    )


def _binance_cancel(venue: TrueVenue, fields: Fields) -> Said:
    name = fields["origClientOrderId"]
    if not venue.cancel(name):
        return _binance_refused("-2011 Unknown order sent.")
    order = venue.named(name)
    assert order
    return 200, {**_binance_order(order), "origClientOrderId": name, "clientOrderId": "cancel"}


def _binance_trades(venue: TrueVenue, fields: Fields) -> Said:
    rows = [
        {
            "symbol": f"{trade.order.base}USDT",
            "id": trade.number,
            "orderId": trade.order.number,
            "price": f"{trade.price}",
            "qty": f"{trade.quantity}",
            "quoteQty": f"{trade.quantity * trade.price}",
            "commission": f"{trade.fee}",
            "commissionAsset": "USDT",
            "time": at_ms(trade),
            "isBuyer": trade.order.side.sign > 0,
            "isMaker": False,
        }
        for trade in venue.trades
        if f"{trade.order.base}USDT" == fields["symbol"]
        and at_ms(trade) >= int(fields.get("startTime", 0))
        and trade.number >= int(fields.get("fromId", 0))
    ]
    return 200, rows


def _binance_listing(base: str) -> dict[str, Any]:
    return {
        "symbol": f"{base}USDT",
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "permissionSets": [["SPOT"]],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01",
                "maxPrice": "1000000",
                "tickSize": "0.01",
            },
            {"filterType": "LOT_SIZE", "minQty": "0.01", "maxQty": "100000", "stepSize": "0.01"},
            {"filterType": "NOTIONAL", "minNotional": "5"},
        ],
    }


def _binance_books(venue: TrueVenue, fields: Fields) -> Said:
    return 200, [
        {
            "symbol": f"{base}USDT",
            "bidPrice": f"{price - CENT}",
            "bidQty": "900",
            "askPrice": f"{price + CENT}",
            "askQty": "900",
        }
        for base, price in PRICES.items()
    ]


BINANCE = Wire(
    {
        ("GET", "/api/v3/time"): (None, lambda v, f: (200, {"serverTime": ms(v)})),
        ("GET", "/api/v3/exchangeInfo"): (
            None,
            lambda v, f: (200, {"symbols": [_binance_listing(base) for base in PRICES]}),
        ),
        ("GET", "/sapi/v1/capital/deposit/hisrec"): (None, lambda v, f: (200, [])),
        ("GET", "/sapi/v1/capital/withdraw/history"): (None, lambda v, f: (200, [])),
        ("GET", "/sapi/v1/fiat/orders"): (None, lambda v, f: (200, {"data": []})),
        ("POST", "/api/v3/order"): (Call.PLACE, _binance_place),
        ("DELETE", "/api/v3/order"): (Call.CANCEL, _binance_cancel),
        ("GET", "/api/v3/order"): (Call.FIND, _binance_find),
        ("GET", "/api/v3/openOrders"): (
            Call.OPEN,
            lambda v, f: (200, [_binance_order(order) for order in v.listed if order.is_open]),
        ),
        ("GET", "/api/v3/myTrades"): (Call.TRADES, _binance_trades),
        ("GET", "/api/v3/account"): (
            Call.BALANCES,
            lambda v, f: (
                200,
                {
                    "balances": [
                        {
                            "asset": asset,
                            "free": free,
                            "locked": f"{Decimal(total) - Decimal(free)}",
                        }
                        for asset, (total, free) in assets(v).items()
                    ]
                },
            ),
        ),
        ("GET", "/api/v3/ticker/price"): (
            Call.TICKERS,
            lambda v, f: (
                200,
                [{"symbol": f"{base}USDT", "price": f"{price}"} for base, price in PRICES.items()],
            ),
        ),
        ("GET", "/api/v3/ticker/bookTicker"): (Call.TICKERS, _binance_books),
    },
    (
        "-1000 An unknown error occurred while processing the request.",
        "-1003 Too much request weight used.",
        "-1007 Timeout waiting for response from backend server.",
        "-1013 Filter failure: LOT_SIZE",
        "-1015 Too many new orders.",
        "-1021 Timestamp for this request is outside of the recvWindow.",
        "-1121 Invalid symbol.",
        "-2010 Account has insufficient balance for requested action.",
        "-2010 Duplicate order sent.",
        "-2011 Unknown order sent.",
        "-2013 Order does not exist.",
        "-2015 Invalid API-key, IP, or permissions for action.",
        "-9876 Something new",
    ),
    _binance_refused,
)
