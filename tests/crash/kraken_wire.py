"""The answers of Kraken: see venue_wires."""

from decimal import Decimal
from typing import Any

from tests.crash.true_venue import CENT, PRICES, TrueOrder, TrueVenue
from tests.crash.venue_wires import Call, Fields, Said, Wire, assets, at_ms, ms


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
    found = [o for o in venue.listed if o.is_open and fields.get("cl_ord_id") in (None, o.name)]
    return _kraken({"open": {_txid(order): _kraken_order(order) for order in found}})


def _kraken_closed(venue: TrueVenue, fields: Fields) -> Said:
    found = [o for o in venue.listed if not o.is_open and o.name == fields["cl_ord_id"]]
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
