"""The answers of Bybit: see venue_wires."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.crash.true_venue import CENT, PRICES, TrueOrder, TrueVenue
from tests.crash.venue_wires import Call, Fields, Said, Wire, assets, at_ms, ms


def _bybit(result: object) -> Said:
    return 200, {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1}


def _bybit_list(*rows: Mapping[str, Any]) -> Said:
    return _bybit({"category": "spot", "list": list(rows), "nextPageCursor": ""})


def _bybit_refused(code: str) -> Said:
    number, _, text = code.partition(" ")
    return 200, {"retCode": int(number), "retMsg": text, "result": {}}


def _bybit_order(order: TrueOrder) -> dict[str, str]:
    done = order.filled == order.quantity
    ended = "PartiallyFilledCanceled" if order.filled else "Cancelled"
    working = "PartiallyFilled" if order.filled else "New"
    return {
        "symbol": f"{order.base}USDT",
        "orderId": f"{order.number}",
        "orderLinkId": order.name,
        "orderStatus": "Filled" if done else ended if order.canceled else working,
        "orderType": "Market",
        "side": order.side.value.capitalize(),
        "price": "0",
        "avgPrice": f"{PRICES[order.base]}" if order.filled else "",
        "qty": f"{order.quantity}",
        "cumExecQty": f"{order.filled}",
        "cumExecValue": f"{order.filled * PRICES[order.base]}",
        "leavesQty": f"{order.quantity - order.filled}",
        "cumExecFee": "0",
        "rejectReason": "EC_NoError",
        "timeInForce": "IOC",
        "createdTime": f"{at_ms(order)}",
        "updatedTime": f"{at_ms(order)}",
    }


def _bybit_place(venue: TrueVenue, fields: Fields) -> Said:
    base = fields["symbol"].removesuffix("USDT")
    order = venue.place(fields["orderLinkId"], base, fields["side"], fields["qty"])
    return _bybit({"orderId": f"{order.number}", "orderLinkId": order.name})


def _bybit_cancel(venue: TrueVenue, fields: Fields) -> Said:
    order = venue.named(fields["orderLinkId"])
    if order is None or not venue.cancel(order.name):
        return _bybit_refused("170213 Order does not exist.")
    return _bybit({"orderId": f"{order.number}", "orderLinkId": order.name})


def _bybit_recent(venue: TrueVenue, fields: Fields) -> Said:
    if "orderLinkId" not in fields:
        return _bybit_list(*(_bybit_order(order) for order in venue.listed if order.is_open))
    return _bybit_history(venue, fields)


def _bybit_history(venue: TrueVenue, fields: Fields) -> Said:
    order = venue.shown(fields["orderLinkId"])
    return _bybit_list(*([] if order is None else [_bybit_order(order)]))


def _bybit_trades(venue: TrueVenue, fields: Fields) -> Said:
    rows = [
        {
            "symbol": f"{trade.order.base}USDT",
            "orderId": f"{trade.order.number}",
            "orderLinkId": trade.order.name,
            "side": trade.order.side.value.capitalize(),
            "execType": "Trade",
            "execId": f"T-{trade.number}",
            "execPrice": f"{trade.price}",
            "execQty": f"{trade.quantity}",
            "execFee": f"{trade.fee}",
            "feeCurrency": trade.fee_asset,
            "execTime": f"{at_ms(trade)}",
            "isMaker": False,
        }
        for trade in reversed(venue.trades)
        if f"{trade.order.base}USDT" == fields["symbol"]
        and int(fields["startTime"]) <= at_ms(trade) <= int(fields.get("endTime", 10**15))
    ]
    return _bybit_list(*rows[:100])


def _bybit_listings(venue: TrueVenue, fields: Fields) -> Said:
    if fields.get("category") != "spot":
        return _bybit_list()
    lots = {
        "basePrecision": "0.01",
        "quotePrecision": "0.0000001",
        "minOrderQty": "0.01",
        "maxOrderQty": "100000",
        "minOrderAmt": "5",
        "maxOrderAmt": "1000000",
    }
    return _bybit_list(
        *(
            {
                "symbol": f"{base}USDT",
                "baseCoin": base,
                "quoteCoin": "USDT",
                "status": "Trading",
                "marginTrading": "none",
                "lotSizeFilter": lots,
                "priceFilter": {"tickSize": "0.01"},
            }
            for base in PRICES
        )
    )


def _bybit_tickers(venue: TrueVenue, fields: Fields) -> Said:
    return _bybit_list(
        *(
            {
                "symbol": f"{base}USDT",
                "bid1Price": f"{price - CENT}",
                "bid1Size": "900",
                "ask1Price": f"{price + CENT}",
                "ask1Size": "900",
                "lastPrice": f"{price}",
                "prevPrice24h": f"{price}",
                "price24hPcnt": "0",
                "highPrice24h": f"{price}",
                "lowPrice24h": f"{price}",
                "turnover24h": "500000",
                "volume24h": "5000",
            }
            for base, price in PRICES.items()
        )
    )


def _bybit_balances(venue: TrueVenue, fields: Fields) -> Said:
    coins = [
        {
            "coin": asset,
            "equity": total,
            "walletBalance": total,
            "locked": f"{Decimal(total) - Decimal(free)}",
            "borrowAmount": "0",
            "accruedInterest": "0",
            "totalOrderIM": "0",
            "totalPositionIM": "0",
        }
        for asset, (total, free) in assets(venue).items()
    ]
    return _bybit({"list": [{"accountType": "UNIFIED", "totalEquity": "1", "coin": coins}]})


_UNIFIED = {"unified": 1, "uta": 1, "unifiedMarginStatus": 5}

BYBIT = Wire(
    {
        ("GET", "/v5/market/time"): (
            None,
            lambda v, f: (200, {**_bybit({})[1], "time": ms(v)}),
        ),
        ("GET", "/v5/market/instruments-info"): (None, _bybit_listings),
        ("GET", "/v5/asset/coin/query-info"): (None, lambda v, f: _bybit({"rows": []})),
        ("GET", "/v5/user/query-api"): (None, lambda v, f: _bybit(_UNIFIED)),
        ("GET", "/v5/account/info"): (None, lambda v, f: _bybit(_UNIFIED)),
        ("GET", "/v5/asset/deposit/query-record"): (None, lambda v, f: _bybit({"rows": []})),
        ("GET", "/v5/asset/withdraw/query-record"): (None, lambda v, f: _bybit({"rows": []})),
        ("POST", "/v5/order/create"): (Call.PLACE, _bybit_place),
        ("POST", "/v5/order/cancel"): (Call.CANCEL, _bybit_cancel),
        ("GET", "/v5/order/realtime"): (Call.FIND, _bybit_recent),
        ("GET", "/v5/order/history"): (Call.FIND, _bybit_history),
        ("GET", "/v5/execution/list"): (Call.TRADES, _bybit_trades),
        ("GET", "/v5/account/wallet-balance"): (Call.BALANCES, _bybit_balances),
        ("GET", "/v5/market/tickers"): (Call.TICKERS, _bybit_tickers),
    },
    (
        "10000 Server Timeout",
        "10002 The request time exceeds the time window range.",
        "10003 API key is invalid.",
        "10006 Too many visits!",
        "10016 Server error.",
        "110001 Order does not exist.",
        "170005 Too many new orders; current limit is 10 orders per second.",
        "170131 Insufficient balance.",
        "170140 Order value exceeded lower limit.",
        "170141 Duplicate clientOrderId",
        "170142 Order has been canceled",
        "170146 Order creation timeout",
        "170213 Order does not exist.",
        "98765 Something new",
    ),
    _bybit_refused,
)
