"""binance-sdk-spot, with its defaults: what its users call first, then a life of orders."""

from collections.abc import Callable
from typing import Any

from binance_common.configuration import ConfigurationRestAPI
from binance_sdk_spot.spot import Spot
from books import INTERVALS, KEY, SECRET, SYMBOL, URL, Calls, price, totals, write_books

TWO = [SYMBOL, "ETHUSDT"]


def data(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method with its answer as the library's models read it."""

    def read(*values: object, **parameters: object) -> Any:
        return call(*values, **parameters).data()

    read.__name__ = call.__name__
    return read


def read_the_market(rest: Any, calls: Calls) -> None:
    for call in (rest.ping, rest.time, rest.exchange_info):
        calls(data(call))
    calls(data(rest.exchange_info), symbol=SYMBOL)
    calls(data(rest.exchange_info), symbols=TWO)
    calls(data(rest.exchange_info), permissions=["SPOT"])
    for call in (rest.depth, rest.get_trades, rest.historical_trades, rest.agg_trades):
        calls(data(call), SYMBOL)
        calls(data(call), SYMBOL, limit=5)
    calls(data(rest.avg_price), SYMBOL)
    for call in (
        rest.ticker24hr,
        rest.ticker_price,
        rest.ticker_book_ticker,
        rest.ticker_trading_day,
        rest.ticker,
    ):
        calls(data(call), symbol=SYMBOL)
        calls(data(call), symbols=TWO)
    for interval in INTERVALS:
        calls(data(rest.klines), SYMBOL, interval)
        calls(data(rest.ui_klines), SYMBOL, interval, limit=5)
    calls(data(rest.rate_limit_order))
    calls(data(rest.account_commission), SYMBOL)
    calls(data(rest.my_prevented_matches), SYMBOL)
    calls(data(rest.my_allocations), SYMBOL)


def trade(rest: Any, calls: Calls) -> None:
    bid = float(rest.ticker_book_ticker(symbol=SYMBOL).data().actual_instance.bid_price)
    limit = {"time_in_force": "GTC", "quantity": 0.01}
    calls(data(rest.order_test), SYMBOL, "BUY", "MARKET", quantity=0.01)
    calls(data(rest.new_order), SYMBOL, "BUY", "MARKET", quantity=0.01)
    calls(data(rest.new_order), SYMBOL, "BUY", "MARKET", quote_order_qty=500)
    calls(data(rest.new_order), SYMBOL, "SELL", "MARKET", quantity=0.005)
    far = float(price(bid, 0.9))
    resting = calls(data(rest.new_order), SYMBOL, "BUY", "LIMIT", price=far, **limit)
    calls(data(rest.new_order), SYMBOL, "BUY", "LIMIT", price=far, new_client_order_id="a", **limit)
    calls(data(rest.get_order), SYMBOL, orig_client_order_id="a")
    calls(data(rest.get_open_orders), symbol=SYMBOL)
    calls(data(rest.delete_order), SYMBOL, order_id=resting and resting.order_id)
    stop = {"stop_price": float(price(bid, 0.95)), "price": float(price(bid, 0.94))}
    limit["quantity"] = 0.002
    calls(data(rest.new_order), SYMBOL, "SELL", "STOP_LOSS_LIMIT", **limit, **stop)
    calls(data(rest.get_open_orders))
    calls(data(rest.delete_open_orders), SYMBOL)


def main() -> None:
    configuration = ConfigurationRestAPI(api_key=KEY, api_secret=SECRET, base_path=URL)
    calls, rest = Calls(), Spot(config_rest_api=configuration).rest_api
    read_the_market(rest, calls)
    trade(rest, calls)
    orders = calls(data(rest.all_orders), SYMBOL)
    trades = calls(data(rest.my_trades), SYMBOL)
    account = calls(data(rest.get_account))
    rows = [[each.to_dict() for each in found or ()] for found in (orders, trades)]
    held = totals(each.to_dict() for each in account.balances)
    write_books(calls, *rows, held)


main()
