"""The answers of OKX: see venue_wires."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.crash.true_venue import CENT, PRICES, TrueOrder, TrueVenue
from tests.crash.venue_wires import Call, Fields, Said, Wire, assets, at_ms, ms


def _okx(*rows: Mapping[str, Any]) -> Said:
    return 200, {"code": "0", "msg": "", "data": list(rows)}


def _okx_refused(code: str) -> Said:
    """Refuse in a row. The top may be "failed", or "in parts" with an order's id in the row."""
    number, _, text = code.partition(" ")
    top, order = ("1", "") if int(number) % 2 else ("2", "1")
    row = {"clOrdId": "", "ordId": order, "sCode": number, "sMsg": text}
    return 200, {"code": top, "msg": "", "data": [row]}


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
        order = venue.shown(fields["clOrdId"])
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
    opened = [order for order in reversed(venue.listed) if order.is_open]
    found = [order for order in opened if order.number < before]
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
        ("GET", "/api/v5/trade/fills"): (Call.TRADES, _okx_trades),
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
