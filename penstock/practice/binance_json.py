"""Binance's JSON of orders, trades, balances, candles and symbols."""

from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from penstock.core.orders import Side
from penstock.core.quotes import Quote
from penstock.practice.accounts import ZERO, PracticeAccount, PracticeOrder, PracticeTrade
from penstock.practice.filters import BAND_FIELDS, SymbolRules
from penstock.practice.intervals import Candles
from penstock.practice.limits import LimitSpec
from penstock.practice.market import Listing
from penstock.practice.order_requests import NEEDED, STP_MODES
from penstock.simulation.balances import Balance

Json = dict[str, Any]


def text(value: Decimal) -> str:
    """Return a quantity or price with Binance's eight places."""
    return f"{value:.8f}"


def book_answer(listing: Listing, book: Quote | None) -> Json:
    """Return the best bid and ask; an empty order book has zeros."""
    sides = (ZERO,) * 4 if book is None else (book.bid, book.bid_size, book.ask, book.ask_size)
    return {"symbol": listing.wire} | dict(
        zip(("bidPrice", "bidQty", "askPrice", "askQty"), map(text, sides), strict=True)
    )


def depth_answer(book: Quote | None, least: Decimal, at_ms: int) -> Json:
    """Return the order book, which has the best prices only; it is empty where there are none.

    A size that is not known is shown as `least`: a level of zero would be none.
    """
    bids = [] if book is None else [[text(book.bid), text(book.bid_size or least)]]
    asks = [] if book is None else [[text(book.ask), text(book.ask_size or least)]]
    return {"lastUpdateId": at_ms, "bids": bids, "asks": asks}


def klines(candles: Candles) -> bytes:
    """Return candles as Binance's 12-element arrays. Unknown trade counts and volumes are 0."""
    columns = (candles.opens.tolist(), candles.closes.tolist(), candles.values.tolist())
    rows = [
        f'[{opened},"{o:.8f}","{h:.8f}","{low:.8f}","{c:.8f}","{v:.8f}",{closed},'
        f'"{v * c:.8f}",0,"0.00000000","0.00000000","0"]'
        for opened, closed, (o, h, low, c, v) in zip(*columns, strict=True)
    ]
    return f"[{','.join(rows)}]".encode()


def order_fields(order: PracticeOrder) -> Json:
    """Return the fields that every answer about an order has."""
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": text(order.price),
        "origQty": text(order.quantity),
        "executedQty": text(order.executed),
        "origQuoteOrderQty": text(order.quote_quantity),
        "cummulativeQuoteQty": text(order.executed_quote),
        "status": str(order.status),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side.name,
        "selfTradePreventionMode": order.self_trade_prevention,
        **_conditional_fields(order),
    }


def _conditional_fields(order: PracticeOrder) -> Json:
    """Return the fields that only some orders have."""
    found: Json = {}
    if order.stop_price:
        found["stopPrice"] = text(order.stop_price)
    if order.strategy_id is not None:
        found["strategyId"] = order.strategy_id
    if order.strategy_type is not None:
        found["strategyType"] = order.strategy_type
    return found


def order_answer(order: PracticeOrder) -> Json:
    """Return an order as queries show it."""
    return {
        "stopPrice": text(order.stop_price),
        **order_fields(order),
        "icebergQty": "0.00000000",
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": not order.is_waiting,
        "workingTime": order.working_ms,
    }


def new_order_answer(order: PracticeOrder, trades: list[PracticeTrade], kind: str) -> Json:
    """Return the answer to a new order; `kind` is newOrderRespType: ACK, RESULT or FULL."""
    if kind == "ACK":
        keys = ("symbol", "orderId", "orderListId", "clientOrderId")
        return {**{key: order_fields(order)[key] for key in keys}, "transactTime": order.created_ms}
    answer = {
        **order_fields(order),
        "transactTime": order.created_ms,
        "workingTime": order.working_ms,
    }
    if kind == "FULL":
        answer["fills"] = [
            {
                "price": text(trade.price),
                "qty": text(trade.quantity),
                "commission": text(trade.commission),
                "commissionAsset": trade.commission_asset,
                "tradeId": trade.trade_id,
            }
            for trade in trades
        ]
    return answer


def cancel_answer(order: PracticeOrder, name: str, at_ms: int) -> Json:
    """Return the answer to the cancellation `name`, which is where others have the order's id."""
    return {
        **order_fields(order),
        "clientOrderId": name,
        "origClientOrderId": order.client_id,
        "transactTime": at_ms,
    }


def order_commission_answer(maker_bps: Decimal, taker_bps: Decimal) -> Json:
    """Return what an order would pay, as order/test shows it where it is asked."""
    rates = {"maker": text(maker_bps / 10_000), "taker": text(taker_bps / 10_000)}
    none = {"maker": text(ZERO), "taker": text(ZERO)}
    return {
        "standardCommissionForOrder": rates,
        "specialCommissionForOrder": none,
        "taxCommissionForOrder": none,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": text(ZERO),
        },
    }


def trade_answer(trade: PracticeTrade) -> Json:
    """Return a trade as myTrades shows it."""
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "orderListId": -1,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity),
        "commission": text(trade.commission),
        "commissionAsset": trade.commission_asset,
        "time": trade.at_ms,
        "isBuyer": trade.side is Side.BUY,
        "isMaker": trade.is_maker,
        "isBestMatch": True,
    }


def transfer_answer(entry: Json) -> Json:
    """Return a deposit or withdrawal of the journal as the capital history shows it."""
    return {
        "id": str(entry["seq"]),
        "txId": f"practice-{entry['seq']}",
        "coin": entry["asset"],
        "amount": text(abs(Decimal(entry["change"]))),
        "transactionFee": "0",
        "status": 1 if entry["reason"] == "deposit" else 6,
        "insertTime": entry["at"],
        "completeTime": entry["at"],
        "applyTime": f"{datetime.fromtimestamp(entry['at'] / 1000, UTC):%Y-%m-%d %H:%M:%S}",
        "address": "",
        "network": entry["asset"],
        "transferType": 0,
    }


def account_answer(
    account: PracticeAccount,
    assets: Collection[str],
    taker_bps: Decimal,
    maker_bps: Decimal,
    at_ms: int,
) -> Json:
    """Return the account with these assets and every other one that it holds."""
    none = dict.fromkeys(assets, Balance())
    balances = [
        {"asset": asset, "free": text(balance.free), "locked": text(balance.locked)}
        for asset, balance in sorted((none | account.balances.assets).items())
        if balance.total or asset in none
    ]
    return {
        "makerCommission": int(maker_bps),
        "takerCommission": int(taker_bps),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": text(maker_bps / 10_000),
            "taker": text(taker_bps / 10_000),
            "buyer": "0.00000000",
            "seller": "0.00000000",
        },
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "updateTime": at_ms,
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": 1,
    }


def symbol_answer(listing: Listing, rules: SymbolRules, *, is_trading: bool = True) -> Json:
    """Return one symbol of exchangeInfo; its status is BREAK where it is not traded."""
    instrument = rules.instrument
    step = {"stepSize": text(instrument.lot_step), "maxQty": text(rules.max_quantity)}
    return {
        "symbol": listing.wire,
        "status": "TRADING" if is_trading else "BREAK",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": sorted(NEEDED),
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": text(instrument.price_tick),
                "maxPrice": text(rules.max_price),
                "tickSize": text(instrument.price_tick),
            },
            {"filterType": "LOT_SIZE", "minQty": text(instrument.min_quantity), **step},
            *_limit_filters(rules),
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": list(STP_MODES),
    }


def _limit_filters(rules: SymbolRules) -> list[Json]:
    """Return the filters that bound orders by their type."""
    limits = rules.instrument.limits
    rows: list[Json] = [
        {
            "filterType": "NOTIONAL",
            "minNotional": text(rules.instrument.min_notional),
            "applyMinToMarket": True,
            "maxNotional": text(limits.limit_notional or ZERO),
            "applyMaxToMarket": limits.market_notional is not None,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": rules.max_stops},
    ]
    if limits.market_quantity is not None:
        most = {"minQty": text(ZERO), "maxQty": text(limits.market_quantity)}
        rows.append({"filterType": "MARKET_LOT_SIZE", **most, "stepSize": text(ZERO)})
    if limits.price_band is not None:
        bounds = (*limits.price_band.of(Side.BUY), *limits.price_band.of(Side.SELL))
        multiples = {name: str(bound) for name, bound in zip(BAND_FIELDS, bounds, strict=True)}
        rows.append({"filterType": "PERCENT_PRICE_BY_SIDE", **multiples, "avgPriceMins": 0})
    if limits.position is not None:
        rows.append({"filterType": "MAX_POSITION", "maxPosition": text(limits.position)})
    return rows


def rate_limits_answer(spec: LimitSpec) -> list[Json]:
    """Return exchangeInfo's rate limits."""
    rows = (
        ("REQUEST_WEIGHT", "MINUTE", 1, spec.weight_per_minute),
        ("ORDERS", "SECOND", 10, spec.orders_per_10s),
        ("ORDERS", "DAY", 1, spec.orders_per_day),
    )
    return [
        {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
        for kind, interval, number, limit in rows
        if limit is not None
    ]


def is_visible(order: PracticeOrder, monotonic_now: float, venue_now_ms: int) -> bool:
    """Return whether queries see the order yet."""
    return monotonic_now >= order.hidden_until and venue_now_ms >= order.hidden_until_ms
