"""binance-connector, with its defaults: what its users call first, then a life of orders."""

from binance.spot import Spot
from books import INTERVALS, KEY, SECRET, SYMBOL, URL, Calls, price, totals, write_books

TWO = [SYMBOL, "ETHUSDT"]


def read_the_market(client: Spot, calls: Calls) -> None:
    for call in (client.ping, client.time, client.system_status, client.exchange_info):
        calls(call)
    calls(client.exchange_info, symbol=SYMBOL)
    calls(client.exchange_info, symbols=TWO)
    calls(client.exchange_info, permissions=["SPOT"])
    for call in (client.depth, client.trades, client.historical_trades, client.agg_trades):
        calls(call, SYMBOL)
        calls(call, SYMBOL, limit=5)
    calls(client.avg_price, SYMBOL)
    for call in (
        client.ticker_24hr,
        client.ticker_price,
        client.book_ticker,
        client.trading_day_ticker,
        client.rolling_window_ticker,
    ):
        calls(call, symbol=SYMBOL)
        calls(call, symbols=TWO)
    calls(client.rolling_window_ticker, SYMBOL, windowSize="15m")
    for interval in INTERVALS:
        calls(client.klines, SYMBOL, interval)
        calls(client.ui_klines, SYMBOL, interval, limit=5)
    for call in (
        client.trade_fee,
        client.coin_info,
        client.account_status,
        client.api_trading_status,
        client.api_key_permissions,
        client.deposit_history,
        client.withdraw_history,
        client.get_order_rate_limit,
    ):
        calls(call)
    calls(client.query_commission_rates, SYMBOL)
    calls(client.query_prevented_matches, SYMBOL)
    calls(client.query_allocations, SYMBOL)


def trade(client: Spot, calls: Calls) -> None:
    bid = client.book_ticker(SYMBOL)["bidPrice"]
    limit = {"type": "LIMIT", "timeInForce": "GTC", "quantity": 0.01}
    calls(client.new_order_test, SYMBOL, "BUY", "MARKET", quantity=0.01)
    calls(client.new_order, SYMBOL, "BUY", "MARKET", quantity=0.01)
    calls(client.new_order, SYMBOL, "BUY", "MARKET", quoteOrderQty=500)
    calls(client.new_order, SYMBOL, "SELL", "MARKET", quantity=0.005, newOrderRespType="ACK")
    resting = calls(client.new_order, SYMBOL, "BUY", price=price(bid, 0.9), **limit)
    calls(client.new_order, SYMBOL, "BUY", price=price(bid, 0.9), newClientOrderId="a", **limit)
    calls(client.get_order, SYMBOL, origClientOrderId="a")
    calls(client.get_open_orders, SYMBOL)
    calls(client.cancel_order, SYMBOL, orderId=resting and resting["orderId"])
    stop = {"stopPrice": price(bid, 0.95), "price": price(bid, 0.94)}
    limit["type"], limit["quantity"] = "STOP_LOSS_LIMIT", 0.002
    calls(client.new_order, SYMBOL, "SELL", **limit, **stop)
    calls(client.get_open_orders)
    calls(client.cancel_open_orders, SYMBOL)


def main() -> None:
    calls, client = Calls(), Spot(KEY, SECRET, base_url=URL)
    read_the_market(client, calls)
    trade(client, calls)
    orders = calls(client.get_orders, SYMBOL)
    trades = calls(client.my_trades, SYMBOL)
    account = calls(client.account)
    write_books(calls, orders, trades, totals(account["balances"]))


main()
