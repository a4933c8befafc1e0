"""The answers of Bybit and Kraken: see venue_wires."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.crash.true_venue import CENT, PRICES, TrueOrder, TrueVenue
from tests.crash.venue_wires import (
    BINANCE,
    OKX,
    Call,
    Fields,
    Said,
    Wire,
    assets,
    at_ms,
    ms,
)


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
        return _bybit_list(*(_bybit_order(order) for order in venue.open_orders))
    return _bybit_history(venue, fields)


def _bybit_history(venue: TrueVenue, fields: Fields) -> Said:
    order = venue.named(fields["orderLinkId"])
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


# Kraken


def _kraken(result: object) -> Said:
    return 200, {"error": [], "result": result}


def _kraken_refused(code: str) -> Said:
    return 200, {"error": [code]}


def _txid(order: TrueOrder) -> str:
    return f"O-{order.number}"


def _kraken_order(order: TrueOrder) -> dict[str, Any]:
    done = order.filled == order.quantity
    descr = {
        "pair": f"{order.base}USDT",
        "type": order.side.value,
        "ordertype": "market",
        "price": "0",
        "price2": "0",
        "leverage": "none",
        "order": f"{order.side.value} {order.quantity} {order.base}USDT @ market",
        "close": "",
    }
    return {
        "refid": None,
        "userref": None,
        "cl_ord_id": order.name,
        "status": "closed" if done else "canceled" if order.canceled else "open",
        "opentm": at_ms(order) / 1000,
        "descr": descr,
        "vol": f"{order.quantity}",
        "vol_exec": f"{order.filled}",
        "cost": f"{order.filled * PRICES[order.base]}",
        "fee": "0",
        "price": f"{PRICES[order.base]}" if order.filled else "0",
        "misc": "",
        "oflags": "fciq",
    }


def _kraken_place(venue: TrueVenue, fields: Fields) -> Said:
    base = fields["pair"].removesuffix("USDT")
    order = venue.place(fields["cl_ord_id"], base, fields["type"], fields["volume"])
    descr = {"order": f"{order.side.value} {order.quantity} {base}USDT @ market"}
    return _kraken({"descr": descr, "txid": [_txid(order)]})


def _kraken_cancel(venue: TrueVenue, fields: Fields) -> Said:
    done = venue.cancel(fields["cl_ord_id"])
    return _kraken({"count": 1}) if done else _kraken_refused("EOrder:Unknown order")


def _kraken_open(venue: TrueVenue, fields: Fields) -> Said:
    found = [o for o in venue.open_orders if fields.get("cl_ord_id") in (None, o.name)]
    return _kraken({"open": {_txid(order): _kraken_order(order) for order in found}})


def _kraken_closed(venue: TrueVenue, fields: Fields) -> Said:
    found = [o for o in venue.orders if not o.is_open and o.name == fields["cl_ord_id"]]
    rows = {_txid(order): _kraken_order(order) for order in found}
    return _kraken({"closed": rows, "count": len(rows)})


def _kraken_named(venue: TrueVenue, fields: Fields) -> Said:
    order = venue.orders[int(fields["txid"].removeprefix("O-")) - 1]
    return _kraken({_txid(order): _kraken_order(order)})


def _kraken_trades(venue: TrueVenue, fields: Fields) -> Said:
    start, skipped = float(fields["start"]), int(fields.get("ofs", 0))
    rows = [trade for trade in reversed(venue.trades) if at_ms(trade) / 1000 > start]
    page = {
        f"T-{trade.number}": {
            "ordertxid": _txid(trade.order),
            "pair": f"{trade.order.base}USDT",
            "time": at_ms(trade) / 1000,
            "type": trade.order.side.value,
            "ordertype": "market",
            "price": f"{trade.price}",
            "cost": f"{trade.quantity * trade.price}",
            "fee": f"{trade.fee}",
            "vol": f"{trade.quantity}",
            "misc": "",
        }
        for trade in rows[skipped : skipped + 50]
    }
    return _kraken({"trades": page, "count": len(rows)})


def _kraken_tickers(venue: TrueVenue, fields: Fields) -> Said:
    return _kraken(
        {
            f"{base}USDT": {
                "a": [f"{price + CENT}", "900", "900.000"],
                "b": [f"{price - CENT}", "900", "900.000"],
                "c": [f"{price}", "1"],
                "v": ["5000", "5000"],
                "p": [f"{price}", f"{price}"],
                "t": [100, 100],
                "l": [f"{price}", f"{price}"],
                "h": [f"{price}", f"{price}"],
                "o": f"{price}",
            }
            for base, price in PRICES.items()
        }
    )


def _kraken_listing(base: str) -> dict[str, Any]:
    return {
        "altname": f"{base}USDT",
        "wsname": f"{base}/USDT",
        "base": base,
        "quote": "USDT",
        "pair_decimals": 2,
        "lot_decimals": 2,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.1]],
        "fees_maker": [[0, 0.1]],
        "ordermin": "0.01",
        "costmin": "5",
        "tick_size": "0.01",
        "status": "online",
    }


def _kraken_asset(asset: str) -> dict[str, Any]:
    return {"aclass": "currency", "altname": asset, "decimals": 8, "status": "enabled"}


KRAKEN = Wire(
    {
        ("GET", "/0/public/Time"): (None, lambda v, f: _kraken({"unixtime": ms(v) // 1000})),
        ("GET", "/0/public/Assets"): (
            None,
            lambda v, f: _kraken({asset: _kraken_asset(asset) for asset in ("USDT", *PRICES)}),
        ),
        ("GET", "/0/public/AssetPairs"): (
            None,
            lambda v, f: _kraken({f"{base}USDT": _kraken_listing(base) for base in PRICES}),
        ),
        ("POST", "/0/private/DepositStatus"): (None, lambda v, f: _kraken([])),
        ("POST", "/0/private/WithdrawStatus"): (None, lambda v, f: _kraken([])),
        ("POST", "/0/private/AddOrder"): (Call.PLACE, _kraken_place),
        ("POST", "/0/private/CancelOrder"): (Call.CANCEL, _kraken_cancel),
        ("POST", "/0/private/OpenOrders"): (Call.OPEN, _kraken_open),
        ("POST", "/0/private/ClosedOrders"): (Call.FIND, _kraken_closed),
        ("POST", "/0/private/QueryOrders"): (Call.FIND, _kraken_named),
        ("POST", "/0/private/TradesHistory"): (Call.TRADES, _kraken_trades),
        ("POST", "/0/private/BalanceEx"): (
            Call.BALANCES,
            lambda v, f: _kraken(
                {
                    asset: {"balance": total, "hold_trade": f"{Decimal(total) - Decimal(free)}"}
                    for asset, (total, free) in assets(v).items()
                }
            ),
        ),
        ("GET", "/0/public/Ticker"): (Call.TICKERS, _kraken_tickers),
    },
    (
        "EAPI:Invalid key",
        "EAPI:Invalid nonce",
        "EAPI:Rate limit exceeded",
        "EGeneral:Internal error:17",
        "EGeneral:Invalid arguments:volume",
        "EGeneral:Unknown error",
        "EOrder:Insufficient funds",
        "EOrder:Order minimum not met",
        "EOrder:Rate limit exceeded",
        "EOrder:Something new",
        "EOrder:Unknown order",
        "EQuery:Unknown asset pair",
        "EService:Timeout",
        "EService:Unavailable",
    ),
    _kraken_refused,
)

WIRES = {"binance": BINANCE, "bybit": BYBIT, "kraken": KRAKEN, "okx": OKX}


def call_of(wire: Wire, method: str, path: str, fields: Fields) -> Call | None:
    """Return what a request asks for. Two calls may share a path: named orders are searched for."""
    call, _ = wire.answers[method, path]
    if path.endswith("realtime") and "orderLinkId" not in fields:
        return Call.OPEN
    if path.endswith("OpenOrders") and "cl_ord_id" in fields:
        return Call.FIND
    return call
