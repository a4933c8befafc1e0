"""How the four venue families say what a venue truly has: each answers ccxt's requests in its own
words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tests.crash.true_venue import CENT, PRICES, TrueOrder, TrueTrade, TrueVenue

#: HTTP status and body.
Said = tuple[int, Any]
Fields = Mapping[str, Any]


class Call(StrEnum):
    """What a request asks for."""

    PLACE = "place"
    CANCEL = "cancel"
    FIND = "find"
    OPEN = "open orders"
    TRADES = "trades"
    BALANCES = "balances"
    TICKERS = "tickers"


@dataclass(frozen=True)
class Wire:
    """One family's requests, and its answers to them."""

    answers: Mapping[tuple[str, str], tuple[Call | None, Callable[[TrueVenue, Fields], Said]]]
    """The call and the answer, by method and path. The call is None for what stays as it is."""
    codes: tuple[str, ...]
    """Codes that the venue may answer with: refusals, faults of its own, and one of no table."""
    refused: Callable[[str], Said]
    """The answer with a code."""


def ms(venue: TrueVenue) -> int:
    return round(venue.now.timestamp() * 1000)


def at_ms(each: TrueOrder | TrueTrade) -> int:
    return round(each.at.timestamp() * 1000)


def assets(venue: TrueVenue) -> dict[str, tuple[str, str]]:
    """Return total and free of each asset, as text."""
    return {asset: (f"{total:f}", f"{total:f}") for asset, total in venue.balances.items()}


# Binance


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
    order = venue.named(fields["origClientOrderId"])
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
            lambda v, f: (200, [_binance_order(order) for order in v.open_orders]),
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


# OKX


def _okx(*rows: Mapping[str, Any]) -> Said:
    return 200, {"code": "0", "msg": "", "data": list(rows)}


def _okx_refused(code: str) -> Said:
    number, _, text = code.partition(" ")
    row = {"clOrdId": "", "ordId": "", "sCode": number, "sMsg": text}
    return 200, {"code": "1", "msg": "All operations failed", "data": [row]}


def _okx_order(order: TrueOrder) -> dict[str, str]:
    done = order.filled == order.quantity
    state = "filled" if done else "canceled" if order.canceled else "live"
    return {
        "instType": "SPOT",
        "instId": f"{order.base}-USDT",
        "ordId": f"{order.number}",
        "clOrdId": order.name,
        "px": "",
        "sz": f"{order.quantity}",
        "ordType": "market",
        "side": order.side.value,
        "tgtCcy": "base_ccy",
        "accFillSz": f"{order.filled}",
        "avgPx": f"{PRICES[order.base]}" if order.filled else "",
        "state": "partially_filled" if order.filled and order.is_open else state,
        "fee": "0",
        "feeCcy": "USDT",
        "cTime": f"{at_ms(order)}",
        "uTime": f"{at_ms(order)}",
    }


def _okx_place(venue: TrueVenue, fields: Fields) -> Said:
    base = fields["instId"].removesuffix("-USDT")
    order = venue.place(fields["clOrdId"], base, fields["side"], fields["sz"])
    return _okx({"clOrdId": order.name, "ordId": f"{order.number}", "sCode": "0", "sMsg": ""})


def _okx_find(venue: TrueVenue, fields: Fields) -> Said:
    if fields.get("clOrdId"):
        order = venue.named(fields["clOrdId"])
    else:
        order = venue.orders[int(fields["ordId"]) - 1]
    if order is None:
        return 200, {"code": "51603", "msg": "Order does not exist", "data": []}
    return _okx(_okx_order(order))


def _okx_cancel(venue: TrueVenue, fields: Fields) -> Said:
    order = venue.named(fields["clOrdId"])
    if order is None or not venue.cancel(fields["clOrdId"]):
        return _okx_refused("51400 Cancellation failed as the order has been filled or canceled")
    return _okx({"clOrdId": order.name, "ordId": f"{order.number}", "sCode": "0", "sMsg": ""})


def _okx_trades(venue: TrueVenue, fields: Fields) -> Said:
    rows = [
        {
            "instType": "SPOT",
            "instId": f"{trade.order.base}-USDT",
            "tradeId": f"{trade.number}",
            "ordId": f"{trade.order.number}",
            "clOrdId": trade.order.name,
            "billId": f"{1000 + trade.number}",
            "fillPx": f"{trade.price}",
            "fillSz": f"{trade.quantity}",
            "side": trade.order.side.value,
            "execType": "T",
            "feeCcy": trade.fee_asset,
            "fee": f"-{trade.fee}",
            "ts": f"{at_ms(trade)}",
        }
        for trade in reversed(venue.trades)
        if f"{trade.order.base}-USDT" == fields["instId"]
        and at_ms(trade) >= int(fields["begin"])
        and 1000 + trade.number < int(fields.get("after", 10**9))
    ]
    return _okx(*rows[:100])


def _okx_open(venue: TrueVenue, fields: Fields) -> Said:
    before = int(fields.get("after", 10**9))
    found = [order for order in reversed(venue.open_orders) if order.number < before]
    return _okx(*(_okx_order(order) for order in found[:100]))


def _okx_listings(venue: TrueVenue, fields: Fields) -> Said:
    if fields.get("instType") != "SPOT":
        return _okx()
    return _okx(
        *(
            {
                "instType": "SPOT",
                "instId": f"{base}-USDT",
                "instIdCode": number,
                "baseCcy": base,
                "quoteCcy": "USDT",
                "tickSz": "0.01",
                "lotSz": "0.01",
                "minSz": "0.01",
                "maxMktSz": "1000000",
                "maxLmtSz": "1000000",
                "state": "live",
                "uly": "",
            }
            for number, base in enumerate(PRICES, 1)
        )
    )


def _okx_tickers(venue: TrueVenue, fields: Fields) -> Said:
    return _okx(
        *(
            {
                "instType": "SPOT",
                "instId": f"{base}-USDT",
                "last": f"{price}",
                "lastSz": "1",
                "bidPx": f"{price - CENT}",
                "bidSz": "900",
                "askPx": f"{price + CENT}",
                "askSz": "900",
                "open24h": f"{price}",
                "high24h": f"{price}",
                "low24h": f"{price}",
                "vol24h": "5000",
                "volCcy24h": "500000",
                "ts": f"{ms(venue)}",
            }
            for base, price in PRICES.items()
        )
    )


OKX = Wire(
    {
        ("GET", "/api/v5/public/time"): (None, lambda v, f: _okx({"ts": f"{ms(v)}"})),
        ("GET", "/api/v5/public/instruments"): (None, _okx_listings),
        ("GET", "/api/v5/asset/currencies"): (None, lambda v, f: _okx()),
        ("GET", "/api/v5/asset/deposit-history"): (None, lambda v, f: _okx()),
        ("GET", "/api/v5/asset/withdrawal-history"): (None, lambda v, f: _okx()),
        ("POST", "/api/v5/trade/batch-orders"): (Call.PLACE, _okx_place),
        ("POST", "/api/v5/trade/cancel-order"): (Call.CANCEL, _okx_cancel),
        ("GET", "/api/v5/trade/order"): (Call.FIND, _okx_find),
        ("GET", "/api/v5/trade/orders-pending"): (Call.OPEN, _okx_open),
        ("GET", "/api/v5/trade/fills-history"): (Call.TRADES, _okx_trades),
        ("GET", "/api/v5/account/balance"): (
            Call.BALANCES,
            lambda v, f: _okx(
                {
                    "uTime": f"{ms(v)}",
                    "details": [
                        {
                            "ccy": asset,
                            "cashBal": total,
                            "eq": total,
                            "availBal": free,
                            "availEq": free,
                            "frozenBal": f"{Decimal(total) - Decimal(free)}",
                            "uTime": f"{ms(v)}",
                        }
                        for asset, (total, free) in assets(v).items()
                    ],
                }
            ),
        ),
        ("GET", "/api/v5/market/tickers"): (Call.TICKERS, _okx_tickers),
    },
    (
        "50004 Endpoint request timeout",
        "50011 Requests too frequent",
        "50026 System error",
        "50102 Timestamp request expired",
        "50111 Invalid OK-ACCESS-KEY",
        "51000 Parameter error",
        "51001 Instrument ID does not exist",
        "51008 Order failed. Insufficient balance",
        "51016 Client order ID already exists",
        "51020 Your order should meet the minimum",
        "51149 Order timed out",
        "51400 Cancellation failed as the order has been filled or canceled",
        "51603 Order does not exist",
        "98765 Something new",
    ),
    _okx_refused,
)
