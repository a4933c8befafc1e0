"""python-binance, with its defaults: what its users call first, then a life of orders."""

from binance.client import Client
from books import INTERVALS, KEY, SECRET, SYMBOL, URL, Calls, price, totals, write_books

Client.API_URL, Client.MARGIN_API_URL = f"{URL}/api", f"{URL}/sapi"


def read_the_market(client: Client, calls: Calls) -> None:
    for call in (
        client.get_server_time,
        client.get_system_status,
        client.get_exchange_info,
        client.get_all_tickers,
        client.get_ticker,
        client.get_orderbook_tickers,
        client.get_account_status,
        client.get_account_api_trading_status,
        client.get_account_api_permissions,
        client.get_all_coins_info,
        client.get_trade_fee,
        client.get_deposit_history,
        client.get_withdraw_history,
        client.get_current_order_count,
    ):
        calls(call)
    calls(client.get_symbol_info, SYMBOL)
    calls(client.get_asset_balance, "USDT")
    for call in (
        client.get_order_book,
        client.get_recent_trades,
        client.get_historical_trades,
        client.get_aggregate_trades,
        client.get_avg_price,
        client.get_symbol_ticker,
        client.get_ticker,
        client.get_orderbook_ticker,
        client.get_trade_fee,
        client.get_prevented_matches,
        client.get_allocations,
    ):
        calls(call, symbol=SYMBOL)
    for interval in INTERVALS:
        calls(client.get_klines, symbol=SYMBOL, interval=interval, limit=5)
        calls(client.get_ui_klines, symbol=SYMBOL, interval=interval, limit=5)
    calls(client.get_historical_klines, SYMBOL, "1h", "3 days ago UTC")
    calls(lambda: list(client.aggregate_trade_iter(SYMBOL, start_str="10 minutes ago UTC")))


def trade(client: Client, calls: Calls) -> None:
    bid = client.get_orderbook_ticker(symbol=SYMBOL)["bidPrice"]
    terms = {"symbol": SYMBOL, "quantity": 0.01}
    calls(client.create_test_order, **terms, side="BUY", type="MARKET")
    calls(client.order_market_buy, **terms)
    calls(client.order_market_buy, symbol=SYMBOL, quoteOrderQty=500)
    calls(client.order_market_sell, symbol=SYMBOL, quantity=0.005)
    resting = calls(client.order_limit_buy, **terms, price=price(bid, 0.9))
    calls(client.order_limit_buy, **terms, price=price(bid, 0.91), newClientOrderId="mine-1")
    calls(client.get_order, symbol=SYMBOL, origClientOrderId="mine-1")
    calls(client.get_open_orders, symbol=SYMBOL)
    calls(client.cancel_order, symbol=SYMBOL, orderId=resting and resting["orderId"])
    calls(
        client.create_order,
        symbol=SYMBOL,
        side="SELL",
        type="STOP_LOSS_LIMIT",
        timeInForce="GTC",
        quantity=0.002,
        stopPrice=price(bid, 0.95),
        price=price(bid, 0.94),
    )
    calls(
        client.create_order,
        symbol=SYMBOL,
        side="BUY",
        type="LIMIT_MAKER",
        quantity=0.001,
        price=price(bid, 0.95),
    )
    calls(client.get_open_orders)
    calls(client.cancel_all_open_orders, symbol=SYMBOL)
    calls(client.order_limit_sell, **(terms | {"quantity": 0.001}), price=price(bid, 0.99))


def main() -> None:
    calls, client = Calls(), Client(KEY, SECRET)
    read_the_market(client, calls)
    trade(client, calls)
    orders = calls(client.get_all_orders, symbol=SYMBOL)
    trades = calls(client.get_my_trades, symbol=SYMBOL)
    account = calls(client.get_account)
    write_books(calls, orders, trades, totals(account["balances"]))


main()
