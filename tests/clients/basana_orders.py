"""basana, with its defaults: a pair's terms and its order book, then a life of orders.

Its streams (bars, order events) are not used: the practice exchange has none.
"""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

import basana as bs
from basana.external.binance import exchange as binance
from books import KEY, SECRET, URL, Calls, write_books

PAIR = bs.Pair("BTC", "USDT")
BUY, SELL = bs.OrderOperation.BUY, bs.OrderOperation.SELL


async def made(calls: Calls, call: Coroutine[Any, Any, Any]) -> Any:
    """Return what a call returns; None where it raises, which is kept."""
    calls.made += 1
    try:
        return await call
    except binance.Error as error:
        calls.failed.append(f"{call}: {error!r}")
        return None


async def trade(exchange: binance.Exchange, calls: Calls) -> list[str]:
    """Place and cancel orders; return the ids of all that were taken."""
    account, placed = exchange.spot_account, []
    info = await made(calls, exchange.get_pair_info(PAIR))
    await made(calls, exchange.get_order_book(PAIR))
    bid, _ = await made(calls, exchange.get_bid_ask(PAIR))

    def at(share: str) -> Decimal:
        return Decimal(bs.round_decimal(bid * Decimal(share), info.quote_precision))

    amount = Decimal("0.01")
    for order in (
        account.create_market_order(BUY, PAIR, amount=amount),
        account.create_market_order(BUY, PAIR, quote_amount=Decimal(500)),
        account.create_market_order(SELL, PAIR, amount=Decimal("0.005")),
        account.create_limit_order(BUY, PAIR, amount, at("0.9")),
        account.create_limit_order(BUY, PAIR, amount, at("0.91"), client_order_id="mine-1"),
        account.create_limit_order(SELL, PAIR, Decimal("0.001"), at("0.99")),
        account.create_stop_limit_order(SELL, PAIR, Decimal("0.002"), at("0.95"), at("0.94")),
        account.create_stop_order(SELL, PAIR, Decimal("0.001"), at("0.95")),
    ):
        taken = await made(calls, order)
        if taken is not None:
            placed.append(taken.id)
    await made(calls, account.cancel_order(PAIR, client_order_id="mine-1"))
    for order in await made(calls, account.get_open_orders(PAIR)):
        await made(calls, account.cancel_order(PAIR, order_id=order.id))
    return placed


async def main() -> None:
    calls = Calls()
    overrides = {"api": {"http": {"base_url": URL}}}
    exchange = binance.Exchange(bs.realtime_dispatcher(), KEY, SECRET, config_overrides=overrides)
    placed = await trade(exchange, calls)
    account = exchange.spot_account
    orders = [await made(calls, account.get_order_info(PAIR, order_id=each)) for each in placed]
    balances = await made(calls, account.get_balances())
    trades = [trade.json for order in orders for trade in order.trades]
    held = {asset: balance.total for asset, balance in balances.items()}
    write_books(calls, [order.json for order in orders], trades, held)


asyncio.run(main())
