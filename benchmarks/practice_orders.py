"""How fast does the practice exchange answer? How many orders per second does a bare ccxt loop
place on it?

The last figure is the base of every later order benchmark. The cost of the ledger is measured
against it in the same run.

python benchmarks/practice_orders.py [--orders 2000]
"""

import argparse
import time
from collections.abc import Callable
from decimal import Decimal

import ccxt
import requests

from penstock.adapters.exchanges.ccxt import CcxtExchange
from penstock.core.orders import OrderRequest, OrderType, Side
from penstock.core.timeframes import Timeframe
from penstock.practice.clock import stepped_clock
from penstock.practice.limits import UNLIMITED
from penstock.practice.server import AccountSpec, PracticeServer
from penstock.practice.synthetic import SyntheticCandles
from penstock.simulation.fill_model import FillModel


def per_second(count: int, call: Callable[[int], object]) -> float:
    """Return calls per second of `count` calls, after ten that do not count."""
    for k in range(10):
        call(-1 - k)
    started = time.perf_counter()
    for k in range(count):
        call(k)
    return count / (time.perf_counter() - started)


def bare_ccxt(url: str, key: str = "key", secret: str = "secret") -> ccxt.Exchange:
    """Return unmodified ccxt pointed at the practice exchange, without its own throttle."""
    api = {"public": f"{url}/api/v3", "private": f"{url}/api/v3"}
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
    settings = {
        "apiKey": key,
        "secret": secret,
        "enableRateLimit": False,
        "urls": {"api": api},
        "options": options,
    }
    client = ccxt.binance(settings)
    client.load_markets()
    return client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=2000)
    count = parser.parse_args().orders
    candles = SyntheticCandles(("BTC/USDT",))
    account = AccountSpec("key", "secret", {"USDT": "1000000000"})
    clock = stepped_clock(candles.end - Timeframe.D1.duration)
    with PracticeServer(
        candles,
        clock=clock,
        accounts=(account,),
        limits=UNLIMITED,
        fill_model=FillModel(participation=None),
    ) as server:
        session = requests.Session()
        session.trust_env = False
        client = bare_ccxt(server.url)
        adapter = CcxtExchange("binance", "key", "secret", base_url=server.url)
        adapter.instruments()
        since = candles.start

        def submit(k: int) -> object:
            request = OrderRequest(
                f"adapter-{k}", "BTC/USDT", Side.BUY, OrderType.MARKET, Decimal("0.001")
            )
            return adapter.submit(request)

        figures = {
            "GET time, requests": per_second(
                count, lambda _: session.get(f"{server.url}/api/v3/time").json()
            ),
            "GET time, bare ccxt": per_second(count, lambda _: client.fetch_time()),
            "1,000 hourly bars, adapter": per_second(
                count // 20, lambda _: adapter.fetch_bars("BTC/USDT", Timeframe.H1, since, 1000)
            ),
            "market orders, bare ccxt": per_second(
                count, lambda _: client.create_order("BTC/USDT", "market", "buy", 0.001)
            ),
            "market orders, adapter": per_second(count, submit),
        }
    base = figures["market orders, bare ccxt"]
    for name, figure in figures.items():
        print(f"{name:<28} {figure:>8,.0f} a second   {figure / base:>6.2f} of bare ccxt orders")


if __name__ == "__main__":
    main()
